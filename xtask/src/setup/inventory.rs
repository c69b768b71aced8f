//! What this machine has: everything that a plan depends on, looked up once.

use crate::packages::{Group, Manager, Tool};
use crate::shell;
use crate::toolchain::{self, NIGHTLY, Rustc, Toolchain};
use std::process::Command;

/// A description of a machine. Plans are made from it alone, so that they can be tested.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Programs of the groups asked for that aren't there.
    pub missing: Vec<Tool>,
    /// The package manager, if it is one that we know.
    pub manager: Option<Manager>,
    /// True for root, or where sudo is there.
    pub may_install: bool,
    /// The state of everything that compiles the kernel program; None if it wasn't asked for.
    pub bpf: Option<Bpf>,
}

/// The state of what compiles and links the kernel program.
#[derive(Clone, Debug)]
pub struct Bpf {
    /// The user's own choice, from TMAP_BPF_TOOLCHAIN, and its compiler if that starts.
    pub chosen: Option<(String, Option<Rustc>)>,
    /// True if rustup is there.
    pub rustup: bool,
    /// True if rustup may be asked to fetch a toolchain (and wasn't yet).
    pub rustup_may_fetch: bool,
    /// True if the distribution's packages may be asked for (and weren't yet).
    pub packages_may_help: bool,
    /// Nightlies that are there, by name, the preferred one first.
    pub nightlies: Vec<(String, Rustc)>,
    /// The system's rustc: /usr/bin/rustc, or without rustup the one in PATH.
    pub system: Option<Rustc>,
    /// True if the folder of links for the system's rustc is in order.
    pub linked: bool,
    /// Whether bpf-linker works.
    pub linker: Linker,
}

/// What a try at linking for BPF said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linker {
    /// bpf-linker is not installed.
    Missing,
    /// It is installed, and there is no compiler yet to try it with.
    Untried,
    /// It is installed, but this went wrong.
    Unfit(String),
    /// It made a BPF object.
    Works,
}

/// Who has been asked for a compiler already, so that nobody is asked twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// rustup, for a nightly.
    pub rustup: bool,
    /// The distribution, for its rustc.
    pub packages: bool,
}

impl Machine {
    /// Looks at this machine, for these groups.
    pub fn look(groups: &[Group], asked: Asked) -> Self {
        let tools = groups.iter().flat_map(|group| group.tools());
        Self {
            missing: tools.filter(|tool| shell::find(tool.program).is_none()).copied().collect(),
            manager: Manager::ALL.into_iter().find(|manager| shell::find(manager.program()).is_some()),
            may_install: shell::is_root() || shell::find("sudo").is_some(),
            bpf: groups.contains(&Group::Bpf).then(|| Bpf::look(asked)),
        }
    }
}

impl Bpf {
    fn look(asked: Asked) -> Self {
        let rustup = shell::find("rustup").is_some();
        // 0 is the user's word that rustup is not to fetch toolchains by itself.
        let forbidden = std::env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
        let system = Rustc::ask(|| Command::new(if rustup { "/usr/bin/rustc" } else { "rustc" }));
        let mut bpf = Self {
            chosen: if rustup { chosen() } else { None },
            rustup,
            rustup_may_fetch: rustup && !asked.rustup && !forbidden,
            packages_may_help: !asked.packages,
            nightlies: if rustup { nightlies() } else { Vec::new() },
            system,
            linked: system.is_some_and(|rustc| {
                toolchain::links_hold(rustc.llvm, rustup) && (!rustup || toolchain::is_linked())
            }),
            linker: Linker::Missing,
        };
        bpf.linker = try_linker(bpf.ready().as_ref());
        bpf
    }

    /// The LLVM of the toolchain that can be used as things are, if we asked it.
    pub fn ready_llvm(&self) -> Option<u32> {
        match self.ready()? {
            Toolchain::System => Some(self.system?.llvm),
            Toolchain::Rustup(_) if self.chosen.is_some() => Some(self.chosen.as_ref()?.1?.llvm),
            Toolchain::Rustup(name) if name == toolchain::LINKED => Some(self.system?.llvm),
            Toolchain::Rustup(name) => self.nightlies.iter().find(|(n, _)| *n == name).map(|(_, r)| r.llvm),
        }
    }

    /// The toolchain that can be used as things are: the user's choice, a nightly, the system's.
    pub fn ready(&self) -> Option<Toolchain> {
        if let Some((name, _)) = &self.chosen {
            return Some(Toolchain::Rustup(name.clone()));
        }
        let fits = |rustc: &Rustc| rustc.source && rustc.unfit().is_none();
        if let Some((name, _)) = self.nightlies.iter().find(|(_, rustc)| fits(rustc)) {
            return Some(Toolchain::Rustup(name.clone()));
        }
        if !self.linked || !self.system.as_ref().is_some_and(fits) {
            return None;
        }
        Some(if self.rustup { Toolchain::Rustup(toolchain::LINKED.into()) } else { Toolchain::System })
    }
}

/// The nightlies that we would use and that are installed. None is fetched by asking.
fn nightlies() -> Vec<(String, Rustc)> {
    let Some(list) = shell::output(Command::new("rustup").args(["toolchain", "list", "--quiet"])) else {
        return Vec::new();
    };
    ["nightly", NIGHTLY]
        .into_iter()
        .filter(|name| list.lines().any(|line| is_toolchain(line, name)))
        .filter_map(|name| Some((name.to_owned(), ask_rustup(name)?)))
        .collect()
}

/// What the compiler of a toolchain says of itself. rustup is told to fetch nothing for that.
fn ask_rustup(toolchain: &str) -> Option<Rustc> {
    Rustc::ask(|| {
        let mut command = Command::new("rustup");
        command.args(["run", toolchain, "rustc"]).env("RUSTUP_AUTO_INSTALL", "0");
        command
    })
}

/// The toolchain that the user names in TMAP_BPF_TOOLCHAIN.
fn chosen() -> Option<(String, Option<Rustc>)> {
    let name = std::env::var("TMAP_BPF_TOOLCHAIN").ok().filter(|name| !name.is_empty())?;
    let rustc = ask_rustup(&name);
    Some((name, rustc))
}

/// True if a line of rustup's list is the toolchain `name`: the name and then the host, not a date.
fn is_toolchain(line: &str, name: &str) -> bool {
    line.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|host| !host.starts_with(|first: char| first.is_ascii_digit()))
}

fn try_linker(toolchain: Option<&Toolchain>) -> Linker {
    let own = toolchain::cargo_home().join("bin/bpf-linker");
    if shell::find("bpf-linker").is_none() && !own.exists() {
        return Linker::Missing;
    }
    let Some(toolchain) = toolchain else {
        return Linker::Untried;
    };
    match toolchain::try_link(toolchain) {
        Ok(()) => Linker::Works,
        Err(error) => Linker::Unfit(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::is_toolchain;

    #[test]
    fn a_dated_nightly_is_not_the_nightly() {
        assert!(is_toolchain("nightly-x86_64-unknown-linux-gnu", "nightly"));
        assert!(!is_toolchain("nightly-2026-05-20-x86_64-unknown-linux-gnu", "nightly"));
        assert!(is_toolchain("nightly-2026-05-20-x86_64-unknown-linux-gnu", "nightly-2026-05-20"));
        assert!(!is_toolchain("stable-x86_64-unknown-linux-gnu", "nightly"));
    }
}
