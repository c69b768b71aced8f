//! The flow table's state: connections and source addresses, as they come.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{
    losses::Losses,
    source::{Member, Pace, Source, SourceId},
    table::Table,
    turn::Turn,
    unstamped::{self, UnstampedTotals},
};
use crate::engine::{
    options::Options,
    rtt::{self, RttEngine, clock_directory::ClockDirectory},
    types::Holdings,
};

/// Connections and addresses.
#[derive(Debug)]
pub struct Flows {
    pub(super) options: Options,
    pub(super) pace: Pace,
    pub(super) table: Table,
    pub(super) ids: HashMap<Address, SourceId, RandomState>,
    pub(super) sources: Vec<Source>,
    /// Hosts of which something changed since they were last frozen, each once, and perhaps some that
    /// were frozen since.
    pub(super) changed: Vec<SourceId>,
    pub(super) sweep_at: u32,
    pub(super) eviction: Turn,
    pub(super) records: u64,
    pub(super) losses: Losses,
    /// Connections opened without time stamps.
    pub(super) unstamped: unstamped::Counts,
    /// Round trips, where they are asked for.
    pub(super) rtt: Option<RttEngine>,
    /// The clocks behind them, as the last snapshot knew them.
    pub(super) clocks: Option<ClockDirectory>,
}

/// What only this half knows of a snapshot.
#[derive(Debug)]
pub struct Totals {
    /// What bounded memory cost.
    pub losses: Losses,
    /// Connections opened without time stamps.
    pub unstamped: UnstampedTotals,
    /// Round trips, where they are taken.
    pub rtt: Option<rtt::Report>,
}

impl Flows {
    /// Nothing known yet.
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
            records: 0,
            losses: Losses::default(),
            unstamped: unstamped::Counts::default(),
            rtt: options.rtt.clone().map(RttEngine::new),
            clocks: None,
        }
    }

    /// Says how often to look at addresses.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// What a snapshot at `now_ns` takes from this half: totals, losses, and round trips with `clocks`.
    pub fn totals(&mut self, now_ns: u64, clocks: Option<ClockDirectory>) -> Totals {
        Totals {
            losses: Losses { flows_thinned: self.table.thinned(), ..self.losses },
            unstamped: self.unstamped.totals(|address| self.ids.contains_key(address)),
            rtt: self.round_trips(now_ns, clocks),
        }
    }

    /// What is held here.
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
                + self.rtt.as_ref().map_or(0, RttEngine::heap_bytes),
        }
    }
}
