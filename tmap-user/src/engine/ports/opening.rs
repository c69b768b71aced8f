//! A SYN, as far as source ports go.

use tmap_common::Address;

use crate::engine::types::seconds_between;

/// A SYN, as far as source ports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When it was first seen, engine time in nanoseconds.
    pub time_ns: u64,
    /// The address that it went to.
    pub peer: Address,
    /// The port that it went to.
    pub peer_port: u16,
    /// Its source port.
    pub port: u16,
}

/// Where walks of a rule go on: a service, or the same for all services.
pub(super) type Place = Option<(Address, u16)>;

impl Opening {
    /// The service that it went to.
    pub(super) fn service(&self) -> (Address, u16) {
        (self.peer, self.peer_port)
    }

    /// The time from this SYN to a later one, in seconds.
    pub fn pause_s(&self, later: &Self) -> f64 {
        seconds_between(self.time_ns, later.time_ns)
    }
}
