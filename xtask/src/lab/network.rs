//! The addresses, ports and devices of the laboratory's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::testbed::nat::Mapping;

/// The bridge before the NAT, with the TAP devices of all machines.
pub(super) const INSIDE: &str = "inside";
/// The ports of the echo server.
pub(super) const PORTS: [u16; 3] = [25, 80, 443];
/// The last part of the first machine's addresses.
const FIRST: u8 = 10;
/// The number of the echo server's addresses, of each family.
const SERVERS: u8 = 5;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    Ip4,
    /// IPv6.
    Ip6,
}

impl Family {
    /// The address that all machines share.
    pub(super) fn nat(self) -> IpAddr {
        match self {
            Self::Ip4 => Ipv4Addr::new(198, 51, 100, 1).into(),
            Self::Ip6 => Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 1).into(),
        }
    }

    /// An address of the machines' own network, by its last part.
    fn inside(self, last: u8) -> IpAddr {
        match self {
            Self::Ip4 => Ipv4Addr::new(10, 78, 0, last).into(),
            Self::Ip6 => Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }

    /// The own address of machine `index`.
    pub(super) fn private(self, index: usize) -> IpAddr {
        self.inside(FIRST + index as u8)
    }

    /// The NAT's address in the machines' own network.
    pub(super) fn gateway(self) -> IpAddr {
        self.inside(1)
    }

    /// The length of a network's prefix.
    pub(super) fn prefix(self) -> u8 {
        match self {
            Self::Ip4 => 24,
            Self::Ip6 => 64,
        }
    }

    /// The addresses of the echo server.
    fn servers(self) -> impl Iterator<Item = IpAddr> {
        (1..=SERVERS).map(move |last| match self {
            Self::Ip4 => IpAddr::from([203, 0, 113, last]),
            Self::Ip6 => Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, last.into()).into(),
        })
    }
}

/// The addresses of the echo server.
pub(super) fn servers(families: &[Family]) -> Vec<IpAddr> {
    families.iter().flat_map(|family| family.servers()).collect()
}

/// The addresses of the machines before and behind the NAT.
pub(super) fn mappings(families: &[Family], machines: usize) -> Vec<Mapping> {
    let one =
        |family: Family, machine| Mapping { machine, private: family.private(machine), public: family.nat() };
    families.iter().flat_map(|&family| (0..machines).map(move |machine| one(family, machine))).collect()
}

/// The TAP device of machine `index`.
pub(super) fn tap(index: usize) -> String {
    format!("vm{index}")
}

/// The Ethernet address of machine `index`.
pub(super) fn mac(index: usize) -> String {
    format!("02:00:00:00:00:{:02x}", usize::from(FIRST) + index)
}
