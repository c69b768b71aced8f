//! From what a machine has to what must be done: pure, so that every kind of machine can be tested.

use crate::machine::{Bpf, Linker, Machine};
use crate::packages::Manager;
use crate::toolchain::{self, BPF_LINKER, LLVM_MAJORS, NIGHTLY, Rustc};
use std::fmt;

/// Debian's rustc for its browsers, kept current in stable releases, and its source.
const DEBIAN_RUST: [&str; 2] = ["rustc-web", "rust-web-src"];

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Install packages of the distribution.
    Packages(Manager, Vec<&'static str>),
    /// Have rustup fetch the nightly that bpf-linker can read, with the source of core.
    Nightly,
    /// Make the folder of links to the system's rustc; true: and make it known to rustup.
    Link(bool),
    /// Build and install bpf-linker, for this LLVM if it is known by now; why, if one is there.
    BpfLinker(Option<u32>, Option<String>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(manager, names) => {
                let program = manager.program();
                if let Some(words) = manager.update_words() {
                    write!(f, "{program} {}, then ", words.join(" "))?;
                }
                write!(f, "{program} {} {}", manager.install_words().join(" "), names.join(" "))
            }
            Self::Nightly => write!(
                f,
                "rustup toolchain install {NIGHTLY} --profile minimal --component rust-src \
                 (your other toolchains stay as they are)"
            ),
            Self::Link(with_rustup) => {
                let folder = toolchain::links_folder();
                write!(f, "make {} (links to the system's rustc and LLVM)", folder.display())?;
                if *with_rustup {
                    write!(f, ", known to rustup as {}", toolchain::LINKED)?;
                }
                Ok(())
            }
            Self::BpfLinker(llvm, why) => {
                let known = llvm.map_or_else(|| "N".to_owned(), |major| major.to_string());
                let bin = toolchain::cargo_home().join("bin");
                write!(
                    f,
                    "cargo install bpf-linker@{BPF_LINKER} --no-default-features --features \
                     rust-llvm-{known} --locked (into {}; takes some minutes)",
                    bin.display()
                )?;
                if llvm.is_none() {
                    write!(f, "; N is the LLVM of that rustc")?;
                }
                match why {
                    Some(why) => write!(f, "; replaces the one there, which fails: {why}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What must be done, in order. Empty: everything is there. The error says what can't be had and
/// how to get it.
pub fn plan(machine: &Machine) -> Result<Vec<Step>, String> {
    let mut packages = tool_packages(machine)?;
    let mut steps = Vec::new();
    if let Some(bpf) = &machine.bpf {
        bpf_steps(bpf, machine, &mut packages, &mut steps)?;
    }
    if let (false, Some(manager)) = (packages.is_empty(), machine.manager) {
        if !machine.may_install {
            return Err(format!(
                "these packages are missing, and only root may install them: {}. Run this again as root, \
                 install sudo, or install them yourself",
                packages.join(" ")
            ));
        }
        steps.insert(0, Step::Packages(manager, packages));
    }
    Ok(steps)
}

/// The packages for the programs that are missing.
fn tool_packages(machine: &Machine) -> Result<Vec<&'static str>, String> {
    let mut names = Vec::new();
    let mut unknown = Vec::new();
    for tool in &machine.missing {
        match machine.manager.and_then(|manager| tool.package(manager)) {
            Some(name) => names.push(name),
            None => unknown.push(format!("{} (Debian's package {})", tool.program, tool.usual_package())),
        }
    }
    if unknown.is_empty() {
        return Ok(names);
    }
    Err(format!(
        "these programs are missing, and their packages are not known here: {}. Install them and run this again",
        unknown.join(", ")
    ))
}

/// The steps that lead to a compiler and linker for the kernel program.
fn bpf_steps(
    bpf: &Bpf,
    machine: &Machine,
    packages: &mut Vec<&'static str>,
    steps: &mut Vec<Step>,
) -> Result<(), String> {
    if let Some((name, rustc)) = &bpf.chosen {
        check_choice(name, *rustc)?;
    }
    let llvm = if bpf.ready().is_some() {
        bpf.ready_llvm()
    } else if let Some(rustc) = bpf.system.filter(|rustc| rustc.source && rustc.unfit().is_none()) {
        steps.push(Step::Link(bpf.rustup));
        Some(rustc.llvm)
    } else if bpf.rustup_may_fetch {
        steps.push(Step::Nightly);
        None
    } else if machine.manager == Some(Manager::Apt) && bpf.packages_may_help {
        packages.extend(DEBIAN_RUST);
        steps.push(Step::Link(bpf.rustup));
        None
    } else {
        return Err(no_toolchain(bpf));
    };
    match &bpf.linker {
        // An untried one is tried once the compiler is there, and then there is another plan.
        Linker::Works | Linker::Untried => {}
        Linker::Unfit(why) => steps.push(Step::BpfLinker(llvm, Some(why.clone()))),
        Linker::Missing => steps.push(Step::BpfLinker(llvm, None)),
    }
    Ok(())
}

/// Whether the toolchain that the user names can serve. It's the user's: we don't change it.
fn check_choice(name: &str, rustc: Option<Rustc>) -> Result<(), String> {
    let why = match rustc {
        None => "it is not there, or does not start; `rustup toolchain list` shows what is".into(),
        Some(rustc) => match rustc.unfit() {
            Some(why) => why,
            None if rustc.source => return Ok(()),
            None => format!(
                "it lacks the source of core; get it with `rustup component add rust-src --toolchain {name}`"
            ),
        },
    };
    Err(format!("TMAP_BPF_TOOLCHAIN names {name}, which can't be used: {why}. Unset it to let tmap choose"))
}

/// What can't be had, and every way to get it.
fn no_toolchain(bpf: &Bpf) -> String {
    let mut text = String::from("there is no compiler here for tmap's kernel program.");
    let found = bpf.nightlies.iter().map(|(name, rustc)| (name.as_str(), *rustc));
    for (name, rustc) in found.chain(bpf.system.map(|rustc| ("the system's rustc", rustc))) {
        let why = rustc.unfit().unwrap_or_else(|| "the source of core is missing".into());
        text += &format!("\n  {name}: {why}");
    }
    text += &format!(
        "\nGet one of these, and run this again:\n  \
         rustup toolchain install {NIGHTLY} --profile minimal --component rust-src\n  \
         on Debian: apt-get install {}\n  \
         any other rustup toolchain with rust-src and LLVM {} to {}: name it in TMAP_BPF_TOOLCHAIN",
        DEBIAN_RUST.join(" "),
        LLVM_MAJORS.start(),
        LLVM_MAJORS.end()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Group;

    const DEBIAN: Rustc = Rustc { version: (1, 96), llvm: 22, source: true };
    const NEW_NIGHTLY: Rustc = Rustc { version: (1, 101), llvm: 23, source: true };

    /// Debian with rustup's stable, fetching forbidden, nothing else.
    fn fresh() -> Machine {
        let bpf = Bpf {
            chosen: None,
            rustup: true,
            rustup_may_fetch: false,
            packages_may_help: true,
            nightlies: Vec::new(),
            system: None,
            linked: false,
            linker: Linker::Missing,
        };
        let missing = Group::Netns.tools().to_vec();
        Machine { missing, manager: Some(Manager::Apt), may_install: true, bpf: Some(bpf) }
    }

    fn with_bpf(change: impl FnOnce(&mut Bpf)) -> Machine {
        let mut machine = Machine { missing: Vec::new(), ..fresh() };
        change(machine.bpf.as_mut().unwrap());
        machine
    }

    #[test]
    fn a_fresh_debian_gets_one_install_command_then_links_then_the_linker() {
        let packages = vec!["iproute2", "nftables", "rustc-web", "rust-web-src"];
        let expected =
            [Step::Packages(Manager::Apt, packages), Step::Link(true), Step::BpfLinker(None, None)];
        assert_eq!(plan(&fresh()).unwrap(), expected);
    }

    #[test]
    fn a_complete_machine_needs_nothing() {
        let machine = with_bpf(|bpf| {
            bpf.system = Some(DEBIAN);
            bpf.linked = true;
            bpf.linker = Linker::Works;
        });
        assert_eq!(plan(&machine).unwrap(), []);
    }

    #[test]
    fn rustup_is_asked_first_where_it_may_fetch() {
        let machine = with_bpf(|bpf| bpf.rustup_may_fetch = true);
        assert_eq!(plan(&machine).unwrap(), [Step::Nightly, Step::BpfLinker(None, None)]);
    }

    #[test]
    fn what_is_there_is_preferred_to_fetching() {
        let machine = with_bpf(|bpf| {
            bpf.rustup_may_fetch = true;
            bpf.system = Some(DEBIAN);
        });
        assert_eq!(plan(&machine).unwrap(), [Step::Link(true), Step::BpfLinker(Some(22), None)]);
    }

    #[test]
    fn a_nightly_that_the_linker_cannot_read_is_passed_over() {
        let machine = with_bpf(|bpf| bpf.nightlies = vec![("nightly".into(), NEW_NIGHTLY)]);
        let steps = plan(&machine).unwrap();
        assert_eq!(steps[0], Step::Packages(Manager::Apt, DEBIAN_RUST.to_vec()));
    }

    #[test]
    fn a_nightly_that_it_can_read_is_taken() {
        let machine = with_bpf(|bpf| {
            bpf.nightlies = vec![("nightly".into(), Rustc { llvm: 22, ..NEW_NIGHTLY })];
            bpf.linker = Linker::Works;
        });
        assert_eq!(plan(&machine).unwrap(), []);
    }

    #[test]
    fn a_linker_that_fails_is_replaced_and_the_plan_says_why() {
        let machine = with_bpf(|bpf| {
            bpf.system = Some(DEBIAN);
            bpf.linked = true;
            bpf.linker = Linker::Unfit("Unknown attribute kind".into());
        });
        let steps = plan(&machine).unwrap();
        assert_eq!(steps.len(), 1);
        assert!(steps[0].to_string().contains("Unknown attribute kind"), "{}", steps[0]);
    }

    #[test]
    fn a_rustc_from_an_old_list_of_packages_is_upgraded() {
        let machine = with_bpf(|bpf| bpf.system = Some(Rustc { version: (1, 85), llvm: 19, source: true }));
        let steps = plan(&machine).unwrap();
        assert_eq!(steps[0], Step::Packages(Manager::Apt, DEBIAN_RUST.to_vec()));
    }

    #[test]
    fn a_debian_whose_rustc_moved_on_gets_a_clear_error() {
        let machine = with_bpf(|bpf| {
            bpf.packages_may_help = false;
            bpf.system = Some(Rustc { llvm: 23, ..DEBIAN });
        });
        let error = plan(&machine).unwrap_err();
        assert!(error.contains("uses LLVM 23") && error.contains("TMAP_BPF_TOOLCHAIN"), "{error}");
    }

    #[test]
    fn without_a_way_to_a_toolchain_the_error_names_every_way() {
        let machine = Machine { manager: None, ..with_bpf(|_| ()) };
        let error = plan(&machine).unwrap_err();
        for way in [NIGHTLY, "rustc-web", "TMAP_BPF_TOOLCHAIN"] {
            assert!(error.contains(way), "{error}");
        }
    }

    #[test]
    fn a_choice_that_cannot_serve_is_an_error_and_never_changed() {
        let error = |rustc| plan(&with_bpf(|bpf| bpf.chosen = Some(("mine".into(), rustc)))).unwrap_err();
        assert!(error(None).contains("rustup toolchain list"));
        assert!(error(Some(Rustc { source: false, ..DEBIAN })).contains("rust-src --toolchain mine"));
        assert!(error(Some(NEW_NIGHTLY)).contains("LLVM 23"));
    }

    #[test]
    fn without_rustup_the_system_serves() {
        let machine = with_bpf(|bpf| {
            bpf.rustup = false;
            bpf.system = Some(DEBIAN);
        });
        assert_eq!(plan(&machine).unwrap()[0], Step::Link(false));
    }

    #[test]
    fn without_root_and_sudo_the_error_lists_the_packages() {
        let error = plan(&Machine { may_install: false, ..fresh() }).unwrap_err();
        assert!(error.contains("nftables") && error.contains("as root"), "{error}");
    }

    #[test]
    fn other_distributions_get_their_own_names_or_an_error_that_names_the_program() {
        let on = |manager, missing: &[_]| {
            plan(&Machine { missing: missing.to_vec(), manager: Some(manager), may_install: true, bpf: None })
        };
        let fedora = on(Manager::Dnf, Group::Netns.tools()).unwrap();
        assert_eq!(fedora, [Step::Packages(Manager::Dnf, vec!["iproute", "nftables"])]);
        let error = on(Manager::Pacman, Group::Lab.tools()).unwrap_err();
        assert!(error.contains("qemu-system-x86_64"), "{error}");
    }
}
