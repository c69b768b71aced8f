//! Tunnels whose packets a relay on this host hands over on the loopback, which `any` doesn't watch.
//!
//! Such a tunnel sends to an address of the host itself. Its setup names that address, or, of a VXLAN, the
//! forwarding table does.

use std::{collections::HashSet, net::IpAddr, ops::ControlFlow};

use anyhow::{Context as _, Result};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage},
};

use super::{
    carried::Carried,
    interface::{self, Interface},
    netlink,
};

/// The most entries of forwarding tables that one look reads, of all tunnels. A bridge above a tunnel has its
/// own entries among them.
const MAX_ENTRIES: usize = 16_384;

/// States of an entry that somebody set (`NUD_NOARP`, `NUD_PERMANENT`), and no frame.
const IS_SET: u16 = 0x40 | 0x80;

/// Tells the tunnels of which all packets stay on this host from those whose packets other interfaces carry.
/// One of both kinds counts as the latter: each frame is to be seen once.
pub(super) fn mark(all: &mut [Interface]) -> Result<()> {
    let is_asked_for = |tunnel: &&mut Interface| {
        tunnel.carried == Carried::Wrapped && (tunnel.remote.is_some() || tunnel.is_vxlan())
    };
    let mut own = OwnAddresses::default();
    let mut entries_left = MAX_ENTRIES;
    for tunnel in all.iter_mut().filter(is_asked_for) {
        let mut ends = Ends::default();
        if let Some(remote) = tunnel.remote {
            ends.add(own.contains(remote)?);
        }
        // Most have a remote elsewhere, and are not asked for their table.
        if tunnel.is_vxlan() && !ends.is_elsewhere {
            read_table(tunnel.index, &mut entries_left, &mut own, &mut ends)?;
        }
        tunnel.carried = ends.carried();
    }
    Ok(())
}

/// Where the packets of a tunnel go.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    /// To an address of this host.
    is_here: bool,
    /// To another host.
    is_elsewhere: bool,
}

impl Ends {
    fn add(&mut self, is_own: bool) {
        self.is_here |= is_own;
        self.is_elsewhere |= !is_own;
    }

    fn carried(self) -> Carried {
        match self {
            Self { is_elsewhere: true, .. } => Carried::Wrapped,
            Self { is_here: true, .. } => Carried::Hidden,
            Self { .. } => Carried::Unknown,
        }
    }
}

/// The addresses of this network namespace, once somebody asked.
#[derive(Default)]
struct OwnAddresses(Option<HashSet<IpAddr>>);

impl OwnAddresses {
    fn contains(&mut self, address: IpAddr) -> Result<bool> {
        if address.is_loopback() {
            return Ok(true);
        }
        let own = match self.0.take() {
            Some(own) => own,
            None => interface::addresses()?,
        };
        Ok(self.0.insert(own).contains(&address))
    }
}

/// Adds where the forwarding table of the VXLAN of this index leads, until one entry leads elsewhere.
fn read_table(index: u32, entries_left: &mut usize, own: &mut OwnAddresses, ends: &mut Ends) -> Result<()> {
    let mut request = NeighbourMessage::default();
    (request.header.family, request.header.ifindex) = (AddressFamily::Bridge, index);
    let mut failure = Ok(());
    let take = |reply: Option<RouteNetlinkMessage>| {
        if *entries_left == 0 {
            return ControlFlow::Break(());
        }
        *entries_left -= 1;
        let Some(RouteNetlinkMessage::NewNeighbour(entry)) = reply else { return ControlFlow::Continue(()) };
        match add_entry(&entry, index, own, ends) {
            Ok(()) if !ends.is_elsewhere => ControlFlow::Continue(()),
            result => {
                failure = result;
                ControlFlow::Break(())
            }
        }
    };
    netlink::dump_until(RouteNetlinkMessage::GetNeighbour(request), take)
        .context("cannot list forwarding tables by rtnetlink")?;
    failure
}

/// Adds where an entry of a VXLAN's own forwarding table leads. Frames make entries, too. One that leads
/// elsewhere because of a frame says nothing: strangers could send it. None from elsewhere has an address of
/// this host.
fn add_entry(entry: &NeighbourMessage, index: u32, own: &mut OwnAddresses, ends: &mut Ends) -> Result<()> {
    let header = &entry.header;
    if header.ifindex != index || !header.flags.contains(NeighbourFlags::Own) {
        return Ok(());
    }
    let Some(destination) = entry.attributes.iter().find_map(destination) else { return Ok(()) };
    let is_set = u16::from(header.state) & IS_SET != 0 || header.flags.contains(NeighbourFlags::ExtLearned);
    let is_own = own.contains(destination)?;
    if is_own || is_set {
        ends.add(is_own);
    }
    Ok(())
}

/// The address to which an entry of a forwarding table leads.
fn destination(attribute: &NeighbourAttribute) -> Option<IpAddr> {
    let NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) = attribute else { return None };
    let ip4 = <[u8; 4]>::try_from(&bytes[..]).map(IpAddr::from);
    ip4.or_else(|_| <[u8; 16]>::try_from(&bytes[..]).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::neighbour::NeighbourState;

    use super::*;
    use crate::capture::xdp::interface::fake;

    const INDEX: u32 = 9;

    fn own() -> OwnAddresses {
        OwnAddresses(Some(HashSet::from(["192.0.2.1", "2001:db8::1"].map(|text| text.parse().expect("one")))))
    }

    /// An entry that leads to this address.
    fn entry(state: NeighbourState, address: &str) -> NeighbourMessage {
        let mut entry = NeighbourMessage::default();
        (entry.header.ifindex, entry.header.state) = (INDEX, state);
        entry.header.flags = NeighbourFlags::Own;
        let bytes = match address.parse().expect("an address") {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        entry.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Other(bytes))];
        entry
    }

    fn carried(entries: &[NeighbourMessage]) -> Carried {
        let mut ends = Ends::default();
        for entry in entries {
            add_entry(entry, INDEX, &mut own(), &mut ends).expect("nobody is asked");
        }
        ends.carried()
    }

    #[test]
    fn what_a_relay_hands_over_on_the_loopback_is_hidden() {
        let tunnel = |kind: &str, remote: &str| {
            let remote = Some(remote.parse().expect("an address"));
            Interface { kind: kind.to_owned(), remote, carried: Carried::Wrapped, ..fake("tun9", u32::MAX) }
        };
        let mut all = [
            tunnel("geneve", "127.0.0.1"),
            tunnel("geneve", "::1"),
            tunnel("vxlan", "203.0.113.77"),
            tunnel("geneve", "2001:db8:77::1"),
        ];
        mark(&mut all).expect("the kernel lists addresses");
        let found = all.map(|tunnel| tunnel.carried);
        assert_eq!(found, [Carried::Hidden, Carried::Hidden, Carried::Wrapped, Carried::Wrapped]);
    }

    #[test]
    fn a_tunnel_to_here_and_elsewhere_is_seen_elsewhere() {
        let set = |address| entry(NeighbourState::Permanent, address);
        for here in ["192.0.2.1", "2001:db8::1", "127.0.0.9", "::1"] {
            assert_eq!(carried(&[set(here)]), Carried::Hidden, "{here}");
            assert_eq!(carried(&[set(here), set("192.0.2.2")]), Carried::Wrapped, "{here}");
        }
        assert_eq!(carried(&[]), Carried::Unknown);
    }

    /// Or else a stranger's packet would make tmap blind.
    #[test]
    fn what_frames_made_leads_nowhere_else() {
        let learned = entry(NeighbourState::Reachable, "192.0.2.2");
        assert_eq!(carried(std::slice::from_ref(&learned)), Carried::Unknown);
        assert_eq!(carried(&[learned.clone(), entry(NeighbourState::Stale, "192.0.2.1")]), Carried::Hidden);
        let mut by_router = learned;
        by_router.header.flags |= NeighbourFlags::ExtLearned;
        assert_eq!(carried(&[by_router]), Carried::Wrapped);
    }

    #[test]
    fn a_bridge_above_tells_nothing() {
        let mut above = entry(NeighbourState::Permanent, "192.0.2.2");
        above.header.flags = NeighbourFlags::Controller;
        let other = entry(NeighbourState::Permanent, "192.0.2.2");
        assert_eq!(carried(&[above]), Carried::Unknown);
        let mut ends = Ends::default();
        add_entry(&other, INDEX + 1, &mut own(), &mut ends).expect("nobody is asked");
        assert_eq!(ends.carried(), Carried::Unknown, "another interface's");
    }
}
