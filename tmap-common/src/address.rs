//! One address type for both IP versions.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The first 12 octets of an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// An IPv4 or IPv6 address, in network byte order.
///
/// IPv4 is held IPv4-mapped (`::ffff:a.b.c.d`), so that one code path serves both versions. Such
/// addresses never appear on the wire (RFC 4291), so nothing is lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Address([u8; 16]);

impl Address {
    /// An address from the four octets of an IPv4 header.
    #[inline(always)]
    pub const fn from_ip4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// An address from the sixteen octets of an IPv6 header.
    #[inline(always)]
    pub const fn from_ip6(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The four octets, if this is an IPv4 address.
    #[inline(always)]
    pub fn as_ip4(&self) -> Option<[u8; 4]> {
        let (prefix, host) = self.0.split_at(12);
        if prefix == MAPPED_PREFIX { host.try_into().ok() } else { None }
    }

    /// All sixteen octets, IPv4 in its mapped form.
    #[inline(always)]
    pub const fn octets(&self) -> [u8; 16] {
        self.0
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from_ip4(v4.octets()),
            IpAddr::V6(v6) => Self::from_ip6(v6.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address.as_ip4() {
            Some(octets) => Self::V4(Ipv4Addr::from(octets)),
            None => Self::V6(Ipv6Addr::from(address.0)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn ip4_round_trips_and_prints_as_ip4() {
        let address = Address::from_ip4([198, 51, 100, 1]);
        assert_eq!(address.as_ip4(), Some([198, 51, 100, 1]));
        assert_eq!(address.to_string(), "198.51.100.1");
        assert_eq!(Address::from(IpAddr::from(address)), address);
    }

    #[test]
    fn ip6_is_not_ip4() {
        let address = Address::from(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        assert_eq!(address.as_ip4(), None);
        assert_eq!(address.to_string(), "2001:db8::1");
    }
}
