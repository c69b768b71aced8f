//! Connections of one machine, and how many machines there are: what every way of counting returns.

use crate::engine::{
    clock::fit::Clock,
    types::{Estimate, Regime},
};

/// Connections of one machine.
#[derive(Clone, Debug)]
pub struct Group {
    /// Nominal tick rate in Hz.
    pub hz: f64,
    /// The regime in which this machine draws its offsets.
    pub regime: Regime,
    /// The machine's clock; for an unsteady one only its rate means anything.
    pub clock: Option<Clock>,
    /// Measured rate in Hz.
    pub rate_hz: Estimate,
    /// Relative skew in ppm, where the clock is steady.
    pub skew_ppm: Option<Estimate>,
    /// Sub-tick phase at the clock's reference time, where lines were matched by phase.
    pub phase_ticks: Option<Estimate>,
    /// Members: position in the connections analysed, and probability.
    pub members: Vec<(usize, f64)>,
}

/// How many machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The best estimate; `None` where it can't be told.
    pub best: Option<u32>,
    /// Lower end of the 90 % interval.
    pub low: u32,
    /// Upper end; `None` where nothing bounds it.
    pub high: Option<u32>,
    /// Machines that are certain without statistics.
    pub proven: u32,
}

impl Count {
    /// Adds another class's machines: no machine ticks at two rates.
    pub fn add(&mut self, other: Self) {
        self.best = self.best.zip(other.best).map(|(a, b)| a + b);
        self.low += other.low;
        self.high = self.high.zip(other.high).map(|(a, b)| a + b);
        self.proven += other.proven;
    }
}
