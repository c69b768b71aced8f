//! Pipes from which nothing comes: signals are answered, and captures that had to wait are read in the end.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    thread,
    time::Duration,
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use tempfile::TempDir;
use tmap_tests::{
    command::wait_for,
    wire::capture::{Order, pcap, pcapng},
};

use super::{
    interrupt::{Running, SOON},
    no_packets::{blocks, gzip, mail, seen},
};

/// After this time, what keeps others waiting for a second was told, also on a busy machine.
const TOLD: Duration = Duration::from_secs(3);

/// The length of a file header, and that of a packet's.
const FILE_HEADER_BYTES: usize = 24;
const PACKET_HEADER_BYTES: usize = 16;

fn capture() -> Vec<u8> {
    pcap(&mail(), 1, Order::Little, true)
}

/// The length of a capture's first packet, and of all that is before its second one.
fn first_bytes() -> usize {
    FILE_HEADER_BYTES + PACKET_HEADER_BYTES + mail()[0].bytes.len()
}

/// A folder with a capture, plain and packed, and two FIFOs, `busy` and `q`.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("mail"), capture()).expect("written");
    fs::write(at("mail.gz"), gzip(&capture())).expect("written");
    ["busy", "q"].iter().for_each(|name| mkfifo(&at(name), Mode::S_IRWXU).expect("made"));
    folder
}

/// Begins to read these captures, of which `q` has so many bytes and stays open.
fn start(names: &[&str], bytes: usize) -> (Running, File) {
    let folder = folder();
    let path = folder.path().join("q");
    let running = Running::start_in(folder, ["read", "--json"].iter().chain(names));
    let mut pipe = OpenOptions::new().write(true).open(path).expect("somebody reads");
    pipe.write_all(&capture()[..bytes]).expect("taken");
    (running, pipe)
}

/// Asks for a summary, which comes soon, and in which nothing was seen yet.
fn ask(running: &Running) {
    let asked = running.send(Signal::SIGUSR1);
    wait_for("a summary", || seen(running).1 == 1);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(seen(running).0, Some(0));
}

#[test]
fn a_pipe_that_has_not_begun_keeps_no_answer_waiting() {
    let not_begun = "tmap: waiting for q, which has not begun\n";
    let no_packet = "tmap: waiting for the first packet of q\n";
    for (bytes, note) in [(0, not_begun), (10, not_begun), (24, no_packet), (30, no_packet)] {
        let (mut running, _pipe) = start(&["q"], bytes);
        ask(&running);
        wait_for("a word", || running.file("err") == note);
        running.send(Signal::SIGINT);
        assert_eq!((running.end(SOON), running.file("err").as_str()), (0, note), "{bytes}");
    }
}

/// One that begins late loses nothing.
#[test]
fn a_file_header_may_come_in_pieces() {
    let (mut running, mut pipe) = start(&["q"], 3);
    for piece in [3..5, 5..23, 23..24, 24..capture().len()] {
        thread::sleep(Duration::from_millis(120));
        pipe.write_all(&capture()[piece]).expect("taken");
    }
    drop(pipe);
    assert_eq!((running.end(SOON), running.file("err").as_str()), (0, ""));
    assert_eq!(seen(&running).0, Some(mail().len() as u64));
}

#[test]
fn what_waits_for_a_pipe_is_told_and_read_in_the_end() {
    let late = "the other captures are reported";
    for (bytes, waits_for, was) in [
        (0, "q, which has not begun", format!("had not begun when reading was stopped; {late} without it")),
        (
            24,
            "the first packet of q",
            format!("was still open when reading was stopped; {late} beyond its last packet"),
        ),
        (
            first_bytes(),
            "the next packet of q",
            format!("was still open when reading was stopped; {late} beyond its last packet"),
        ),
    ] {
        for waiting in [["mail", "q"], ["q", "mail.gz"]] {
            let (mut running, _pipe) = start(&waiting, bytes);
            thread::sleep(TOLD);
            let note = format!(
                "tmap: waiting for {waits_for}; the other captures wait, too, as packets are read by time; ^C \
                 reads them without it\n"
            );
            assert_eq!(running.file("err"), note, "told once");
            let asked = running.send(Signal::SIGINT);
            assert_eq!(running.end(SOON), 1, "{bytes} {waiting:?}: {}", running.file("err"));
            assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
            assert_eq!(running.file("err"), format!("{note}tmap: q: {was}\n"));
            let of_q = u64::from(bytes == first_bytes());
            assert_eq!(seen(&running), (Some(mail().len() as u64 + of_q), 1), "{bytes} {waiting:?}");
        }
    }
}

#[test]
fn a_summary_on_request_tells_what_keeps_captures_waiting() {
    let (running, _pipe) = start(&["mail", "q"], 0);
    ask(&running);
    wait_for("a word", || {
        running.file("err").starts_with("tmap: waiting for q, which has not begun; the other")
    });
}

/// Begins to read captures of which `busy` has this beginning and then the other part for ever.
fn start_busy(names: &[&str], begin: Vec<u8>, again: Vec<u8>) -> (Running, thread::JoinHandle<()>) {
    let folder = folder();
    let path = folder.path().join("busy");
    let writer = thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(path).expect("somebody reads");
        pipe.write_all(&begin).expect("taken");
        while pipe.write_all(&again).is_ok() {}
    });
    (Running::start_in(folder, ["read", "--json"].iter().chain(names)), writer)
}

/// Its writer waits for tmap, and what came from it is read.
#[test]
fn a_busy_pipe_is_not_blamed_for_a_silent_one() {
    let blocks = pcapng(&mail(), 1, Order::Little);
    let plain = capture().split_off(FILE_HEADER_BYTES);
    for names in [["busy", "q"], ["q", "busy"]] {
        for (begin, again) in [(capture(), plain.clone()), (blocks.clone(), blocks.clone())] {
            let (mut running, writer) = start_busy(&names, begin, again);
            thread::sleep(TOLD);
            running.send(Signal::SIGTERM);
            assert_eq!(running.end(SOON), 1, "{names:?}: {}", running.file("err"));
            let err = running.file("err");
            assert!(err.contains("q: had not begun when reading was stopped"), "{err}");
            assert!(
                !err.contains("busy: ") && !err.contains("for busy") && !err.contains("of busy"),
                "{err}"
            );
            assert!(seen(&running).0 >= Some(mail().len() as u64), "{names:?}");
            writer.join().expect("a writer");
        }
    }
}

/// What waited is read for a moment only, and then a warning says that there was more.
#[test]
fn a_rest_that_takes_long_is_cut() {
    let folder = folder();
    blocks(&folder.path().join("long"));
    let mut running = Running::start_in(folder, ["read", "--json", "long", "q"]);
    running.send(Signal::SIGINT);
    assert_eq!(running.end(SOON), 1);
    let err = running.file("err");
    assert!(err.contains("reading was stopped before the end of 1 capture that had waited"), "{err}");
    assert_eq!(seen(&running), (Some(mail().len() as u64), 1), "{err}");
}
