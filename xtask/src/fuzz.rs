//! `cargo xtask fuzz`: libFuzzer looks for inputs that break what must hold of any input.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::duration::duration;
use crate::setup::{self, Group, Toolchain};
use crate::{build, shell};

/// The targets: those of `tmap_tests::fuzz`.
const TARGETS: [&str; 5] = ["capture", "filter", "frame", "records", "signatures"];

/// What makes the compiler count which code an input reaches, as libFuzzer wants it. These are what a
/// nightly's `-Z sanitizer` options stand for; a stable compiler takes them, too.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The longest input, in bytes.
const MAX_BYTES: usize = 4096;

/// An input that takes longer than this, in seconds, or more memory than that, in MiB, is a fault.
const MAX_S: u64 = 30;
const MAX_MIB: u64 = 2048;

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The targets [default: all].
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    targets: Vec<String>,
    /// How long each target runs: a number with s, min or h.
    #[arg(long, default_value = "60s", value_parser = duration)]
    time: Duration,
}

/// Runs the verb. What was found stays in the target folder, so that the next run goes on from there.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let toolchain =
        setup::ensure(&[Group::Bpf])?.context("setup found no compiler for the kernel program")?;
    let folder = build::target_folder()?.join("fuzz");
    let host = host()?;
    build(&toolchain, &host, &folder)?;
    let mut broken = Vec::new();
    for target in TARGETS.iter().filter(|target| is_wanted(&args.targets, target)) {
        let program = folder.join(&host).join("fuzz").join(format!("fuzz-{target}"));
        let found = folder.join("found").join(target);
        if let Err(error) = run(&program, target, &folder.join("corpus").join(target), &found, args.time) {
            eprintln!("{error:#}");
            broken.push(format!("{target}: {} {}", program.display(), found.display()));
        }
    }
    if !broken.is_empty() {
        bail!(
            "inputs were found that break a target; run its program with a file of the folder behind it to \
             see one again:\n  {}",
            broken.join("\n  ")
        );
    }
    Ok(())
}

fn is_wanted(targets: &[String], target: &str) -> bool {
    targets.is_empty() || targets.iter().any(|wanted| wanted == target)
}

/// The host's triple. With it named, cargo gives the flags to what runs, and not to build scripts.
fn host() -> Result<String> {
    let text = shell::output(Command::new("rustc").arg("-vV")).context("rustc does not start")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// Builds the programs of all targets. The flags are told as configuration: in the environment, the build of
/// the kernel program would see them as well.
fn build(toolchain: &Toolchain, host: &str, folder: &Path) -> Result<()> {
    let flags = COVERAGE.map(|flag| format!("\"{flag}\"")).join(", ");
    let mut command = build::cargo(toolchain)?;
    command.args(["build", "--quiet", "--locked", "--package", "tmap-fuzz", "--features", "libfuzzer"]);
    command.args(["--profile", "fuzz", "--target", host, "--target-dir"]).arg(folder);
    command.arg("--config").arg(format!("target.{host}.rustflags=[{flags}]"));
    shell::run(&mut command).context("the targets could not be built")
}

/// Runs a target for some time; an error is an input that breaks it.
fn run(program: &Path, target: &str, corpus: &Path, found: &Path, time: Duration) -> Result<()> {
    eprintln!("\n{target}, for {} s:", time.as_secs());
    std::fs::create_dir_all(corpus)?;
    std::fs::create_dir_all(found)?;
    let mut command = Command::new(program);
    command.arg(corpus).arg(format!("-max_total_time={}", time.as_secs()));
    command.args([format!("-max_len={MAX_BYTES}"), format!("-timeout={MAX_S}")]);
    command.args([format!("-rss_limit_mb={MAX_MIB}"), "-print_final_stats=1".to_owned()]);
    command.arg(format!("-artifact_prefix={}/", found.display()));
    shell::run(command.env("TMAP_FUZZ_SEEDS", corpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_a_program() {
        for target in TARGETS {
            let path = format!("{}/../tests/fuzz/targets/{target}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).expect("the program's source");
            assert!(text.contains(&format!("fuzz::{target}::run")));
        }
    }
}
