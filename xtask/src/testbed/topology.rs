//! The stage of the demonstration and the laboratory: three namespaces in a row.
//!
//! ```text
//! machines - [nat] wan - west [router] east - lan [far: a kernel TCP server]
//! ```
//! `nat` is the kernel's own NAT, with a source-port range for each machine, so that the port seen
//! beyond it names the machine. The router in the middle is the place for a sensor: XDP sees what
//! an interface receives, and here each direction arrives on an interface of its own.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use anyhow::Result;

use crate::namespaces::{Namespace, Namespaces};

/// The router's interfaces: `west` receives what the machines send, `east` what the server sends.
pub const INTERFACES: [&str; 2] = ["west", "east"];
/// The server's interface.
pub const LAN: &str = "lan";

/// A machine's addresses on both sides of the NAT.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The machine's own address.
    pub private: Ipv4Addr,
    /// The address that it has beyond the NAT, in 198.51.100.0/24.
    pub public: Ipv4Addr,
}

/// The namespaces.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Where machines connect and addresses are translated.
    pub nat: Namespace,
    /// Where the sensor sits.
    pub router: Namespace,
    /// Where the server listens.
    pub far: Namespace,
}

/// The source ports that the NAT gives to machine `index`.
pub fn nat_ports(index: usize) -> RangeInclusive<u16> {
    let first = 20_000 + 1_000 * index as u16;
    first..=first + 999
}

/// The machine that a source port beyond the NAT belongs to.
pub fn owner(port: u16, machines: usize) -> Option<usize> {
    (0..machines).find(|&index| nat_ports(index).contains(&port))
}

impl Stage {
    /// Sets the stage: links, routes, the servers' addresses (in 203.0.113.0/24) and the NAT. The
    /// machines' own links are the caller's.
    ///
    /// # Errors
    /// When `ip` or `nft` refuses.
    pub fn new(namespaces: &mut Namespaces, servers: &[Ipv4Addr], mappings: &[Mapping]) -> Result<Self> {
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
    fn ports_name_their_machine() {
        assert_eq!(owner(20_000, 4), Some(0));
        assert_eq!(owner(23_999, 4), Some(3));
        assert_eq!(owner(24_000, 4), None);
        assert_eq!(owner(80, 4), None);
    }
}
