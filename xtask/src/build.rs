//! `cargo xtask build`: the tmap program, with the kernel program inside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Group, Toolchain};
use crate::shell;

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build with optimisations. The program goes to target/release instead of target/debug.
    #[arg(long)]
    release: bool,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let binary = tmap(args.release)?;
    eprintln!("tmap was built: {}", binary.display());
    Ok(())
}

/// Installs what a build needs, builds tmap and returns the path of the program.
pub(crate) fn tmap(release: bool) -> Result<PathBuf> {
    let toolchain =
        setup::ensure(&[Group::Bpf])?.context("setup found no compiler for the kernel program")?;
    let mut command = cargo(&toolchain)?;
    command.args(["build", "--package", "tmap", "--bin", "tmap"]);
    if release {
        command.arg("--release");
    }
    command.arg("--target-dir").arg(target_folder()?);
    shell::run(&mut command).context("tmap could not be built: see cargo's messages above")?;
    Ok(target_folder()?.join(if release { "release" } else { "debug" }).join("tmap"))
}

/// A cargo command in this repository. Its environment tells tmap's build script which toolchain
/// compiles the kernel program.
pub(crate) fn cargo(toolchain: &Toolchain) -> Result<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not inside a repository")?;
    let mut command = Command::new("cargo");
    command.current_dir(root).envs(toolchain.environment());
    Ok(command)
}

/// The target folder, wherever the user put it: cargo built this program into its `debug` folder.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program cannot find its own path")?;
    let folder = own.ancestors().nth(2).context("this program is not inside a target folder")?;
    Ok(folder.to_path_buf())
}
