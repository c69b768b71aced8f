//! What holds for any bytes, and for any segment.

use proptest::prelude::*;
use tmap_common::{Address, Flags, Link, QuirkFields, Segment, Syn, fast, parse, parse::walk, tcp::kind};

const LINKS: [Link; 5] = [Link::Ethernet, Link::Ip, Link::LinuxCooked, Link::LinuxCooked2, Link::BsdLoopback];

/// The bytes of `segment` in an Ethernet frame with `tags` VLAN tags.
fn frame(segment: &Segment, tags: usize) -> Vec<u8> {
    frame_with(segment, tags, 0)
}

/// The bytes of `segment`, with `tags` VLAN tags and `blocks` blocks of SACK behind Timestamps.
fn frame_with(segment: &Segment, tags: usize, blocks: u8) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..tags {
        frame.extend([0x81, 0x00, 0x00, 0x07]);
    }
    let mut options = Vec::new();
    if let Some(syn) = segment.syn {
        options.extend([kind::MSS, 4]);
        options.extend(syn.mss.to_be_bytes());
        options.extend([kind::WINDOW_SCALE, 3, syn.window_scale, kind::NOP]);
    }
    options.extend([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]);
    options.extend(segment.tsval.to_be_bytes());
    options.extend(segment.tsecr.to_be_bytes());
    if blocks > 0 {
        options.extend([kind::NOP, kind::NOP, 5, 2 + 8 * blocks]);
        options.resize(options.len() + 8 * usize::from(blocks), 0xa5);
    }
    let tcp_bytes = 20 + options.len();
    let total_bytes = (tcp_bytes + segment.payload_bytes as usize) as u16;
    match (segment.src.as_ip4(), segment.dst.as_ip4()) {
        (Some(src), Some(dst)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((total_bytes + 20).to_be_bytes());
            frame.extend([0, 0, 0, 0, segment.hop_limit, 6, 0, 0]);
            frame.extend(src);
            frame.extend(dst);
        }
        _ => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(total_bytes.to_be_bytes());
            frame.extend([6, segment.hop_limit]);
            frame.extend(segment.src.octets());
            frame.extend(segment.dst.octets());
        }
    }
    frame.extend(segment.src_port.to_be_bytes());
    frame.extend(segment.dst_port.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend([((tcp_bytes / 4) << 4) as u8, segment.flags.0]);
    frame.extend(segment.syn.map_or(0, |syn| syn.window).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(options);
    frame.resize(frame.len() + segment.payload_bytes as usize, 0);
    frame
}

fn addresses() -> impl Strategy<Value = (Address, Address)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (Address::from_ip4(a), Address::from_ip4(b))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (Address::from_ip6(a), Address::from_ip6(b))),
    ]
}

prop_compose! {
    fn segments()(
        (src, dst) in addresses(), src_port: u16, dst_port: u16, flags: u8, hop_limit: u8,
        payload_bytes in prop_oneof![Just(0_u32), 0..2_000_u32], tsval: u32, tsecr: u32, window: u16,
        mss: u16, window_scale: u8,
    ) -> Segment {
        // MSS, window scale, NOP, NOP, NOP, Timestamps.
        let quirk_fields = QuirkFields { tcp_header_bytes: 40, ..QuirkFields::default() };
        let syn = Syn { window, mss, window_scale, option_order: 0x81_1132, other_kind: 0, quirk_fields };
        let flags = Flags(flags);
        Segment {
            src, dst, src_port, dst_port, flags, has_payload: payload_bytes > 0, payload_bytes, hop_limit,
            tsval, tsecr,
            syn: flags.intersects(Flags::SYN).then_some(syn),
            tunnel: None,
        }
    }
}

proptest! {
    #[test]
    fn what_is_built_is_parsed_back(segment in segments(), tags in 0..=2_usize) {
        prop_assert_eq!(parse(&frame(&segment, tags)[..], Link::Ethernet, true), Ok(segment));
    }

    /// The recommended options, and perhaps SACK; one byte changed, and perhaps the end cut off.
    #[test]
    fn the_fast_path_says_what_the_slow_path_says(
        segment in segments(), tags in 0..=2_usize, blocks in 0..=3_u8,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        keep in prop::option::of(any::<prop::sample::Index>()),
        decap: bool,
    ) {
        let flags = Flags(segment.flags.0 & !Flags::SYN.0);
        let mut bytes = frame_with(&Segment { flags, syn: None, ..segment }, tags, blocks);
        prop_assert_eq!(fast::parse(&bytes[..], Link::Ethernet, decap).is_some(), tags < 2);
        if let Some((at, byte)) = damage {
            let at = 12 + at.index(bytes.len() - 12);
            bytes[at] = byte;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len() + 1));
        }
        for link in LINKS {
            for bytes in [&bytes[..], bytes.get(14..).unwrap_or_default()] {
                if let Some(outcome) = fast::parse(bytes, link, decap) {
                    prop_assert_eq!(outcome, walk(bytes, link, decap), "{:02x?}", bytes);
                }
            }
        }
    }

    #[test]
    fn any_bytes_parse_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for link in LINKS {
            let _ = parse(&bytes[..], link, true);
        }
    }

    /// Random bytes rarely get past the first layer: change a few of a good frame instead.
    #[test]
    fn damaged_frames_parse_without_panic(
        segment in segments(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame(&segment, 1);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        for link in LINKS {
            let _ = parse(&bytes[..], link, true);
        }
    }
}
