//! The network of the demonstration and of the laboratory: three namespaces in a row.
//!
//! ```text
//! machines - [nat] wan - west [router] east - lan [far: a kernel TCP server]
//! ```
//! `nat` is the kernel's NAT. The sensor is on the router in the middle: XDP sees what an interface receives,
//! and each direction arrives on an interface of its own.

use std::net::IpAddr;

use anyhow::Result;

use super::namespaces::{Namespace, Namespaces};
use super::nat::{Mapping, Nat};

/// The router's interfaces: `west` receives from the machines, `east` from the server.
pub(crate) const INTERFACES: [&str; 2] = ["west", "east"];
/// The server's interface.
pub(crate) const LAN: &str = "lan";

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

impl Topology {
    /// Makes the links, the routes, the servers' addresses (in 203.0.113.0/24 and 2001:db8:113::/64) and the
    /// NAT, whose addresses are in 198.51.100.0/24 and 2001:db8:100::/64. The caller makes the machines'
    /// links. The network has the versions of IP that servers have.
    ///
    /// # Errors
    /// When `ip` or `nft` fails.
    pub(crate) fn new(
        namespaces: &mut Namespaces,
        servers: &[IpAddr],
        mappings: &[Mapping],
        way: Nat,
    ) -> Result<Self> {
        let nat = namespaces.add("nat")?;
        let router = namespaces.add("router")?;
        let far = namespaces.add("far")?;
        let has_ip6 = servers.iter().any(IpAddr::is_ipv6);
        if has_ip6 {
            // Interfaces take these settings when they are made.
            [&nat, &router, &far].into_iter().try_for_each(Namespace::allow_ip6)?;
        }
        nat.join("wan", &router, INTERFACES[0])?;
        far.join(LAN, &router, INTERFACES[1])?;
        for server in servers {
            let length = if server.is_ipv6() { 64 } else { 24 };
            far.ip(&format!("addr add {server}/{length} dev {LAN}"))?;
        }
        let topology = Self { nat, router, far };
        if servers.iter().any(IpAddr::is_ipv4) {
            topology.route_ip4()?;
        }
        if has_ip6 {
            topology.route_ip6()?;
        }
        topology.nat.nft(&way.rules(mappings))?;
        Ok(topology)
    }

    fn route_ip4(&self) -> Result<()> {
        self.nat.ip("addr add 192.0.2.1/30 dev wan")?;
        self.router.ip("addr add 192.0.2.2/30 dev west")?;
        self.router.ip("addr add 203.0.113.254/24 dev east")?;
        self.nat.ip("route add default via 192.0.2.2")?;
        self.router.ip("route add 198.51.100.0/24 via 192.0.2.1")?;
        self.far.ip("route add default via 203.0.113.254")?;
        [&self.nat, &self.router]
            .into_iter()
            .try_for_each(|namespace| namespace.sysctl("net/ipv4/ip_forward", "1"))
    }

    fn route_ip6(&self) -> Result<()> {
        // Forwarding comes first: it removes routes.
        for namespace in [&self.nat, &self.router] {
            namespace.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        self.nat.ip("addr add 2001:db8:2::1/64 dev wan")?;
        self.router.ip("addr add 2001:db8:2::2/64 dev west")?;
        self.router.ip("addr add 2001:db8:113::fe/64 dev east")?;
        self.nat.ip("-6 route add default via 2001:db8:2::2")?;
        self.router.ip("-6 route add 2001:db8:100::/64 via 2001:db8:2::1")?;
        self.far.ip("-6 route add default via 2001:db8:113::fe")?;
        Ok(())
    }
}
