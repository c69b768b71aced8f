//! Network interfaces, as rtnetlink lists them: names, link types, XDP programs already there.

use anyhow::{Context as _, Result, bail};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkLayerType, LinkMessage, LinkXdp},
};
use tmap_common::Link;

use super::netlink;

/// One interface.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    link_type: LinkLayerType,
    /// Ids of the XDP programs attached to it.
    pub(super) xdp_programs: Vec<u32>,
}

impl Interface {
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

/// The interface called `name`.
///
/// # Errors
/// If there is none; the error lists the names of all interfaces.
pub(super) fn find(name: &str) -> Result<Interface> {
    let interfaces = list()?;
    if let Some(interface) = interfaces.iter().find(|interface| interface.name == name) {
        return Ok(interface.clone());
    }
    let names: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let hint = if name.contains(',') || name == "any" { "; give each interface its own -i" } else { "" };
    bail!("{name}: no such interface{hint}; there are: {}", names.join(", "))
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

/// An interface from its netlink message; `None` if it has no name.
fn interface(link: &LinkMessage) -> Option<Interface> {
    let mut name = None;
    let mut xdp_programs = Vec::new();
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Xdp(attributes) => {
                for attribute in attributes {
                    match attribute {
                        LinkXdp::ProgId(id)
                        | LinkXdp::DrvProgId(id)
                        | LinkXdp::SkbProgId(id)
                        | LinkXdp::HwProgId(id) => xdp_programs.push(*id),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    xdp_programs.sort_unstable();
    xdp_programs.dedup();
    let LinkMessage { header, .. } = link;
    Some(Interface { name: name?, index: header.index, link_type: header.link_layer_type, xdp_programs })
}
