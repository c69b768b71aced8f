//! What is remembered of a source address between looks: what was found, and the numbers given.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    analysis::{self, Analysis},
    numbering,
};
use crate::engine::{
    flows::connection::Connection,
    options::Options,
    types::{Depth, Doubt},
};

/// What is remembered of a source address.
#[derive(Debug)]
pub struct SourceHistory {
    /// The address.
    pub address: Address,
    /// Connections that were forgotten after they had been assigned, by machine number.
    pub forgotten: BTreeMap<u32, u64>,
    /// The last look, if it still holds: its members are the first of the history's connections.
    pub found: Option<Found>,
    /// Machines already announced: their numbers stay. Others are numbered anew at each look, so
    /// that guesses of the first seconds don't use numbers up.
    pub announced: Vec<u32>,
    /// Whether it was said that offsets are random here.
    pub random_announced: bool,
    /// The serials of the connections of the last look, in their order, and the machines' numbers
    /// that they got; 0 for none.
    assigned: Vec<(u32, u32)>,
}

/// A look at a history: the analysis and the machines' numbers.
#[derive(Debug)]
pub struct Found {
    /// What was found.
    pub analysis: Analysis,
    /// How many connections were analysed: members are positions below this.
    pub connections: usize,
    /// The number of each group.
    pub numbers: Vec<u32>,
}

impl SourceHistory {
    /// A history of which nothing is known.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            forgotten: BTreeMap::new(),
            found: None,
            announced: Vec::new(),
            random_announced: false,
            assigned: Vec::new(),
        }
    }

    /// Offsets that only phase can sort, as of the last look.
    pub fn random_offsets(&self) -> usize {
        self.found.as_ref().map_or(0, |found| found.analysis.random_offsets)
    }

    /// Whether a look may have found what wasn't announced yet.
    pub fn has_news(&self, found: &Found) -> bool {
        found.numbers.iter().any(|number| !self.announced.contains(number))
            || (found.analysis.doubt == Some(Doubt::OffsetsRandom) && !self.random_announced)
    }

    /// Gives connections the machines that they had, counts those that are gone, and lets go of a
    /// look that spoke of them. `connections` are all that the history has, in the order of serials.
    pub fn recall(&mut self, connections: &mut [Connection]) {
        let mut at = 0;
        let before = self.assigned.len();
        self.assigned.retain(|&(serial, machine)| {
            while connections.get(at).is_some_and(|connection| connection.serial < serial) {
                at += 1;
            }
            let known = connections.get_mut(at).filter(|connection| connection.serial == serial);
            if let Some(connection) = known {
                connection.machine = machine;
                return true;
            }
            if machine != 0 {
                *self.forgotten.entry(machine).or_default() += 1;
            }
            false
        });
        if self.assigned.len() < before {
            self.found = None;
        }
    }

    /// Analyses the history's connections anew and numbers what was found.
    pub fn analyse(
        &mut self,
        connections: &mut [Connection],
        options: &Options,
        resolution_ns: u64,
        depth: Depth,
    ) {
        let analysed: Vec<&Connection> = connections.iter().collect();
        let analysis = analysis::analyse(&analysed, options, resolution_ns, depth);
        let announced = |number: u32| if self.announced.contains(&number) { number } else { 0 };
        let first_free = self.announced.iter().max().map_or(1, |last| last + 1);
        let numbers =
            numbering::number(&analysis, |position| announced(connections[position].machine), first_free);
        // What this look could not sort keeps its number until one can.
        let unsorted = analysis.random_offsets > 0;
        for connection in connections.iter_mut() {
            let stays = unsorted && self.announced.contains(&connection.machine);
            connection.machine = if stays { connection.machine } else { 0 };
        }
        for (group, &number) in analysis.groups.iter().zip(&numbers) {
            for &(position, probability) in &group.members {
                if probability >= 0.5 {
                    connections[position].machine = number;
                }
            }
        }
        self.assigned.clear();
        self.assigned.extend(connections.iter().map(|connection| (connection.serial, connection.machine)));
        self.found = Some(Found { analysis, connections: connections.len(), numbers });
    }

    /// Memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let groups = self.found.iter().flat_map(|found| &found.analysis.groups);
        let members: usize = groups.map(|group| size_of_val(group) + size_of_val(&group.members[..])).sum();
        size_of::<Self>() + members + size_of_val(&self.assigned[..])
    }
}
