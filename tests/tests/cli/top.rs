//! `tmap top` in a terminal: keys, sizes, and that the terminal is left as it was.

use std::{
    fs::{self, File},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::Signal,
    termios::{FlowArg, tcflow},
};
use tempfile::TempDir;
use tmap_common::Link;
use tmap_tests::{
    command::{binary, command, tmap, wait_for},
    simulate::{Offsets, Scenario},
    terminal::Terminal,
    wire::capture::{Order, packets, pcap},
};

/// When the capture begins: 22 April 2006.
const BEGIN_NS: u64 = 1_145_725_200_000_000_000;

/// What is asked by a signal comes within two seconds; a busy machine may take as much again.
const SOON: Duration = Duration::from_secs(4);

/// A capture of four machines with fixed offsets behind one address, and the folder in which it is.
fn capture(seconds: f64) -> (TempDir, String) {
    let scenario = Scenario { offsets: Offsets::Global, duration_s: seconds, ..Scenario::default() };
    let mut records = scenario.run().records;
    records.iter_mut().for_each(|record| record.time_ns += BEGIN_NS);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("four.pcap");
    fs::write(&path, pcap(&packets(&records, Link::Ethernet), 1, Order::Little, true)).expect("written");
    let path = path.to_string_lossy().into_owned();
    (folder, path)
}

/// The terminal has what it had before: its ordinary screen, its cursor and its settings.
fn assert_is_left_as_it_was(terminal: &Terminal, before: &nix::sys::termios::Termios) {
    assert_eq!(terminal.is_taken(), (false, false), "{}", terminal.text());
    assert_eq!(&terminal.settings(), before);
    let raw = terminal.raw();
    for (on, off) in [("\u{1b}[?1049h", "\u{1b}[?1049l"), ("\u{1b}[?25l", "\u{1b}[?25h")] {
        assert!(raw.rfind(on) < raw.rfind(off), "{off:?} comes last");
    }
}

#[test]
fn a_capture_is_shown_opened_and_summed_up_at_the_end() {
    let (_folder, path) = capture(60.0);
    let mut terminal = Terminal::start(&["top", &path], &[], (80, 24));
    let before = Terminal::start(&["--help"], &[], (80, 24)).settings();
    terminal.wait_for("read to its end");
    assert_eq!(terminal.is_taken(), (true, true));
    assert!(terminal.wait_for("198.51.100.1").contains("four.pcap"));
    terminal.press("\r");
    terminal.wait_for("Addresses > 198.51.100.1");
    terminal.wait_for("Share");
    terminal.press("v");
    assert!(terminal.wait_for("smaller").contains("198.51.100.1"));
    terminal.press("w");
    terminal.wait_for("Why 4 and not 5?");
    terminal.press("\u{1b}");
    terminal.wait_for("larger");
    terminal.press("?");
    terminal.wait_for("let the view stand still");
    terminal.press("x");
    terminal.press("\t");
    terminal.wait_for("New machine #1 behind 198.51.100.1");
    terminal.press("\t");
    terminal.wait_for("records/s");
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(0));
    assert_is_left_as_it_was(&terminal, &before);
    assert!(terminal.text().contains("Machines were counted at 1 of 1 address"), "{}", terminal.text());
}

#[test]
fn the_screen_takes_the_terminals_size_while_it_runs() {
    let (_folder, path) = capture(30.0);
    let terminal = Terminal::start(&["top", &path], &[], (80, 24));
    terminal.wait_for("read to its end");
    terminal.resize(140, 40);
    let wide = terminal.wait_for("Last seen");
    assert!(wide.lines().any(|line| line.chars().count() > 80), "{wide}");
    terminal.resize(40, 10);
    terminal.wait_for("Machines");
    wait_for("the narrow screen", || !terminal.text().contains("Last seen"));
    assert!(terminal.text().contains("198.51.100.1"), "{}", terminal.text());
    terminal.resize(20, 5);
    terminal.wait_for("too small: 20x5");
    terminal.resize(80, 24);
    terminal.wait_for("198.51.100.1");
}

#[test]
fn no_color_means_no_codes_of_colours() {
    let (_folder, path) = capture(30.0);
    let coloured = |variables: &[(&str, &str)]| {
        let terminal = Terminal::start(&["top", &path], variables, (80, 24));
        terminal.wait_for("read to its end");
        terminal.press("\r");
        terminal.wait_for("#4");
        terminal.press("v");
        terminal.wait_for("Phase against time");
        let codes = terminal
            .raw()
            .match_indices("\u{1b}[")
            .filter(|(at, _)| is_colour(&terminal.raw()[at + 2..]))
            .count();
        (codes, terminal.colours().len())
    };
    assert_eq!(coloured(&[("NO_COLOR", "1")]), (0, 1));
    let (codes, colours) = coloured(&[]);
    assert!(codes > 0 && colours > 1, "{codes} codes, {colours} colours");
}

/// Whether a code, after its first two characters, sets a colour other than the terminal's own.
fn is_colour(code: &str) -> bool {
    let Some((numbers, _)) = code.split_once('m') else { return false };
    let is_graphic = numbers.chars().all(|c| c.is_ascii_digit() || c == ';');
    let sets = |number: &str| matches!(number.parse::<u16>(), Ok(30..=38 | 40..=48 | 90..=97 | 100..=107));
    is_graphic && numbers.split(';').any(sets)
}

#[test]
fn signals_and_a_panic_leave_the_terminal_as_it_was() {
    let (_folder, path) = capture(30.0);
    let before = Terminal::start(&["--help"], &[], (80, 24)).settings();
    for (signal, code) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 0), (Signal::SIGHUP, 0)] {
        let mut terminal = Terminal::start(&["top", &path], &[], (80, 24));
        terminal.wait_for("read to its end");
        terminal.send(signal);
        assert_eq!(terminal.end().code(), Some(code), "{signal}");
        assert_is_left_as_it_was(&terminal, &before);
        assert!(terminal.text().contains("As of "), "{signal}: {}", terminal.text());
    }
    let mut terminal = Terminal::start(&["top", &path], &[("TMAP_TEST_PANIC", "1")], (80, 24));
    terminal.wait_for("read to its end");
    // F12.
    terminal.press("\u{1b}[24~");
    assert_eq!(terminal.end().code(), Some(1));
    assert_is_left_as_it_was(&terminal, &before);
    assert!(terminal.raw().contains("a panic as a test wants it"), "{}", terminal.text());
}

/// The user sees what was found all the same, and then what happened. F12 panics, F11 is stuck.
#[test]
fn a_screen_that_fails_loses_no_summary() {
    let (_folder, path) = capture(30.0);
    let failures = [
        ("TMAP_TEST_PANIC", "\u{1b}[24~", "the screen's thread failed"),
        ("TMAP_TEST_STUCK", "\u{1b}[23~", "the screen's thread does not answer"),
    ];
    for (variable, key, says) in failures {
        let mut terminal = Terminal::start(&["top", &path], &[(variable, "1")], (80, 24));
        terminal.wait_for("read to its end");
        terminal.press(key);
        thread::sleep(Duration::from_millis(200));
        terminal.send(Signal::SIGTERM);
        assert_eq!(terminal.end().code(), Some(1));
        assert_eq!(terminal.is_taken(), (false, false));
        let raw = terminal.raw();
        let (summary, error) = (raw.find("As of "), raw.find(says));
        assert!(summary.is_some() && summary < error, "{says}: {}", terminal.text());
    }
}

/// An arrow, or a letter beyond ASCII, that the terminal has cut: whoever waited for its rest would show
/// nothing new, and hear of no end.
#[test]
fn half_a_key_stops_nothing() {
    let (_folder, path) = capture(60.0);
    for half in [&b"\x1b["[..], b"\x1bO", b"\xc3", b"\xe4"] {
        let mut terminal = Terminal::start(&["top", "--realtime", &path], &[], (80, 24));
        terminal.wait_for("% read");
        terminal.press_bytes(half);
        thread::sleep(Duration::from_millis(300));
        let before = terminal.raw().len();
        thread::sleep(Duration::from_millis(1_500));
        assert!(terminal.raw().len() > before, "{half:?}: it shows what is new");
        let asked = Instant::now();
        terminal.send(Signal::SIGTERM);
        assert_eq!(terminal.end().code(), Some(0), "{half:?}: {}", terminal.text());
        assert!(asked.elapsed() < SOON, "{half:?}: {:?}", asked.elapsed());
        assert!(terminal.raw().contains("As of "), "{half:?}: {}", terminal.text());
    }
}

/// Standard input is the capture, so keys come from the terminal itself.
#[test]
fn keys_come_from_the_terminal_where_a_capture_comes_from_standard_input() {
    let (_folder, path) = capture(30.0);
    let script = format!("exec {} top - < {path}", binary().display());
    let mut terminal = Terminal::start_shell(&script, (80, 24));
    terminal.wait_for("read to its end");
    terminal.press("\u{1b}");
    thread::sleep(Duration::from_millis(300));
    terminal.press("?");
    terminal.wait_for("let the view stand still");
    terminal.press("xq");
    assert_eq!(terminal.end().code(), Some(0), "{}", terminal.text());
}

/// A connection by ssh that drops takes the terminal away. Nothing may be left that waits for it.
#[test]
fn a_terminal_that_vanishes_ends_it() {
    let (_folder, path) = capture(30.0);
    for signal in [None, Some(Signal::SIGTERM)] {
        let mut terminal = Terminal::start(&["top", &path], &[], (80, 24));
        terminal.wait_for("read to its end");
        if let Some(signal) = signal {
            terminal.send(signal);
        }
        terminal.vanish();
        terminal.end();
    }
}

/// Held back by its speed, the capture would take a minute.
#[test]
fn a_second_signal_ends_at_once_and_leaves_the_terminal_as_it_was() {
    let (_folder, path) = capture(60.0);
    let before = Terminal::start(&["--help"], &[], (80, 24)).settings();
    let mut terminal = Terminal::start(&["top", "--realtime", &path], &[], (80, 24));
    terminal.wait_for("% read");
    terminal.press("p");
    terminal.wait_for("PAUSED");
    terminal.send(Signal::SIGTERM);
    terminal.send(Signal::SIGTERM);
    assert!(matches!(terminal.end().code(), Some(0 | 130)));
    assert_is_left_as_it_was(&terminal, &before);
}

#[test]
fn s_writes_a_page() {
    let (folder, path) = capture(30.0);
    let folder = folder.path().join("reports");
    fs::create_dir(&folder).expect("created");
    let there = folder.to_string_lossy().into_owned();
    let mut terminal = Terminal::start_at(&there, &["top", &path], (80, 24));
    terminal.wait_for("read to its end");
    terminal.press("s");
    terminal.wait_for("saved tmap-");
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(0));
    let files: Vec<_> = fs::read_dir(&folder).expect("there").map(|file| file.expect("one").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let page = fs::read_to_string(&files[0]).expect("read");
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(
        page.contains("198.51.100.1") && page.contains("tmap top") && page.contains("four.pcap"),
        "{page}"
    );
}

#[test]
fn without_a_terminal_an_error_names_what_needs_none() {
    let (_folder, path) = capture(5.0);
    for (arguments, says) in
        [(vec!["top", path.as_str()], "tmap read"), (vec!["top", "-i", "lo"], "tmap live")]
    {
        let run = tmap(&arguments);
        assert_eq!((run.out.as_str(), run.code), ("", 1));
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert!(run.err.contains("no terminal") && run.err.contains(says), "{}", run.err);
    }
    let status = command(["top", "/nowhere/a.pcap"]).stdin(Stdio::null()).output().expect("tmap runs");
    assert_eq!(status.status.code(), Some(1));
}

/// A terminal of which nobody reads, or that ^S holds, takes no output. A signal ends it all the same: while
/// it draws, and where it only would have to write its summary.
#[test]
fn a_terminal_that_takes_no_output_keeps_nothing() {
    let (_folder, path) = capture(30.0);
    let before = Terminal::start(&["--help"], &[], (80, 24)).settings();
    for (signal, draws) in [(Signal::SIGTERM, true), (Signal::SIGHUP, true), (Signal::SIGTERM, false)] {
        let mut terminal = Terminal::start(&["top", &path], &[], (80, 24));
        terminal.wait_for("read to its end");
        let there = File::open(format!("/proc/{}/fd/1", terminal.pid())).expect("its terminal");
        tcflow(&there, FlowArg::TCOOFF).expect("a terminal");
        if draws {
            terminal.press("?");
            // Many frames.
            thread::sleep(Duration::from_secs(1));
        }
        let asked = Instant::now();
        terminal.send(signal);
        terminal.end();
        assert!(asked.elapsed() < SOON, "{signal}: {:?}", asked.elapsed());
        // It can't show anything, but what is typed can be seen again.
        assert_eq!(terminal.settings(), before, "{signal}");
    }
}

/// The key repeats while it is held down. Where a page takes long, nobody waits for one for each, and no
/// signal does.
#[test]
fn pages_asked_for_at_once_are_one() {
    let folder = TempDir::new().expect("a folder");
    let there = folder.path().to_string_lossy().into_owned();
    fs::write(folder.path().join("heavy.pcap"), Scenario::slow_to_analyse().capture()).expect("written");
    let mut terminal = Terminal::start_at(&there, &["top", "--search-budget", "20", "heavy.pcap"], (80, 24));
    terminal.wait_for("read to its end");
    terminal.press(&"s".repeat(20));
    let (mut pages, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_secs(1) || pages == 0 && last.elapsed() < SOON {
        for file in fs::read_dir(&folder).expect("there").map(|file| file.expect("one").path()) {
            if file.extension().is_some_and(|extension| extension == "html") {
                // The next one of the same second would fail, and not be counted.
                fs::remove_file(&file).expect("removed");
                (pages, last) = (pages + 1, Instant::now());
            }
        }
    }
    // The keys may have come in two parts.
    assert!((1..=2).contains(&pages), "{pages} pages");
    terminal.send(Signal::SIGTERM);
    assert_eq!(terminal.end().code(), Some(0));
}
