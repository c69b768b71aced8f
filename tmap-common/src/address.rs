//! One address type for both IP versions.

use core::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The first eight octets of an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2), as a word.
const MAPPED_HIGH: u64 = 0;

/// The next four octets, as a word.
const MAPPED_MIDDLE: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// An IPv4 or IPv6 address.
///
/// IPv4 is held IPv4-mapped (`::ffff:a.b.c.d`), so that one code path serves both versions. Such
/// addresses never appear on the wire (RFC 4291), so nothing is lost. The octets, in network order,
/// are held as words: packet code that handles them one by one is slow, and hard on the verifier.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Address {
    high: u64,
    middle: u32,
    low: u32,
}

impl Address {
    /// An address from the four octets of an IPv4 header.
    #[inline(always)]
    pub const fn from_ip4(octets: [u8; 4]) -> Self {
        Self { high: MAPPED_HIGH, middle: MAPPED_MIDDLE, low: u32::from_ne_bytes(octets) }
    }

    /// An address from the sixteen octets of an IPv6 header.
    #[inline(always)]
    pub const fn from_ip6(octets: [u8; 16]) -> Self {
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, c0, c1, c2, c3] = octets;
        Self {
            high: u64::from_ne_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            middle: u32::from_ne_bytes([b0, b1, b2, b3]),
            low: u32::from_ne_bytes([c0, c1, c2, c3]),
        }
    }

    /// The four octets, if this is an IPv4 address.
    #[inline(always)]
    pub const fn as_ip4(&self) -> Option<[u8; 4]> {
        if self.high == MAPPED_HIGH && self.middle == MAPPED_MIDDLE {
            Some(self.low.to_ne_bytes())
        } else {
            None
        }
    }

    /// Whether both addresses are IPv4: one comparison, where two [`Address::as_ip4`] take four.
    #[inline(always)]
    pub const fn are_ip4(one: &Self, other: &Self) -> bool {
        let high = (one.high ^ MAPPED_HIGH) | (other.high ^ MAPPED_HIGH);
        let middle = (one.middle ^ MAPPED_MIDDLE) | (other.middle ^ MAPPED_MIDDLE);
        high | middle as u64 == 0
    }

    /// The last four octets, all of an IPv4 address, as a word in this machine's byte order.
    #[inline(always)]
    pub const fn low_word(&self) -> u32 {
        self.low
    }

    /// All sixteen octets, IPv4 in its mapped form.
    #[inline(always)]
    pub const fn octets(&self) -> [u8; 16] {
        let [a0, a1, a2, a3, a4, a5, a6, a7] = self.high.to_ne_bytes();
        let [b0, b1, b2, b3] = self.middle.to_ne_bytes();
        let [c0, c1, c2, c3] = self.low.to_ne_bytes();
        [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, c0, c1, c2, c3]
    }

    /// The octets as two words in this machine's byte order, in which records carry them.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 2] {
        let low = if cfg!(target_endian = "little") {
            self.middle as u64 | (self.low as u64) << 32
        } else {
            (self.middle as u64) << 32 | self.low as u64
        };
        [self.high, low]
    }

    /// An address from the two words of [`Address::words`].
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Self {
        let [high, low] = words;
        let (middle, low) = if cfg!(target_endian = "little") {
            (low as u32, (low >> 32) as u32)
        } else {
            ((low >> 32) as u32, low as u32)
        };
        Self { high, middle, low }
    }
}

/// In the order of the octets: IPv4 addresses come together, as IPv4 orders them.
impl Ord for Address {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Big-endian words are in the order of their octets.
        let words = |address: &Self| {
            let [high, low] = address.words();
            (high.to_be(), low.to_be())
        };
        words(self).cmp(&words(other))
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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
            None => Self::V6(Ipv6Addr::from(address.octets())),
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
        assert_eq!(Address::from_ip6(address.octets()), address);
        assert_eq!(Address::from_words(address.words()), address);
    }

    #[test]
    fn order_is_that_of_the_octets() {
        let [a, b, c] = [[10, 0, 0, 255], [10, 0, 1, 0], [11, 0, 0, 0]].map(Address::from_ip4);
        assert!(a < b && b < c);
        assert!(Address::from_ip6([0x20; 16]) > c);
    }
}
