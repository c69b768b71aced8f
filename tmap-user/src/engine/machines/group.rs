//! The common result of counting by offset and by phase: groups of connections, and their count.

use crate::engine::{
    clock::fit::Clock,
    types::{Estimate, Regime},
};

/// Connections of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Nominal tick rate in Hz.
    pub hz: f64,
    /// How this machine chooses offsets.
    pub regime: Regime,
    /// The machine's clock; `None` for an unsteady one.
    pub clock: Option<Clock>,
    /// Measured rate in Hz.
    pub rate_hz: Estimate,
    /// Relative skew in ppm, where the clock is steady.
    pub skew_ppm: Option<Estimate>,
    /// The fraction of a tick at the clock's reference time; `None` for a machine found by offset.
    pub phase_ticks: Option<Estimate>,
    /// Members: position among the analysed connections, and probability.
    pub members: Vec<(usize, f64)>,
}

/// The number of machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// The best estimate; `None` where it isn't known.
    pub best: Option<u32>,
    /// Lower end of the 90 % interval.
    pub low: u32,
    /// Upper end; `None` where nothing bounds it.
    pub high: Option<u32>,
    /// Machines that are certain without statistics, at least.
    pub proven: u32,
}

impl Count {
    /// Adds the machines of another tick rate: no machine ticks at two rates.
    pub(crate) fn add(&mut self, other: Self) {
        self.best = self.best.zip(other.best).map(|(a, b)| a + b);
        self.low += other.low;
        self.high = self.high.zip(other.high).map(|(a, b)| a + b);
        self.proven += other.proven;
    }
}
