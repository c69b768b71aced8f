//! `cargo xtask build`: the tmap program, with the kernel program inside it.

use crate::packages::Group;
use crate::toolchain::Toolchain;
use crate::{setup, shell};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How to build.
#[derive(clap::Args)]
pub struct Args {
    /// Build with optimisations, into target/release.
    #[arg(long)]
    release: bool,
}

/// Runs the verb.
pub fn verb(args: &Args) -> Result<()> {
    let binary = tmap(args.release)?;
    eprintln!("tmap is at {}", binary.display());
    Ok(())
}

/// Sets up what building needs, builds tmap and returns the path of the program.
pub fn tmap(release: bool) -> Result<PathBuf> {
    let toolchain =
        setup::ensure(&[Group::Bpf])?.context("set-up found no compiler for the kernel program")?;
    let mut command = cargo(&toolchain)?;
    command.args(["build", "--package", "tmap", "--bin", "tmap"]);
    if release {
        command.arg("--release");
    }
    command.arg("--target-dir").arg(target_folder()?);
    shell::run(&mut command).context("tmap could not be built; cargo's messages above say why")?;
    Ok(target_folder()?.join(if release { "release" } else { "debug" }).join("tmap"))
}

/// Cargo, in this repository, with the toolchain for the kernel program made known to tmap's
/// build script.
pub fn cargo(toolchain: &Toolchain) -> Result<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no repository")?;
    let mut command = Command::new("cargo");
    command.current_dir(root).envs(toolchain.environment());
    Ok(command)
}

/// The target folder, wherever the user has put it: cargo built this program into its `debug`.
pub fn target_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program can't find itself")?;
    let folder = own.ancestors().nth(2).context("this program lies in no target folder")?;
    Ok(folder.to_path_buf())
}
