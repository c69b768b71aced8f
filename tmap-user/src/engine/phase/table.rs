//! The likelihood of one piece on any line, as a table over phase and drift.
//!
//! An entry is the logarithm of a Bayes factor. It compares a line that has this phase and drift at the
//! piece's reference time with a clock of its own, of which nothing is known (phase uniform on the circle,
//! drift uniform in the window). Lines are then compared by look-ups, so a connection costs the same
//! whether it had ten segments or ten million.

use super::{
    density::{BINS, Density, PHASES},
    drift::{Ladder, Window},
    piece::Piece,
};

/// The noise that the density of single residuals doesn't contain: how residuals of one connection depend
/// on each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    /// The divisor of the number of points: residuals of a burst share their delay, so n points weigh as
    /// n / `temperature`.
    pub temperature: f32,
    /// Scatter of whole connections about their line, standard deviation in ticks.
    pub scatter: f32,
    /// Share of dull connections, which tell much less than their points suggest.
    pub dull_share: f32,
    /// Share of pieces that lie on no line.
    pub outlier_share: f32,
}

/// Log Bayes factors over phase (columns) and drift (rows).
#[derive(Clone, Debug)]
pub(super) struct Table {
    low: f64,
    step: f64,
    rows: usize,
    values: Vec<f32>,
}

impl Table {
    /// Tabulates `piece`.
    pub(super) fn new(piece: &Piece, window: Window, density: &Density, noise: &Noise) -> Self {
        let Ladder { low, step, rows } = piece.fine_ladder(window, density);
        // Drifts that aren't tabulated have hardly any likelihood, but the same prior as the others.
        let covered = if rows == 1 { 1.0 } else { (step * rows as f64 / window.width()).min(1.0) };
        let mut scratch = Vec::new();
        let mut scores = vec![0.0_f32; PHASES];
        let mut tops = vec![0.0_f32; rows];
        let (mut sharp, mut dull) = (vec![0.0_f32; rows * BINS], vec![0.0_f32; rows * BINS]);
        let rows_of = sharp.chunks_exact_mut(BINS).zip(dull.chunks_exact_mut(BINS));
        for (row, (sharp, dull)) in rows_of.enumerate() {
            let lowest = piece.scores((low + step * row as f64) as f32, density, &mut scores, &mut scratch);
            tops[row] = fold(&scores, lowest.phase_of_first, noise.temperature, sharp);
            fold(&scores, lowest.phase_of_first, noise.temperature * DULLER, dull);
        }
        normalise(&mut sharp, &tops, noise.temperature, covered as f32);
        normalise(&mut dull, &tops, noise.temperature * DULLER, covered as f32);
        let sharp_rows = sharp.chunks_exact_mut(BINS).map(|circle| (circle, noise.scatter));
        let dull_rows = dull.chunks_exact_mut(BINS).map(|circle| (circle, noise.scatter * DULLER));
        let mut circles: Vec<(&mut [f32], f32)> = sharp_rows.chain(dull_rows).collect();
        circles.chunks_mut(LANES).for_each(scatter);
        let usual = 1.0 - noise.dull_share - noise.outlier_share;
        let mixed = |(s, d): (&f32, &f32)| (usual * s + noise.dull_share * d + noise.outlier_share).ln();
        let values = sharp.iter().zip(&dull).map(mixed).collect();
        Self { low, step, rows, values }
    }

    /// Log Bayes factor at a phase (any real number; its whole part is ignored) and a drift.
    pub(super) fn at(&self, phase: f64, drift: f64) -> f32 {
        let column = (phase - phase.floor()) * BINS as f64;
        let (c, fc) = (column as usize % BINS, column.fract() as f32);
        let next = (c + 1) % BINS;
        let row = |r: usize| {
            let circle = &self.values[r * BINS..(r + 1) * BINS];
            circle[c] + fc * (circle[next] - circle[c])
        };
        if self.rows == 1 {
            return row(0);
        }
        let at = ((drift - self.low) / self.step).clamp(0.0, (self.rows - 1) as f64);
        let r = (at as usize).min(self.rows - 2);
        let fr = (at - r as f64) as f32;
        row(r) * (1.0 - fr) + row(r + 1) * fr
    }

    /// The row nearest to a drift.
    pub(super) fn nearest_row(&self, drift: f64) -> usize {
        if self.rows == 1 {
            return 0;
        }
        (((drift - self.low) / self.step).round().max(0.0) as usize).min(self.rows - 1)
    }

    /// Mean log Bayes factor over phases, for a line of the right drift, under the posterior.
    pub(super) fn sharpness(&self) -> f64 {
        let row = |circle: &[f32]| {
            let weights: f64 = circle.iter().map(|v| f64::from(*v).exp()).sum();
            let mean: f64 = circle.iter().map(|v| f64::from(*v).exp() * f64::from(*v)).sum::<f64>() / weights;
            (weights, mean - (weights / circle.len() as f64).ln())
        };
        let rows = self.values.chunks_exact(BINS).map(row);
        rows.fold((0.0, 0.0), |best, r| if r.0 > best.0 { r } else { best }).1
    }

    /// Turns the circle back by `bins`: what a phase had is at a phase that is less by these.
    pub(super) fn shift(&mut self, bins: usize) {
        self.values.chunks_exact_mut(BINS).for_each(|circle| circle.rotate_left(bins % BINS));
    }

    /// All log Bayes factors, row by row.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }
}

/// The factor by which a dull connection tells less than its points suggest.
const DULLER: f32 = 4.0;

/// Folds scores over phases onto the circle, as likelihoods relative to the largest score. Returns that
/// score. Scores a whole tick apart are the same phase with another whole offset, so both count.
fn fold(scores: &[f32], phase_of_first: f64, temperature: f32, circle: &mut [f32]) -> f32 {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let first = ((phase_of_first - phase_of_first.floor()) * BINS as f64).round() as usize;
    circle.fill(0.0);
    for (g, score) in scores.iter().enumerate() {
        let log = (score - top) / temperature;
        if log > -30.0 {
            circle[(first + g) % BINS] += log.exp();
        }
    }
    top
}

/// Scales rows, each relative to its own largest score, to a mean of 1 over all phases and drifts.
fn normalise(values: &mut [f32], tops: &[f32], temperature: f32, covered: f32) {
    let top = tops.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for (circle, row_top) in values.chunks_exact_mut(BINS).zip(tops) {
        let scale = ((row_top - top) / temperature).exp();
        for value in circle.iter_mut() {
            *value *= scale;
            total += *value;
        }
    }
    let norm = values.len() as f32 / total / covered;
    values.iter_mut().for_each(|v| *v *= norm);
}

/// The number of circles that are spread side by side. Each step waits for the one before it, so a single
/// circle would leave the processor idle most of the time.
const LANES: usize = 16;

/// One bin of each circle.
type Column = [f32; LANES];

/// Spreads each circle's likelihoods by the scatter of whole connections, whose standard deviation in ticks
/// stands beside the circle. Two exponentials in either direction are close to a normal law.
fn scatter(circles: &mut [(&mut [f32], f32)]) {
    let mut columns = [[0.0; LANES]; BINS];
    let mut keep = [0.0; LANES];
    for (lane, (circle, sigma)) in circles.iter().enumerate() {
        // The exponential's mean is half of sigma.
        keep[lane] = (-1.0 / (sigma / 2.0 * BINS as f32)).exp();
        columns.iter_mut().zip(&**circle).for_each(|(column, value)| column[lane] = *value);
    }
    for _ in 0..2 {
        smear(&mut columns, &keep, |bin| bin);
        smear(&mut columns, &keep, |bin| BINS - 1 - bin);
    }
    for (lane, (circle, _)) in circles.iter_mut().enumerate() {
        circle.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[lane]);
    }
}

/// Convolves each circle with an exponential that keeps the share `keep` from bin to bin, in the given order
/// of bins.
#[inline(always)]
fn smear(columns: &mut [Column; BINS], keep: &Column, order: impl Fn(usize) -> usize) {
    let step = |state: &mut Column, column: &Column| {
        for lane in 0..LANES {
            state[lane] = keep[lane] * state[lane] + (1.0 - keep[lane]) * column[lane];
        }
    };
    let mut state = columns[order(0)];
    for _ in 0..3 {
        (0..BINS).for_each(|bin| step(&mut state, &columns[order(bin)]));
    }
    for bin in 0..BINS {
        let column = &mut columns[order(bin)];
        step(&mut state, column);
        *column = state;
    }
}

impl Table {
    /// Derivative of the log Bayes factor by drift, per tick per second.
    pub(super) fn drift_slope(&self, phase: f64, drift: f64) -> f64 {
        if self.rows == 1 {
            return 0.0;
        }
        let h = self.step / 2.0;
        f64::from(self.at(phase, drift + h) - self.at(phase, drift - h)) / (2.0 * h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        phase::{Sampled, Track, density::Density, learn, sample::NO_GAP_NS},
        types::Point,
    };

    const HZ: f64 = 1000.0;
    const WINDOW: Window = Window { low: -0.05, high: 0.05 };
    const PLAIN: Noise = Noise { temperature: 1.0, scatter: 0.0, dull_share: 0.0, outlier_share: 0.0 };

    /// Pieces of a machine whose phase is `phase` and drift 0, without jitter: sent at any time.
    fn pieces(phase: f64, connections: u64) -> Vec<Piece> {
        let connection = |c: u64| -> Vec<Sampled> {
            (0..40_u64)
                .map(|i| {
                    // Weyl's sequence: even over the tick, no random numbers.
                    let time_ns =
                        1_000_000_000 * c + 37_000_000 * i + (i * 618_034 + c * 271_828) % 1_000_000;
                    let ticks = (time_ns as f64 * 1e-9 * HZ + phase).floor() as i64;
                    Sampled {
                        point: Point { time_ns, ticks },
                        gap_ns: if i == 0 { NO_GAP_NS } else { 37_000_000 },
                    }
                })
                .collect()
        };
        (0..connections)
            .flat_map(|c| {
                let sample = connection(c);
                Piece::cut(&Track { sample: &sample, offered: 40, ..Track::default() }, HZ, 0, 60.0)
            })
            .collect()
    }

    fn learned(pieces: &[Piece]) -> Density {
        learn::learn(&pieces.iter().collect::<Vec<_>>(), WINDOW)
    }

    #[test]
    fn factors_average_to_one() {
        let pieces = pieces(0.3, 12);
        let density = learned(&pieces);
        for piece in &pieces {
            let table = Table::new(piece, WINDOW, &density, &PLAIN);
            let mean =
                table.values.iter().map(|v| f64::from(*v).exp()).sum::<f64>() / table.values.len() as f64;
            // The mean is over the drifts in the table; other drifts of the window have no likelihood.
            let covered = if table.rows == 1 { 1.0 } else { table.step * table.rows as f64 / WINDOW.width() };
            assert!((mean * covered.min(1.0) - 1.0).abs() < 1e-3, "{mean} {covered}");
        }
    }

    #[test]
    fn peaks_at_the_phase_whatever_other_machines_do() {
        let (ours, theirs) = (pieces(0.3, 12), pieces(0.7, 12));
        let density = learned(&[ours.clone(), theirs.clone()].concat());
        let best = |piece: &Piece| {
            let table = Table::new(piece, WINDOW, &density, &PLAIN);
            (0..BINS)
                .map(|c| c as f64 / BINS as f64)
                .max_by(|a, b| table.at(*a, 0.0).total_cmp(&table.at(*b, 0.0)))
        };
        let apart: Vec<f64> = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (best(b).unwrap() - best(a).unwrap()).rem_euclid(1.0))
            .collect();
        assert!(apart.iter().all(|d| (d - 0.4).abs() < 0.06), "{apart:?}");
    }
}
