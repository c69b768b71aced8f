//! `cargo xtask bench`: what tmap costs, measured on this machine.

use crate::packages::Group;
use crate::{build, setup, shell};
use anyhow::{Context, Result};

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
    let mut command = shell::as_root(build::target_folder()?.join("release/bench"))?;
    shell::run(command.args(&args.arguments)).context("a benchmark failed")
}
