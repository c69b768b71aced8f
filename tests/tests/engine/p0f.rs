//! Handshake signatures: tmap and p0f write the same ones for the same packets.
//!
//! All tests here need p0f, which not every distribution has. By this module's name `cargo xtask test`
//! leaves them out where there is none, and says so.

use std::fs;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::os::database::Database;
use tmap_tests::{
    captures,
    judge::p0f::{self, Signatures},
    wire::{
        capture::{Order, Packet, pcap},
        frame::{IP4, IP6, Ip4, Ip6, Tcp, documentation_ip6, ethernet},
    },
};

/// Where p0f's package puts its signatures.
const P0F_DATABASE: &str = "/etc/p0f/p0f.fp";

#[test]
#[ignore = "needs p0f: cargo xtask test"]
fn signatures_are_equal_on_made_handshakes() {
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
    let (own, theirs) = (p0f::own_signatures(&file).unwrap(), p0f::signatures(&file).unwrap());
    assert!(theirs.values().sum::<usize>() > 1500, "{theirs:?}");
    let only = |a: &Signatures, b: &Signatures| -> Vec<String> {
        a.keys().filter(|signature| a.get(*signature) != b.get(*signature)).take(8).cloned().collect()
    };
    assert_eq!(only(&own, &theirs), only(&theirs, &own), "first differences, tmap's and p0f's");
}

#[test]
#[ignore = "needs p0f: cargo xtask test"]
fn signatures_are_equal_on_captures_of_real_machines() {
    for path in captures::all() {
        let compared = p0f::compare_signatures(&path).unwrap();
        assert!(compared > 20, "{}: {compared} handshakes", path.display());
    }
}

#[test]
#[ignore = "needs p0f: cargo xtask test"]
fn its_database_can_be_read() {
    let text = fs::read_to_string(P0F_DATABASE).expect("it comes with p0f");
    let signatures = text.lines().skip_while(|line| !line.starts_with("[tcp:request]"));
    let signatures = signatures.take_while(|line| !line.starts_with("[http"));
    let expected = signatures.filter(|line| line.starts_with("sig") && !line.contains("bad")).count();
    let database: Database = text.parse().unwrap();
    assert_eq!(database.len(), expected);
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
    let urgent = if one_in(rng, 9) { rng.random() } else { 0 };
    let header = Tcp {
        src_port: 1024 + (host % 60000) as u16,
        dst_port: 80,
        sequence: number(rng, 9),
        // p0f 3.09b notices an acknowledgement number without its flag only every other time.
        acknowledgement: 0,
        flags,
        window,
        urgent,
        options: &options,
        ..Tcp::default()
    };
    let tcp = header.around(if one_in(rng, 9) { b"hello" } else { b"" });
    let (ethertype, packet) =
        if ip6 { (IP6, ip6_packet(rng, host, &tcp)) } else { (IP4, ip4_packet(rng, host, &tcp)) };
    ethernet(&[], ethertype, &packet)
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
        // p0f 3.09b ignores the last byte.
        while bytes.len() % 4 < 3 {
            bytes.push(if rng.random_ratio(1, 9) { 0xee } else { 0 });
        }
        bytes.push(0);
    }
    bytes
}

fn ip4_packet(rng: &mut impl Rng, host: u32, tcp: &[u8]) -> Vec<u8> {
    let header = Ip4 {
        id: if rng.random_ratio(1, 3) { 0 } else { rng.random() },
        fragment: *pick(rng, &[0, 0x4000, 0x4000, 0x4000, 0x8000, 0xc000]),
        traffic_class: *pick(rng, &[0, 0, 0, 1, 2, 3, 0x10, 0x28]),
        hop_limit: rng.random_range(1..=255),
        src: (0x0a00_0000 | host).to_be_bytes(),
        ..Ip4::default()
    };
    header.around(tcp)
}

fn ip6_packet(rng: &mut impl Rng, host: u32, tcp: &[u8]) -> Vec<u8> {
    let class: u32 = *pick(rng, &[0, 0, 1, 2, 3, 0x28]);
    let label: u32 = if rng.random() { rng.random_range(0..1 << 20) } else { 0 };
    let mut src = documentation_ip6(0, 0);
    src[12..].copy_from_slice(&host.to_be_bytes());
    let header = Ip6 {
        class_and_label: class << 20 | label,
        hop_limit: rng.random_range(1..=255),
        src,
        dst: documentation_ip6(1, 1),
        ..Ip6::default()
    };
    header.around(tcp)
}
