//! A connection's phase point: its place on the cylinder of time and phase, as the clock plot shows it.
//!
//! A random offset is a whole number of ticks, so the fraction of a tick is the machine's own. It is
//! taken in the middle of the connection, where it depends least on the rate.

use super::{envelope::Envelope, fit::fit_nominal};
use crate::engine::types::Estimate;

/// The fewest first arrivals that show a phase.
const FEWEST_POINTS: u64 = 3;

/// One connection's point on the cylinder of time and phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhasePoint {
    /// Engine time to which the phase refers: the middle of the connection.
    pub at_ns: u64,
    /// Nominal tick rate in Hz of the clock.
    pub tick_hz: f64,
    /// Fraction of a tick by which the clock is ahead of a clock of exactly the nominal rate that
    /// ticks at whole seconds of engine time: 0 to 1. It includes the network's least delay, like
    /// [`MachineReport::phase_ticks`](crate::engine::snapshot::MachineReport::phase_ticks).
    pub phase_ticks: Estimate,
}

/// The phase point of a connection whose clock ticks nominally at `hz` and in fact at `rate_hz`. `None`
/// where there are too few first arrivals, or where `hz` isn't a whole number.
pub fn of(envelope: &Envelope, hz: f64, rate_hz: Estimate, resolution_ns: u64) -> Option<PhasePoint> {
    // Only a whole number of ticks per second has a phase at whole seconds.
    if envelope.offered() < FEWEST_POINTS || hz <= 0.0 || hz.fract() != 0.0 {
        return None;
    }
    let clock = fit_nominal(envelope, hz, Some(rate_hz), resolution_ns);
    let even = hz * (clock.reference_ns % 1_000_000_000) as f64 * 1e-9;
    let phase = Estimate { value: (clock.offset_ticks.value - even).rem_euclid(1.0), ..clock.offset_ticks };
    Some(PhasePoint { at_ns: clock.reference_ns, tick_hz: hz, phase_ticks: phase })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::Point;

    /// First arrivals of a clock of 1 kHz, `skew` fast, that shows `phase` at second 100.
    fn envelope(skew: f64, phase: f64, offset: i64) -> Envelope {
        let mut envelope = Envelope::default();
        // Steps of 7.003 ms meet every part of the tick.
        for i in 0..2000_u64 {
            let time_ns = 101_500_000_000 + i * 7_003_000;
            let ticks = 1000.0 * (1.0 + skew) * (time_ns as f64 * 1e-9 - 100.0) + phase;
            envelope.add(Point { time_ns, ticks: ticks.floor() as i64 + offset });
        }
        envelope
    }

    #[test]
    fn the_phase_is_that_of_the_line_whatever_the_offset() {
        for (skew, phase, offset) in [(0.0, 0.25, 17), (20e-6, 0.9, 4_000_000_000), (-50e-6, 0.05, 0)] {
            let rate_hz = Estimate { value: 1000.0 * (1.0 + skew), sigma: 1e-4 };
            let point = of(&envelope(skew, phase, offset), 1000.0, rate_hz, 1).unwrap();
            let line = phase + 1000.0 * skew * (point.at_ns as f64 * 1e-9 - 100.0);
            let off = point.phase_ticks.value - line;
            let off = off - off.round();
            assert!(off.abs() < 3.0 * point.phase_ticks.sigma && off.abs() < 0.03, "{off} {point:?}");
        }
    }

    #[test]
    fn too_few_points_have_no_phase() {
        let mut envelope = Envelope::default();
        envelope.add(Point { time_ns: 5, ticks: 1 });
        let rate_hz = Estimate { value: 1000.0, sigma: 1.0 };
        assert_eq!(of(&envelope, 1000.0, rate_hz, 1), None);
    }
}
