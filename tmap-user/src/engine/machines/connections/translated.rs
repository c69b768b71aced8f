//! Peers that an address may know as one: a NAT between it and the sensor gives all of them one address.
//!
//! A sensor inside a network sees the private addresses of its hosts (RFC 1918, RFC 6598, RFC 4193), and the
//! public ones of their peers. So somewhere beyond it a NAT rewrites the private ones. A server that draws
//! offsets by pair then has one for all of them, which looks like one that is fixed. So it is with a client
//! of a service whose public address a balancer rewrites to those of private servers.

use std::net::IpAddr;

use tmap_common::Address;

/// Whether a host of the address `own` may know these `peers` by one address.
pub(in crate::engine::machines) fn may_be_one(
    own: Address,
    mut peers: impl Iterator<Item = Address>,
) -> bool {
    !is_private(own) && peers.all(is_private)
}

fn is_private(address: Address) -> bool {
    match IpAddr::from(address) {
        IpAddr::V4(v4) => v4.is_private() || matches!(v4.octets(), [100, 64..128, ..]),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn private_peers_of_a_public_address_may_be_one() {
        let cases = [
            ("203.0.113.1", &["10.0.0.1", "10.0.0.2"][..], true),
            ("203.0.113.1", &["100.64.0.1", "100.127.255.255"], true),
            ("2001:db8::1", &["fd00::1", "fdff::2"], true),
            ("203.0.113.1", &["10.0.0.1", "198.51.100.7"], false),
            ("203.0.113.1", &["100.63.0.1", "100.64.0.1"], false),
            ("192.168.1.1", &["10.0.0.1", "10.0.0.2"], false),
        ];
        for (own, peers, expected) in cases {
            let found = may_be_one(address(own), peers.iter().map(|peer| address(peer)));
            assert_eq!(found, expected, "{own} and {peers:?}");
        }
    }
}
