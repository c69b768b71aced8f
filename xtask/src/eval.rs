//! `cargo xtask eval`: the engine's results beside the truth, in one table.

use anyhow::{Context, Result};

use crate::setup::{self, Group};
use crate::{build, shell};

/// Arguments of `cargo xtask eval`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for the evaluation: --seeds N, --only NAME, --lab FOLDER, --clients FOLDER,
    /// --no-captures, --peers, --segments, --field, --short, --lengths, --from N, --readers FOLDER,
    /// --offsets FOLDER, --truth FOLDER.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let mut groups = vec![Group::Bpf];
    let has = |name: &str| args.arguments.iter().any(|argument| argument.split('=').next() == Some(name));
    if has("--peers") || has("--readers") {
        groups.push(Group::Peers);
    }
    if has("--readers") {
        groups.push(Group::Test);
    }
    let toolchain = setup::ensure(&groups)?.context("setup found no compiler for the kernel program")?;
    let mut command = build::cargo(&toolchain)?;
    command.args(["run", "--quiet", "--release", "--package", "tmap-tests", "--bin", "eval", "--target-dir"]);
    command.arg(build::target_folder()?).arg("--").args(&args.arguments);
    shell::run(&mut command).context("the evaluation failed")
}
