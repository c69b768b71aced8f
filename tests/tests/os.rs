//! Handshake signatures: tmap and p0f write the same ones for the same packets.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::{
    capture::file::{Capture, Source},
    engine::os::{database::Database, signature::Fingerprint},
};
use tmap_common::parse;
use tmap_tests::pcap::{Order, Packet, pcap};

const P0F: &str = "/usr/sbin/p0f";
const P0F_DATABASE: &str = "/etc/p0f/p0f.fp";
const CAPTURES: &str = "../../shared/captures";

/// Signatures with how often each occurs.
type Signatures = BTreeMap<String, usize>;

fn by_tmap(file: &Path) -> Signatures {
    let (reader, _) = Source::new(file).open().unwrap();
    let mut capture = Capture::new(reader).unwrap();
    let mut signatures = Signatures::new();
    while let Ok(Some(frame)) = capture.next_frame() {
        let Ok(link) = frame.link else { continue };
        if let Ok(segment) = parse(frame.bytes, link, true)
            && let Some(fingerprint) = Fingerprint::of(&segment)
        {
            *signatures.entry(fingerprint.to_string()).or_default() += 1;
        }
    }
    signatures
}

/// What p0f says, of SYNs and of those SYN-ACKs that have timestamps.
fn by_p0f(file: &Path, scratch: &Path) -> Signatures {
    let log = scratch.join("p0f.log");
    let _ = fs::remove_file(&log);
    let output = Command::new(P0F).arg("-r").arg(file).arg("-o").arg(&log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mut signatures = Signatures::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let Some((_, signature)) = line.split_once("|raw_sig=") else { continue };
        let options = signature.split(':').nth(5).unwrap_or_default();
        let is_stamped = options.split(',').any(|option| option == "ts");
        if line.contains("] mod=syn|") || line.contains("] mod=syn+ack|") && is_stamped {
            *signatures.entry(signature.to_owned()).or_default() += 1;
        }
    }
    signatures
}

fn has_p0f() -> bool {
    let there = Path::new(P0F).exists();
    if !there {
        println!("p0f isn't installed: not compared");
    }
    there
}

#[test]
fn signatures_equal_p0fs_on_made_handshakes() {
    if !has_p0f() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("made.pcap");
    let mut rng = Pcg64::seed_from_u64(4);
    let packets: Vec<Packet> = (0..2000)
        .map(|index| Packet {
            time_ns: (1_700_000_000_000 + index) * 1_000_000,
            bytes: syn(&mut rng, index as u32),
        })
        .collect();
    fs::write(&file, pcap(&packets, 1, Order::Little, false)).unwrap();
    let (own, theirs) = (by_tmap(&file), by_p0f(&file, scratch.path()));
    assert!(theirs.values().sum::<usize>() > 1500, "{theirs:?}");
    let only = |a: &Signatures, b: &Signatures| -> Vec<String> {
        a.keys().filter(|signature| a.get(*signature) != b.get(*signature)).take(8).cloned().collect()
    };
    assert_eq!(only(&own, &theirs), only(&theirs, &own), "first differences, tmap's and p0f's");
}

/// A SYN from a host of its own, with whatever a stack may get up to.
fn syn(rng: &mut impl Rng, host: u32) -> Vec<u8> {
    let ip6 = rng.random_ratio(1, 3);
    let one_in = |rng: &mut dyn Rng, n: u32| rng.random_ratio(1, n);
    let mss: u16 = *pick(rng, &[1460, 1440, 1400, 1380, 8960, 536, 1220]);
    let options = options(rng, mss);
    let window = match rng.random_range(0..5) {
        0 => mss.wrapping_mul(rng.random_range(1..7)),
        1 => (mss - 12).wrapping_mul(rng.random_range(1..7)),
        2 => (mss + 40).wrapping_mul(rng.random_range(1..7)),
        3 => *pick(rng, &[65535, 32768, 16384, 1500 * 4, 5840, 1448 * 3, 1]),
        _ => rng.random(),
    };
    let mut flags = 0x02;
    for (flag, n) in [(0x08, 9), (0x20, 9), (0x40, 9), (0x80, 9)] {
        flags |= if one_in(rng, n) { flag } else { 0 };
    }
    let number =
        |rng: &mut dyn Rng, zero_in: u32| if one_in(rng, zero_in) { 0 } else { rng.random::<u32>() | 1 };
    let mut tcp = Vec::new();
    tcp.extend((1024 + (host % 60000) as u16).to_be_bytes());
    tcp.extend(80u16.to_be_bytes());
    tcp.extend(number(rng, 9).to_be_bytes());
    // p0f 3.09b notices an acknowledgement number without its flag only every other time.
    tcp.extend([0; 4]);
    tcp.extend([(5 + options.len() as u8 / 4) << 4, flags]);
    tcp.extend(window.to_be_bytes());
    tcp.extend([0; 2]);
    let urgent: u16 = if one_in(rng, 9) { rng.random() } else { 0 };
    tcp.extend(urgent.to_be_bytes());
    tcp.extend(options);
    if one_in(rng, 9) {
        tcp.extend(b"hello");
    }
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(if ip6 { ip6_packet(rng, host, &tcp) } else { ip4_packet(rng, host, &tcp) });
    frame
}

fn pick<'a, T>(rng: &mut (impl Rng + ?Sized), all: &'a [T]) -> &'a T {
    &all[rng.random_range(0..all.len())]
}

/// Options in any order, Timestamps among them, padded in one of the usual ways.
fn options(rng: &mut impl Rng, mss: u16) -> Vec<u8> {
    let stamp = |rng: &mut dyn Rng, zero_in: u32| {
        if rng.random_ratio(1, zero_in) { 0 } else { rng.random::<u32>() }.to_be_bytes()
    };
    let own = stamp(rng, 9);
    let peers = if rng.random_ratio(1, 9) { rng.random::<u32>() } else { 0 }.to_be_bytes();
    let mut parts = vec![
        [&[8, 10][..], &own, &peers].concat(),
        [&[2, 4][..], &mss.to_be_bytes()].concat(),
        vec![3, 3, rng.random_range(0..18)],
        vec![4, 2],
        vec![34, 4, 7, 7],
    ];
    parts.truncate(rng.random_range(2..6));
    let mut bytes = Vec::new();
    while !parts.is_empty() {
        bytes.extend([1, 1, 1].iter().take(rng.random_range(0..3)));
        bytes.extend(parts.swap_remove(rng.random_range(0..parts.len())));
    }
    if !bytes.len().is_multiple_of(4) || rng.random_ratio(1, 5) {
        bytes.push(0);
        // p0f 3.09b doesn't look at the last byte.
        while bytes.len() % 4 < 3 {
            bytes.push(if rng.random_ratio(1, 9) { 0xee } else { 0 });
        }
        bytes.push(0);
    }
    bytes
}

fn ip4_packet(rng: &mut impl Rng, host: u32, tcp: &[u8]) -> Vec<u8> {
    let total = (20 + tcp.len() as u16).to_be_bytes();
    let id: u16 = if rng.random_ratio(1, 3) { 0 } else { rng.random() };
    let fragment: u8 = *pick(rng, &[0, 0x40, 0x40, 0x40, 0x80, 0xc0]);
    let tos: u8 = *pick(rng, &[0, 0, 0, 1, 2, 3, 0x10, 0x28]);
    let mut packet = vec![0x08, 0x00, 0x45, tos, total[0], total[1]];
    packet.extend(id.to_be_bytes());
    packet.extend([fragment, 0, rng.random_range(1..=255), 6, 0, 0]);
    packet.extend((0x0a00_0000 | host).to_be_bytes());
    packet.extend([192, 0, 2, 1]);
    packet.extend(tcp);
    packet
}

fn ip6_packet(rng: &mut impl Rng, host: u32, tcp: &[u8]) -> Vec<u8> {
    let class: u32 = *pick(rng, &[0, 0, 1, 2, 3, 0x28]);
    let label: u32 = if rng.random() { rng.random_range(0..1 << 20) } else { 0 };
    let mut packet = vec![0x86, 0xdd];
    packet.extend((6 << 28 | class << 20 | label).to_be_bytes());
    packet.extend((tcp.len() as u16).to_be_bytes());
    packet.extend([6, rng.random_range(1..=255)]);
    packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
    packet.extend(host.to_be_bytes());
    packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(tcp);
    packet
}

#[test]
fn signatures_equal_p0fs_on_captures() {
    let Ok(folder) = fs::read_dir(Path::new(CAPTURES).join("real")) else {
        println!("{CAPTURES} isn't there: not compared");
        return;
    };
    if !has_p0f() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for file in folder.map(|entry| entry.unwrap().path()) {
        let own = by_tmap(&file);
        // p0f wants the SYN before the SYN-ACK, and gives up flows that misbehave: it sees fewer.
        for (signature, times) in by_p0f(&file, scratch.path()) {
            let found = own.get(&signature).copied().unwrap_or_default();
            assert!(found >= times, "{}: p0f has {signature} {times} times, tmap {found}", file.display());
            compared += times;
        }
    }
    println!("{compared} handshakes compared");
}

#[test]
fn p0fs_database_can_be_read() {
    let Ok(text) = fs::read_to_string(P0F_DATABASE) else {
        println!("{P0F_DATABASE} isn't installed: not read");
        return;
    };
    let signatures = text.lines().skip_while(|line| !line.starts_with("[tcp:request]"));
    let signatures = signatures.take_while(|line| !line.starts_with("[http"));
    let expected = signatures.filter(|line| line.starts_with("sig") && !line.contains("bad")).count();
    let database: Database = text.parse().unwrap();
    assert_eq!(database.len(), expected);
}
