//! A socket that sends whole frames into a namespace's wire, and receives none.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, bind, send, sendmmsg, socket},
};

use crate::net::namespaces::INTERFACE;

/// What became of frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handed {
    /// The kernel took them.
    pub(super) taken: u64,
    /// The interface dropped them at once, and the kernel said so.
    pub(super) refused: u64,
}

impl std::ops::AddAssign for Handed {
    fn add_assign(&mut self, other: Self) {
        self.taken += other.taken;
        self.refused += other.refused;
    }
}

/// A packet socket on [`INTERFACE`] of the namespace in which the calling thread is.
pub(super) struct FrameSocket(OwnedFd);

impl FrameSocket {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open() -> Result<Self> {
        // Without a protocol, it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .context("can't open a packet socket")?;
        let mut interfaces = getifaddrs().context("can't list interfaces")?;
        let link = interfaces.find_map(|interface| {
            let link = *interface.address.as_ref()?.as_link_addr()?;
            (interface.interface_name == INTERFACE).then_some(link)
        });
        let link = link.with_context(|| format!("there is no interface {INTERFACE}"))?;
        bind(socket.as_raw_fd(), &link).with_context(|| format!("can't bind to {INTERFACE}"))?;
        Ok(Self(socket))
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// What the kernel says, unless it says that the interface dropped the frame.
    pub(super) fn send(&self, frame: &[u8]) -> Result<Handed> {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(Handed { taken: 1, refused: 0 }),
                Err(Errno::ENOBUFS) => return Ok(Handed { taken: 0, refused: 1 }),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("can't send a frame"),
            }
        }
    }

    /// Sends frames, many with each system call. `headers` has room for them all.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn send_all(&self, headers: &mut MultiHeaders<()>, frames: &[Vec<u8>]) -> Result<Handed> {
        let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let nowhere = vec![None; frames.len()];
        let mut handed = Handed::default();
        let mut done = 0;
        while done < frames.len() {
            let rest = &slices[done..];
            let sent = sendmmsg(self.0.as_raw_fd(), headers, rest, &nowhere[done..], [], MsgFlags::empty());
            let sent = match sent {
                Ok(sent) => sent.count(),
                Err(Errno::ENOBUFS) => 0,
                Err(Errno::EINTR | Errno::EAGAIN) => continue,
                Err(error) => return Err(error).context("can't send frames"),
            };
            // The kernel stops at a frame that it can't send, and says why only if that is the first one.
            let is_refused = sent < rest.len();
            handed += Handed { taken: sent as u64, refused: u64::from(is_refused) };
            done += sent + usize::from(is_refused);
        }
        Ok(handed)
    }
}
