//! The state of the intake: connections and source addresses.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{
    bare_syns::BareSyns,
    losses::Losses,
    openings::Openings,
    source::{Member, Pace, Source, SourceId},
    table::Table,
    turn::Turn,
    unstamped::{self, Unstamped, UnstampedTotals},
    waiting::Waiting,
};
use crate::engine::{
    options::Options,
    rtt::{self, RttEngine, clock_directory::ClockDirectory},
    types::Holdings,
};

/// The intake half of the engine: takes records in, and holds connections and source addresses.
#[derive(Debug)]
pub struct Flows {
    pub(super) options: Options,
    pub(super) pace: Pace,
    pub(super) table: Table,
    pub(super) ids: HashMap<Address, SourceId, RandomState>,
    pub(super) sources: Vec<Source>,
    /// Sources that changed since they were last frozen, each once. Some may have been frozen since.
    pub(super) changed: Vec<SourceId>,
    pub(super) sweep_at: u32,
    pub(super) eviction: Turn,
    pub(super) source_eviction: Turn,
    pub(super) records: u64,
    /// When the first connection's first record came.
    pub(super) began_ns: Option<u64>,
    /// SYNs that wait for an answer.
    pub(super) openings: Openings,
    /// SYNs on the ports of open connections.
    pub(super) waiting: Waiting,
    /// SYN-ACKs that echoed the SYN that they answer.
    pub(super) answers: u64,
    pub(super) share: Share,
    pub(super) losses: Losses,
    /// Connections opened without time stamps.
    pub(super) unstamped: unstamped::Counts,
    /// Round trips; `None` where they aren't measured.
    pub(super) rtt: Option<RttEngine>,
    /// The clocks behind connections, as the last snapshot found them.
    pub(super) clocks: Option<ClockDirectory>,
}

/// The share of the addresses that these flows hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) count: usize,
}

/// The part of a snapshot that only the intake half knows.
#[derive(Debug)]
pub struct Totals {
    /// What was evicted, refused or thinned to stay within the memory bounds.
    pub losses: Losses,
    /// Connections opened without time stamps.
    pub unstamped: UnstampedTotals,
    /// Addresses whose SYNs without time stamps may tell machines, with these SYNs.
    pub bare_syns: Vec<(Address, Unstamped, BareSyns)>,
    /// Round trips; `None` where they aren't measured.
    pub rtt: Option<rtt::Report>,
}

impl Flows {
    /// An empty intake.
    pub fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            pace: Pace::default(),
            table: Table::new(options.max_flows, options.max_history_bytes),
            ids: HashMap::default(),
            sources: Vec::new(),
            changed: Vec::new(),
            sweep_at: 0,
            eviction: Turn::default(),
            source_eviction: Turn::default(),
            records: 0,
            began_ns: None,
            openings: Openings::default(),
            waiting: Waiting::default(),
            answers: 0,
            share: Share { index: 0, count: 1 },
            losses: Losses::default(),
            unstamped: unstamped::Counts::default(),
            rtt: options.rtt.clone().map(RttEngine::new),
            clocks: None,
        }
    }

    /// Sets how often addresses are due for an analysis pass.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The intake's part of a snapshot at `now_ns`, of all addresses or `only` one; round trips are reported
    /// with `clocks`.
    pub fn totals(&mut self, now_ns: u64, only: Option<Address>, clocks: Option<ClockDirectory>) -> Totals {
        Totals {
            losses: Losses { flows_thinned: self.table.thinned(), ..self.losses },
            unstamped: self.unstamped.totals(|address| self.ids.contains_key(address)),
            bare_syns: if self.options.ports { self.unstamped.telling(only) } else { Vec::new() },
            rtt: self.round_trips(now_ns, clocks),
        }
    }

    /// What the intake holds.
    pub fn holdings(&self) -> Holdings {
        let per_source = size_of::<Source>() + size_of::<(Address, SourceId)>() + size_of::<SourceId>();
        Holdings {
            records: self.records,
            flows: self.table.open(),
            connections: self.table.len(),
            addresses: self.sources.len(),
            memory_bytes: self.table.heap_bytes()
                + self.table.len() * size_of::<Member>()
                + self.sources.len() * per_source
                + self.unstamped.heap_bytes()
                + self.openings.heap_bytes()
                + self.rtt.as_ref().map_or(0, RttEngine::heap_bytes),
        }
    }
}
