//! The filter as a tree, and its meaning: the definition that the compiler is tested against.

use std::ops::RangeInclusive;

use tmap_common::{Address, Segment};

/// A filter expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// One question about one field.
    Is(Primitive),
    /// The opposite.
    Not(Box<Expr>),
    /// Both.
    And(Box<Expr>, Box<Expr>),
    /// Either.
    Or(Box<Expr>, Box<Expr>),
}

/// A question about one field of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// Always holds: `tcp`, as every segment is.
    Any,
    /// The address at this end lies in the net.
    Net(End, Net),
    /// The port at this end lies in the range.
    Port(End, RangeInclusive<u16>),
}

/// One end of a segment's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The sender.
    Src,
    /// The receiver.
    Dst,
}

/// A set of addresses under one mask; IPv4 in mapped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    /// The network address, masked.
    pub net: u128,
    /// The bits that count.
    pub mask: u128,
}

impl Net {
    /// All of IPv4, as it is held (`::ffff:0:0/96`).
    pub const IP4: Self = Self { net: 0xffff << 32, mask: !0 << 32 };

    /// Just this address.
    pub fn host(address: Address) -> Self {
        Self { net: u128::from_be_bytes(address.octets()), mask: !0 }
    }

    /// Whether the address is in the net.
    pub fn holds(&self, address: Address) -> bool {
        u128::from_be_bytes(address.octets()) & self.mask == self.net
    }

    /// Whether any IPv4 address, in the form in which it is held, lies in the net.
    pub fn meets_ip4(&self) -> bool {
        (self.net ^ Self::IP4.net) & self.mask & Self::IP4.mask == 0
    }
}

impl Expr {
    /// `self and other`.
    pub fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    /// `self or other`.
    pub fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    /// `not self`.
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// What the expression means.
    pub fn accepts(&self, segment: &Segment) -> bool {
        match self {
            Self::Is(primitive) => primitive.holds(segment),
            Self::Not(inner) => !inner.accepts(segment),
            Self::And(a, b) => a.accepts(segment) && b.accepts(segment),
            Self::Or(a, b) => a.accepts(segment) || b.accepts(segment),
        }
    }
}

impl Primitive {
    fn holds(&self, segment: &Segment) -> bool {
        match self {
            Self::Any => true,
            Self::Net(End::Src, net) => net.holds(segment.src),
            Self::Net(End::Dst, net) => net.holds(segment.dst),
            Self::Port(End::Src, ports) => ports.contains(&segment.src_port),
            Self::Port(End::Dst, ports) => ports.contains(&segment.dst_port),
        }
    }
}
