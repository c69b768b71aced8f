//! `cargo xtask setup`: says what is missing, installs it, and checks that it works.

use crate::machine::{Asked, Machine};
use crate::packages::{Group, Manager};
use crate::plan::{Step, plan};
use crate::shell;
use crate::toolchain::{self, BPF_LINKER, NIGHTLY, Rustc, Toolchain};
use anyhow::{Context, Result, anyhow, bail};
use std::process::Command;

/// What to set up.
#[derive(clap::Args)]
pub struct Args {
    /// Only these groups (default: bpf, netns and test).
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the environment for plain cargo commands: eval "$(cargo xtask setup --shell)".
    #[arg(long, conflicts_with = "dry_run")]
    shell: bool,
}

/// Runs the verb.
pub fn verb(args: &Args) -> Result<()> {
    let default = [Group::Bpf, Group::Netns, Group::Test];
    let groups = if args.groups.is_empty() { &default[..] } else { &args.groups };
    if args.dry_run {
        let steps = plan(&Machine::look(groups, Asked::default())).map_err(|error| anyhow!(error))?;
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
            eprintln!("Ready. The kernel program is compiled by rustup's toolchain {name}.");
        }
        (Some(Toolchain::System), false) => {
            eprintln!("Ready. The kernel program is compiled by the system's rustc.");
        }
        (None, _) => eprintln!("Ready."),
    }
    Ok(())
}

/// Makes sure that these groups are there, and says nothing if they are. Returns the compiler for
/// the kernel program, if `Group::Bpf` was asked for.
pub fn ensure(groups: &[Group]) -> Result<Option<Toolchain>> {
    let mut asked = Asked::default();
    let mut done: Option<Step> = None;
    let mut shown = false;
    loop {
        let machine = Machine::look(groups, asked);
        let steps = plan(&machine).map_err(|error| anyhow!(error))?;
        let Some(step) = steps.first() else {
            return Ok(machine.bpf.and_then(|bpf| bpf.ready()));
        };
        if done.as_ref() == Some(step) {
            bail!("this step was run and changed nothing: {step}");
        }
        if !shown {
            print_plan(&steps);
            shown = true;
        }
        eprintln!("\n==> {step}");
        if *step == Step::Nightly {
            asked.rustup = true;
            if let Err(why) = install_nightly() {
                eprintln!("rustup can't provide it ({why:#}). There may be another way.");
            }
            // Whatever came, what follows may differ from what was announced.
            shown = false;
        } else {
            asked.packages |= matches!(step, Step::Packages(..));
            execute(step).with_context(|| format!("setup stopped at: {step}"))?;
        }
        // One step at a time: what it brought decides what the next one is.
        done = Some(step.clone());
    }
}

fn print_plan(steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    let sudo = if shell::is_root() { "" } else { "sudo " };
    eprintln!("tmap needs some things that are missing here. These steps will be run:");
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
    }
}

/// Installs packages, from a fresh list: an old one offers a rustc that is too old, or none.
fn install_packages(manager: Manager, names: &[&str]) -> Result<()> {
    let command = |words: &[&str]| -> Result<Command> {
        let mut command = shell::as_root("env")?;
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(manager.program()).args(words);
        Ok(command)
    };
    if let Some(words) = manager.update_words()
        && let Err(error) = shell::run(&mut command(words)?)
    {
        // One broken source among several is common, and need not matter.
        eprintln!("{error:#}. Going on with the list that is there.");
    }
    shell::run(command(manager.install_words())?.args(names))
}

/// Has rustup fetch the nightly. The error is rustup's own line, without its stack trace.
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
    let machine = Machine::look(&[Group::Bpf], Asked::default());
    let ready = machine.bpf.and_then(|bpf| bpf.ready());
    let toolchain = ready.context("no compiler for the kernel program is ready")?;
    let rustc = Rustc::ask(|| toolchain.command("rustc")).context("the compiler does not start")?;
    if let Some(why) = rustc.unfit() {
        bail!("{why}");
    }
    let feature = format!("rust-llvm-{}", rustc.llvm);
    let version = format!("bpf-linker@{BPF_LINKER}");
    let mut command = Command::new("cargo");
    // Away from this repository, so that its target folder and configuration stay out of it.
    command.current_dir(std::env::temp_dir()).env_remove("CARGO_TARGET_DIR");
    command.args(["install", &version, "--no-default-features", "--features", &feature, "--locked"]);
    shell::run(&mut command)
}
