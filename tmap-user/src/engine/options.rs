//! What the user may set about estimation and matching, resolved and with defaults.

use std::sync::Arc;

use crate::engine::{
    os::{database::Database, likeness::Switches},
    rtt,
};

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Two clocks are the same machine only if their rates agree to this, relative, in ppm, beyond
    /// what their standard errors explain. The original's "a delta".
    pub rate_delta_ppm: f64,
    /// Two clocks are the same machine only if their offsets at a common time agree to this, in
    /// seconds, beyond what their standard errors explain. The original's "b delta".
    pub offset_delta_s: f64,
    /// The most connections (flows) held at once.
    pub max_flows: usize,
    /// The most memory for what is remembered of flows beyond a cache line each, in bytes; where it
    /// is used up, flows keep every second of their points, then every fourth, and so on.
    pub max_history_bytes: usize,
    /// The most source addresses held at once.
    pub max_addresses: usize,
    /// The most finished connections remembered per address.
    pub max_connections_per_address: usize,
    /// A connection without a segment for this long is finished.
    pub idle_timeout_ns: u64,
    /// Whether round trips are taken as well, and how; `None` costs nothing.
    pub rtt: Option<rtt::Options>,
    /// What else than clocks may tell machines with random offsets apart.
    pub evidence: Switches,
    /// Signatures of operating systems; `None` for the built-in ones.
    pub signatures: Option<Arc<Database>>,
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
            idle_timeout_ns: 300_000_000_000,
            rtt: None,
            evidence: Switches::ALL,
            signatures: None,
        }
    }
}

impl Options {
    /// The signatures in use.
    pub fn signatures(&self) -> &Database {
        self.signatures.as_deref().unwrap_or_else(|| Database::built_in())
    }
}
