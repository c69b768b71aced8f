//! axe-core, which finds what keeps people from using a page. It is MPL-2.0, so it is installed and not kept
//! in this repository.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{build, shell};

/// The version that `setup` installs.
pub(super) const VERSION: &str = "4.14.1";

/// The folder that it is installed into: below target, where the tests find it.
pub(super) fn folder() -> Result<PathBuf> {
    Ok(build::target_folder()?.join("axe-core"))
}

/// Whether this version is installed.
pub(super) fn is_installed() -> bool {
    let script = folder().map(|folder| folder.join("node_modules/axe-core/axe.min.js"));
    let text = script.ok().and_then(|script| fs::read_to_string(script).ok());
    text.is_some_and(|text| text.starts_with(&format!("/*! axe v{VERSION}")))
}

/// The arguments with which npm installs it. It has no install scripts to run.
pub(super) fn install_arguments() -> [String; 6] {
    [
        "install".into(),
        format!("axe-core@{VERSION}"),
        "--no-save".into(),
        "--ignore-scripts".into(),
        "--no-audit".into(),
        "--no-fund".into(),
    ]
}

/// Lets npm install it.
pub(super) fn install() -> Result<()> {
    let folder = folder()?;
    fs::create_dir_all(&folder)?;
    shell::run_aside(Command::new("npm").args(install_arguments()).arg("--prefix").arg(folder))
}
