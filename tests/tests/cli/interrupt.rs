//! Reading that is interrupted: what is known comes soon, then what was left open, or nothing more.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tmap_tests::{
    command::{PATIENCE, binary, command, json_lines, of_type, wait_for},
    simulate::Scenario,
};

/// What is known comes within two seconds; a busy machine may take as much again.
pub(super) const SOON: Duration = Duration::from_secs(4);

/// Signals that are further apart than a second are two.
const APART: Duration = Duration::from_millis(1_050);

/// The time after which all packets were read, and their analysis has begun.
const READ: Duration = Duration::from_millis(500);

/// Longer than the whole analysis takes on a busy machine.
const LONG: Duration = PATIENCE.saturating_mul(6);

/// A tmap that runs. Dropping it kills it.
pub(super) struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    /// Starts a command with the heavy capture as its last argument.
    fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let heavy = folder.path().join("heavy.pcap");
        fs::write(&heavy, Scenario::slow_to_analyse().capture()).expect("written");
        Self::start_in(folder, arguments.iter().map(OsStr::new).chain([heavy.as_os_str()]))
    }

    /// Starts a command in a folder.
    pub(super) fn start_in<S: AsRef<OsStr>>(folder: TempDir, arguments: impl IntoIterator<Item = S>) -> Self {
        let file = |name: &str| File::create(folder.path().join(name)).expect("created");
        let mut command = command(arguments);
        command.current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        let child = command.spawn().expect("tmap runs");
        thread::sleep(READ);
        Self { child, folder }
    }

    pub(super) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    pub(super) fn send(&self, signal: Signal) -> Instant {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("tmap is there");
        Instant::now()
    }

    /// Its exit code.
    pub(super) fn end(&mut self, within: Duration) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().expect("not killed");
            }
            assert!(began.elapsed() < within, "it doesn't end: {}", self.file("err"));
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many summaries in text there are.
pub(super) fn summaries(out: &str) -> usize {
    out.matches("As of ").count()
}

#[test]
fn what_is_known_comes_soon_and_then_what_was_left_open() {
    // The budget makes the analysis take seconds, not minutes.
    let arguments = ["read", "--search-budget", "50"];
    let mut whole = Running::start(&arguments);
    assert_eq!(whole.end(LONG), 0);
    let mut running = Running::start(&arguments);
    let asked = running.send(Signal::SIGINT);
    wait_for("a first summary", || summaries(&running.file("out")) == 1);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert!(running.file("out").contains("not analysed to the end, so machines may be missing"));
    assert_eq!(running.end(LONG), 0, "{}", running.file("err"));
    assert_eq!(running.file("err"), "tmap: finishing 1 of 1 address; another ^C stops\n");
    let (out, whole) = (running.file("out"), whole.file("out"));
    assert!(summaries(&out) == 2 && out.ends_with(&whole), "{out}\n\nwithout ^C:\n{whole}");
    assert!(whole.contains("the search for machines spent its budget"), "{whole}");
}

#[test]
fn a_second_interrupt_ends_after_the_first_report() {
    let mut running = Running::start(&["read"]);
    running.send(Signal::SIGINT);
    wait_for("a summary", || running.file("err").contains("finishing"));
    let asked = running.send(Signal::SIGINT);
    assert_eq!(running.end(SOON), 130);
    assert!(asked.elapsed() < SOON / 4, "{:?}", asked.elapsed());
    assert_eq!(summaries(&running.file("out")), 1);
}

#[test]
fn a_hasty_second_interrupt_still_gets_a_report() {
    let mut running = Running::start(&["read"]);
    running.send(Signal::SIGINT);
    thread::sleep(APART);
    running.send(Signal::SIGINT);
    assert_eq!(running.end(SOON), 130);
    assert_eq!(summaries(&running.file("out")), 1);
}

/// `timeout` sends its signal twice, to its child and to its group.
#[test]
fn two_signals_at_once_are_one() {
    let mut running = Running::start(&["read", "--search-budget", "50"]);
    running.send(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(10));
    running.send(Signal::SIGTERM);
    assert_eq!(running.end(LONG), 0, "{}", running.file("err"));
    assert_eq!(summaries(&running.file("out")), 2, "what was known, and then all");
}

/// A program expects one summary. It waits for the end of the analysis, and the second interrupt for nothing.
#[test]
fn json_has_one_summary() {
    let mut running = Running::start(&["read", "--json"]);
    running.send(Signal::SIGINT);
    wait_for("a word", || running.file("err").contains("another ^C ends with what is known"));
    thread::sleep(Duration::from_secs(2));
    assert_eq!(running.file("out").matches(r#""type":"summary""#).count(), 0);
    running.send(Signal::SIGINT);
    assert_eq!(running.end(SOON), 130);
    let lines = json_lines(&running.file("out"));
    assert_eq!(of_type(&lines, "summary").len(), 1);
    let [address] = of_type(&lines, "address")[..] else { panic!("{lines:?}") };
    assert_eq!((&address["doubt"], &address["machines_high"]), (&"interrupted".into(), &Value::Null));
}

#[test]
fn a_summary_on_request_comes_soon_and_reading_goes_on() {
    let mut running = Running::start(&["read"]);
    for wanted in 1..=2 {
        let asked = running.send(Signal::SIGUSR1);
        wait_for("a summary", || summaries(&running.file("out")) == wanted);
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        wait_for("a word", || running.file("err").matches("finishing 1 of 1 address\n").count() == wanted);
    }
    running.send(Signal::SIGINT);
    wait_for("a word", || running.file("err").contains("another ^C stops"));
    running.send(Signal::SIGINT);
    assert_eq!((running.end(SOON), summaries(&running.file("out"))), (130, 3));
}

#[test]
fn a_page_and_a_picture_come_soon() {
    for (arguments, name) in [
        (["report", "-o", "page.html"].as_slice(), "page.html"),
        (["plot", "phases", "-o", "plot.svg"].as_slice(), "plot.svg"),
    ] {
        let mut running = Running::start(arguments);
        let asked = running.send(Signal::SIGINT);
        wait_for("a file", || running.file(name).len() > 1_000);
        assert!(asked.elapsed() < SOON, "{name}: {:?}", asked.elapsed());
        wait_for("a word", || running.file("err").contains("finishing 1 of 1 address; another ^C stops"));
        running.send(Signal::SIGINT);
        assert_eq!(running.end(SOON), 130, "{name}");
    }
}

#[test]
fn where_nothing_is_left_open_nothing_comes_twice() {
    let few = Scenario { machines: 2, connections: 10, duration_s: 60.0, ..Scenario::default() };
    let mut command = command(["read", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tmap");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(&few.capture()).expect("read");
    thread::sleep(READ);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("tmap is there");
    let output = child.wait_with_output().expect("tmap ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && summaries(&out) == 1 && !err.contains("finishing"), "{out}{err}");
}

/// A child inherits blocked signals.
#[test]
fn signals_that_whoever_started_it_blocked_end_it_all_the_same() {
    let mut command = Command::new("env");
    command.args(["--block-signal=INT,TERM,HUP"]).arg(binary()).args(["read", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("env starts");
    thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    wait_for("the end", || child.try_wait().expect("a child").is_some());
}
