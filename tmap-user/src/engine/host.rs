//! One source address: its connections, what was last found behind it, and the numbers given.

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;
use tmap_common::Address;

use super::{
    analysis::{self, Analysis, Depth},
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
    /// Connections ever seen when the host was last looked at by phase.
    pub phased_at: Option<u64>,
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
            phased_at: None,
            found: None,
            announced: Vec::new(),
            random_announced: false,
        }
    }

    /// How deep a look is due at `now_ns`, if any, and what it costs in tracks to be sorted.
    ///
    /// A look by phase is due when the connections have grown by half since the last one: so the
    /// looks of a host's whole life together cost no more than three of the last one's size.
    pub fn due(&self, now_ns: u64) -> Option<(Depth, usize)> {
        if !self.dirty || now_ns < self.next_look_ns {
            return None;
        }
        match &self.found {
            Some(found) if found.analysis.loose > 0 => {
                let grown = self.phased_at.is_none_or(|before| 2 * self.connections_total >= 3 * before);
                grown.then_some((Depth::Phases, found.analysis.loose))
            }
            _ => Some((Depth::Offsets, 0)),
        }
    }

    /// Whether a look now could tell more than the last one did.
    pub fn is_stale(&self) -> bool {
        self.dirty || (self.loose() > 0 && self.phased_at.is_none())
    }

    /// Offsets that only phase can sort, as of the last look.
    pub fn loose(&self) -> usize {
        self.found.as_ref().map_or(0, |found| found.analysis.loose)
    }

    /// Analyses the host's connections anew and numbers what was found.
    pub fn look(
        &mut self,
        slab: &mut Slab<Connection>,
        options: &Options,
        resolution_ns: u64,
        now_ns: u64,
        depth: Depth,
    ) {
        let keys: Vec<usize> = self.connections.iter().copied().collect();
        let connections: Vec<&Connection> = keys.iter().map(|&key| &slab[key]).collect();
        let analysis = analysis::analyse(&connections, options, resolution_ns, depth);
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
        if depth == Depth::Phases {
            self.phased_at = Some(self.connections_total);
        }
        self.next_look_ns = now_ns + LOOK_INTERVAL_NS + keys.len() as u64 * LOOK_INTERVAL_PER_CONNECTION_NS;
        self.found = Some(Found { analysis, connections: keys, numbers });
    }
}
