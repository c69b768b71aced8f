//! The network of the demonstration and of the laboratory: three namespaces in a row.
//!
//! ```text
//! machines - [nat] wan - west [router] east - lan [far: a kernel TCP server]
//! ```
//! `nat` is the kernel's NAT. It gives each machine a range of source ports, so that the port behind the
//! NAT identifies the machine. The sensor is on the router in the middle: XDP sees what an interface
//! receives, and each direction arrives on an interface of its own.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use anyhow::Result;

use super::namespaces::{Namespace, Namespaces};

/// The router's interfaces: `west` receives from the machines, `east` from the server.
pub(crate) const INTERFACES: [&str; 2] = ["west", "east"];
/// The server's interface.
pub(crate) const LAN: &str = "lan";

/// A machine's addresses before and behind the NAT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// The machine's own address.
    pub private: Ipv4Addr,
    /// Its address behind the NAT, in 198.51.100.0/24.
    pub public: Ipv4Addr,
}

/// The namespaces and their links.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// The machines' links, and the NAT.
    pub nat: Namespace,
    /// The router with the sensor.
    pub router: Namespace,
    /// The server.
    pub far: Namespace,
}

/// The source ports that the NAT gives to machine `index`.
pub(crate) fn nat_ports(index: usize) -> RangeInclusive<u16> {
    let first = 20_000 + 1_000 * index as u16;
    first..=first + 999
}

/// The machine that has this source port behind the NAT.
pub(crate) fn owner(port: u16, machines: usize) -> Option<usize> {
    (0..machines).find(|&index| nat_ports(index).contains(&port))
}

impl Topology {
    /// Makes the links, the routes, the servers' addresses (in 203.0.113.0/24) and the NAT. The caller
    /// makes the machines' links.
    ///
    /// # Errors
    /// When `ip` or `nft` fails.
    pub(crate) fn new(
        namespaces: &mut Namespaces,
        servers: &[Ipv4Addr],
        mappings: &[Mapping],
    ) -> Result<Self> {
        let nat = namespaces.add("nat")?;
        let router = namespaces.add("router")?;
        let far = namespaces.add("far")?;
        nat.join("wan", &router, INTERFACES[0])?;
        far.join(LAN, &router, INTERFACES[1])?;
        nat.ip("addr add 192.0.2.1/30 dev wan")?;
        router.ip("addr add 192.0.2.2/30 dev west")?;
        router.ip("addr add 203.0.113.254/24 dev east")?;
        for server in servers {
            far.ip(&format!("addr add {server}/24 dev {LAN}"))?;
        }
        nat.ip("route add default via 192.0.2.2")?;
        router.ip("route add 198.51.100.0/24 via 192.0.2.1")?;
        far.ip("route add default via 203.0.113.254")?;
        let mut rules =
            String::from("table ip tmapx {\nchain out {\ntype nat hook postrouting priority srcnat;\n");
        for (index, Mapping { private, public }) in mappings.iter().enumerate() {
            let (first, last) = nat_ports(index).into_inner();
            rules += &format!("ip saddr {private} meta l4proto tcp snat to {public}:{first}-{last}\n");
        }
        nat.nft(&(rules + "}\n}\n"))?;
        for namespace in [&nat, &router] {
            namespace.sysctl("net/ipv4/ip_forward", "1")?;
        }
        Ok(Self { nat, router, far })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_identify_their_machine() {
        assert_eq!(owner(20_000, 4), Some(0));
        assert_eq!(owner(23_999, 4), Some(3));
        assert_eq!(owner(24_000, 4), None);
        assert_eq!(owner(80, 4), None);
    }
}
