//! Losses: the price of bounded memory.

/// What the engine evicted, refused or thinned to stay within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Flows evicted while they were open, but for those in [`Losses::unproven_evicted`].
    pub flows_evicted: u64,
    /// Connections evicted, open and finished.
    pub connections_forgotten: u64,
    /// Of them, those that showed next to nothing: few segments, and no completed handshake. Scans and floods
    /// leave such connections.
    pub unproven_evicted: u64,
    /// Addresses evicted, with their connections.
    pub addresses_forgotten: u64,
    /// Of them, those that showed next to nothing.
    pub unproven_addresses_forgotten: u64,
    /// Machines that were not compared with other addresses', because there were too many.
    pub machines_uncompared: u64,
    /// Times that a flow's history was thinned (every other point dropped) for lack of memory.
    pub flows_thinned: u64,
    /// Records of connections that were refused because no other could be evicted.
    pub records_refused: u64,
}

impl Losses {
    /// The sum of two engines' losses.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            flows_evicted: self.flows_evicted + other.flows_evicted,
            connections_forgotten: self.connections_forgotten + other.connections_forgotten,
            unproven_evicted: self.unproven_evicted + other.unproven_evicted,
            addresses_forgotten: self.addresses_forgotten + other.addresses_forgotten,
            unproven_addresses_forgotten: self.unproven_addresses_forgotten
                + other.unproven_addresses_forgotten,
            machines_uncompared: self.machines_uncompared + other.machines_uncompared,
            flows_thinned: self.flows_thinned + other.flows_thinned,
            records_refused: self.records_refused + other.records_refused,
        }
    }
}
