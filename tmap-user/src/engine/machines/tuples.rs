//! Which connections had different addresses and ports where their offset was drawn.
//!
//! Linux hashes a connection's addresses and ports into its offset (`secure_tcp_ts_off`), so it draws the
//! same offset again for the same four. A device on the way rewrites some of them: a port forward the
//! server's address and port, a balancer the client's too, a NAT the client's address and port. What differs
//! here may have been the same there; and then a shared offset says nothing of the way in which offsets are
//! drawn.

use std::collections::{HashMap, HashSet};

use tmap_common::Address;

use crate::engine::{
    flows::connection::Connection,
    types::{FlowKey, Side},
};

/// How certainly connections must differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// Most devices in front of a server keep the client's port, and most NATs that of their host.
    Likely,
    /// Devices may rewrite anything but the server that a client asks for.
    Sure,
}

/// Those of `members` that had different addresses and ports, in order of time. Connections on the same ones
/// are open one after the other, so what is open at once differs.
///
/// O(n log n) for n members.
pub(super) fn distinct<'a>(
    members: impl Iterator<Item = &'a Connection>,
    certainty: Certainty,
) -> Vec<&'a Connection> {
    let mut members: Vec<&Connection> = members.collect();
    if members.len() < 2 {
        return members;
    }
    members.sort_by_key(|connection| (connection.flow.first_ns, connection.serial));
    let mut seen = HashSet::new();
    let mut open_until_ns: HashMap<Kept, u64> = HashMap::new();
    members.retain(|connection| {
        let flow = &connection.flow;
        let until_ns = open_until_ns.entry(kept(connection, certainty)).or_insert(u64::MAX);
        let differs = flow.first_ns <= *until_ns;
        *until_ns = if *until_ns == u64::MAX { flow.last_ns } else { flow.last_ns.max(*until_ns) };
        seen.insert(connection.key) && differs
    });
    members
}

/// What no device on the way changes of a connection's addresses and ports.
#[derive(PartialEq, Eq, Hash)]
enum Kept {
    All(FlowKey),
    Server(Address, u16),
    ClientPort(u16),
    Nothing,
}

fn kept(connection: &Connection, certainty: Certainty) -> Kept {
    let key = connection.key;
    match (connection.service().1, certainty) {
        (Side::Client, Certainty::Likely) => Kept::All(key),
        (Side::Client, Certainty::Sure) => Kept::Server(key.dst, key.dst_port),
        (Side::Server, Certainty::Likely) => Kept::ClientPort(key.dst_port),
        (Side::Server, Certainty::Sure) => Kept::Nothing,
    }
}
