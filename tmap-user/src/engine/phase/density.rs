//! The law of a single residual, tabulated: the wait for the next tick plus the network's delay.
//!
//! Segments have different causes. Most are caused by an application or by a peer's segment, and leave at
//! any phase of the tick. Some are sent by a timer (delayed acknowledgements, retransmissions), and timers
//! run just after a tick: no wait, sharp residuals. Two segments less than a tick apart bracket the edge.
//! The time since the previous segment separates these cases, statistically, so each class of gaps has a
//! law of its own. [`learn`](super::learn) learns the laws.

use super::sample::NO_GAP_NS;

/// Bins per tick. At 1 kHz a bin is 8 µs, far below the jitter of any network seen so far; coarser bins
/// would blur the edges of a quiet LAN.
pub(super) const BINS: usize = 128;

/// Index of residual 0 in a table: one tick of table before it.
pub(super) const ZERO: usize = BINS;

/// The share of residuals that follow no law (clock reads out of order, a stalled sensor), spread evenly.
/// It keeps one outlier from ruling out a line.
const OUTLIER_SHARE: f64 = 0.003;

/// How far before zero a piece's smallest residual is tried, in bins: a few points may come early
/// (pacing, a sensor's own time stamping), and the learned density may be a little off.
pub(super) const EARLY_BINS: usize = BINS / 4;

/// How many phases are tried for a piece, in bins: its smallest residual may lie this far late.
pub(super) const PHASES: usize = 2 * BINS + EARLY_BINS;

/// Classes of points: the connection's first, then by their gap, then those of busy times.
pub(super) const GAPS: usize = 90;

/// The classes of points of busy times, whatever their gap.
pub(super) const BUSY: [u8; 2] = [GAPS as u8 - 2, GAPS as u8 - 1];

/// The class of points whose gap isn't known.
pub(super) const ANY_GAP: u8 = GAPS as u8;

/// The class of a gap: steps of 10 % from a quarter of a millisecond, so that the delayed
/// acknowledgement's 40-44 ms (timers of a 250 Hz kernel) have a class or two of their own.
pub(super) fn gap_class(gap_ns: u32) -> u8 {
    if gap_ns == NO_GAP_NS {
        return 0;
    }
    let steps = (f64::from(gap_ns) / 250_000.0).ln() / 0.1;
    if steps < 0.0 { 1 } else { (2 + steps as usize).min(GAPS - 3) as u8 }
}

/// The laws of residuals, tabulated.
#[derive(Clone, Debug)]
pub(super) struct Density {
    /// Length of one table.
    pub bins: usize,
    /// Log density per tick for each class of gaps and for [`ANY_GAP`], table after table.
    log: Vec<f32>,
    /// Log of the probability of lying later, gap unknown.
    log_survival: Vec<f32>,
}

impl Density {
    /// Tabulates one law for each class of gaps and for [`ANY_GAP`].
    pub(super) fn new(laws: &[Vec<f64>]) -> Self {
        let bins = laws[0].len();
        let even = OUTLIER_SHARE / bins as f64;
        let mass = |law: &[f64]| {
            let total: f64 = law.iter().sum();
            law.iter().map(|h| (1.0 - OUTLIER_SHARE) * h / total + even).collect::<Vec<f64>>()
        };
        let mut log: Vec<f32> = Vec::with_capacity(laws.len() * bins);
        for (class, law) in laws.iter().enumerate() {
            // Classes without points have the same law as the one before them.
            if class > 0 && laws[class - 1] == *law {
                log.extend_from_within(log.len() - bins..);
            } else {
                log.extend(mass(law).iter().map(|m| (m * BINS as f64).ln() as f32));
            }
        }
        let mut later = 0.0;
        let mut log_survival: Vec<f32> = mass(&laws[GAPS])
            .iter()
            .rev()
            .map(|m| {
                later += m;
                (later - m / 2.0).max(1e-12).ln() as f32
            })
            .collect();
        log_survival.reverse();
        Self { bins, log, log_survival }
    }

    /// Adds the log density of a point of class `gap` that is `late` ticks later than the piece's
    /// smallest residual to the score of every phase.
    pub(super) fn add_log(&self, late: f32, gap: u8, scores: &mut [f32]) {
        let table = usize::from(gap) * self.bins;
        let from = table + ZERO - EARLY_BINS + offset(late, self.bins);
        for (score, log) in scores.iter_mut().zip(&self.log[from..]) {
            *score += log;
        }
    }

    /// Adds the log probability that `count` points all lie later than the smallest residual.
    pub(super) fn add_log_survival(&self, count: f32, scores: &mut [f32]) {
        for (score, log) in scores.iter_mut().zip(&self.log_survival[ZERO - EARLY_BINS..]) {
            *score += count * log;
        }
    }
}

/// The first bin of a point's table. Residuals beyond the table are all equally likely.
fn offset(late: f32, bins: usize) -> usize {
    ((late * BINS as f32).round() as usize).min(bins - ZERO - PHASES)
}

/// Residuals by class of gap, spread over where they may lie.
#[derive(Debug)]
pub(super) struct Histogram {
    bins: usize,
    /// One row per class.
    rows: Vec<f32>,
}

impl Histogram {
    /// An empty histogram with this number of bins per class.
    pub(super) fn new(bins: usize) -> Self {
        Self { bins, rows: vec![0.0; bins * (GAPS + 1)] }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.rows.fill(0.0);
    }

    /// Adds a point's posterior over phases.
    pub(super) fn add(&mut self, late: f32, gap: u8, posterior: &[f32]) {
        let from = usize::from(gap) * self.bins + ZERO - EARLY_BINS + offset(late, self.bins);
        for (bin, p) in self.rows[from..].iter_mut().zip(posterior) {
            *bin += p;
        }
    }

    /// The bins of one class.
    pub(super) fn row(&self, gap: usize) -> &[f32] {
        &self.rows[gap * self.bins..(gap + 1) * self.bins]
    }

    /// The sum of all classes, bin by bin.
    pub(super) fn sum(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.bins];
        for gap in 0..=GAPS {
            sum.iter_mut().zip(self.row(gap)).for_each(|(s, h)| *s += f64::from(*h));
        }
        sum
    }
}
