//! A machine's true clock: its counter at any time, with its fraction.

use super::Random;

/// Between these, in seconds, a clock runs evenly.
const WANDER_STEP_S: f64 = 5.0;

/// A machine's true clock.
#[derive(Clone, Debug)]
pub struct TrueClock {
    /// Skew, mean over the capture, in ppm.
    pub skew_ppm: f64,
    /// Phase at mid-capture, in ticks, 0 to 1.
    pub phase_ticks: f64,
    /// When its counter was zero, in seconds of engine time.
    pub boot_s: f64,
    /// Ticks at steps of [`WANDER_STEP_S`].
    nodes: Vec<f64>,
}

/// What clocks of one capture have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Nominal tick rate.
    pub(super) tick_hz: f64,
    /// The counter at boot, in seconds: Linux's jiffies start at -300 s.
    pub(super) start_s: f64,
    /// Standard deviation of how far the skew walks in 600 s, in ppm.
    pub(super) wander_ppm: f64,
    /// Length of the capture, in seconds.
    pub(super) duration_s: f64,
}

impl TrueClock {
    /// A clock that booted at `boot_s`. Before the capture it ran as it does on average.
    pub(super) fn new(pace: &Pace, skew_ppm: f64, boot_s: f64, random: &mut Random) -> Self {
        let count = (pace.duration_s / WANDER_STEP_S) as usize + 4;
        let step_ppm = pace.wander_ppm * (WANDER_STEP_S / 600.0).sqrt();
        let mut walk = 0.0;
        let mut ticks = (pace.start_s - boot_s) * pace.tick_hz * (1.0 + skew_ppm * 1e-6);
        let mut nodes = Vec::with_capacity(count);
        for _ in 0..count {
            nodes.push(ticks);
            ticks += pace.tick_hz * WANDER_STEP_S * (1.0 + (skew_ppm + walk) * 1e-6);
            walk += step_ppm * random.normal();
        }
        let mut clock = Self { skew_ppm, phase_ticks: 0.0, boot_s, nodes };
        let mean_rate = (clock.ticks_at(pace.duration_s) - clock.ticks_at(0.0)) / pace.duration_s;
        clock.skew_ppm = (mean_rate / pace.tick_hz - 1.0) * 1e6;
        let middle = pace.duration_s / 2.0;
        clock.phase_ticks = (clock.ticks_at(middle) - pace.tick_hz * middle).rem_euclid(1.0);
        clock
    }

    /// The counter, with its fraction, at a time.
    pub fn ticks_at(&self, t_s: f64) -> f64 {
        let at = t_s / WANDER_STEP_S;
        let k = (at as usize).min(self.nodes.len() - 2);
        self.nodes[k] + (at - k as f64) * (self.nodes[k + 1] - self.nodes[k])
    }
}
