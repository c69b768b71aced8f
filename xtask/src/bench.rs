//! `cargo xtask bench`: what tmap costs, measured on this machine.

use crate::packages::Group;
use crate::{build, setup, shell};
use anyhow::{Context, Result};
use std::process::Command;

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Handed to the benchmarks: names of them, --rounds N, --quick, --json; --list tells the names.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the verb. Benchmarks of the kernel take root, so all run with it; cargo doesn't.
pub fn verb(args: &Args) -> Result<()> {
    let toolchain = setup::ensure(&[Group::Bpf, Group::Netns])?
        .context("set-up found no compiler for the kernel program")?;
    // The program itself as well: some benchmarks run it.
    let mut command = build::cargo(&toolchain)?;
    command.args(["build", "--quiet", "--release", "--package", "tmap", "--package", "tmap-tests"]);
    command.args(["--bin", "tmap", "--bin", "bench", "--target-dir"]).arg(build::target_folder()?);
    shell::run(&mut command).context("the benchmarks could not be built")?;
    if compares_with_others(&args.arguments)
        && let Err(error) = peers()
    {
        eprintln!("huginn-net can't be built, so it is left out: {error:#}");
    }
    let mut command = shell::as_root(build::target_folder()?.join("release/bench"))?;
    shell::run(command.args(&args.arguments)).context("a benchmark failed")
}

/// Whether one of the benchmarks asked for (all, where none is named) runs other programs on a veth.
fn compares_with_others(arguments: &[String]) -> bool {
    let named = |names: &[&str]| arguments.iter().any(|argument| names.contains(&argument.as_str()));
    let alone = ["kernel", "steps", "ring", "live", "engine", "file", "scale", "--list", "--help"];
    named(&["versus", "sweep"]) || !named(&alone)
}

/// Builds huginn-net's TCP half, which has no program of its own, from its crate: a project outside of
/// tmap's, so that nothing of tmap depends on it.
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
