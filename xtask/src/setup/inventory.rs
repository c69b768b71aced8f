//! What this computer has: everything that a plan depends on, determined once.

use std::process::Command;

use super::axe_core;
use super::cargo_deny;
use super::packages::{Group, Manager, Tool};
use super::toolchain::{self, NIGHTLY, Rustc, Toolchain};
use crate::shell;

/// What a computer has. Plans are made from this description alone, so that they can be tested.
#[derive(Clone, Debug)]
pub(super) struct Inventory {
    /// Programs of the requested groups that are missing.
    pub missing: Vec<Tool>,
    /// The package manager, if we know it.
    pub manager: Option<Manager>,
    /// True for root, or if sudo is installed.
    pub may_install: bool,
    /// Compilers and linker for the kernel program; None if they were not requested.
    pub bpf: Option<Bpf>,
    /// True if axe-core was requested and is missing.
    pub lacks_axe_core: bool,
    /// True if cargo-deny was requested and is missing.
    pub lacks_cargo_deny: bool,
}

/// What is installed to compile and link the kernel program.
#[derive(Clone, Debug)]
pub(super) struct Bpf {
    /// The user's choice in TMAP_BPF_TOOLCHAIN, and its compiler if that starts.
    pub chosen: Option<(String, Option<Rustc>)>,
    /// True if rustup is installed.
    pub rustup: bool,
    /// True if rustup may install a toolchain, and has not tried yet.
    pub rustup_may_install: bool,
    /// True if we have not yet tried to get a compiler from the distribution's packages.
    pub packages_may_help: bool,
    /// Installed nightlies by name, the preferred one first.
    pub nightlies: Vec<(String, Rustc)>,
    /// The system's rustc: /usr/bin/rustc, or without rustup the one in PATH.
    pub system: Option<Rustc>,
    /// True if the folder of links for the system's rustc is valid.
    pub linked: bool,
    /// Whether bpf-linker works.
    pub linker: Linker,
}

/// The result of linking a test program for BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Linker {
    /// bpf-linker is not installed.
    Missing,
    /// It is installed, but there is no compiler yet to test it with.
    Untested,
    /// It is installed, but failed with this message.
    Unfit(String),
    /// It made a BPF object.
    Works,
}

/// The sources of a compiler that were tried already. None is tried twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried {
    /// rustup, for a nightly.
    pub rustup: bool,
    /// The distribution's packages, for its rustc.
    pub packages: bool,
}

impl Inventory {
    /// Determines what this computer has of these groups.
    pub(super) fn take(groups: &[Group], tried: Tried) -> Self {
        let tools = groups.iter().flat_map(|group| group.tools());
        Self {
            missing: tools.filter(|tool| shell::find(tool.program).is_none()).copied().collect(),
            manager: Manager::ALL.into_iter().find(|manager| shell::find(manager.program()).is_some()),
            may_install: shell::is_root() || shell::find("sudo").is_some(),
            bpf: groups.contains(&Group::Bpf).then(|| Bpf::take(tried)),
            lacks_axe_core: groups.contains(&Group::Browser) && !axe_core::is_installed(),
            lacks_cargo_deny: groups.contains(&Group::Deny) && !cargo_deny::is_installed(),
        }
    }
}

impl Bpf {
    fn take(tried: Tried) -> Self {
        let rustup = shell::find("rustup").is_some();
        // The user sets this to 0 to forbid rustup to install toolchains by itself.
        let forbidden = std::env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
        let system = Rustc::ask(|| Command::new(if rustup { "/usr/bin/rustc" } else { "rustc" }));
        let mut bpf = Self {
            chosen: if rustup { chosen() } else { None },
            rustup,
            rustup_may_install: rustup && !tried.rustup && !forbidden,
            packages_may_help: !tried.packages,
            nightlies: if rustup { nightlies() } else { Vec::new() },
            system,
            linked: system.is_some_and(|rustc| {
                toolchain::links_are_valid(rustc.llvm, rustup) && (!rustup || toolchain::is_linked())
            }),
            linker: Linker::Missing,
        };
        bpf.linker = test_linker(bpf.ready().as_ref());
        bpf
    }

    /// The LLVM version of the toolchain that is ready, if it is known.
    pub(super) fn ready_llvm(&self) -> Option<u32> {
        match self.ready()? {
            Toolchain::System => Some(self.system?.llvm),
            Toolchain::Rustup(_) if self.chosen.is_some() => Some(self.chosen.as_ref()?.1?.llvm),
            Toolchain::Rustup(name) if name == toolchain::LINKED => Some(self.system?.llvm),
            Toolchain::Rustup(name) => self.nightlies.iter().find(|(n, _)| *n == name).map(|(_, r)| r.llvm),
        }
    }

    /// The toolchain that is ready to use: the user's choice, a nightly, or the system's.
    pub(super) fn ready(&self) -> Option<Toolchain> {
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

/// The installed nightlies that we would use. This installs none.
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

/// The compiler of one of rustup's toolchains. RUSTUP_AUTO_INSTALL=0, so that rustup installs nothing.
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

/// True if a line of rustup's list is the toolchain `name`: the name, then the host and not a date.
fn is_toolchain(line: &str, name: &str) -> bool {
    line.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|host| !host.starts_with(|first: char| first.is_ascii_digit()))
}

fn test_linker(toolchain: Option<&Toolchain>) -> Linker {
    let own = toolchain::cargo_home().join("bin/bpf-linker");
    if shell::find("bpf-linker").is_none() && !own.exists() {
        return Linker::Missing;
    }
    let Some(toolchain) = toolchain else {
        return Linker::Untested;
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
