//! Segments in tunnels, and tshark's opinion of them and of all captures.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::capture::file::{Capture, Source};
use tmap_common::{
    Link, Segment, Skip, parse,
    tunnel::{Kind, MAX_TUNNELS},
};
use tmap_tests::{
    encapsulate::{KINDS, ethernet, layer, segment, wrap},
    pcap::{Order, Packet, pcap},
};

const CAPTURES: &str = "../../shared/captures";

#[test]
fn every_tunnel_in_every_other_gives_back_the_segment() {
    let mut rng = Pcg64::seed_from_u64(7);
    let mut depths = [0; MAX_TUNNELS + 2];
    for _ in 0..20_000 {
        let plain = segment(&mut rng);
        let mut packet = layer(&plain);
        let mut expected = None;
        let depth = rng.random_range(1..=MAX_TUNNELS + 1);
        let mut over_ip = 0;
        for _ in 0..depth {
            let kind = KINDS[rng.random_range(0..KINDS.len())];
            let id = match kind {
                Kind::IP => 0,
                Kind::PPPOE => rng.random_range(1..1 << 16),
                Kind::MPLS => rng.random_range(16..1 << 20),
                Kind::VXLAN | Kind::GENEVE => rng.random_range(0..1 << 24),
                _ => rng.random(),
            };
            let Some(wrapped) = wrap(&mut rng, kind, id, &packet) else { continue };
            packet = wrapped;
            let is_over_ip = !matches!(kind, Kind::MPLS | Kind::PPPOE);
            over_ip += usize::from(is_over_ip);
            // The innermost over IP, or what is below IP where there is none.
            let replaces = match expected {
                None => true,
                Some((Kind::MPLS | Kind::PPPOE, _)) => true,
                Some(_) => false,
            };
            if replaces && (is_over_ip || over_ip == 0) {
                expected = Some((kind, id));
            }
        }
        let bytes = ethernet(&packet);
        let parsed = parse(&bytes[..], Link::Ethernet, true);
        depths[over_ip] += 1;
        if over_ip > MAX_TUNNELS {
            assert_eq!(parsed, Err(Skip::TunnelTooDeep), "{bytes:02x?}");
            continue;
        }
        let found = parsed.unwrap_or_else(|skip| panic!("{skip}, {expected:?}: {bytes:02x?}"));
        assert_eq!(Segment { tunnel: None, ..found }, plain, "{bytes:02x?}");
        let tunnel = found.tunnel.expect("it is in one");
        assert_eq!(Some((tunnel.kind, tunnel.id)), expected, "{bytes:02x?}");
        assert_eq!(tunnel.src.octets() == [0; 16], over_ip == 0, "{bytes:02x?}");
        assert!(matches!(parse(&bytes[..], Link::Ethernet, false), Err(Skip::NotTcp | Skip::NotIp)));
    }
    assert!(depths.iter().all(|count| *count > 300), "{depths:?}");
}

/// TSval and TSecr by frame number, from 1.
type Stamps = BTreeMap<u64, (u32, u32)>;

fn by_tmap(file: &Path) -> Stamps {
    let (reader, _) = Source::new(file).open().unwrap();
    let mut capture = Capture::new(reader).unwrap();
    let mut stamps = Stamps::new();
    let mut number = 0;
    while let Ok(Some(frame)) = capture.next_frame() {
        number += 1;
        let Ok(link) = frame.link else { continue };
        if let Ok(segment) = parse(frame.bytes, link, true)
            && segment.is_stamped()
        {
            stamps.insert(number, (segment.tsval, segment.tsecr));
        }
    }
    stamps
}

/// What tshark reads; packets quoted in ICMP errors aren't on their way, so they don't count.
fn by_tshark(file: &Path) -> Stamps {
    let output = Command::new("tshark")
        .args(["-n", "-Y", "tcp.options.timestamp.tsval and not icmp and not icmpv6", "-T", "fields"])
        .args([
            "-e",
            "frame.number",
            "-e",
            "tcp.options.timestamp.tsval",
            "-e",
            "tcp.options.timestamp.tsecr",
        ])
        .args(["-E", "occurrence=l", "-r"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let numbers: Vec<u64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
        (numbers[0], (numbers[1] as u32, numbers[2] as u32))
    };
    String::from_utf8(output.stdout).unwrap().lines().map(line).collect()
}

fn has_tshark() -> bool {
    let there = Command::new("tshark").arg("--version").output().is_ok();
    if !there {
        println!("tshark isn't installed: not compared");
    }
    there
}

fn compare(file: &Path) -> usize {
    let (own, theirs) = (by_tmap(file), by_tshark(file));
    let differing: Vec<_> = own
        .keys()
        .chain(theirs.keys())
        .filter(|number| own.get(number) != theirs.get(number))
        .map(|number| (number, own.get(number), theirs.get(number)))
        .take(8)
        .collect();
    assert!(differing.is_empty(), "{}: frame, tmap, tshark: {differing:?}", file.display());
    own.len()
}

#[test]
fn tshark_agrees_on_made_tunnels() {
    if !has_tshark() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut rng = Pcg64::seed_from_u64(8);
    for kind in KINDS {
        let packets: Vec<Packet> = (0..300)
            .map(|index| {
                let inside = layer(&segment(&mut rng));
                let id = rng.random_range(16..1 << 16);
                let mut packet = wrap(&mut rng, kind, id, &inside).unwrap();
                if index % 3 == 0
                    && let Some(deeper) = wrap(&mut rng, Kind::VXLAN, 5, &packet)
                {
                    packet = deeper;
                }
                Packet { time_ns: (1_700_000_000_000 + index) * 1_000_000, bytes: ethernet(&packet) }
            })
            .collect();
        let file = scratch.path().join(format!("{}.pcap", kind.name()));
        fs::write(&file, pcap(&packets, 1, Order::Little, true)).unwrap();
        assert_eq!(compare(&file), packets.len(), "{}", kind.name());
    }
}

#[test]
fn tshark_agrees_on_captures() {
    if !has_tshark() {
        return;
    }
    let mut segments = 0;
    for folder in ["real", "lab"] {
        let Ok(files) = fs::read_dir(Path::new(CAPTURES).join(folder)) else {
            println!("{CAPTURES}/{folder} isn't there: not compared");
            return;
        };
        for file in files.map(|entry| entry.unwrap().path()) {
            segments += compare(&file);
        }
    }
    println!("{segments} segments compared");
}
