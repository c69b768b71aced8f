//! The source ports of connections, and what a NAT leaves of them.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::plan::Opening;

/// How source ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ports {
    /// Each is drawn, as by `random,fully-random` NATs.
    Drawn,
    /// Linux's walks, of which a NAT keeps a share; it draws the others. Machines begin their walks anew
    /// every ten seconds of their own uptime.
    Walks {
        /// The share of ports that the NAT keeps, 0 to 1.
        kept: f64,
        /// The addresses of each machine behind the NAT, as of its containers. Each has walks of its own.
        addresses: usize,
    },
    /// One walk for each service through all machines' connections, by whoever wants to deceive: a NAT that
    /// numbers connections so, or somebody who chooses ports.
    Joined,
    /// One counter for each machine, as Apple's systems have, of which a NAT keeps a share.
    Counters {
        /// The share of ports that the NAT keeps, 0 to 1.
        kept: f64,
    },
}

/// Linux's range (ip_local_port_range), and Apple's.
const LINUX: (u16, u16) = (32_768, 60_999);
const APPLE: (u16, u16) = (49_152, 65_535);

/// The time from one boundary to the next, in seconds.
const PERIOD_S: f64 = 10.0;

/// What a SYN's walk goes by: machine and its address, peer, service and period.
type WalkKey = (usize, usize, usize, u16, i64);

/// The source port of each opening, before anybody takes it for another one; `None` where ports are drawn.
pub(super) fn chosen(
    ports: Ports,
    openings: &[Opening],
    boundaries_s: &[f64],
    seed: u64,
) -> Option<Vec<u16>> {
    let (range, kept) = match ports {
        Ports::Drawn => return None,
        Ports::Walks { kept, .. } => (LINUX, kept),
        Ports::Joined => (LINUX, 1.0),
        Ports::Counters { kept } => (APPLE, kept),
    };
    let mut random = Pcg64::seed_from_u64(seed ^ 0x706f_7274);
    let mut order: Vec<usize> = (0..openings.len()).collect();
    order.sort_by(|&a, &b| openings[a].begin_s.total_cmp(&openings[b].begin_s));
    let mut last: HashMap<WalkKey, u16> = HashMap::new();
    let mut of = vec![0; openings.len()];
    for at in order {
        let opening = &openings[at];
        let period = ((opening.begin_s - boundaries_s[opening.machine]) / PERIOD_S).floor() as i64;
        let (peer, service) = (opening.peer, opening.script.port());
        let key = match ports {
            Ports::Walks { addresses, .. } => {
                (opening.machine, random.random_range(0..addresses), peer, service, period)
            }
            Ports::Joined => (0, 0, peer, service, 0),
            _ => (opening.machine, 0, 0, 0, 0),
        };
        let places = range.1 - range.0 + 1;
        let begin = || range.0 + 2 * random.random_range(0..places / 2);
        let before = *last.entry(key).or_insert_with(begin);
        let step = if range == LINUX { 2 * random.random_range(1..=8) } else { 1 };
        let port = range.0 + (before - range.0 + step) % places;
        last.insert(key, port);
        of[at] = if random.random::<f64>() < kept { port } else { random.random_range(1_024..=65_535) };
    }
    Some(of)
}
