//! Network interfaces, as rtnetlink lists them: names, link types, what they are built on, XDP programs
//! already there.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{NLA_HEADER_SIZE, NetlinkMessage, NetlinkPayload, NlasIterator};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp},
};
use tmap_common::Link;

use super::netlink;

/// The headers of a message about an interface (`nlmsghdr` and `ifinfomsg`), in bytes.
const HEADERS_BYTES: usize = 32;

/// The attribute that holds an interface's name (`IFLA_IFNAME`).
const NAME_KIND: u16 = 3;

/// Attributes are padded to this, in bytes.
const ALIGNED_BYTES: usize = 4;

/// One interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    /// Whether the name is what can be shown of one that is no UTF-8. Nobody can name such an interface, so
    /// that none is watched, but one that got its name while it was.
    pub(super) is_name_odd: bool,
    pub(super) index: u32,
    pub(super) link_type: LinkLayerType,
    /// Its kind, such as `veth`; empty where the driver names none, as for network cards.
    pub(super) kind: String,
    pub(super) is_up: bool,
    /// How many want it to be in promiscuous mode.
    pub(super) promiscuity: u32,
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
    /// Whether this is its name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name && !self.is_name_odd
    }

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
    let answer = netlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .context("cannot list network interfaces by rtnetlink")?;
    let links = answer.replies.iter().filter_map(|reply| match reply {
        RouteNetlinkMessage::NewLink(link) => interface(link),
        _ => None,
    });
    Ok(links.chain(answer.unread.into_iter().filter_map(oddly_named)).collect())
}

/// The indices of interfaces with an address of their own: IPv4, or IPv6 but link-local, which every
/// interface gives itself.
pub(super) fn with_addresses() -> Result<Vec<u32>> {
    let answer = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .context("cannot list addresses by rtnetlink")?;
    let own = answer.replies.iter().filter_map(|reply| match reply {
        RouteNetlinkMessage::NewAddress(address) if address.header.scope != AddressScope::Link => {
            Some(address.header.index)
        }
        _ => None,
    });
    Ok(own.collect())
}

/// An interface from a netlink message that isn't understood, where its name is the reason: it is read with
/// another name.
fn oddly_named(mut message: Vec<u8>) -> Option<Interface> {
    let place = place_of_name(&message)?;
    let bytes = message.get_mut(place)?;
    if std::str::from_utf8(bytes).is_ok() {
        return None;
    }
    let name = String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    bytes.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    let message = NetlinkMessage::deserialize(&message).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload else {
        return None;
    };
    Some(Interface { name, is_name_odd: true, ..interface(&link)? })
}

/// Where the name is in a netlink message about an interface.
fn place_of_name(message: &[u8]) -> Option<Range<usize>> {
    let mut start = HEADERS_BYTES;
    for attribute in NlasIterator::new(message.get(HEADERS_BYTES..)?) {
        let attribute = attribute.ok()?;
        let bytes = usize::from(attribute.length());
        if attribute.kind() == NAME_KIND {
            return Some(start + NLA_HEADER_SIZE..start + bytes);
        }
        start += bytes.next_multiple_of(ALIGNED_BYTES);
    }
    None
}

/// An interface from its netlink message; `None` if it has no name.
fn interface(link: &LinkMessage) -> Option<Interface> {
    let LinkMessage { header, attributes, .. } = link;
    let mut found = Interface {
        name: String::new(),
        is_name_odd: false,
        index: header.index,
        link_type: header.link_layer_type,
        kind: String::new(),
        is_up: header.flags.contains(LinkFlags::Up),
        promiscuity: 0,
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
            LinkAttribute::Promiscuity(users) => found.promiscuity = *users,
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
        is_name_odd: false,
        index,
        link_type: LinkLayerType::Ether,
        kind: String::new(),
        is_up: true,
        promiscuity: 0,
        mtu: 1500,
        master: None,
        parent: None,
        xdp_programs: Vec::new(),
    }
}
