//! [`SideKey`]: what tells connection sides apart, the tunnel included.

use std::{hash::BuildHasher as _, sync::LazyLock};

use foldhash::quality::RandomState;
use tmap_common::{Segment, Tunnel, tunnel::Kind};

use crate::engine::types::FlowKey;

/// The tunnel over IP around a segment as a number; 0 outside of such tunnels. Both directions of a tunnel
/// have one number. Whoever can reach the end of a tunnel can send segments of any address into it. So what
/// comes in a tunnel belongs to connections in that tunnel, and changes no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Passage(u64);

/// Random for each run, so that nobody outside can choose tunnels with one number.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

impl Passage {
    /// No tunnel, or one that doesn't run over IP.
    pub(super) const NONE: Self = Self(0);

    /// That of a segment.
    #[inline(always)]
    pub(super) fn of(segment: &Segment) -> Self {
        match &segment.tunnel {
            None => Self::NONE,
            Some(tunnel) => Self::of_tunnel(tunnel),
        }
    }

    #[inline(never)]
    fn of_tunnel(tunnel: &Tunnel) -> Self {
        if !tunnel.is_over_ip {
            return Self::NONE;
        }
        let id = if has_one_id(tunnel.kind) { tunnel.id } else { 0 };
        let (src, dst) = (tunnel.src, tunnel.dst);
        Self(HASHER.hash_one((tunnel.kind, id, src.min(dst), src.max(dst))) | 1)
    }

    /// The number.
    #[inline(always)]
    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

/// Whether both directions of a tunnel have one id. Elsewhere each end chooses its own.
const fn has_one_id(kind: Kind) -> bool {
    !matches!(kind, Kind::GTP_U | Kind::L2TP | Kind::PPTP | Kind::ERSPAN)
}

/// A connection side, in its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SideKey {
    /// Its addresses and ports.
    pub flow: FlowKey,
    /// Its tunnel.
    pub passage: Passage,
}

impl SideKey {
    /// The side that `segment` belongs to.
    pub(super) fn of(segment: &Segment) -> Self {
        Self { flow: FlowKey::of(segment), passage: Passage::of(segment) }
    }

    /// The opposite side of the connection.
    pub(super) fn reversed(&self) -> Self {
        Self { flow: self.flow.reversed(), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::Address;

    const ENDS: [Address; 2] = [Address::from_ip4([192, 0, 2, 1]), Address::from_ip4([192, 0, 2, 2])];

    fn passage(kind: Kind, id: u32, [src, dst]: [Address; 2]) -> Passage {
        Passage::of_tunnel(&Tunnel { kind, id, is_over_ip: true, src, dst })
    }

    #[test]
    fn both_directions_of_a_tunnel_have_one_number() {
        let back = [ENDS[1], ENDS[0]];
        assert_eq!(passage(Kind::VXLAN, 7, ENDS), passage(Kind::VXLAN, 7, back));
        assert_eq!(passage(Kind::GTP_U, 7, ENDS), passage(Kind::GTP_U, 8, back), "each end has its TEID");
    }

    #[test]
    fn tunnels_differ_by_kind_id_and_ends() {
        let one = passage(Kind::VXLAN, 7, ENDS);
        let other_ends = [ENDS[0], Address::from_ip4([192, 0, 2, 3])];
        for other in [
            passage(Kind::GENEVE, 7, ENDS),
            passage(Kind::VXLAN, 8, ENDS),
            passage(Kind::VXLAN, 7, other_ends),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(one, Passage::NONE);
    }

    #[test]
    fn a_label_switched_path_is_no_passage() {
        let nowhere = Address::from_words([0, 0]);
        let path = Tunnel { kind: Kind::MPLS, id: 7, is_over_ip: false, src: nowhere, dst: nowhere };
        assert_eq!(Passage::of_tunnel(&path), Passage::NONE);
        assert_ne!(passage(Kind::IP, 0, [nowhere; 2]), Passage::NONE, "whoever forges may send from nowhere");
    }
}
