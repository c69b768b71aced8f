//! The steps that a computer needs, from what it has. Pure, so that every kind of computer can be tested.

use std::fmt;

use super::axe_core;
use super::cargo_deny;
use super::inventory::{Bpf, Inventory, Linker};
use super::packages::Manager;
use super::toolchain::{self, BPF_LINKER, LLVM_MAJORS, NIGHTLY, Rustc};

/// The rustc that Debian keeps current in its stable releases (to build browsers), and its source.
const DEBIAN_RUST: [&str; 2] = ["rustc-web", "rust-web-src"];

/// One step of the set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Install packages of the distribution.
    Packages(Manager, Vec<&'static str>),
    /// Let rustup install the nightly that bpf-linker can read, with the source of `core`.
    Nightly,
    /// Make the folder of links to the system's rustc. True: register it with rustup as well.
    Link(bool),
    /// Build and install bpf-linker: for which LLVM, if that is known yet, and what is wrong with the
    /// installed one, if there is one.
    BpfLinker(Option<u32>, Option<String>),
    /// Let npm install axe-core.
    AxeCore,
    /// Build and install cargo-deny.
    CargoDeny,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(manager, names) => {
                let program = manager.program();
                if let Some(arguments) = manager.update_arguments() {
                    write!(f, "{program} {}, then ", arguments.join(" "))?;
                }
                write!(f, "{program} {} {}", manager.install_arguments().join(" "), names.join(" "))
            }
            Self::Nightly => write!(
                f,
                "rustup toolchain install {NIGHTLY} --profile minimal --component rust-src \
                 (your other toolchains do not change)"
            ),
            Self::Link(with_rustup) => {
                let folder = toolchain::links_folder();
                write!(f, "make the folder {} (links to the system's rustc and LLVM)", folder.display())?;
                if *with_rustup {
                    write!(f, " and register it with rustup as {}", toolchain::LINKED)?;
                }
                Ok(())
            }
            Self::BpfLinker(llvm, why) => {
                let known = llvm.map_or_else(|| "N".to_owned(), |major| major.to_string());
                let bin = toolchain::cargo_home().join("bin");
                write!(
                    f,
                    "cargo install bpf-linker@{BPF_LINKER} --no-default-features --features \
                     rust-llvm-{known} --locked (into {}; takes a few minutes)",
                    bin.display()
                )?;
                if llvm.is_none() {
                    write!(f, "; N is the LLVM version of that rustc")?;
                }
                match why {
                    Some(why) => write!(f, "; replaces the installed one, which fails: {why}"),
                    None => Ok(()),
                }
            }
            Self::AxeCore => {
                let arguments = axe_core::install_arguments().join(" ");
                write!(f, "npm {arguments} (into target/axe-core)")
            }
            Self::CargoDeny => {
                let bin = toolchain::cargo_home().join("bin");
                let arguments = cargo_deny::install_arguments().join(" ");
                write!(f, "cargo {arguments} (into {}; takes one or two minutes)", bin.display())
            }
        }
    }
}

/// The steps that are necessary, in order; none if nothing is missing. The error says what `setup`
/// cannot install and how the user can.
pub(super) fn plan(inventory: &Inventory) -> Result<Vec<Step>, String> {
    let mut packages = tool_packages(inventory)?;
    let mut steps = Vec::new();
    if let Some(bpf) = &inventory.bpf {
        bpf_steps(bpf, inventory, &mut packages, &mut steps)?;
    }
    if inventory.lacks_axe_core {
        steps.push(Step::AxeCore);
    }
    if inventory.lacks_cargo_deny {
        steps.push(Step::CargoDeny);
    }
    if let (false, Some(manager)) = (packages.is_empty(), inventory.manager) {
        if !inventory.may_install {
            return Err(format!(
                "these packages are missing, and only root may install them: {}. Run this again as root, \
                 install sudo, or install the packages yourself",
                packages.join(" ")
            ));
        }
        steps.insert(0, Step::Packages(manager, packages));
    }
    Ok(steps)
}

/// The packages for the programs that are missing.
fn tool_packages(inventory: &Inventory) -> Result<Vec<&'static str>, String> {
    let mut names = Vec::new();
    let mut unknown = Vec::new();
    for tool in &inventory.missing {
        match inventory.manager.and_then(|manager| tool.package(manager)) {
            // Two programs may share a package.
            Some(name) if names.contains(&name) => {}
            Some(name) => names.push(name),
            None => unknown.push(format!("{} (Debian's package {})", tool.program, tool.usual_package())),
        }
    }
    if unknown.is_empty() {
        return Ok(names);
    }
    Err(format!(
        "these programs are missing, and tmap does not know which packages of this system have them: {}. \
         Install them and run this again",
        unknown.join(", ")
    ))
}

/// The steps that install a compiler and linker for the kernel program.
fn bpf_steps(
    bpf: &Bpf,
    inventory: &Inventory,
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
    } else if bpf.rustup_may_install {
        steps.push(Step::Nightly);
        None
    } else if inventory.manager == Some(Manager::Apt) && bpf.packages_may_help {
        packages.extend(DEBIAN_RUST);
        steps.push(Step::Link(bpf.rustup));
        None
    } else {
        return Err(no_toolchain(bpf));
    };
    match &bpf.linker {
        // An untested linker is tested when the compiler is installed; then a new plan is made.
        Linker::Works | Linker::Untested => {}
        Linker::Unfit(why) => steps.push(Step::BpfLinker(llvm, Some(why.clone()))),
        Linker::Missing => steps.push(Step::BpfLinker(llvm, None)),
    }
    Ok(())
}

/// Refuses a toolchain of the user's choice that cannot compile the kernel program. We never change it.
fn check_choice(name: &str, rustc: Option<Rustc>) -> Result<(), String> {
    let why = match rustc {
        None => {
            "it is not installed or does not start; `rustup toolchain list` shows what is installed".into()
        }
        Some(rustc) => match rustc.unfit() {
            Some(why) => why,
            None if rustc.source => return Ok(()),
            None => format!(
                "it has no source of `core`; install it: `rustup component add rust-src --toolchain {name}`"
            ),
        },
    };
    Err(format!("TMAP_BPF_TOOLCHAIN names {name}, which cannot be used: {why}. Unset it to let tmap choose"))
}

/// The error if no way to a compiler is left: what was found, and every way to install one.
fn no_toolchain(bpf: &Bpf) -> String {
    let mut text = String::from("there is no compiler for tmap's kernel program.");
    let found = bpf.nightlies.iter().map(|(name, rustc)| (name.as_str(), *rustc));
    for (name, rustc) in found.chain(bpf.system.map(|rustc| ("the system's rustc", rustc))) {
        let why = rustc.unfit().unwrap_or_else(|| "the source of `core` is missing".into());
        text += &format!("\n  {name}: {why}");
    }
    text += &format!(
        "\nInstall one of these and run this again:\n  \
         rustup toolchain install {NIGHTLY} --profile minimal --component rust-src\n  \
         on Debian: apt-get install {}\n  \
         any other rustup toolchain with rust-src and LLVM {} to {}, named in TMAP_BPF_TOOLCHAIN",
        DEBIAN_RUST.join(" "),
        LLVM_MAJORS.start(),
        LLVM_MAJORS.end()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::packages::Group;
    use super::*;

    const DEBIAN: Rustc = Rustc { version: (1, 96), llvm: 22, source: true };
    const NEW_NIGHTLY: Rustc = Rustc { version: (1, 101), llvm: 23, source: true };

    /// Debian with rustup's stable toolchain, which may not install others.
    fn fresh() -> Inventory {
        let bpf = Bpf {
            chosen: None,
            rustup: true,
            rustup_may_install: false,
            packages_may_help: true,
            nightlies: Vec::new(),
            system: None,
            linked: false,
            linker: Linker::Missing,
        };
        let missing = Group::Netns.tools().to_vec();
        let (manager, bpf) = (Some(Manager::Apt), Some(bpf));
        Inventory { missing, manager, may_install: true, bpf, lacks_axe_core: false, lacks_cargo_deny: false }
    }

    fn with_bpf(change: impl FnOnce(&mut Bpf)) -> Inventory {
        let mut inventory = Inventory { missing: Vec::new(), ..fresh() };
        change(inventory.bpf.as_mut().unwrap());
        inventory
    }

    #[test]
    fn a_fresh_debian_gets_one_install_command_then_links_then_the_linker() {
        let packages = vec!["iproute2", "nftables", "rustc-web", "rust-web-src"];
        let expected =
            [Step::Packages(Manager::Apt, packages), Step::Link(true), Step::BpfLinker(None, None)];
        assert_eq!(plan(&fresh()).unwrap(), expected);
    }

    #[test]
    fn a_complete_computer_needs_nothing() {
        let inventory = with_bpf(|bpf| {
            bpf.system = Some(DEBIAN);
            bpf.linked = true;
            bpf.linker = Linker::Works;
        });
        assert_eq!(plan(&inventory).unwrap(), []);
    }

    #[test]
    fn rustup_is_preferred_if_it_may_install() {
        let inventory = with_bpf(|bpf| bpf.rustup_may_install = true);
        assert_eq!(plan(&inventory).unwrap(), [Step::Nightly, Step::BpfLinker(None, None)]);
    }

    #[test]
    fn an_installed_compiler_is_preferred_to_a_new_one() {
        let inventory = with_bpf(|bpf| {
            bpf.rustup_may_install = true;
            bpf.system = Some(DEBIAN);
        });
        assert_eq!(plan(&inventory).unwrap(), [Step::Link(true), Step::BpfLinker(Some(22), None)]);
    }

    #[test]
    fn a_nightly_that_the_linker_cannot_read_is_ignored() {
        let inventory = with_bpf(|bpf| bpf.nightlies = vec![("nightly".into(), NEW_NIGHTLY)]);
        let steps = plan(&inventory).unwrap();
        assert_eq!(steps[0], Step::Packages(Manager::Apt, DEBIAN_RUST.to_vec()));
    }

    #[test]
    fn a_nightly_that_it_can_read_is_used() {
        let inventory = with_bpf(|bpf| {
            bpf.nightlies = vec![("nightly".into(), Rustc { llvm: 22, ..NEW_NIGHTLY })];
            bpf.linker = Linker::Works;
        });
        assert_eq!(plan(&inventory).unwrap(), []);
    }

    #[test]
    fn a_linker_that_fails_is_replaced_and_the_plan_says_why() {
        let inventory = with_bpf(|bpf| {
            bpf.system = Some(DEBIAN);
            bpf.linked = true;
            bpf.linker = Linker::Unfit("Unknown attribute kind".into());
        });
        let steps = plan(&inventory).unwrap();
        assert_eq!(steps.len(), 1);
        assert!(steps[0].to_string().contains("Unknown attribute kind"), "{}", steps[0]);
    }

    #[test]
    fn a_rustc_from_an_old_list_of_packages_is_upgraded() {
        let inventory = with_bpf(|bpf| bpf.system = Some(Rustc { version: (1, 85), llvm: 19, source: true }));
        let steps = plan(&inventory).unwrap();
        assert_eq!(steps[0], Step::Packages(Manager::Apt, DEBIAN_RUST.to_vec()));
    }

    #[test]
    fn a_debian_with_a_newer_rustc_gets_a_clear_error() {
        let inventory = with_bpf(|bpf| {
            bpf.packages_may_help = false;
            bpf.system = Some(Rustc { llvm: 23, ..DEBIAN });
        });
        let error = plan(&inventory).unwrap_err();
        assert!(error.contains("uses LLVM 23") && error.contains("TMAP_BPF_TOOLCHAIN"), "{error}");
    }

    #[test]
    fn without_a_compiler_the_error_names_every_way_to_one() {
        let inventory = Inventory { manager: None, ..with_bpf(|_| ()) };
        let error = plan(&inventory).unwrap_err();
        for way in [NIGHTLY, "rustc-web", "TMAP_BPF_TOOLCHAIN"] {
            assert!(error.contains(way), "{error}");
        }
    }

    #[test]
    fn a_choice_that_is_unfit_is_an_error_and_never_changed() {
        let error = |rustc| plan(&with_bpf(|bpf| bpf.chosen = Some(("mine".into(), rustc)))).unwrap_err();
        assert!(error(None).contains("rustup toolchain list"));
        assert!(error(Some(Rustc { source: false, ..DEBIAN })).contains("rust-src --toolchain mine"));
        assert!(error(Some(NEW_NIGHTLY)).contains("LLVM 23"));
    }

    #[test]
    fn without_rustup_the_systems_compiler_is_used() {
        let inventory = with_bpf(|bpf| {
            bpf.rustup = false;
            bpf.system = Some(DEBIAN);
        });
        assert_eq!(plan(&inventory).unwrap()[0], Step::Link(false));
    }

    #[test]
    fn cargo_deny_is_installed_last_and_the_plan_names_its_version() {
        let steps = plan(&Inventory { lacks_cargo_deny: true, ..fresh() }).unwrap();
        assert_eq!(steps.last(), Some(&Step::CargoDeny));
        let text = Step::CargoDeny.to_string();
        assert!(text.contains(&format!("cargo-deny@{}", cargo_deny::VERSION)), "{text}");
    }

    #[test]
    fn a_browser_brings_its_driver_and_its_judge() {
        let inventory = Inventory {
            missing: Group::Browser.tools().to_vec(),
            bpf: None,
            lacks_axe_core: true,
            ..fresh()
        };
        let packages = vec!["chromium", "chromium-driver", "npm"];
        assert_eq!(plan(&inventory).unwrap(), [Step::Packages(Manager::Apt, packages), Step::AxeCore]);
        let text = Step::AxeCore.to_string();
        assert!(text.contains(&format!("axe-core@{}", axe_core::VERSION)), "{text}");
    }

    #[test]
    fn without_root_and_sudo_the_error_lists_the_packages() {
        let error = plan(&Inventory { may_install: false, ..fresh() }).unwrap_err();
        assert!(error.contains("nftables") && error.contains("as root"), "{error}");
    }

    #[test]
    fn other_distributions_get_their_own_names_or_an_error_that_names_the_program() {
        let on = |manager, missing: &[_]| {
            let (missing, manager) = (missing.to_vec(), Some(manager));
            plan(&Inventory { missing, manager, bpf: None, ..fresh() })
        };
        let fedora = on(Manager::Dnf, Group::Netns.tools()).unwrap();
        assert_eq!(fedora, [Step::Packages(Manager::Dnf, vec!["iproute", "nftables"])]);
        let error = on(Manager::Pacman, Group::Lab.tools()).unwrap_err();
        assert!(error.contains("qemu-system-x86_64"), "{error}");
    }
}
