//! `cargo xtask bench`: what tmap costs, measured on this machine.

use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Group};
use crate::{build, shell};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for the benchmarks: names, --rounds N, --quick, --json. `--list` prints the names.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the verb. Kernel benchmarks need root, so all benchmarks run as root; cargo does not.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let toolchain = setup::ensure(&[Group::Bpf, Group::Netns])?
        .context("setup found no compiler for the kernel program")?;
    // Some benchmarks run the tmap program, so it is built as well.
    let mut command = build::cargo(&toolchain)?;
    command.args(["build", "--quiet", "--release", "--package", "tmap", "--package", "tmap-tests"]);
    command.args(["--bin", "tmap", "--bin", "bench", "--target-dir"]).arg(build::target_folder()?);
    shell::run(&mut command).context("the benchmarks could not be built")?;
    if compares_with_others(&args.arguments)
        && let Err(error) = peers()
    {
        eprintln!("huginn-net cannot be built; the comparison runs without it: {error:#}");
    }
    let mut command = shell::as_root(build::target_folder()?.join("release/bench"))?;
    shell::run(command.args(&args.arguments)).context("a benchmark failed")
}

/// Whether one of the requested benchmarks compares tmap with other programs. No name requests all.
fn compares_with_others(arguments: &[String]) -> bool {
    let named = |names: &[&str]| arguments.iter().any(|argument| names.contains(&argument.as_str()));
    let alone = [
        "kernel",
        "steps",
        "ring",
        "live",
        "top",
        "engine",
        "file",
        "random",
        "addresses",
        "scale",
        "think",
        "curve",
        "--list",
        "--help",
    ];
    named(&["versus", "sweep"]) || !named(&alone)
}

/// Builds a small program around huginn-net's TCP crate, which has none of its own. It is a cargo project
/// outside of tmap's workspace, so that nothing of tmap depends on it.
fn peers() -> Result<()> {
    let folder = build::target_folder()?.join("peers/huginn");
    if folder.join("target/release/huginn").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::write(folder.join("Cargo.toml"), include_str!("peers/huginn.toml"))?;
    std::fs::write(folder.join("src/main.rs"), include_str!("peers/huginn.rs"))?;
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--release"]).current_dir(&folder);
    command.env("CARGO_TARGET_DIR", folder.join("target"));
    shell::run(&mut command)
}
