//! Runs the `tmap` command as a user would.

use std::{
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The command, built from this workspace with the profile that the tests have.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // target/PROFILE/deps/this-test
        let test = std::env::current_exe().expect("a test knows itself");
        let profile = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "tmap", "--bin", "tmap"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.arg("--target-dir").arg(profile.parent().expect("a target directory"));
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(status.success(), "tmap doesn't build");
        profile.join("tmap")
    })
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub struct Run {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit code; 128 and more where a signal ended it.
    pub code: i32,
}

/// The command with these arguments, in a fixed time zone, not yet started.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env("TZ", "Europe/Warsaw").env_remove("RUST_BACKTRACE");
    command
}

/// Runs it to its end with nothing on standard input.
pub fn tmap<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    run(command(arguments).stdin(Stdio::null()).output().expect("tmap runs"))
}

/// Runs it to its end with `input` on standard input.
pub fn tmap_with_input<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, input: &[u8]) -> Run {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tmap runs");
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        // It may well end before it has read everything.
        scope.spawn(move || drop(stdin.write_all(input)));
        run(child.wait_with_output().expect("tmap ends"))
    })
}

fn run(output: Output) -> Run {
    use std::os::unix::process::ExitStatusExt;
    let text = |bytes| String::from_utf8(bytes).expect("tmap prints UTF-8");
    let status = output.status;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Run { out: text(output.stdout), err: text(output.stderr), code }
}
