//! One source address: its connections, what was last found behind it, and the numbers given.

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;
use tmap_common::Address;

use super::{
    analysis::{self, Analysis},
    connection::Connection,
    identity,
    options::Options,
};

/// Everything held about a source address.
#[derive(Debug)]
pub struct Host {
    /// The address.
    pub address: Address,
    /// Connections remembered, open and finished, the oldest first: keys into the engine's slab.
    pub connections: VecDeque<usize>,
    /// Connections ever seen.
    pub connections_total: u64,
    /// Segments with TSval 0.
    pub zero_tsvals: u64,
    /// Connections that were forgotten after they had been assigned, by machine number.
    pub forgotten: BTreeMap<u32, u64>,
    /// Whether anything changed since the last look.
    pub dirty: bool,
    /// Engine time from which a new look is allowed.
    pub next_look_ns: u64,
    /// The last look, if any.
    pub found: Option<Found>,
    /// Machines already announced: their numbers stay. Others are numbered anew at each look, so
    /// that guesses of the first seconds don't use numbers up.
    pub announced: Vec<u32>,
    /// Whether it was said that offsets are random here.
    pub random_announced: bool,
}

/// A look at a host: the analysis, the connections that it speaks of, and the machines' numbers.
#[derive(Debug)]
pub struct Found {
    /// What was found.
    pub analysis: Analysis,
    /// The slab keys of the connections analysed: members index this list.
    pub connections: Vec<usize>,
    /// The number of each group.
    pub numbers: Vec<u32>,
}

/// Looks at an address are this far apart at least, and further the more connections it has: a
/// look's cost grows with their number, so its share of time doesn't.
const LOOK_INTERVAL_NS: u64 = 1_000_000_000;
const LOOK_INTERVAL_PER_CONNECTION_NS: u64 = 2_000_000;

impl Host {
    /// A host of which nothing is known.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            connections: VecDeque::new(),
            connections_total: 0,
            zero_tsvals: 0,
            forgotten: BTreeMap::new(),
            dirty: false,
            next_look_ns: 0,
            found: None,
            announced: Vec::new(),
            random_announced: false,
        }
    }

    /// Analyses the host's connections anew and numbers what was found.
    pub fn look(&mut self, slab: &mut Slab<Connection>, options: &Options, resolution_ns: u64, now_ns: u64) {
        let keys: Vec<usize> = self.connections.iter().copied().collect();
        let connections: Vec<&Connection> = keys.iter().map(|&key| &slab[key]).collect();
        let analysis = analysis::analyse(&connections, options, resolution_ns);
        let announced = |number: u32| if self.announced.contains(&number) { number } else { 0 };
        let first_free = self.announced.iter().max().map_or(1, |last| last + 1);
        let numbers =
            identity::number(&analysis, |position| announced(connections[position].machine), first_free);
        for &key in &keys {
            slab[key].machine = 0;
        }
        for (group, &number) in analysis.groups.iter().zip(&numbers) {
            for &(position, probability) in &group.members {
                if probability >= 0.5 {
                    slab[keys[position]].machine = number;
                }
            }
        }
        self.dirty = false;
        self.next_look_ns = now_ns + LOOK_INTERVAL_NS + keys.len() as u64 * LOOK_INTERVAL_PER_CONNECTION_NS;
        self.found = Some(Found { analysis, connections: keys, numbers });
    }
}
