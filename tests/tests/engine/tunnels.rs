//! Segments in tunnels, and what tshark reads in them and in captures.

use std::fs;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{
    Link, Segment, Skip, parse,
    tunnel::{Kind, MAX_TUNNELS},
};
use tmap_tests::{
    captures,
    judge::tshark,
    wire::{
        capture::{Order, Packet, pcap},
        frame::packet,
        tunnel::{KINDS, ethernet, segment, wrap},
    },
};

#[test]
fn every_tunnel_in_every_other_gives_back_the_segment() {
    let mut rng = Pcg64::seed_from_u64(7);
    let mut depths = [0; MAX_TUNNELS + 2];
    for _ in 0..20_000 {
        let plain = segment(&mut rng);
        let mut wrapped = packet(&plain);
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
            let Some(deeper) = wrap(&mut rng, kind, id, &wrapped) else { continue };
            wrapped = deeper;
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
        let bytes = ethernet(&wrapped);
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

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_made_tunnels() {
    let scratch = tempfile::tempdir().unwrap();
    let mut rng = Pcg64::seed_from_u64(8);
    for kind in KINDS {
        let packets: Vec<Packet> = (0..300)
            .map(|index| {
                let inside = packet(&segment(&mut rng));
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
        assert_eq!(tshark::compare_stamps(&file).unwrap(), packets.len(), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_captures_of_real_machines() {
    for path in captures::all() {
        let segments = tshark::compare_stamps(&path).unwrap();
        assert!(segments > 1000, "{}: {segments}", path.display());
    }
}
