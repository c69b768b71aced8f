//! Promiscuous mode: an interface passes up frames for other machines, too.
//!
//! By the membership of a packet socket, as tcpdump does it: the kernel counts members and ends the mode when
//! the last one's socket is closed, however its process ends. The socket receives nothing, because it asks
//! for no protocol.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use nix::{
    libc, setsockopt_impl, sockopt_impl,
    sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket},
};

/// Whether interfaces are set to promiscuous mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Promiscuous {
    /// Only an interface that looks like a mirror port: up, with no address of its own, and no part of a
    /// bridge, bond or VLAN.
    #[default]
    MirrorPorts,
    /// All.
    All,
    /// None.
    Off,
}

/// The membership. Dropping it ends it.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
pub(super) struct Membership(OwnedFd);

sockopt_impl!(
    /// Joins a packet socket to an interface's promiscuous mode, for instance (packet(7)).
    PacketMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_ADD_MEMBERSHIP,
    libc::packet_mreq
);

/// Sets the interface of this index to promiscuous mode.
///
/// # Errors
/// If the system refuses; it takes CAP_NET_RAW.
pub(super) fn join(index: u32) -> Result<Membership> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot open a packet socket; it takes CAP_NET_RAW")?;
    let request = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    setsockopt(&socket, PacketMembership, &request).context("the kernel refuses promiscuous mode")?;
    Ok(Membership(socket))
}
