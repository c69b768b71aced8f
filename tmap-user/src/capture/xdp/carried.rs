//! Whether an interface's frames can be read on the interfaces that carry them: tunnels and ciphers.

use std::net::IpAddr;

use netlink_packet_route::link::{
    GreEncapType, InfoData, InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel, InfoMacSec, InfoVxlan,
    TunnelEncapType,
};
use tmap_common::tunnel::Kind;

/// How an interface's frames look on those that carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// As they are, or with a VLAN tag: its ports and its parent show them, if it has any.
    Plainly,
    /// Wrapped in what tmap unwraps, unless decapsulation is off, on interfaces of this network namespace.
    Wrapped,
    /// Wrapped in what tmap unwraps, but nothing tells where ([`super::relays`]).
    Unknown,
    /// As tmap can't read them, on the loopback, or in another network namespace.
    Hidden,
}

/// How the frames of an interface are carried that is set up like this. `is_elsewhere`: by interfaces of
/// another network namespace.
pub(super) fn carried(setup: Option<&InfoData>, is_elsewhere: bool) -> Carried {
    let Some(is_readable) = setup.and_then(unwraps) else { return Carried::Plainly };
    if !is_readable || is_elsewhere { Carried::Hidden } else { Carried::Wrapped }
}

/// The address to which a tunnel in UDP sends its packets, where it is set up with one.
pub(super) fn remote(setup: &InfoData) -> Option<IpAddr> {
    let found: Option<IpAddr> = match setup {
        InfoData::Vxlan(attributes) => attributes.iter().find_map(|attribute| match attribute {
            InfoVxlan::Group(remote) => Some((*remote).into()),
            InfoVxlan::Group6(remote) => Some((*remote).into()),
            _ => None,
        }),
        InfoData::Geneve(attributes) => attributes.iter().find_map(|attribute| match attribute {
            InfoGeneve::Remote(remote) => Some((*remote).into()),
            InfoGeneve::Remote6(remote) => Some((*remote).into()),
            _ => None,
        }),
        _ => None,
    };
    found.filter(|remote| !remote.is_unspecified())
}

/// Whether tmap unwraps the frames of a tunnel that is set up like this; `None` where it is no tunnel.
fn unwraps(setup: &InfoData) -> Option<bool> {
    match setup {
        InfoData::Vxlan(attributes) => Some(unwraps_vxlan(attributes)),
        InfoData::Geneve(attributes) => Some(attributes.iter().any(
            |attribute| matches!(attribute, InfoGeneve::Port(port) if Kind::GENEVE.has_udp_port(*port)),
        )),
        InfoData::GreTun(attributes) | InfoData::GreTap(attributes) | InfoData::ErSpan(attributes) => {
            Some(unwraps_gre(attributes))
        }
        InfoData::GreTun6(attributes) | InfoData::GreTap6(attributes) | InfoData::Ip6ErSpan(attributes) => {
            Some(unwraps_gre6(attributes))
        }
        // No UDP port says that IP follows.
        InfoData::IpTunnel(attributes) => Some(!attributes.iter().any(
            |attribute| matches!(attribute, InfoIpTunnel::EncapType(by) if *by != TunnelEncapType::None),
        )),
        InfoData::MacSec(attributes) => {
            Some(attributes.iter().any(|attribute| matches!(attribute, InfoMacSec::Encrypt(0))))
        }
        // ESP.
        InfoData::Vti(_) | InfoData::Xfrm(_) => Some(false),
        _ => None,
    }
}

/// Whether tmap unwraps VXLAN on its UDP port. What has the port of the generic extension is read by flags,
/// so that frames without an extension are read there, too.
fn unwraps_vxlan(attributes: &[InfoVxlan]) -> bool {
    let is_generic = attributes.contains(&InfoVxlan::Gpe);
    attributes.iter().any(|attribute| {
        let InfoVxlan::Port(port) = attribute else { return false };
        Kind::VXLAN_GPE.has_udp_port(*port) || !is_generic && Kind::VXLAN.has_udp_port(*port)
    })
}

/// Whether tmap unwraps GRE over IPv4: by itself, or in UDP of its own port.
fn unwraps_gre(attributes: &[InfoGre]) -> bool {
    let encapsulation = attributes.iter().find_map(|attribute| match attribute {
        InfoGre::EncapType(by) => Some(by),
        _ => None,
    });
    let port = attributes.iter().find_map(|attribute| match attribute {
        InfoGre::DestinationPort(port) => Some(*port),
        _ => None,
    });
    is_gre_readable(encapsulation, port)
}

/// Whether tmap unwraps GRE over IPv6: by itself, or in UDP of its own port.
fn unwraps_gre6(attributes: &[InfoGre6]) -> bool {
    let encapsulation = attributes.iter().find_map(|attribute| match attribute {
        InfoGre6::EncapType(by) => Some(by),
        _ => None,
    });
    let port = attributes.iter().find_map(|attribute| match attribute {
        InfoGre6::DestinationPort(port) => Some(*port),
        _ => None,
    });
    is_gre_readable(encapsulation, port)
}

/// Whether tmap unwraps GRE in this encapsulation, with this UDP port.
fn is_gre_readable(encapsulation: Option<&GreEncapType>, port: Option<u16>) -> bool {
    match encapsulation {
        None | Some(GreEncapType::None) => true,
        Some(GreEncapType::Fou) => port.is_some_and(|port| Kind::GRE.has_udp_port(port)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(setup: InfoData) -> Carried {
        carried(Some(&setup), false)
    }

    #[test]
    fn a_tunnel_is_read_on_its_ports_only() {
        let vxlan = |port| here(InfoData::Vxlan(vec![InfoVxlan::Id(42), InfoVxlan::Port(port)]));
        let generic = |port| here(InfoData::Vxlan(vec![InfoVxlan::Port(port), InfoVxlan::Gpe]));
        let geneve = |port| here(InfoData::Geneve(vec![InfoGeneve::Port(port)]));
        for (carried, ports) in
            [(vxlan as fn(u16) -> Carried, &[4789, 4790, 8472][..]), (generic, &[4790]), (geneve, &[6081])]
        {
            let read: Vec<u16> = (0..=u16::MAX).filter(|&port| carried(port) == Carried::Wrapped).collect();
            assert_eq!(read, ports);
            assert_eq!(carried(12_345), Carried::Hidden);
        }
    }

    #[test]
    fn a_tunnel_tells_where_it_sends() {
        let vxlan = |address: [u8; 4]| {
            remote(&InfoData::Vxlan(vec![InfoVxlan::Port(4789), InfoVxlan::Group(address.into())]))
        };
        let geneve = |address: u128| remote(&InfoData::Geneve(vec![InfoGeneve::Remote6(address.into())]));
        assert_eq!(vxlan([192, 0, 2, 1]), Some([192, 0, 2, 1].into()));
        assert_eq!(geneve(1), Some(std::net::Ipv6Addr::LOCALHOST.into()));
        assert_eq!([vxlan([0; 4]), geneve(0)], [None; 2]);
    }

    #[test]
    fn gre_and_ip_are_read_unless_in_something_else() {
        let gre = |by: GreEncapType, port| {
            let over4 = vec![InfoGre::EncapType(by), InfoGre::DestinationPort(port)];
            let over6 = vec![InfoGre6::EncapType(by), InfoGre6::DestinationPort(port)];
            let carried = here(InfoData::GreTap(over4));
            assert_eq!(here(InfoData::Ip6ErSpan(over6)), carried);
            carried
        };
        assert_eq!(gre(GreEncapType::None, 0), Carried::Wrapped);
        assert_eq!(gre(GreEncapType::Fou, 4754), Carried::Wrapped);
        assert_eq!(gre(GreEncapType::Fou, 5555), Carried::Hidden);
        assert_eq!(gre(GreEncapType::Gue, 4754), Carried::Hidden);
        let ip = |by| here(InfoData::IpTunnel(vec![InfoIpTunnel::EncapType(by)]));
        assert_eq!(ip(TunnelEncapType::None), Carried::Wrapped);
        assert_eq!(ip(TunnelEncapType::Fou), Carried::Hidden);
    }

    #[test]
    fn ciphers_hide_frames() {
        assert_eq!(here(InfoData::Xfrm(Vec::new())), Carried::Hidden);
        assert_eq!(here(InfoData::MacSec(vec![InfoMacSec::Encrypt(1)])), Carried::Hidden);
        assert_eq!(here(InfoData::MacSec(vec![InfoMacSec::Encrypt(0)])), Carried::Wrapped);
    }

    #[test]
    fn another_namespace_hides_what_tunnels_carry() {
        let vxlan = InfoData::Vxlan(vec![InfoVxlan::Port(4789)]);
        assert_eq!(carried(Some(&vxlan), false), Carried::Wrapped);
        assert_eq!(carried(Some(&vxlan), true), Carried::Hidden);
        assert_eq!(carried(Some(&InfoData::Vlan(Vec::new())), true), Carried::Plainly);
        assert_eq!(carried(None, false), Carried::Plainly);
    }
}
