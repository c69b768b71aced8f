//! Which connections had different addresses and ports where their offset was drawn.
//!
//! Linux hashes a connection's addresses and ports into its offset (`secure_tcp_ts_off`), so it draws the
//! same offset again for the same four. A device on the way rewrites some of them: a port forward the
//! server's address and port, a balancer the client's too, a NAT the client's address and port. What differs
//! here may have been the same there; and then a shared offset says nothing of the way in which offsets are
//! drawn.

use std::collections::{HashMap, HashSet};

use crate::engine::{
    flows::connection::Connection,
    types::{FlowKey, Side},
};

/// How certainly connections must differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::machines) enum Certainty {
    /// Most devices keep the client's port.
    Likely,
    /// Devices may rewrite anything.
    Sure,
}

/// Those of `members` that had different addresses and ports, in order of time. Connections on the same ones
/// are open one after the other, so what is open at once differs; but for what has both ports in common,
/// which may be one connection, seen at two places.
///
/// O(n log n) for n members.
pub(in crate::engine::machines) fn distinct<'a>(
    members: impl Iterator<Item = &'a Connection>,
    certainty: Certainty,
) -> Vec<&'a Connection> {
    let mut members: Vec<&Connection> = members.collect();
    if members.len() < 2 {
        return members;
    }
    members.sort_by_key(|connection| (connection.flow.first_ns, connection.serial));
    let mut seen = HashSet::new();
    let mut open_until_ns: HashMap<Option<u16>, u64> = HashMap::new();
    members.retain(|connection| {
        let (flow, FlowKey { src_port, dst_port, .. }) = (&connection.flow, connection.key);
        let kept = (certainty == Certainty::Likely).then(|| client_port(connection));
        let until_ns = open_until_ns.entry(kept).or_insert(u64::MAX);
        let differs = flow.first_ns <= *until_ns;
        *until_ns = if *until_ns == u64::MAX { flow.last_ns } else { flow.last_ns.max(*until_ns) };
        seen.insert((src_port, dst_port)) && differs
    });
    members
}

fn client_port(connection: &Connection) -> u16 {
    match connection.service().1 {
        Side::Client => connection.key.src_port,
        Side::Server => connection.key.dst_port,
    }
}
