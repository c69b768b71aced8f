//! Standard input and output that another program made non-blocking: tmap waits for them all the same.

use std::{
    fs,
    io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _, pipe},
    os::fd::AsFd,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tmap_tests::{
    captures::{self, THREE},
    command::{command, tmap, tmap_with_input, wait_for},
    simulate::Scenario,
};

/// The size of pipes: less than any report.
const PIPE_BYTES: usize = 4_096;

/// After this time, a tmap that meets a pipe has tried it, also on a busy machine.
const TRIED: Duration = Duration::from_secs(1);

/// Signals that are further apart than a second are two.
const APART: Duration = Duration::from_millis(1_050);

/// Makes one end of a pipe non-blocking. The other one stays as it is.
fn unblock(end: impl AsFd) {
    fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a flag of pipes");
}

/// A pipe whose writing end is non-blocking, and that is full. Returns what is in it, too.
fn full() -> (PipeReader, PipeWriter, Vec<u8>) {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32)).expect("a small pipe");
    unblock(&writer);
    let mut filling = Vec::new();
    loop {
        match writer.write(&[b'.'; PIPE_BYTES]) {
            Ok(count) => filling.resize(filling.len() + count, b'.'),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (reader, writer, filling),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What comes out of a full pipe after what filled it. Nobody reads it until tmap has tried to write.
fn rest(mut reader: PipeReader, filling: &[u8]) -> String {
    thread::sleep(TRIED);
    let mut all = String::new();
    reader.read_to_string(&mut all).expect("UTF-8");
    all.split_off(filling.len())
}

/// Begins to read a capture with a standard output that is full.
fn start(words: &[&str], out: PipeWriter) -> Child {
    let mut command = command(words);
    command.arg(captures::path(THREE)).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
    command.spawn().expect("tmap runs")
}

/// A report without the memory that the process took, which is another one each time.
fn without_memory(report: &str) -> String {
    match report.split_once("\"memory_bytes\":") {
        Some((before, after)) => before.to_owned() + after.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => report.to_owned(),
    }
}

#[test]
fn reports_plots_and_pages_wait_until_they_are_taken() {
    for words in [
        &["read", "-v", "--connections"][..],
        &["read", "--json", "--connections"],
        &["rtt", "--json"],
        &["plot", "phases"],
        &["report", "-o", "-"],
    ] {
        let whole = tmap(words.iter().copied().chain([captures::path(THREE).to_str().expect("UTF-8")])).out;
        assert!(whole.len() > PIPE_BYTES, "{words:?}: {} bytes", whole.len());
        let (reader, writer, filling) = full();
        let child = start(words, writer);
        let out = rest(reader, &filling);
        let output = child.wait_with_output().expect("tmap ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*err), (Some(0), ""), "{words:?}");
        if words[0] == "report" {
            // A page tells when it was written, and how much memory that took.
            assert!(out.starts_with("<!doctype html>") && out.ends_with("</html>"), "{}", out.len());
            assert!(out.len().abs_diff(whole.len()) < 100, "{} of {} bytes", out.len(), whole.len());
        } else {
            let is_whole = without_memory(&out) == without_memory(&whole);
            assert!(is_whole, "{words:?}: {} of {} bytes", out.len(), whole.len());
        }
    }
}

#[test]
fn errors_and_warnings_wait_until_they_are_taken() {
    let (reader, writer, filling) = full();
    let mut command = command(["read", "no-such.pcap"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().expect("tmap");
    drop(command);
    assert_eq!(rest(reader, &filling), "tmap: no-such.pcap: No such file or directory; check the name\n");
    assert_eq!(child.wait().expect("a child").code(), Some(1));
}

#[test]
fn who_waits_can_be_ended() {
    let (reader, writer, _) = full();
    let mut child = start(&["read", "-v"], writer);
    thread::sleep(TRIED);
    for _ in 0..3 {
        assert!(child.try_wait().expect("a child").is_none(), "it waits");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("tmap is there");
        thread::sleep(APART);
    }
    wait_for("the end of tmap", || child.try_wait().expect("a child").is_some());
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    drop(reader);
}

/// Packed ones, too: decompressors lose bytes where a read says that nothing comes now.
#[test]
fn captures_may_come_with_pauses() {
    let packed = fs::read(captures::path(THREE)).expect("read");
    for capture in [Scenario::default().capture(), packed] {
        let whole = tmap_with_input(["read", "-v", "-"], &capture);
        assert_eq!((whole.code, whole.err.as_str()), (0, ""));
        let (reader, mut writer) = pipe().expect("a pipe");
        unblock(&reader);
        let mut command = command(["read", "-v", "-"]);
        command.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("tmap runs");
        // The command holds a reading end, which would hide that tmap's is closed.
        drop(command);
        for piece in capture.chunks(capture.len() / 3 + 1) {
            thread::sleep(TRIED);
            writer.write_all(piece).expect("tmap reads on");
        }
        drop(writer);
        let output = child.wait_with_output().expect("tmap ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*err), (Some(0), ""));
        assert_eq!(String::from_utf8_lossy(&output.stdout), whole.out);
    }
}
