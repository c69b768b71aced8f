//! `cargo xtask setup`: prints what is missing, installs it, and checks that it works.

mod axe_core;
mod cargo_deny;
mod inventory;
mod packages;
mod plan;
mod toolchain;

use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

pub(crate) use self::packages::Group;
pub(crate) use self::toolchain::Toolchain;

use self::inventory::{Inventory, Tried};
use self::packages::Manager;
use self::plan::{Step, plan};
use self::toolchain::{BPF_LINKER, NIGHTLY, Rustc};
use crate::shell;

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The groups to install [default: bpf netns test browser deny].
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Print the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the environment for plain cargo commands: eval "$(cargo xtask setup --shell)".
    #[arg(long, conflicts_with = "dry_run")]
    shell: bool,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let groups = if args.groups.is_empty() { &Group::CI[..] } else { &args.groups };
    if args.dry_run {
        let steps = plan(&Inventory::take(groups, Tried::default())).map_err(|error| anyhow!(error))?;
        print_plan(&steps);
        if steps.is_empty() {
            eprintln!("Nothing is missing.");
        }
        return Ok(());
    }
    let toolchain = ensure(groups)?;
    match (&toolchain, args.shell) {
        (Some(toolchain), true) => print_environment(toolchain),
        (Some(Toolchain::Rustup(name)), false) => {
            eprintln!("Ready. rustup's toolchain {name} compiles the kernel program.");
        }
        (Some(Toolchain::System), false) => {
            eprintln!("Ready. The system's rustc compiles the kernel program.");
        }
        (None, _) => eprintln!("Ready."),
    }
    Ok(())
}

/// Installs what is missing of these groups; prints nothing if nothing is missing. Returns the
/// compiler for the kernel program if `Group::Bpf` was requested.
pub(crate) fn ensure(groups: &[Group]) -> Result<Option<Toolchain>> {
    let mut tried = Tried::default();
    let mut done: Option<Step> = None;
    let mut shown = false;
    loop {
        let inventory = Inventory::take(groups, tried);
        let steps = plan(&inventory).map_err(|error| anyhow!(error))?;
        let Some(step) = steps.first() else {
            return Ok(inventory.bpf.and_then(|bpf| bpf.ready()));
        };
        if done.as_ref() == Some(step) {
            bail!("this step succeeded but changed nothing: {step}");
        }
        if !shown {
            print_plan(&steps);
            shown = true;
        }
        eprintln!("\n==> {step}");
        if *step == Step::Nightly {
            tried.rustup = true;
            if let Err(why) = install_nightly() {
                eprintln!("rustup cannot install it ({why:#}). setup tries another way.");
            }
            // The next steps may differ from those that were printed.
            shown = false;
        } else {
            tried.packages |= matches!(step, Step::Packages(..));
            execute(step).with_context(|| format!("setup stopped at this step: {step}"))?;
        }
        // Only one step for each plan: the next step depends on the result of this one.
        done = Some(step.clone());
    }
}

fn print_plan(steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    let sudo = if shell::is_root() { "" } else { "sudo " };
    eprintln!("tmap needs some things that are not installed. setup will run these steps:");
    for (number, step) in steps.iter().enumerate() {
        let prefix = if matches!(step, Step::Packages(..)) { sudo } else { "" };
        eprintln!("  {}. {prefix}{step}", number + 1);
    }
}

fn print_environment(toolchain: &Toolchain) {
    for (name, value) in toolchain.environment() {
        println!("export {name}='{}'", value.to_string_lossy().replace('\'', r"'\''"));
    }
}

fn execute(step: &Step) -> Result<()> {
    match step {
        Step::Packages(manager, names) => install_packages(*manager, names),
        Step::Nightly => install_nightly(),
        Step::Link(with_rustup) => {
            let rustc = if *with_rustup { "/usr/bin/rustc" } else { "rustc" };
            let rustc = Rustc::ask(|| Command::new(rustc)).context("the system's rustc does not start")?;
            toolchain::link_system(rustc.llvm, *with_rustup)
        }
        Step::BpfLinker(..) => install_bpf_linker(),
        Step::AxeCore => axe_core::install(),
        Step::CargoDeny => cargo_install(&cargo_deny::install_arguments()),
    }
}

/// Installs packages. Updates the list of packages first: in an old list, rustc is too old or missing.
fn install_packages(manager: Manager, names: &[&str]) -> Result<()> {
    let command = |arguments: &[&str]| -> Result<Command> {
        let mut command = shell::as_root("env")?;
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(manager.program()).args(arguments);
        Ok(command)
    };
    if let Some(arguments) = manager.update_arguments()
        && let Err(error) = shell::run_aside(&mut command(arguments)?)
    {
        // Often only one of several sources is broken, and we may not need that one.
        eprintln!("{error:#}. setup continues with the old list of packages.");
    }
    shell::run_aside(command(manager.install_arguments())?.args(names))
}

/// Lets rustup install the nightly. The error is rustup's own message, without its stack trace.
fn install_nightly() -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    command.args(["--component", "rust-src", "--no-self-update"]).env("RUST_BACKTRACE", "0");
    let output = command.output().context("could not start rustup")?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with("error")).unwrap_or("it did not say why");
    bail!("{line}")
}

/// Builds bpf-linker for the LLVM of the toolchain that is ready by now.
fn install_bpf_linker() -> Result<()> {
    let inventory = Inventory::take(&[Group::Bpf], Tried::default());
    let ready = inventory.bpf.and_then(|bpf| bpf.ready());
    let toolchain = ready.context("no compiler for the kernel program is ready")?;
    let rustc = Rustc::ask(|| toolchain.command("rustc")).context("the compiler does not start")?;
    if let Some(why) = rustc.unfit() {
        bail!("{why}");
    }
    let feature = format!("rust-llvm-{}", rustc.llvm);
    let version = format!("bpf-linker@{BPF_LINKER}");
    cargo_install(&["install", &version, "--no-default-features", "--features", &feature, "--locked"])
}

/// Runs `cargo install` outside of this repository: its target folder and configuration do not apply.
fn cargo_install(arguments: &[impl AsRef<std::ffi::OsStr>]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(std::env::temp_dir()).env_remove("CARGO_TARGET_DIR").args(arguments);
    shell::run_aside(&mut command)
}
