//! Network interfaces, as rtnetlink lists them: names, link types, what they are built on, XDP programs
//! already there.

use std::{collections::HashSet, net::IpAddr, ops::Range};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{NLA_HEADER_SIZE, NetlinkMessage, NetlinkPayload, NlasIterator};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{
        InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, Prop,
    },
};
use tmap_common::Link;

use super::{
    carried::{self, Carried},
    netlink,
};

/// The headers of a message about an interface (`nlmsghdr` and `ifinfomsg`), in bytes.
const HEADERS_BYTES: usize = 32;

/// The attribute that holds an interface's name (`IFLA_IFNAME`).
const NAME_KIND: u16 = 3;

/// The attribute that holds its alternative names (`IFLA_PROP_LIST`).
const PROPERTIES_KIND: u16 = 52;

/// The attribute in there that holds one of them (`IFLA_ALT_IFNAME`).
const ALTERNATIVE_NAME_KIND: u16 = 53;

/// Attributes are padded to this, in bytes.
const ALIGNED_BYTES: usize = 4;

/// One interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    /// Whether the name is what can be shown of one that is no UTF-8. Nobody can name such an interface, so
    /// that none is watched, but one that got its name while it was.
    pub(super) is_name_odd: bool,
    /// Other names that it may be called by (`ip link property add dev NAME altname OTHER`). No two
    /// interfaces share one. Empty where one of its names is no UTF-8.
    pub(super) alternative_names: Vec<String>,
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
    /// The index of the interface that it is built on (VLAN, macvlan, a tunnel that is bound to one), or of
    /// its peer (veth), where that is in this network namespace.
    pub(super) parent: Option<u32>,
    /// How its frames look on the interfaces that carry them.
    pub(super) carried: Carried,
    /// Where a tunnel in UDP sends its packets, where it is set up with an address.
    pub(super) remote: Option<IpAddr>,
    /// Ids of the XDP programs attached to it.
    pub(super) xdp_programs: Vec<u32>,
}

impl Interface {
    /// Whether this is its name, or an alternative one.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let is_alternative = || self.alternative_names.iter().any(|alternative| alternative == name);
        !self.is_name_odd && (self.name == name || is_alternative())
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.link_type == LinkLayerType::Loopback
    }

    /// Whether it is one end of a pair of virtual interfaces.
    pub(super) fn is_veth(&self) -> bool {
        self.kind == "veth"
    }

    /// Whether it is a VXLAN, whose forwarding table tells where packets go.
    pub(super) fn is_vxlan(&self) -> bool {
        self.kind == "vxlan"
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

/// The indices of interfaces with an address of their own, which somebody gave them: not a link-local one,
/// and not one of IPv6 that ends some time, which a router advertisement gives (RFC 4862). A mirror port gets
/// such an address where it mirrors a router.
pub(super) fn with_addresses() -> Result<Vec<u32>> {
    let own = address_messages()?.filter(|address| is_given(&address.header));
    Ok(own.map(|address| address.header.index).collect())
}

/// All addresses of this network namespace itself.
pub(super) fn addresses() -> Result<HashSet<IpAddr>> {
    Ok(address_messages()?.filter_map(|message| own_address(&message.attributes)).collect())
}

/// An interface's own address among the attributes of a message. `IFA_ADDRESS` is the peer's where there is
/// an `IFA_LOCAL`.
fn own_address(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// What the kernel tells of addresses.
fn address_messages() -> Result<impl Iterator<Item = AddressMessage>> {
    let answer = netlink::dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .context("cannot list addresses by rtnetlink")?;
    Ok(answer.replies.into_iter().filter_map(|reply| match reply {
        RouteNetlinkMessage::NewAddress(address) => Some(address),
        _ => None,
    }))
}

/// Whether somebody gave an interface this address.
fn is_given(address: &AddressHeader) -> bool {
    let is_kept =
        address.family != AddressFamily::Inet6 || address.flags.contains(AddressHeaderFlags::Permanent);
    is_kept && address.scope != AddressScope::Link
}

/// An interface from a netlink message that isn't understood, where its names are the reason: it is read with
/// others. An alternative name that is no UTF-8 costs it its alternative names only.
fn oddly_named(mut message: Vec<u8>) -> Option<Interface> {
    let place = places_of(&message, HEADERS_BYTES..message.len(), NAME_KIND).pop()?;
    let name = message.get(place.clone())?;
    let is_name_odd = std::str::from_utf8(name).is_err();
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    let properties = places_of(&message, HEADERS_BYTES..message.len(), PROPERTIES_KIND);
    let alternatives =
        properties.into_iter().flat_map(|part| places_of(&message, part, ALTERNATIVE_NAME_KIND));
    for place in alternatives.chain([place]).collect::<Vec<_>>() {
        message.get_mut(place)?.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
    let message = NetlinkMessage::deserialize(&message).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload else {
        return None;
    };
    Some(Interface { name, is_name_odd, alternative_names: Vec::new(), ..interface(&link)? })
}

/// Where the values of attributes of this kind are in a part of a netlink message that consists of
/// attributes, as offsets from the start of the message.
fn places_of(message: &[u8], part: Range<usize>, kind: u16) -> Vec<Range<usize>> {
    let mut start = part.start;
    let mut places = Vec::new();
    let attributes = NlasIterator::new(message.get(part).unwrap_or_default());
    for attribute in attributes.map_while(Result::ok) {
        let bytes = usize::from(attribute.length());
        if attribute.kind() == kind {
            places.push(start + NLA_HEADER_SIZE..start + bytes);
        }
        start += bytes.next_multiple_of(ALIGNED_BYTES);
    }
    places
}

/// An interface from its netlink message; `None` if it has no name.
fn interface(link: &LinkMessage) -> Option<Interface> {
    let LinkMessage { header, attributes, .. } = link;
    let mut found = unknown(header.index, header.link_layer_type);
    found.is_up = header.flags.contains(LinkFlags::Up);
    let mut setup = None;
    let mut is_carried_elsewhere = false;
    for attribute in attributes {
        match attribute {
            LinkAttribute::IfName(text) => found.name.clone_from(text),
            LinkAttribute::PropList(properties) => found.alternative_names = alternative_names(properties),
            LinkAttribute::Mtu(bytes) => found.mtu = *bytes,
            LinkAttribute::Promiscuity(users) => found.promiscuity = *users,
            LinkAttribute::Controller(index) => found.master = Some(*index),
            LinkAttribute::Link(index) => found.parent = Some(*index).filter(|&index| index != header.index),
            LinkAttribute::LinkNetNsId(_) => is_carried_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => found.kind = kind.to_string(),
                        LinkInfo::Data(data) => setup = Some(data),
                        _ => {}
                    }
                }
            }
            LinkAttribute::Xdp(attributes) => found.xdp_programs = xdp_programs(attributes),
            _ => {}
        }
    }
    found.carried = carried::carried(setup, is_carried_elsewhere);
    found.remote = setup.and_then(carried::remote);
    found.parent = found.parent.or_else(|| bound_to(setup?)).filter(|_| !is_carried_elsewhere);
    Some(found).filter(|found| !found.name.is_empty())
}

/// The index of the interface that a VXLAN interface is bound to, which only its own attributes tell.
fn bound_to(setup: &InfoData) -> Option<u32> {
    let InfoData::Vxlan(attributes) = setup else { return None };
    attributes.iter().find_map(|attribute| match attribute {
        InfoVxlan::Link(index) => Some(*index).filter(|&index| index != 0),
        _ => None,
    })
}

/// An interface of which nothing else is known.
fn unknown(index: u32, link_type: LinkLayerType) -> Interface {
    Interface {
        name: String::new(),
        is_name_odd: false,
        alternative_names: Vec::new(),
        index,
        link_type,
        kind: String::new(),
        is_up: false,
        promiscuity: 0,
        mtu: 0,
        master: None,
        parent: None,
        carried: Carried::Plainly,
        remote: None,
        xdp_programs: Vec::new(),
    }
}

/// The alternative names among an interface's properties.
fn alternative_names(properties: &[Prop]) -> Vec<String> {
    let name = |property: &Prop| match property {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    };
    properties.iter().filter_map(name).collect()
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
    Interface { name: name.to_owned(), is_up: true, mtu: 1500, ..unknown(index, LinkLayerType::Ether) }
}
