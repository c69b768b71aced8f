//! `cargo xtask test`: every test, each with the rights that it needs.
//!
//! Cargo itself never runs as root. It starts each test program through a runner, which is this
//! program again: the one named `kernel` is started as root, and its tests run one at a time.
//!
//! Tests that need root or another program are ignored by a plain `cargo test`; here they run. What
//! this machine can't run is left out by name, and listed with its reason in the end.

use crate::setup::{self, Group};
use crate::{build, shell};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest kernel that tmap supports: (major, minor).
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// The test program that needs root.
const KERNEL: &str = "kernel";

/// Types of network device that a kernel may lack, and the module that needs each.
const DEVICES: [(&str, &str); 7] = [
    ("vxlan", "tunnels::vxlan::"),
    ("geneve", "tunnels::geneve::"),
    ("gre", "tunnels::gre::"),
    ("gretap", "tunnels::gretap::"),
    ("ipip", "tunnels::ipip::"),
    ("sit", "tunnels::sit::"),
    ("bond", "interfaces::bond::"),
];

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail where tests are left out for want of a program, as CI must.
    #[arg(long)]
    complete: bool,
    /// Arguments for `cargo test` (or `cargo nextest run`, where that is installed), after `--`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// What cargo hands to a runner.
#[derive(clap::Args)]
pub(crate) struct RunnerArgs {
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    check_kernel()?;
    let toolchain = setup::ensure(&[Group::Bpf, Group::Netns, Group::Test, Group::Browser])?
        .context("set-up found no compiler for the kernel program")?;
    ask_for_root()?;
    let left_out = left_out()?;
    let started = std::time::Instant::now();
    let nextest = shell::output(Command::new("cargo").args(["nextest", "--version"])).is_some();
    let mut tally = Tally::default();
    let mut runs = vec![if nextest { &["nextest", "run"][..] } else { &["test"] }];
    if nextest && args.cargo.is_empty() {
        // nextest doesn't run the examples in the documentation.
        runs.push(&["test", "--doc"]);
    }
    for words in runs {
        let mut command = build::cargo(&toolchain)?;
        command.args(words).arg("--no-fail-fast").arg("--target-dir").arg(build::target_folder()?);
        command.args(selection(&args.cargo)).args(with_ignored(&args.cargo, &left_out));
        command.env(runner_variable()?, runner_command()?);
        tally.count(&mut command, &mut std::io::stdout())?;
    }
    println!("\ntmap's tests, in {:.0} s:", started.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} not run", tally.passed, tally.failed, tally.not_run);
    for LeftOut { tests, why, .. } in &left_out {
        println!("  not run: {tests}*, because {why}");
    }
    if let Some(LeftOut { tests, .. }) = left_out.iter().find(|part| args.complete && part.lacks_program) {
        bail!("{tests}* were not run, and --complete wants every test that a program can make possible");
    }
    match (tally.all_well, tally.passed + tally.failed) {
        (true, 0) => bail!("no test was run: check the arguments after `--`"),
        (true, _) => Ok(()),
        (false, 0) => bail!("no test was run: the messages above say why"),
        (false, _) => bail!("the tests did not all pass; the messages above say which and why"),
    }
}

/// The packages to test: all that run on the host, unless the user names some.
fn selection(args: &[String]) -> &'static [&'static str] {
    let named = |arg: &String| arg == "-p" || arg.starts_with("--package") || arg.starts_with("-p=");
    let own = args.iter().take_while(|arg| *arg != "--").any(named);
    if own { &[] } else { &["--workspace", "--exclude", "tmap-ebpf", "--exclude", "tmap-ebpf-bench"] }
}

/// Tests that this machine can't run.
struct LeftOut {
    /// How their names begin.
    tests: String,
    why: String,
    /// Whether it is a program that is missing, not a part of the kernel.
    lacks_program: bool,
}

/// Finds out what this machine can't run. Other programs than these `setup` has installed by now.
fn left_out() -> Result<Vec<LeftOut>> {
    let mut left_out = Vec::new();
    // Not every distribution has p0f.
    if let Err(error) = setup::ensure(&[Group::Peers]) {
        let why = format!("p0f can't be had: {error:#}");
        left_out.push(LeftOut { tests: "p0f::".to_owned(), why, lacks_program: true });
    }
    for (device, tests) in DEVICES {
        if !has_device(device)? {
            let why = format!("this kernel has no network device of type {device}");
            left_out.push(LeftOut { tests: tests.to_owned(), why, lacks_program: false });
        }
    }
    Ok(left_out)
}

/// Whether the kernel has a type of network device: tries it in a namespace that is gone at once.
fn has_device(kind: &str) -> Result<bool> {
    let mut command = shell::as_root("unshare")?;
    command.args(["--net", "ip", "link", "add", "tmapprobe", "type", kind]).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("could not start {}", shell::show(&command)))?;
    // Most types want more words than these; a type that isn't there is refused before that.
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(!said.contains("Unknown device type") && !said.contains("not supported"))
}

/// The user's arguments, with those that include the ignored tests and leave out what can't be run.
fn with_ignored(args: &[String], left_out: &[LeftOut]) -> Vec<String> {
    let mut all = args.to_vec();
    if !all.iter().any(|arg| arg == "--") {
        all.push("--".to_owned());
    }
    if !all.iter().any(|arg| arg == "--ignored" || arg == "--include-ignored") {
        all.push("--include-ignored".to_owned());
    }
    all.extend(left_out.iter().flat_map(|part| ["--skip".to_owned(), part.tests.clone()]));
    all
}

/// Starts a test program in place of this one. Kernel tests run as root, one at a time: they share
/// the kernel and the processors.
pub(crate) fn runner(args: &RunnerArgs) -> Result<()> {
    let kernel = is_kernel_test(&args.program);
    let mut command = if kernel { shell::as_root(&args.program)? } else { Command::new(&args.program) };
    command.args(&args.args);
    if kernel && !args.args.iter().any(|arg| arg.starts_with("--test-threads")) {
        command.arg("--test-threads=1");
    }
    let error = command.exec();
    Err(error).with_context(|| format!("could not start {}", shell::show(&command)))
}

/// True if the program is the test target [`KERNEL`]: cargo adds `-HASH` to the name.
fn is_kernel_test(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-').is_some_and(|(target, _)| target == KERNEL)
}

/// The variable by which cargo is told how to start test programs on this host.
fn runner_variable() -> Result<String> {
    let text = shell::output(Command::new("rustc").arg("-vV")).context("rustc does not start")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}

/// This program as a runner. Cargo splits the value at spaces, so a path with one is refused.
fn runner_command() -> Result<String> {
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    if own.contains(' ') {
        bail!(
            "the path {own} has a space in it, which cargo can't handle here: set CARGO_TARGET_DIR to one \
             without"
        );
    }
    Ok(format!("{own} test-runner --"))
}

/// Asks for the password once and early, not in the middle of a test.
fn ask_for_root() -> Result<()> {
    if shell::is_root() {
        return Ok(());
    }
    eprintln!("Kernel tests run as root, so sudo may ask for your password.");
    shell::run(&mut shell::as_root("true")?)
}

/// Refuses a kernel on which the kernel tests could only fail.
fn check_kernel() -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // This file is there exactly if the kernel has the bpf system call.
    let has_bpf = Path::new("/proc/sys/kernel/unprivileged_bpf_disabled").exists();
    kernel_verdict(release.trim(), has_bpf)
}

fn kernel_verdict(release: &str, has_bpf: bool) -> Result<()> {
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        bail!("this kernel ({release}) is too old: tmap needs Linux {major}.{minor} or later");
    }
    if !has_bpf {
        bail!(
            "this kernel ({release}) has no BPF: use one built with CONFIG_BPF_SYSCALL=y, as distributions' \
             are"
        );
    }
    Ok(())
}

/// What the test programs said of themselves.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    not_run: u64,
    all_well: bool,
}

impl Tally {
    /// Runs a command, shows its output and adds up its counts.
    fn count(&mut self, command: &mut Command, shown: &mut impl Write) -> Result<()> {
        let first = self.passed + self.failed + self.not_run == 0;
        let summary = Summary::of(command);
        // nextest sums up on standard error, the test harness on standard output: read both.
        let (reader, writer) = std::io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer).stdin(Stdio::null());
        let mut child =
            command.spawn().with_context(|| format!("could not start {}", shell::show(command)))?;
        // The command holds the writing ends; the pipe ends only when they are gone.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut lines = BufReader::new(reader);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            shown.write_all(&line)?;
            self.read(&String::from_utf8_lossy(&line), summary);
            line.clear();
        }
        let well = child.wait()?.success();
        self.all_well = well && (first || self.all_well);
        Ok(())
    }

    /// Adds a line's counts, if it is a summary of this kind.
    fn read(&mut self, line: &str, summary: Summary) {
        let line = line.trim();
        if !summary.is(line) {
            return;
        }
        let words: Vec<&str> = line.split([' ', ';', ',', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" | "skipped" | "filtered" => self.not_run += number,
                _ => {}
            }
        }
    }
}

/// Whose summary counts. nextest shows the output of each test that failed, and with it a summary of
/// the harness: to read both would count a failure twice.
#[derive(Clone, Copy)]
enum Summary {
    Harness,
    Nextest,
}

impl Summary {
    fn of(command: &Command) -> Self {
        if command.get_args().next().is_some_and(|word| word == "nextest") {
            Self::Nextest
        } else {
            Self::Harness
        }
    }

    fn is(self, line: &str) -> bool {
        match self {
            Self::Harness => line.starts_with("test result: "),
            Self::Nextest => line.starts_with("Summary [") && line.contains(" run: "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_both_kinds_of_summary() {
        let harness = [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            "test a_test_that_says_9 passed ... ok",
        ];
        let nextest = [
            "  test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 45 filtered out",
            "     Summary [   0.052s] 7 tests run: 5 passed, 2 failed, 4 skipped",
        ];
        let mut tally = Tally::default();
        harness.into_iter().for_each(|line| tally.read(line, Summary::Harness));
        nextest.into_iter().for_each(|line| tally.read(line, Summary::Nextest));
        assert_eq!((tally.passed, tally.failed, tally.not_run), (19, 3, 8));
    }

    #[test]
    fn a_failing_command_is_remembered_after_a_good_one() {
        let mut tally = Tally::default();
        let say = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; exit ";
        for code in ["0", "1", "0"] {
            let mut shown = Vec::new();
            tally.count(Command::new("sh").arg("-c").arg(format!("{say}{code}")), &mut shown).unwrap();
            assert!(shown.starts_with(b"test result: ok"));
        }
        assert_eq!((tally.passed, tally.all_well), (3, false));
    }

    #[test]
    fn old_and_bare_kernels_are_refused() {
        assert!(kernel_verdict("6.1.0-44-amd64", true).is_ok());
        assert!(kernel_verdict("6.18.3", true).is_ok());
        assert!(kernel_verdict("5.15.0", true).unwrap_err().to_string().contains("too old"));
        assert!(kernel_verdict("6.12.1", false).unwrap_err().to_string().contains("CONFIG_BPF_SYSCALL"));
    }

    #[test]
    fn kernel_tests_are_known_by_name() {
        assert!(is_kernel_test(Path::new("/t/debug/deps/kernel-0123")));
        assert!(!is_kernel_test(Path::new("/t/kernel-1/deps/engine-0123")));
        assert!(!is_kernel_test(Path::new("/t/debug/deps/kernel_tools-0123")));
    }

    #[test]
    fn ignored_tests_are_included_and_those_left_out_are_named() {
        let p0f = LeftOut { tests: "p0f::".to_owned(), why: String::new(), lacks_program: true };
        let of = |line: &str, left_out: &[LeftOut]| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            with_ignored(&words, left_out).join(" ")
        };
        assert_eq!(of("", &[]), "-- --include-ignored");
        assert_eq!(of("--test cli live -- --exact", &[]), "--test cli live -- --exact --include-ignored");
        assert_eq!(of("-- --ignored", &[p0f]), "-- --ignored --skip p0f::");
    }

    #[test]
    fn named_packages_replace_the_whole_workspace() {
        let of = |line: &str| selection(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_empty();
        assert!(of("-p tmap") && of("--package=tmap x"));
        assert!(!of("engine") && !of("-- -p"));
    }
}
