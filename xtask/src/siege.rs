//! `cargo xtask siege`: a sensor on a real interface under attack, and which promises it kept.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::duration::duration;
use crate::setup::{self, Group};
use crate::{build, shell};

/// Arguments of `cargo xtask siege`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the siege lasts: a number with s, min or h. ^C ends it earlier.
    #[arg(long, default_value = "30min", value_parser = duration)]
    time: Duration,
    /// The sensor's bound of memory: a number with M or G.
    #[arg(long, default_value = "512M", value_parser = mebibytes)]
    memory: u64,
    /// The sensor's hook: auto, native, generic or tc.
    #[arg(long, default_value = "auto", value_name = "MODE")]
    xdp_mode: String,
    /// Frames of the flood in a second [default: as many as one thread can].
    #[arg(long, value_name = "N")]
    flood: Option<u32>,
    /// Where to draw memory, waits and the count against time, as SVG.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// A size in MiB.
fn mebibytes(text: &str) -> Result<u64, String> {
    let (digits, mebibytes) = match text.strip_suffix('G') {
        Some(digits) => (digits, 1_024),
        None => (text.strip_suffix('M').unwrap_or_default(), 1),
    };
    let size = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(mebibytes));
    size.filter(|size| *size > 0).ok_or_else(|| "expected a number with M or G, such as 512M".to_owned())
}

/// Runs the verb. The siege makes network namespaces, so it runs as root; cargo does not.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let toolchain = setup::ensure(&[Group::Bpf, Group::Netns])?
        .context("setup found no compiler for the kernel program")?;
    let mut command = build::cargo(&toolchain)?;
    command.args(["build", "--quiet", "--release", "--package", "tmap", "--package", "tmap-tests"]);
    command.args(["--bin", "tmap", "--bin", "siege", "--target-dir"]).arg(build::target_folder()?);
    shell::run(&mut command).context("the siege could not be built")?;
    let mut command = shell::as_root(build::target_folder()?.join("release/siege"))?;
    command.args(["--seconds".to_owned(), args.time.as_secs().to_string()]);
    command.args(["--mebibytes".to_owned(), args.memory.to_string()]);
    command.args(["--xdp-mode", &args.xdp_mode]);
    if let Some(rate) = args.flood {
        command.args(["--flood".to_owned(), rate.to_string()]);
    }
    if let Some(path) = &args.picture {
        command.arg("--picture").arg(path);
    }
    // As a child of this process, it would share ^C with it, and be left alone to clean up.
    shell::replace_with(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!([mebibytes("512M"), mebibytes("2G")], [Ok(512), Ok(2_048)]);
        assert!(
            ["", "M", "0M", "512", "1T", "99999999999999999999G"].iter().all(|text| mebibytes(text).is_err())
        );
    }
}
