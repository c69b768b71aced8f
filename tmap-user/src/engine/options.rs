//! The engine's settings, resolved and with defaults.

use std::sync::Arc;

use crate::engine::{
    hurry::Hurry,
    os::{database::Database, likeness::Switches},
    phase::{limits::Limits, room::Room},
    rtt,
    tsval::IDLE_TIMEOUT_NS,
};

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest difference of two clocks' rates that still makes them one machine, in ppm of the
    /// rate. What their standard errors explain is allowed in addition. The original's "a delta".
    pub rate_delta_ppm: f64,
    /// The largest difference of two clocks' offsets at a common time that still makes them one
    /// machine, in seconds. What their standard errors explain is allowed in addition. The original's
    /// "b delta".
    pub offset_delta_s: f64,
    /// The most connections (flows) held at once.
    pub max_flows: usize,
    /// The most memory for the history of flows, in bytes, beyond one cache line per flow. Once it is
    /// used up, histories are thinned: a flow keeps every other point, then every fourth, and so on.
    pub max_history_bytes: usize,
    /// The most source addresses held at once.
    pub max_addresses: usize,
    /// The most connections held per address, open and finished.
    pub max_connections_per_address: usize,
    /// A connection is finished after this time without a segment, in nanoseconds.
    pub idle_timeout_ns: u64,
    /// Settings of round-trip measurement; `None` for no measurement, which costs nothing.
    pub rtt: Option<rtt::Options>,
    /// The evidence besides clocks that may tell machines with random offsets apart.
    pub evidence: Switches,
    /// Whether source ports are evidence, too.
    pub ports: bool,
    /// Whether it is evidence that an address opens connections at about the same time.
    pub pages: bool,
    /// Signatures of operating systems; `None` for the built-in ones.
    pub signatures: Option<Arc<Database>>,
    /// The budget of one search for machines with random offsets, in look-ups of a part of a connection on a
    /// machine's clock. A search that spends it ends with the machines that it has.
    pub search_look_ups: u64,
    /// The most memory of the tables of one search for machines with random offsets, in bytes. Where they
    /// would need more, parts of long connections are left out, tables are coarser, and then connections are
    /// left out.
    pub search_bytes: usize,
    /// The memory of the tables of all searches. Engines with the same options share it.
    pub search_room: Room,
    /// What ends analysis early because somebody waits. Engines with the same options share it.
    pub hurry: Hurry,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate_delta_ppm: 50.0,
            offset_delta_s: 0.01,
            max_flows: 1 << 20,
            max_history_bytes: 512 << 20,
            max_addresses: 1 << 16,
            max_connections_per_address: 4096,
            idle_timeout_ns: IDLE_TIMEOUT_NS,
            rtt: None,
            evidence: Switches::ALL,
            ports: true,
            pages: true,
            signatures: None,
            search_look_ups: Limits::LOOK_UPS,
            search_bytes: Limits::TABLE_BYTES,
            search_room: Room::new(Limits::ROOM_BYTES),
            hurry: Hurry::default(),
        }
    }
}

impl Options {
    /// The memory for which the default bounds are made, in bytes.
    pub const MEMORY_BYTES: usize = 2 << 30;

    /// The default settings with bounds for so much memory, in bytes: a quarter each for histories and for
    /// searches, a sixteenth for flows, some for addresses and round trips, and the rest for what summaries
    /// take while they are made.
    #[must_use]
    pub fn within(memory_bytes: usize) -> Self {
        let defaults = Self::default();
        let share = |all: usize| share(all, memory_bytes);
        Self {
            max_flows: share(defaults.max_flows).max(1),
            max_history_bytes: share(defaults.max_history_bytes),
            max_addresses: share(defaults.max_addresses).max(1),
            search_bytes: share(defaults.search_bytes),
            search_room: Room::new(share(Limits::ROOM_BYTES)),
            ..defaults
        }
    }

    /// The default settings of round trips, with bounds for so much memory, in bytes: they and a summary of
    /// them take about a quarter of it at most.
    #[must_use]
    pub fn round_trips_within(memory_bytes: usize) -> rtt::Options {
        rtt::Options::default().bounded(|all| share(all, memory_bytes))
    }

    /// Whether machines are analysed and announced on the way, and not for summaries only.
    pub fn announces_machines(&self) -> bool {
        self.rtt.as_ref().is_none_or(|rtt| rtt.machines)
    }

    /// What ends a search for lines early.
    pub fn limits(&self) -> Limits {
        Limits {
            look_ups: self.search_look_ups,
            table_bytes: self.search_bytes,
            room: self.search_room.clone(),
            hurry: self.hurry.clone(),
        }
    }

    /// The signatures in use: the user's, or else the built-in ones.
    pub fn signatures(&self) -> &Database {
        self.signatures.as_deref().unwrap_or_else(|| Database::built_in())
    }
}

/// The share of a default bound that so much memory allows, in bytes.
fn share(all: usize, memory_bytes: usize) -> usize {
    (all as u128 * memory_bytes as u128 / Options::MEMORY_BYTES as u128) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_memory() {
        let whole = Options::round_trips_within(Options::MEMORY_BYTES);
        assert_eq!(whole.max_connections, rtt::Options::default().max_connections);
        let part = Options::round_trips_within(Options::MEMORY_BYTES / 16);
        assert_eq!((part.max_connections, part.max_histograms, part.max_prefixes), (4_096, 256, 1_024));
    }
}
