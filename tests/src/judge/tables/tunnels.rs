//! Segments put into every encapsulation, against what the parser takes out.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Link, Segment, parse, tunnel::Kind};

use crate::wire::{
    frame::{IP4, IP6, packet},
    tunnel::{self, KINDS, Layer},
};

/// Segments a row.
const SEGMENTS: usize = 2_000;

/// TPIDs of VLAN tags: IEEE 802.1Q, 802.1ad, and what came before that.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// A row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// Frames made.
    pub made: usize,
    /// Frames in which a segment was found.
    pub found: usize,
    /// Those whose addresses, ports, flags and time stamps are the innermost segment's.
    pub innermost: usize,
    /// Those whose tunnel has the right kind and number; none where there is none.
    pub named: usize,
}

/// All rows.
pub fn measure() -> Vec<(String, Tunnels)> {
    let mut rows = vec![
        ("no tunnel".to_owned(), row(|_, inside| Some((inside.clone(), None)))),
        ("VLAN, one or two tags".to_owned(), row(|rng, inside| Some((tagged(rng, inside), None)))),
    ];
    for kind in KINDS {
        rows.push((format!("tunnel {}", kind.name()), row(|rng, inside| once(rng, kind, inside))));
        let name = format!("tunnel {} in another", kind.name());
        rows.push((name, row(|rng, inside| twice(rng, kind, inside))));
    }
    rows
}

/// A packet with the tunnel that it should be said to be in: kind and number.
type Wrapped = (Layer, Option<(Kind, u32)>);

fn row(mut wrap: impl FnMut(&mut Pcg64, &Layer) -> Option<Wrapped>) -> Tunnels {
    let mut rng = Pcg64::seed_from_u64(11);
    let mut figures = Tunnels::default();
    while figures.made < SEGMENTS {
        let plain = tunnel::segment(&mut rng);
        let Some((packet, expected)) = wrap(&mut rng, &packet(&plain)) else { continue };
        figures.made += 1;
        let frame = tunnel::ethernet(&packet);
        let Ok(found) = parse(&frame[..], Link::Ethernet, true) else { continue };
        figures.found += 1;
        figures.innermost += usize::from(Segment { tunnel: None, ..found } == plain);
        figures.named += usize::from(found.tunnel.map(|tunnel| (tunnel.kind, tunnel.id)) == expected);
    }
    figures
}

fn tagged(rng: &mut Pcg64, inside: &Layer) -> Layer {
    let mut packet = inside.clone();
    for _ in 0..rng.random_range(1..=2) {
        let (ethertype, bytes) = packet;
        let tag: u16 = rng.random_range(1..4095);
        packet = (
            TAGS[rng.random_range(0..TAGS.len())],
            [&tag.to_be_bytes()[..], &ethertype.to_be_bytes(), &bytes].concat(),
        );
    }
    packet
}

fn once(rng: &mut Pcg64, kind: Kind, inside: &Layer) -> Option<Wrapped> {
    let number = rng.random_range(tunnel::ids(kind));
    Some((tunnel::wrap(rng, kind, number, inside)?, Some((kind, number))))
}

/// In a tunnel of `kind`, and that in one of another. The innermost over IP is to be named, or what is
/// below IP where there is none.
fn twice(rng: &mut Pcg64, kind: Kind, inside: &Layer) -> Option<Wrapped> {
    let (packet, inner) = once(rng, kind, inside)?;
    let is_over_ip = matches!(packet.0, IP4 | IP6);
    let around = KINDS[rng.random_range(0..KINDS.len())];
    let (packet, outer) = once(rng, around, &packet)?;
    // Of labels the innermost is named.
    Some((packet, if is_over_ip || around == kind { inner } else { outer }))
}
