//! Promiscuous mode: an interface passes up frames for other machines, too.
//!
//! By the membership of a packet socket, as tcpdump does it: the kernel counts members and ends the mode when
//! the last one's socket is closed, however its process ends. The socket receives nothing, because it asks
//! for no protocol. It is opened once, because that takes CAP_NET_RAW, and joining does not: interfaces that
//! come back are joined by a process that has given this capability up.

use std::{os::fd::OwnedFd, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
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

/// The packet socket whose memberships set the mode; `None` where it can't be opened.
#[derive(Debug, Default)]
pub(super) struct PacketSocket(Option<Arc<OwnedFd>>);

/// The membership. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Membership {
    socket: Arc<OwnedFd>,
    request: libc::packet_mreq,
}

sockopt_impl!(
    /// Joins a packet socket to an interface's promiscuous mode, for instance (packet(7)).
    AddMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_ADD_MEMBERSHIP,
    libc::packet_mreq
);

sockopt_impl!(
    /// Ends such a membership.
    DropMembership,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_DROP_MEMBERSHIP,
    libc::packet_mreq
);

impl PacketSocket {
    /// Opens the socket, unless no interface is to be in promiscuous mode. A system that refuses is heard of
    /// where an interface is to join.
    pub(super) fn open(wanted: Promiscuous) -> Self {
        let is_wanted = wanted != Promiscuous::Off;
        let open = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
        Self(is_wanted.then(open).and_then(Result::ok).map(Arc::new))
    }

    /// Sets the interface of this index to promiscuous mode.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn join(&self, index: u32) -> Result<Membership> {
        let Some(socket) = &self.0 else {
            return Err(anyhow!("cannot open a packet socket; it takes CAP_NET_RAW at the start"));
        };
        let request = libc::packet_mreq {
            mr_ifindex: index.cast_signed(),
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        setsockopt(socket, AddMembership, &request).context("the kernel refuses promiscuous mode")?;
        Ok(Membership { socket: Arc::clone(socket), request })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // Of an interface that is gone, the kernel has ended it.
        let _ = setsockopt(&self.socket, DropMembership, &self.request);
    }
}
