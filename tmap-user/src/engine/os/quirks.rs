//! Properties of handshake headers that stacks differ in, as p0f 3 names them (README, section 5).

use tmap_common::{Flags, Segment, Syn};

/// A set of quirks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quirks(u32);

impl Quirks {
    /// IPv4: don't fragment.
    pub const DONT_FRAGMENT: Self = Self(1);
    /// IPv4: an identification other than 0 though the packet can't be fragmented.
    pub const ID_WITH_DF: Self = Self(1 << 1);
    /// IPv4: an identification of 0 though the packet may be fragmented.
    pub const NO_ID_WITHOUT_DF: Self = Self(1 << 2);
    /// Explicit congestion notification, in IP (RFC 3168, section 5) or TCP (section 6.1).
    pub const ECN: Self = Self(1 << 3);
    /// IPv4: the reserved flag is set.
    pub const RESERVED: Self = Self(1 << 4);
    /// IPv6: a flow label.
    pub const FLOW_LABEL: Self = Self(1 << 5);
    /// The sequence number is 0.
    pub const SEQUENCE_ZERO: Self = Self(1 << 6);
    /// An acknowledgement number without the ACK flag.
    pub const ACK_WITHOUT_FLAG: Self = Self(1 << 7);
    /// The ACK flag with an acknowledgement number of 0.
    pub const ACK_ZERO: Self = Self(1 << 8);
    /// An urgent pointer without the URG flag.
    pub const URGENT_WITHOUT_FLAG: Self = Self(1 << 9);
    /// The URG flag.
    pub const URG: Self = Self(1 << 10);
    /// The PSH flag.
    pub const PSH: Self = Self(1 << 11);
    /// The TSval is 0.
    pub const OWN_STAMP_ZERO: Self = Self(1 << 12);
    /// A TSecr other than 0 in a SYN, which has nothing to echo.
    pub const PEER_STAMP: Self = Self(1 << 13);
    /// Something other than 0 behind the end of the option list.
    pub const TRAILING: Self = Self(1 << 14);
    /// A window scale beyond 14 (RFC 7323, section 2.3).
    pub const EXCESSIVE_SCALE: Self = Self(1 << 15);

    /// The quirks that only IPv4 can show.
    pub const ONLY_IP4: Self =
        Self::DONT_FRAGMENT.with(Self::ID_WITH_DF).with(Self::NO_ID_WITHOUT_DF).with(Self::RESERVED);

    /// The quirks of a handshake segment.
    pub fn of(segment: &Segment, syn: &Syn) -> Self {
        let fields = &syn.quirk_fields;
        let flag = |flag: Flags| segment.flags.intersects(flag);
        let has = |bits: u8| fields.fragment_flags & bits != 0;
        let ip4 = segment.src.as_ip4().is_some();
        let dont_fragment = has(0x40);
        let scale = syn.window_scale;
        let congestion = fields.traffic_class & 0x03 != 0 || flag(Flags::ECE | Flags::CWR);
        [
            (Self::DONT_FRAGMENT, dont_fragment),
            (Self::ID_WITH_DF, dont_fragment && fields.id != 0),
            (Self::NO_ID_WITHOUT_DF, ip4 && !dont_fragment && fields.id == 0),
            (Self::ECN, congestion),
            (Self::RESERVED, has(0x80)),
            (Self::FLOW_LABEL, fields.flow_label != 0),
            (Self::SEQUENCE_ZERO, fields.sequence == 0),
            (Self::ACK_WITHOUT_FLAG, !flag(Flags::ACK) && fields.acknowledgement != 0),
            (Self::ACK_ZERO, flag(Flags::ACK) && fields.acknowledgement == 0),
            (Self::URGENT_WITHOUT_FLAG, !flag(Flags::URG) && fields.urgent != 0),
            (Self::URG, flag(Flags::URG)),
            (Self::PSH, flag(Flags::PSH)),
            (Self::OWN_STAMP_ZERO, segment.is_stamped() && segment.tsval == 0),
            (Self::PEER_STAMP, !flag(Flags::ACK) && segment.tsecr != 0),
            (Self::TRAILING, fields.trailing != 0),
            (Self::EXCESSIVE_SCALE, scale > 14 && scale != Syn::NO_SCALE),
        ]
        .into_iter()
        .filter(|(_, present)| *present)
        .fold(Self::default(), |quirks, (quirk, _)| quirks | quirk)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These except `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Quirks {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}
