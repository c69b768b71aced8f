//! Runs the `tmap` command as a user would.
//!
//! The program is built from the product's own `main.rs` as a binary of this package, `tmap-under-test`:
//! cargo builds it before it starts any test, so that tests build nothing and never meet an old one.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::{
        fd::AsRawFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::net::namespaces::Namespace;

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The command, as cargo built it beside this test.
///
/// # Panics
/// Outside of this package's tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // target/PROFILE/deps/this-test
        let test = std::env::current_exe().expect("a test knows itself");
        let profile = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
        let binary = profile.join("tmap-under-test");
        assert!(binary.is_file(), "{} isn't there: run the tests by cargo", binary.display());
        binary
    })
}

/// The command's file, opened so that programs which this test starts inherit it.
///
/// Other users can't enter the folder of the build. A copy elsewhere takes a tenth of a gigabyte, which small
/// disks don't have. A file that is already open needs no folder.
#[derive(Debug)]
pub struct OpenBinary(File);

impl OpenBinary {
    /// Opens the command.
    ///
    /// # Panics
    /// If it can't be opened.
    #[must_use]
    pub fn new() -> Self {
        let file = File::open(binary()).expect("the command is there");
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("programs inherit it");
        Self(file)
    }

    /// The path by which any user may run it, while this is there. See proc_pid_fd(5).
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

impl Default for OpenBinary {
    fn default() -> Self {
        Self::new()
    }
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
    command.arg0("tmap").args(arguments).env("TZ", "Europe/Warsaw").env_remove("RUST_BACKTRACE");
    command
}

/// Runs it to its end with nothing on standard input.
///
/// # Panics
/// Where it can't be started.
pub fn tmap<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    run(command(arguments).stdin(Stdio::null()).output().expect("tmap runs"))
}

/// Runs it to its end with `input` on standard input.
///
/// # Panics
/// Where it can't be started.
pub fn tmap_with_input<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, input: &[u8]) -> Run {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tmap runs");
    let mut stdin = child.stdin.take().expect("piped");
    thread::scope(|scope| {
        // It may well end before it has read everything.
        scope.spawn(move || drop(stdin.write_all(input)));
        run(child.wait_with_output().expect("tmap ends"))
    })
}

fn run(output: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("tmap prints UTF-8");
    let status = output.status;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Run { out: text(output.stdout), err: text(output.stderr), code }
}

/// The lines of `--json`.
///
/// # Panics
/// Where a line isn't JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// The lines of one type.
pub fn of_type<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == name).collect()
}

/// A `tmap` that watches an interface. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    /// Starts it in a namespace and waits until it watches.
    ///
    /// # Panics
    /// Where it doesn't get that far.
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Self {
        let mut command = namespace.command(binary());
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command that becomes tmap, and waits until it watches.
    ///
    /// # Panics
    /// Where it doesn't get that far.
    pub fn spawn(mut command: Command) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = |name: &str| File::create(folder.path().join(name)).expect("created");
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        let child = command.spawn().expect("tmap runs");
        let mut running = Self { child, folder };
        let began = Instant::now();
        while !["^C ends", "^C writes"].iter().any(|said| running.err().contains(said)) {
            let ended = running.child.try_wait().expect("a child").is_some();
            assert!(!ended && began.elapsed() < PATIENCE, "it doesn't watch: {}", running.err());
            thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// What it printed so far.
    pub fn out(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// What it said on standard error so far.
    pub fn err(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap_or_default()
    }

    /// The JSON lines of one type so far. A line that is being written isn't one yet.
    pub fn lines(&self, kind: &str) -> Vec<Value> {
        let out = self.out();
        let written = out.rfind('\n').map_or("", |end| &out[..end]);
        let mut lines = json_lines(written);
        lines.retain(|line| line["type"] == kind);
        lines
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn send(&self, signal: Signal) {
        signal_child(&self.child, signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it doesn't end.
    pub fn end(&mut self) -> ExitStatus {
        end_of(&mut self.child)
    }

    /// Interrupts it and returns all that it printed.
    ///
    /// # Panics
    /// Where it fails or doesn't end.
    pub fn interrupt(self) -> String {
        self.interrupt_with(0)
    }

    /// Interrupts it and returns all that it printed; its exit code is to be this one.
    ///
    /// # Panics
    /// Where it ends otherwise or doesn't end.
    pub fn interrupt_with(mut self, code: i32) -> String {
        self.send(Signal::SIGINT);
        assert_eq!(self.end().code(), Some(code), "{}", self.err());
        self.out()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something has happened.
///
/// # Panics
/// Where it doesn't happen within [`PATIENCE`].
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a tmap that runs.
///
/// # Panics
/// Where it is gone.
pub(crate) fn signal_child(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("tmap is there");
}

/// Waits for the end of a tmap.
///
/// # Panics
/// Where it doesn't end.
pub(crate) fn end_of(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for("the end of tmap", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    status.expect("ended")
}
