//! What bounded memory cost.

/// What the engine had to let go of to stay within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Flows evicted while still open.
    pub flows_evicted: u64,
    /// Finished connections dropped from an address's history.
    pub connections_forgotten: u64,
    /// Machines beyond the bound up to which addresses are compared with each other.
    pub machines_uncompared: u64,
    /// Times that a flow gave up every second of its points, for want of memory.
    pub flows_thinned: u64,
    /// Records of addresses beyond the address table's bound.
    pub records_unplaced: u64,
    /// Records of connections for which there was no room beside busy ones.
    pub records_refused: u64,
}

impl Losses {
    /// The losses of two engines together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            flows_evicted: self.flows_evicted + other.flows_evicted,
            connections_forgotten: self.connections_forgotten + other.connections_forgotten,
            machines_uncompared: self.machines_uncompared + other.machines_uncompared,
            flows_thinned: self.flows_thinned + other.flows_thinned,
            records_unplaced: self.records_unplaced + other.records_unplaced,
            records_refused: self.records_refused + other.records_refused,
        }
    }
}
