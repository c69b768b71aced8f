//! The law of a single residual, tabulated: the wait for the next tick plus the network's delay.
//!
//! Segments have different causes. Most are caused by an application or by a peer's segment, and leave at
//! any phase of the tick. Some are sent by a timer (delayed acknowledgements, retransmissions), and timers
//! run just after a tick: no wait, sharp residuals. Two segments less than a tick apart bracket the edge.
//! The time since the previous segment separates these cases, statistically, so each class of gaps has a
//! law of its own. [`learn`](super::learn) learns the laws.

use multiversion::multiversion;

use super::{elementary::ln, sample::NO_GAP_NS};

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

/// Points whose log densities are added in one go.
const AT_ONCE: usize = 128;

/// The laws of residuals, tabulated.
#[derive(Clone, Debug)]
pub(super) struct Density {
    /// Length of one table.
    pub bins: usize,
    /// Log density per tick, law after law.
    log: Vec<f32>,
    /// Where the law of each class of gaps, and that of [`ANY_GAP`], begins.
    law_of: Vec<usize>,
    /// Log of the probability of lying later, gap unknown.
    log_survival: Vec<f32>,
}

impl Density {
    /// Tabulates the law of all residuals together, and those of classes of gaps that have their own.
    pub(super) fn new(of_all: &[f32], of_classes: &[Option<Vec<f32>>]) -> Self {
        let bins = of_all.len();
        let mut log: Vec<f32> = Vec::new();
        let mut add = |law: &[f32]| {
            let from = log.len();
            let (scale, even) = mass(law);
            log.extend_from_slice(law);
            make_log(&mut log[from..], scale * BINS as f32, even * BINS as f32);
            from
        };
        let common = add(of_all);
        let own = of_classes.iter().map(|law| law.as_ref().map_or(common, |law| add(law)));
        let law_of: Vec<usize> = own.chain([common]).collect();
        let (scale, even) = mass(of_all);
        let mut later = 0.0;
        let mut log_survival = vec![0.0; bins];
        for (survival, h) in log_survival.iter_mut().zip(of_all).rev() {
            let mass = f64::from(scale * h + even);
            later += mass;
            *survival = (later - mass / 2.0).max(1e-12) as f32;
        }
        make_log(&mut log_survival, 1.0, 0.0);
        Self { bins, log, law_of, log_survival }
    }

    /// Adds the log density of points, each `late` ticks later than the piece's smallest residual and of a
    /// class of gaps, to the score of every phase.
    pub(super) fn add_log(&self, late: &[f32], gaps: &[u8], scores: &mut [f32; PHASES]) {
        let mut starts = [0; AT_ONCE];
        for (late, gaps) in late.chunks(AT_ONCE).zip(gaps.chunks(AT_ONCE)) {
            for ((start, late), gap) in starts.iter_mut().zip(late).zip(gaps) {
                let law = self.law_of[usize::from(*gap)] + ZERO - EARLY_BINS;
                *start = (law + offset(*late, self.bins)) as u32;
            }
            add_slices(&self.log, &starts[..late.len()], scores);
        }
    }

    /// Adds the log probability that `count` points all lie later than the smallest residual.
    pub(super) fn add_log_survival(&self, count: f32, scores: &mut [f32; PHASES]) {
        for (score, log) in scores.iter_mut().zip(&self.log_survival[ZERO - EARLY_BINS..]) {
            *score += count * log;
        }
    }
}

/// Phases whose scores are summed in one go: as many as the processor's registers hold.
const BLOCK: usize = PHASES / 3;

/// Adds slices of `log` that begin at `starts` to `scores`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_slices(log: &[f32], starts: &[u32], scores: &mut [f32; PHASES]) {
    for (number, block) in scores.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut sums = *block;
        for start in starts {
            let from = *start as usize + number * BLOCK;
            sums.iter_mut().zip(&log[from..from + BLOCK]).for_each(|(sum, log)| *sum += log);
        }
        *block = sums;
    }
}

/// Adds each of `more` to its bin.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add(bins: &mut [f32], more: &[f32]) {
    bins.iter_mut().zip(more).for_each(|(bin, more)| *bin += more);
}

/// Makes logarithms of `scale` times each value and `even`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn make_log(values: &mut [f32], scale: f32, even: f32) {
    values.iter_mut().for_each(|value| *value = ln(*value * scale + even));
}

/// The factor of a law that leaves room for outliers, and what is then added to each bin.
fn mass(law: &[f32]) -> (f32, f32) {
    let total: f64 = law.iter().map(|h| f64::from(*h)).sum();
    (((1.0 - OUTLIER_SHARE) / total) as f32, (OUTLIER_SHARE / law.len() as f64) as f32)
}

/// The first bin of a point's table. Residuals beyond the table are all equally likely.
fn offset(late: f32, bins: usize) -> usize {
    ((late * BINS as f32 + 0.5) as usize).min(bins - ZERO - PHASES)
}

/// Residuals by class of gap, spread over where they may lie.
#[derive(Debug)]
pub(super) struct Histogram {
    bins: usize,
    /// One row per class; empty where the class has no points.
    rows: Vec<Vec<f32>>,
}

impl Histogram {
    /// An empty histogram with this number of bins per class.
    pub(super) fn new(bins: usize) -> Self {
        Self { bins, rows: vec![Vec::new(); GAPS + 1] }
    }

    /// Adds a point's posterior over phases, from the phase `first` on.
    pub(super) fn add(&mut self, late: f32, gap: u8, first: usize, posterior: &[f32]) {
        let row = &mut self.rows[usize::from(gap)];
        if row.is_empty() {
            row.resize(self.bins, 0.0);
        }
        let from = first + ZERO - EARLY_BINS + offset(late, self.bins);
        add(&mut row[from..from + posterior.len()], posterior);
    }

    /// The bins of one class; none where it has no points.
    pub(super) fn row(&self, gap: usize) -> &[f32] {
        &self.rows[gap]
    }

    /// The sum of all classes, bin by bin.
    pub(super) fn sum(&self) -> Vec<f32> {
        let mut sum = vec![0.0; self.bins];
        for row in &self.rows {
            sum.iter_mut().zip(row).for_each(|(s, h)| *s += h);
        }
        sum
    }
}
