//! The history of a source address: what analysis keeps from one pass to the next.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Address;

use super::{
    discarded::{Discarded, Known},
    numbering,
};
use crate::engine::{
    flows::connection::Connection,
    machines::{
        analysis::{self, Analysis, Circumstances},
        counters::behaviours::Moved,
        group::SURE,
    },
    options::Options,
    types::Depth,
};

/// The history of a source address.
#[derive(Debug)]
pub(in crate::engine::machines) struct SourceHistory {
    /// The address.
    pub address: Address,
    /// How many sources had its source's number before.
    pub life: u32,
    /// Connections that were discarded since.
    pub discarded: Discarded,
    /// The last pass. Its members are the oldest of the address's connections.
    pub last_pass: Option<LastPass>,
    /// The last pass by phase, where later ones by offset left machines to the next: what is known until
    /// then.
    older: Option<LastPass>,
    /// Machines already announced: their numbers stay. Others are numbered anew at each pass, so that
    /// guesses of the first seconds don't use numbers up. Those that have no connection left are forgotten.
    pub announced: BTreeSet<u32>,
    /// The largest number that was announced: no later machine gets one up to it.
    last_announced: u32,
    /// When the last announced move of each machine's clock was, engine time in nanoseconds.
    pub moves_announced: BTreeMap<u32, u64>,
    /// Whether random offsets were announced for this address.
    pub random_announced: bool,
    /// Whether the last pass was cut short or refused, so that the next one may find more. Copies that were
    /// frozen before that do not know it.
    pub is_open: bool,
    /// What is known of each connection of the last pass, in order.
    assigned: Vec<Known>,
}

/// What was known before a pass.
pub(in crate::engine::machines) struct Before {
    last_pass: Option<LastPass>,
    older: Option<LastPass>,
    assigned: Vec<Known>,
    discarded: Discarded,
}

impl Before {
    /// Whether machines were known.
    pub(in crate::engine::machines) fn has_machines(&self) -> bool {
        let mut passes = self.last_pass.iter().chain(&self.older);
        passes.any(|pass| !pass.analysis.groups.is_empty())
    }
}

/// The lowest probability with which a connection is counted as a machine's: it then belongs to at most
/// one machine.
const MIN_ASSIGNED: f64 = 0.5;

/// The result of an analysis pass, with the machines' numbers.
#[derive(Clone, Debug)]
pub(in crate::engine::machines) struct LastPass {
    /// The analysis.
    pub analysis: Analysis,
    /// How deep it went.
    depth: Depth,
    /// How many connections were analysed: members are positions below this.
    pub connections: usize,
    /// The machine number of each group.
    pub numbers: Vec<u32>,
}

impl LastPass {
    /// Whether it found random offsets and left them to a pass by phase.
    pub(in crate::engine::machines) fn awaits_phases(&self) -> bool {
        self.analysis.random_offsets > 0 && self.depth == Depth::Offsets
    }

    /// Leaves out the connections that were discarded. `places` holds the new position of each connection of
    /// the address, for as many as a pass has seen.
    fn forget(&mut self, places: &[Option<usize>]) {
        let new_place = |position: usize| places.get(position).copied().flatten();
        for group in &mut self.analysis.groups {
            let members = std::mem::take(&mut group.members).into_iter();
            group.members = members.filter_map(|(at, p)| Some((new_place(at)?, p))).collect();
        }
        for places in [&mut self.analysis.doubtful, &mut self.analysis.copies] {
            *places = std::mem::take(places).into_iter().filter_map(new_place).collect();
        }
        self.analysis.source_ports.forget(new_place);
        self.connections = (0..self.connections).filter_map(new_place).count();
    }
}

impl SourceHistory {
    /// An empty history.
    pub(in crate::engine::machines) fn new(address: Address, life: u32) -> Self {
        Self {
            address,
            life,
            discarded: Discarded::default(),
            last_pass: None,
            older: None,
            announced: BTreeSet::new(),
            last_announced: 0,
            moves_announced: BTreeMap::new(),
            random_announced: false,
            is_open: false,
            assigned: Vec::new(),
        }
    }

    /// Random offsets that the last pass found; only a pass by phase can assign them.
    pub(in crate::engine::machines) fn random_offsets(&self) -> usize {
        self.last_pass.as_ref().map_or(0, |last_pass| last_pass.analysis.random_offsets)
    }

    /// Whether the last pass found random offsets and left them to a pass by phase.
    pub(in crate::engine::machines) fn awaits_phases(&self) -> bool {
        self.last_pass.as_ref().is_some_and(LastPass::awaits_phases)
    }

    /// Whether the last pass told machines.
    pub(in crate::engine::machines) fn has_machines(&self) -> bool {
        self.last_pass.as_ref().is_some_and(|last_pass| !last_pass.analysis.groups.is_empty())
    }

    /// Whether a pass may have found something that wasn't announced yet.
    pub(in crate::engine::machines) fn has_news(&self, last_pass: &LastPass) -> bool {
        last_pass.numbers.iter().any(|number| !self.announced.contains(number))
            || self.moves(last_pass).next().is_some()
            || (last_pass.awaits_phases() && !self.random_announced)
    }

    /// Moves of announced machines' clocks that weren't announced yet, each with the machine's number.
    pub(in crate::engine::machines) fn moves<'a>(
        &'a self,
        last_pass: &'a LastPass,
    ) -> impl Iterator<Item = (u32, Moved)> + 'a {
        last_pass.analysis.groups.iter().zip(&last_pass.numbers).filter_map(|(group, number)| {
            let moved = group.moved?;
            let is_new = self.moves_announced.get(number).is_none_or(|at_ns| *at_ns < moved.at_ns);
            (is_new && self.announced.contains(number)).then_some((*number, moved))
        })
    }

    /// Restores the machine numbers and counters of `connections`, which are all of the address's, in the
    /// order of serials. Counts connections that were discarded, and leaves them out of what passes found.
    pub(in crate::engine::machines) fn recall(&mut self, connections: &mut [Connection]) {
        let (mut at, mut places, mut held) = (0, Vec::with_capacity(self.assigned.len()), 0);
        let mut gone = Vec::new();
        self.assigned.retain(|known| {
            while connections.get(at).is_some_and(|connection| connection.serial < known.serial) {
                at += 1;
            }
            let same = connections.get_mut(at).filter(|connection| connection.serial == known.serial);
            places.push(same.is_some().then_some(held));
            match same {
                Some(connection) => {
                    known.recall(connection);
                    held += 1;
                    true
                }
                None => {
                    gone.push(*known);
                    false
                }
            }
        });
        if !gone.is_empty() {
            self.discarded.add(&gone, &self.assigned, &self.announced);
            self.last_pass.iter_mut().chain(&mut self.older).for_each(|pass| pass.forget(&places));
        }
    }

    /// Has the last pass by phase reported where the last pass left machines to the next one, until called
    /// again. Returns whether there is one.
    pub(in crate::engine::machines) fn exchange_older(&mut self) -> bool {
        let is_more = !self.has_machines() && self.older.is_some();
        if is_more {
            std::mem::swap(&mut self.last_pass, &mut self.older);
        }
        is_more
    }

    /// Takes back what [`Self::exchange_older`] did.
    pub(in crate::engine::machines) fn exchange_back(&mut self) {
        std::mem::swap(&mut self.last_pass, &mut self.older);
    }

    /// Analyses the address's connections and numbers the machines found. Returns what was known before, for
    /// [`Self::restore`].
    pub(in crate::engine::machines) fn analyse(
        &mut self,
        connections: &mut [Connection],
        options: &Options,
        circumstances: Circumstances,
    ) -> Before {
        let analysed: Vec<&Connection> = connections.iter().collect();
        let mut analysis = analysis::analyse(&analysed, options, circumstances);
        let discarded = self.discarded.clone();
        self.discarded.follow(&std::mem::take(&mut analysis.counters), connections);
        let announced = |number: u32| if self.announced.contains(&number) { number } else { 0 };
        let first_free = self.last_announced + 1;
        let numbers =
            numbering::number(&analysis, |position| announced(connections[position].machine), first_free);
        // Connections that this pass can't assign keep their number until a pass by phase.
        let unsorted = analysis.random_offsets > 0;
        for connection in connections.iter_mut() {
            let stays = unsorted && self.announced.contains(&connection.machine);
            if !stays {
                (connection.machine, connection.is_sure) = (0, false);
            }
        }
        for (group, &number) in analysis.groups.iter().zip(&numbers) {
            for &(position, probability) in &group.members {
                if probability >= MIN_ASSIGNED {
                    connections[position].machine = number;
                    connections[position].is_sure = probability >= SURE;
                }
            }
        }
        let assigned = connections.iter().map(Known::of).collect();
        self.forget_gone(&numbers, connections);
        let last_pass =
            LastPass { analysis, depth: circumstances.depth, connections: connections.len(), numbers };
        self.replace(last_pass, assigned, discarded)
    }

    /// Takes in the outcome of a pass. Returns what was known before, when these were the `discarded`.
    fn replace(&mut self, last_pass: LastPass, assigned: Vec<Known>, discarded: Discarded) -> Before {
        let leaves_machines = last_pass.depth == Depth::Offsets && last_pass.analysis.random_offsets > 0;
        let before = Before {
            last_pass: self.last_pass.take(),
            older: self.older.take(),
            assigned: std::mem::replace(&mut self.assigned, assigned),
            discarded,
        };
        if leaves_machines {
            let was_by_phase = |pass: &&LastPass| pass.depth == Depth::Phases;
            self.older = before.last_pass.iter().chain(&before.older).find(was_by_phase).cloned();
        }
        self.last_pass = Some(last_pass);
        before
    }

    /// Notes that a machine was announced.
    pub(in crate::engine::machines) fn announce(&mut self, number: u32) {
        self.announced.insert(number);
        self.last_announced = self.last_announced.max(number);
    }

    /// Forgets what was known of machines that have neither a connection nor one of these numbers: an address
    /// may show ever new ones.
    fn forget_gone(&mut self, numbers: &[u32], connections: &[Connection]) {
        let held: BTreeSet<u32> =
            connections.iter().map(|connection| connection.machine).chain(numbers.iter().copied()).collect();
        self.announced.retain(|number| held.contains(number));
        self.discarded.keep_machines(&held);
        self.moves_announced.retain(|number, _| held.contains(number));
    }

    /// Forgets a pass that ended early: the next one must find what it would have found without that.
    pub(in crate::engine::machines) fn restore(&mut self, before: Before) {
        (self.last_pass, self.older) = (before.last_pass, before.older);
        (self.assigned, self.discarded) = (before.assigned, before.discarded);
    }

    /// Memory held, in bytes.
    pub(in crate::engine::machines) fn heap_bytes(&self) -> usize {
        let groups =
            self.last_pass.iter().chain(&self.older).flat_map(|last_pass| &last_pass.analysis.groups);
        let members: usize = groups.map(|group| size_of_val(group) + size_of_val(&group.members[..])).sum();
        let numbers = self.announced.len() * size_of::<u32>()
            + self.moves_announced.len() * size_of::<(u32, u64)>()
            + self.discarded.heap_bytes();
        size_of::<Self>() + members + numbers + size_of_val(&self.assigned[..])
    }
}
