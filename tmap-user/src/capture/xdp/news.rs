//! The kernel's word that an interface changed: then all are checked at once.
//!
//! What a message says doesn't matter. It may be lost among many, and tells nothing of programs, so
//! interfaces are listed anew, and also checked from time to time without it.

use std::io;

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

/// The group of messages about interfaces (`RTNLGRP_LINK` in linux/rtnetlink.h).
const LINK_GROUP: u32 = 1;

/// The kernel's messages about the interfaces of a network namespace.
#[derive(Debug)]
pub struct News(Socket);

impl News {
    /// Subscribes to messages about the interfaces of this network namespace.
    ///
    /// # Errors
    /// If the system grants no socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(LINK_GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Waits until something changed since the last call.
    ///
    /// # Errors
    /// If no more messages come.
    pub fn wait(&self) -> io::Result<()> {
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => self.take_all(),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the messages that wait, and drops them.
    fn take_all(&self) -> io::Result<()> {
        loop {
            // The rest of a message goes, too.
            match self.0.recv(&mut &mut [0_u8; 8][..], 0) {
                Ok(_) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    // Messages were lost, which is news, too.
                    Some(Errno::NOBUFS | Errno::INTR) => {}
                    Some(Errno::AGAIN) => return Ok(()),
                    _ => return Err(error),
                },
            }
        }
    }
}
