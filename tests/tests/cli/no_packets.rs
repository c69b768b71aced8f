//! Captures in which no packet comes for minutes: who interrupts the reading of one is answered as soon as
//! ever.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use flate2::{Compression, read::GzEncoder};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tmap_common::Link;
use tmap_tests::{
    command::{command, wait_for},
    simulate::conversation::mail_cluster,
    wire::capture::{Order, Packet, PcapNg, packets, pcap, pcapng},
};

use super::interrupt::{Running, SOON, summaries};

/// The longest block of pcapng, of which most is a hole in the file.
const BLOCK_BYTES: u32 = 16 << 20;

/// So many blocks take a fast machine longer than [`SOON`], several times.
const BLOCKS: u64 = 6_000;

/// The type of a block that nobody knows, and that of a packet without a time.
const BLOCK_TYPES: [u32; 2] = [0x0bad, 3];

/// The length of a zstd frame that is skipped, also a hole, and how many there are.
const FRAME_BYTES: u32 = 0xffff_fff0;
const FRAMES: u64 = 60;

/// Empty members of a gzip file.
const MEMBERS: usize = 12_000_000;

pub(super) fn mail() -> Vec<Packet> {
    packets(&mail_cluster(), Link::Ethernet)
}

/// The packets in pcapng, then blocks without any.
pub(super) fn blocks(path: &Path) {
    let mut file = File::create(path).expect("created");
    file.write_all(&pcapng(&mail(), 1, Order::Little)).expect("written");
    for number in 0..BLOCKS {
        let block_type = BLOCK_TYPES[usize::from(number % 2 == 0)];
        file.write_all(&[block_type.to_le_bytes(), BLOCK_BYTES.to_le_bytes()].concat()).expect("written");
        file.seek(SeekFrom::Current(i64::from(BLOCK_BYTES) - 12)).expect("files may have holes");
        file.write_all(&BLOCK_BYTES.to_le_bytes()).expect("written");
    }
}

/// The packets packed, then frames to be skipped.
fn skipped_frames(path: &Path) {
    let mut file = File::create(path).expect("created");
    let capture = pcap(&mail(), 1, Order::Little, true);
    file.write_all(&zstd::encode_all(&capture[..], 1).expect("packed")).expect("written");
    for _ in 0..FRAMES {
        file.write_all(&[0x184d_2a50, FRAME_BYTES].map(u32::to_le_bytes).concat()).expect("written");
        file.seek(SeekFrom::Current(FRAME_BYTES.into())).expect("files may have holes");
    }
    let end = file.stream_position().expect("a file");
    file.set_len(end).expect("files may have holes");
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed).expect("packed");
    packed
}

/// The packets packed, then members in which there is nothing.
fn empty_members(path: &Path) {
    let mut file = File::create(path).expect("created");
    file.write_all(&gzip(&pcap(&mail(), 1, Order::Little, true))).expect("written");
    file.write_all(&gzip(&[]).repeat(MEMBERS)).expect("written");
}

/// How many packets the last summary in JSON has seen, and how many summaries there are.
pub(super) fn seen(running: &Running) -> (Option<u64>, usize) {
    let out = running.file("out");
    let summary = out.lines().rfind(|line| line.contains(r#""type":"summary""#));
    let summary: Option<serde_json::Value> = summary.and_then(|line| serde_json::from_str(line).ok());
    let seen = summary.and_then(|summary| summary["packets"]["seen"].as_u64());
    (seen, out.matches(r#""type":"summary""#).count())
}

/// Reads captures of which one has no packets for long, interrupts that, and expects the packets before it.
fn is_interrupted(write: impl Fn(&Path), others: &[&str], signal: Signal, packets: usize) -> Running {
    let folder = TempDir::new().expect("a folder");
    write(&folder.path().join("long"));
    fs::write(folder.path().join("mail"), pcap(&mail(), 1, Order::Little, true)).expect("written");
    let mut running = Running::start_in(folder, ["read", "--json", "long"].iter().chain(others));
    let asked = running.send(signal);
    let code = running.end(SOON);
    // Packets without a time are a warning.
    assert_eq!(code, i32::from(!running.file("err").is_empty()), "{}", running.file("err"));
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(seen(&running), (Some(packets as u64), 1), "{}", running.file("err"));
    running
}

#[test]
fn blocks_without_packets_can_be_interrupted() {
    let untimed = is_interrupted(blocks, &[], Signal::SIGTERM, mail().len());
    assert!(untimed.file("err").contains("without a capture time"), "{}", untimed.file("err"));
}

#[test]
fn blocks_without_packets_can_be_interrupted_beside_another_capture() {
    // The other one's last packet waits for its turn: the next one of this capture may be earlier.
    is_interrupted(blocks, &["mail"], Signal::SIGINT, 2 * mail().len() - 1);
}

/// Which of several captures begins first is looked up before anything is read.
#[test]
fn blocks_before_the_first_packet_can_be_interrupted() {
    let before = |path: &Path| {
        blocks(path);
        let mut file = File::options().write(true).open(path).expect("a file");
        // A section and its interface, and in place of the packets a block to be skipped.
        let whole = pcapng(&mail(), 1, Order::Little).len();
        let mut head = PcapNg::new(Order::Little);
        head.interface(1, 9, 0);
        let mut head = head.into_bytes();
        let gap = whole - head.len();
        head.extend([BLOCK_TYPES[0], gap as u32].map(u32::to_le_bytes).concat());
        head.resize(whole - 4, 0);
        head.extend((gap as u32).to_le_bytes());
        file.write_all(&head).expect("written");
    };
    is_interrupted(before, &["mail"], Signal::SIGTERM, 0);
}

#[test]
fn frames_that_are_skipped_can_be_interrupted() {
    let running = is_interrupted(skipped_frames, &[], Signal::SIGTERM, mail().len());
    assert_eq!(running.file("err"), "");
}

#[test]
fn empty_members_can_be_interrupted() {
    let running = is_interrupted(empty_members, &[], Signal::SIGINT, mail().len());
    assert_eq!(running.file("err"), "");
}

/// Where nothing was handed out yet, either: not even the beginning of the capture.
#[test]
fn frames_before_the_capture_can_be_interrupted() {
    let before = |path: &Path| {
        skipped_frames(path);
        // What is packed becomes a frame to be skipped.
        let capture = zstd::encode_all(&pcap(&mail(), 1, Order::Little, true)[..], 1).expect("packed");
        let frame = [0x184d_2a50, capture.len() as u32 - 8].map(u32::to_le_bytes).concat();
        File::options().write(true).open(path).expect("a file").write_all(&frame).expect("written");
    };
    for (others, packets) in [(&[][..], 0), (&["mail"], 0)] {
        let running = is_interrupted(before, others, Signal::SIGTERM, packets);
        assert_eq!(running.file("err"), "");
    }
}

#[test]
fn a_summary_on_request_comes_between_blocks_without_packets() {
    let folder = TempDir::new().expect("a folder");
    blocks(&folder.path().join("long"));
    let mut running = Running::start_in(folder, ["read", "long"]);
    for wanted in 1..=2 {
        let asked = running.send(Signal::SIGUSR1);
        wait_for("a summary", || summaries(&running.file("out")) == wanted);
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    }
    running.send(Signal::SIGINT);
    // Packets without a time are a warning.
    assert_eq!((running.end(SOON), summaries(&running.file("out"))), (1, 3));
}

/// Nothing is lost where somebody has its turn in between.
#[test]
fn captures_without_packets_are_read_to_the_end() {
    let folder = TempDir::new().expect("a folder");
    let mut padded = PcapNg::new(Order::Big);
    padded.interface(1, 9, 0);
    (0..200).for_each(|_| padded.block(0x0bad, &[0; 32 << 10]));
    mail().iter().for_each(|packet| padded.packet(0, packet.time_ns, &packet.bytes));
    fs::write(folder.path().join("padded"), padded.into_bytes()).expect("written");
    let names: Vec<String> = (0..1_000).map(|number| format!("empty{number}")).collect();
    for name in &names {
        fs::write(folder.path().join(name), pcap(&[], 1, Order::Little, true)).expect("written");
    }
    let mut command = command(["read", "--json", "padded"]);
    let output = command.args(&names).current_dir(folder.path()).output().expect("tmap runs");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains(&format!("\"seen\":{}", mail().len())), "{out}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
