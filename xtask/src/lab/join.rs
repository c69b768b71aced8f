//! The truth of a run: which machine opened which connection, joined from captures before and behind the NAT.
//!
//! The NAT changes addresses and ports of the client. Server, initial sequence number and TSval of a SYN
//! stay, so they tell which two SYNs are one.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use super::frames::Syn;

/// Address and port of a client, then of a server.
pub(super) type Ends = ((IpAddr, u16), (IpAddr, u16));

/// A connection whose machine is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    /// Address and port behind the NAT.
    pub source: (IpAddr, u16),
    /// Server address and port.
    pub server: (IpAddr, u16),
    /// The client's initial sequence number.
    pub isn: u32,
    /// The machine's number.
    pub machine: usize,
    /// The port before the NAT.
    pub own_port: u16,
}

/// The connections of a run, in the order in which they were opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined {
    /// Those whose machine is known.
    pub connections: Vec<Connection>,
    /// The number of connections behind the NAT that have no partner before it, or several.
    pub lost: usize,
}

/// Joins the SYNs before the NAT with those behind it.
pub(super) fn join(inside: &[Syn], outside: &[Syn], machine_of: impl Fn(IpAddr) -> Option<usize>) -> Joined {
    let key = |syn: &Syn| (syn.server, syn.isn, syn.tsval);
    // None where two machines, or two ports of one machine, have this key.
    let mut partners: HashMap<_, Option<(usize, u16)>> = HashMap::new();
    for syn in inside {
        let Some(machine) = machine_of(syn.source.0) else { continue };
        let partner = Some((machine, syn.source.1));
        partners
            .entry(key(syn))
            .and_modify(|held| *held = held.filter(|_| *held == partner))
            .or_insert(partner);
    }
    let mut joined = Joined::default();
    let mut seen = HashSet::new();
    for syn in outside {
        // A repeated SYN opens nothing.
        if !seen.insert((syn.source, syn.server, syn.isn)) {
            continue;
        }
        let Some(&Some((machine, own_port))) = partners.get(&key(syn)) else {
            joined.lost += 1;
            continue;
        };
        let Syn { source, server, isn, .. } = *syn;
        joined.connections.push(Connection { source, server, isn, machine, own_port });
    }
    joined
}

impl Joined {
    /// The number of connections that left on the port which their machine had chosen.
    pub(super) fn kept(&self) -> usize {
        self.connections.iter().filter(|connection| connection.source.1 == connection.own_port).count()
    }

    /// What the two captures tell, in words.
    pub(super) fn summary(&self) -> String {
        let (all, kept) = (self.connections.len(), self.kept());
        let mut text = format!("{all} connections, {kept} of them on the port that their machine had chosen");
        if self.lost > 0 {
            let _ = write!(text, "; the machines of {} more are not known", self.lost);
        }
        text
    }

    /// The machine of each connection, by both of its ends behind the NAT.
    pub(super) fn by_ends(&self) -> HashMap<Ends, usize> {
        self.connections.iter().map(|one| ((one.source, one.server), one.machine)).collect()
    }

    /// The list of connections, as `cargo xtask eval -- --truth` reads it.
    pub(super) fn csv(&self) -> String {
        let mut text = "sport,dst,dport,isn,machine\n".to_owned();
        for Connection { source, server, isn, machine, .. } in &self.connections {
            let _ = writeln!(text, "{},{},{},{isn},{machine}", source.1, server.0, server.1);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAT: [u8; 4] = [198, 51, 100, 1];

    fn syn(source: [u8; 4], port: u16, isn: u32, tsval: Option<u32>) -> Syn {
        Syn { source: (source.into(), port), server: ([203, 0, 113, 2].into(), 443), isn, tsval }
    }

    /// 10.0.0.N is machine N.
    fn joined(inside: &[Syn], outside: &[Syn]) -> Joined {
        join(inside, outside, |address| match address {
            IpAddr::V4(address) => Some(usize::from(address.octets()[3])),
            IpAddr::V6(_) => None,
        })
    }

    #[test]
    fn a_changed_port_is_followed() {
        let inside = [syn([10, 0, 0, 1], 40_000, 7, Some(1)), syn([10, 0, 0, 2], 40_000, 8, None)];
        let outside = [syn(NAT, 40_000, 8, None), syn(NAT, 51_234, 7, Some(1))];
        let joined = joined(&inside, &outside);
        assert_eq!(
            joined.csv(),
            "sport,dst,dport,isn,machine\n40000,203.0.113.2,443,8,2\n51234,203.0.113.2,443,7,1\n"
        );
        assert_eq!((joined.lost, joined.kept()), (0, 1));
        let ends = ((NAT.into(), 51_234), ([203, 0, 113, 2].into(), 443));
        assert_eq!(joined.by_ends()[&ends], 1);
    }

    #[test]
    fn a_repeated_syn_is_one_connection() {
        // A repeated SYN has a later TSval; the first one was lost before it came to the other side.
        let inside = [syn([10, 0, 0, 1], 40_000, 7, Some(1)), syn([10, 0, 0, 1], 40_000, 7, Some(1001))];
        let outside = [syn(NAT, 40_000, 7, Some(1001)), syn(NAT, 40_000, 7, Some(3001))];
        let joined = joined(&inside, &outside);
        assert_eq!((joined.connections.len(), joined.lost), (1, 0));
    }

    #[test]
    fn what_is_not_known_is_counted() {
        // Two machines with one number cannot be told apart; a stranger has no partner.
        let inside = [syn([10, 0, 0, 1], 40_000, 7, None), syn([10, 0, 0, 2], 41_000, 7, None)];
        let outside = [syn(NAT, 40_000, 7, None), syn(NAT, 41_000, 9, None)];
        let joined = joined(&inside, &outside);
        assert_eq!((joined.connections.len(), joined.lost), (0, 2));
    }
}
