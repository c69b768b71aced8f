//! The memory that the screen of `tmap top` takes: not what a terminal says of its size.

use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tmap_tests::{
    command::{command, wait_for},
    simulate::Scenario,
    terminal::Terminal,
};

/// What a screen may take beside what it takes in a small terminal, in KiB.
const MORE_KIB: u64 = 64 << 10;

/// The memory of a process, in KiB.
fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Says that a terminal is so large, which its interpreter here doesn't hear of: it would take memory, too.
fn pretend(terminal: &Path, rows: &str, columns: &str) {
    let status = Command::new("stty").arg("-F").arg(terminal).args(["rows", rows, "cols", columns]).status();
    assert!(status.is_ok_and(|status| status.success()), "{rows} x {columns}");
}

/// From its start, and when its terminal becomes so large while it runs.
#[test]
fn a_terminal_of_any_size_takes_little_memory() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.pcap");
    fs::write(&path, Scenario::default().capture()).expect("written");
    let path = path.to_str().expect("a name");
    let mut terminal = Terminal::start(&["top", path], &[], (80, 24));
    terminal.wait_for("read to its end");
    let small_kib = memory_kib(terminal.pid());
    let there = format!("/proc/{}/fd/1", terminal.pid());
    let file = File::options().read(true).write(true).open(&there).expect("its terminal");
    for (rows, columns) in [("3000", "3000"), ("65535", "65535"), ("24", "80")] {
        pretend(Path::new(&there), rows, columns);
        thread::sleep(Duration::from_millis(500));
        let kib = memory_kib(terminal.pid());
        assert!(kib < small_kib + MORE_KIB, "{rows} x {columns}: {kib} KiB, {small_kib} at first");
    }
    terminal.press("?");
    terminal.wait_for("let the view stand still");
    terminal.press("xq");
    assert_eq!(terminal.end().code(), Some(0), "{}", terminal.text());

    // The terminal outlives the program, and has room for another one.
    pretend(Path::new(&format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())), "65535", "65535");
    let own = || Stdio::from(file.try_clone().expect("a handle"));
    let mut child = command(["top", path]).stdin(own()).stdout(own()).stderr(own()).spawn().expect("it runs");
    wait_for("the screen", || terminal.is_taken().0);
    thread::sleep(Duration::from_millis(500));
    let kib = memory_kib(child.id());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(kib < small_kib + MORE_KIB, "{kib} KiB, {small_kib} in a small terminal");
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_is_named() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.pcap");
    fs::write(&path, Scenario::default().capture()).expect("written");
    let arguments = ["top", path.to_str().expect("a name")];
    let mut terminal = Terminal::start(&arguments, &[("TERM", "dumb")], (200, 24));
    terminal.wait_for("cannot use the terminal: it cannot be drawn on (TERM=dumb); use `tmap live`");
    assert_eq!(terminal.end().code(), Some(1));
    assert!(!terminal.text().contains("no terminal"), "{}", terminal.text());
}
