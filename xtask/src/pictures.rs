//! `cargo xtask pictures`: the pictures and the examples of output in documents, made anew.

use anyhow::{Context, Result};

use crate::setup::{self, Group};
use crate::{build, shell};

/// Arguments of `cargo xtask pictures`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn verb(_args: &Args) -> Result<()> {
    let toolchain =
        setup::ensure(&[Group::Bpf])?.context("setup found no compiler for the kernel program")?;
    let mut command = build::cargo(&toolchain)?;
    command.args(["build", "--quiet", "--package", "tmap-tests", "--bin", "pictures"]);
    command.args(["--bin", "tmap-under-test", "--target-dir"]);
    command.arg(build::target_folder()?);
    shell::run(&mut command).context("the program that makes the pictures could not be built")?;
    let program = build::target_folder()?.join("debug/pictures");
    shell::run(&mut std::process::Command::new(program)).context("the pictures could not be made")
}
