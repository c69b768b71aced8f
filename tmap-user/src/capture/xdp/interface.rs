//! Network interfaces, as rtnetlink lists them: names, link types, what they are built on, XDP programs
//! already there.

use anyhow::{Context as _, Result, bail};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp},
};
use tmap_common::Link;

use super::netlink;

/// One interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) link_type: LinkLayerType,
    /// Its kind, such as `veth`; empty where the driver names none, as for network cards.
    pub(super) kind: String,
    pub(super) is_up: bool,
    pub(super) mtu: u32,
    /// The index of the bridge or bond that it is a port of.
    pub(super) master: Option<u32>,
    /// The index of the interface that it is built on (VLAN, macvlan), or of its peer (veth), where that is
    /// in this network namespace.
    pub(super) parent: Option<u32>,
    /// Ids of the XDP programs attached to it.
    pub(super) xdp_programs: Vec<u32>,
}

impl Interface {
    pub(super) fn is_loopback(&self) -> bool {
        self.link_type == LinkLayerType::Loopback
    }

    /// Whether it is one end of a pair of virtual interfaces.
    pub(super) fn is_veth(&self) -> bool {
        self.kind == "veth"
    }

    /// Whether frames have a header with addresses of the link.
    pub(super) fn is_ethernet(&self) -> bool {
        self.link_type == LinkLayerType::Ether
    }

    /// The first header of its frames.
    ///
    /// # Errors
    /// If the parser cannot read this type of interface.
    pub(super) fn link(&self) -> Result<Link> {
        match self.link_type {
            LinkLayerType::Ether | LinkLayerType::Loopback => Ok(Link::Ethernet),
            // tun, WireGuard; mobile modems in raw-IP mode; PPP as XDP and TC see it.
            LinkLayerType::None | LinkLayerType::Rawip | LinkLayerType::Ppp => Ok(Link::Ip),
            other => bail!(
                "{}: interfaces of type {other:?} are not supported; name an Ethernet or raw IP interface \
                 (tun, WireGuard)",
                self.name
            ),
        }
    }
}

/// All interfaces of this network namespace.
pub(super) fn list() -> Result<Vec<Interface>> {
    let replies = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .context("cannot list network interfaces by rtnetlink")?;
    let links = replies.iter().filter_map(|reply| match reply {
        RouteNetlinkMessage::NewLink(link) => interface(link),
        _ => None,
    });
    Ok(links.collect())
}

/// The indices of interfaces with an address of their own: IPv4, or IPv6 but link-local, which every
/// interface gives itself.
pub(super) fn with_addresses() -> Result<Vec<u32>> {
    let replies = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .context("cannot list addresses by rtnetlink")?;
    let own = replies.iter().filter_map(|reply| match reply {
        RouteNetlinkMessage::NewAddress(address) if address.header.scope != AddressScope::Link => {
            Some(address.header.index)
        }
        _ => None,
    });
    Ok(own.collect())
}

/// An interface from its netlink message; `None` if it has no name.
fn interface(link: &LinkMessage) -> Option<Interface> {
    let LinkMessage { header, attributes, .. } = link;
    let mut found = Interface {
        name: String::new(),
        index: header.index,
        link_type: header.link_layer_type,
        kind: String::new(),
        is_up: header.flags.contains(LinkFlags::Up),
        mtu: 0,
        master: None,
        parent: None,
        xdp_programs: Vec::new(),
    };
    let mut parent_is_elsewhere = false;
    for attribute in attributes {
        match attribute {
            LinkAttribute::IfName(text) => found.name.clone_from(text),
            LinkAttribute::Mtu(bytes) => found.mtu = *bytes,
            LinkAttribute::Controller(index) => found.master = Some(*index),
            LinkAttribute::Link(index) => found.parent = Some(*index).filter(|&index| index != header.index),
            LinkAttribute::LinkNetNsId(_) => parent_is_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                let kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                found.kind = kind.unwrap_or_default();
            }
            LinkAttribute::Xdp(attributes) => found.xdp_programs = xdp_programs(attributes),
            _ => {}
        }
    }
    if parent_is_elsewhere {
        found.parent = None;
    }
    Some(found).filter(|found| !found.name.is_empty())
}

/// The ids of the programs that an interface's XDP attributes name.
fn xdp_programs(attributes: &[LinkXdp]) -> Vec<u32> {
    let id = |attribute: &LinkXdp| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    };
    let mut ids: Vec<u32> = attributes.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// An Ethernet interface that is up, for tests.
#[cfg(test)]
pub(super) fn fake(name: &str, index: u32) -> Interface {
    Interface {
        name: name.to_owned(),
        index,
        link_type: LinkLayerType::Ether,
        kind: String::new(),
        is_up: true,
        mtu: 1500,
        master: None,
        parent: None,
        xdp_programs: Vec::new(),
    }
}
