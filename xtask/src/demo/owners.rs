//! Which machine opened which connection, as seen behind the NAT.
//!
//! The NAT keeps a machine's port where it is free. So machines of one address never take the same port to
//! the same service: then all are free, and the ports inside are those outside.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Mutex;

/// A connection: address and port behind the NAT, then those of the server.
type Connection = ((IpAddr, u16), (IpAddr, u16));

/// The machine of each connection.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<HashMap<Connection, usize>>);

impl Owners {
    /// Takes the connection for a machine. False if one had it before.
    pub(super) fn take(&self, source: (IpAddr, u16), server: (IpAddr, u16), machine: usize) -> bool {
        match self.0.lock().expect("no holder panics").entry((source, server)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(machine);
                true
            }
        }
    }

    /// The machine that opened the connection.
    pub(super) fn of(&self, source: (IpAddr, u16), server: (IpAddr, u16)) -> Option<usize> {
        self.0.lock().expect("no holder panics").get(&(source, server)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_one_owner() {
        let (nat, server) = (IpAddr::from([198, 51, 100, 1]), IpAddr::from([203, 0, 113, 10]));
        let owners = Owners::default();
        assert!(owners.take((nat, 40_000), (server, 80), 2));
        assert!(!owners.take((nat, 40_000), (server, 80), 3), "taken");
        assert!(owners.take((nat, 40_000), (server, 443), 3), "another service");
        assert_eq!(owners.of((nat, 40_000), (server, 80)), Some(2));
        assert_eq!(owners.of((nat, 40_001), (server, 80)), None);
    }
}
