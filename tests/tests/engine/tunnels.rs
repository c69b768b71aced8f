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
        frame::{IP4, IP6, Ip4, packet},
        tunnel::{KINDS, Tag, ethernet, ids, segment, wrap},
    },
};

#[test]
fn every_tunnel_in_every_other_gives_back_the_segment() {
    let mut rng = Pcg64::seed_from_u64(7);
    let mut depths = [0; MAX_TUNNELS + 2];
    for _ in 0..20_000 {
        let plain = segment(&mut rng);
        let mut wrapped = packet(&plain);
        let (mut below, mut ends_in_ip) = (Vec::new(), false);
        let depth = rng.random_range(1..=MAX_TUNNELS + 1);
        let mut over_ip = 0;
        for _ in 0..depth {
            let kind = KINDS[rng.random_range(0..KINDS.len())];
            let id = rng.random_range(ids(kind));
            let Some(deeper) = wrap(&mut rng, kind, id, &wrapped) else { continue };
            wrapped = deeper;
            // MPLS and GRE run over more than one thing; what isn't over IP has an EtherType of its own.
            let is_over_ip = matches!(wrapped.0, IP4 | IP6);
            over_ip += usize::from(is_over_ip);
            if !ends_in_ip {
                below.push((kind, id));
                ends_in_ip = is_over_ip;
            }
        }
        // The innermost over IP, or else the outermost; of several of that kind the innermost's identifier.
        let expected = below.last().and_then(|(kind, _)| below.iter().find(|(other, _)| other == kind));
        for _ in 0..rng.random_range(0..3) {
            let tag = Tag::ALL[rng.random_range(0..Tag::ALL.len())];
            wrapped = tag.wrap(&mut rng, &wrapped);
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
        let tunnel = found.tunnel.map(|tunnel| (tunnel.kind, tunnel.id));
        assert_eq!(tunnel.as_ref(), expected, "{bytes:02x?}");
        assert_eq!(found.tunnel.is_some_and(|tunnel| tunnel.is_over_ip), over_ip > 0, "{bytes:02x?}");
        if tunnel.is_some() {
            let parsed = parse(&bytes[..], Link::Ethernet, false);
            assert!(matches!(parsed, Err(Skip::NotTcp | Skip::NotIp)), "{parsed:?}");
        }
    }
    assert!(depths.iter().all(|count| *count > 300), "{depths:?}");
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_made_tunnels() {
    let scratch = tempfile::tempdir().unwrap();
    let mut rng = Pcg64::seed_from_u64(8);
    for kind in KINDS {
        let mut packets = Vec::new();
        while packets.len() < 300 {
            let inside = packet(&segment(&mut rng));
            let (low, high) = ids(kind).into_inner();
            let id = rng.random_range(low.max(16.min(high))..=high.min(0xffff));
            let Some(mut packet) = wrap(&mut rng, kind, id, &inside) else { continue };
            // tshark knows FabricPath only right behind addresses, not behind the tags that there may be.
            if packets.len() % 3 == 0
                && kind != Kind::FABRICPATH
                && let Some(deeper) = wrap(&mut rng, Kind::VXLAN, 5, &packet)
            {
                packet = deeper;
            }
            let time_ns = (1_700_000_000_000 + packets.len() as u64) * 1_000_000;
            packets.push(Packet { time_ns, bytes: ethernet(&packet) });
        }
        let file = scratch.path().join(format!("{}.pcap", kind.name()));
        fs::write(&file, pcap(&packets, 1, Order::Little, true)).unwrap();
        assert_eq!(tshark::compare_stamps(&file).unwrap(), packets.len(), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_made_tags() {
    let scratch = tempfile::tempdir().unwrap();
    let mut rng = Pcg64::seed_from_u64(9);
    for tag in Tag::ALL {
        let mut packets = Vec::new();
        for index in 0..100 {
            let mut layer = packet(&segment(&mut rng));
            // Three VLAN tags; another tag before or behind one of VLAN, or alone. tshark doesn't know of
            // lengths behind all kinds of VLAN tags.
            if tag == Tag::Vlan || index % 3 == 1 {
                layer = Tag::Vlan.wrap(&mut rng, &layer);
            }
            layer = tag.wrap(&mut rng, &layer);
            if tag == Tag::Vlan || index % 3 == 2 && tag != Tag::Snap {
                layer = Tag::Vlan.wrap(&mut rng, &layer);
            }
            let bytes = ethernet(&layer);
            let parsed = parse(&bytes[..], Link::Ethernet, true);
            assert_eq!(parsed.map(|segment| segment.tunnel), Ok(None), "{tag:?}: {bytes:02x?}");
            packets.push(Packet { time_ns: 1_700_000_000_000_000_000 + index, bytes });
        }
        let file = scratch.path().join(format!("{tag:?}.pcap"));
        fs::write(&file, pcap(&packets, 1, Order::Little, true)).unwrap();
        assert_eq!(tshark::compare_stamps(&file).unwrap(), packets.len(), "{tag:?}");
    }
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_authentication_headers() {
    let scratch = tempfile::tempdir().unwrap();
    let mut rng = Pcg64::seed_from_u64(10);
    let mut packets = Vec::new();
    while packets.len() < 100 {
        let (ethertype, inside) = packet(&segment(&mut rng));
        // In transport mode the segment follows the header, in tunnel mode the packet.
        let is_tunnel: bool = rng.random();
        let (protocol, payload) = match (ethertype, is_tunnel) {
            (IP4, false) => (6, &inside[20..]),
            (IP4, true) => (4, &inside[..]),
            (_, true) => (41, &inside[..]),
            _ => continue,
        };
        // 12 bytes and a check value of 12 or 16 (RFC 4302).
        let words: u8 = rng.random_range(4..=5);
        let header = [&[protocol, words][..], &vec![0x5a; usize::from(words) * 4 + 6]].concat();
        let bytes = Ip4 { protocol: 51, ..Ip4::default() }.around(&[&header, payload].concat());
        let time_ns = 1_700_000_000_000_000_000 + packets.len() as u64;
        packets.push(Packet { time_ns, bytes: ethernet(&(IP4, bytes)) });
    }
    let file = scratch.path().join("ah.pcap");
    fs::write(&file, pcap(&packets, 1, Order::Little, true)).unwrap();
    assert_eq!(tshark::compare_stamps(&file).unwrap(), packets.len());
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_captures_of_real_machines() {
    for path in captures::all() {
        let segments = tshark::compare_stamps(&path).unwrap();
        assert!(segments > 1000, "{}: {segments}", path.display());
        let sides = tshark::compare_connections(&path).unwrap();
        assert!(sides >= 2, "{}: {sides}", path.display());
    }
}
