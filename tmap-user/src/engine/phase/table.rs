//! The likelihood of one piece on any line, as a table over phase and drift.
//!
//! An entry is the logarithm of a Bayes factor. It compares a line that has this phase and drift at the
//! piece's reference time with a clock of its own, of which nothing is known (phase uniform on the circle,
//! drift uniform in the window). Lines are then compared by look-ups, so a connection costs the same
//! whether it had ten segments or ten million.
//!
//! ```text
//! Scores (no noise in it) -> Circles (at a temperature) -> Table (with a scatter)
//! ```
//!
//! Each step is a transform of the step before it, so another scatter needs no new circles, and another
//! temperature no new scores.

use multiversion::multiversion;

use super::{
    density::{BINS, Density, PHASES},
    drift::{Ladder, Window},
    elementary::{exp, largest, ln, sum},
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

/// The drifts of a piece's table, and where the piece's rows are.
#[derive(Clone, Debug)]
struct Grid {
    /// The piece's reference time, in seconds.
    x: f64,
    ladder: Ladder,
    /// The share of the window that the drifts cover.
    covered: f32,
    /// The first of the piece's rows.
    first_row: usize,
}

/// The log likelihoods of pieces over phase and drift, as points tell them if they are independent.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    grids: Vec<Grid>,
    /// The bin of the circle that each row's first score belongs to.
    first_bins: Vec<usize>,
    /// Scores over phases, row by row.
    scores: Vec<[f32; PHASES]>,
}

impl Scores {
    /// The scores of pieces.
    pub(super) fn new<'a>(
        pieces: impl Iterator<Item = &'a Piece>,
        window: Window,
        density: &Density,
    ) -> Self {
        let mut all = Self::default();
        let mut scratch = Vec::new();
        for piece in pieces {
            let ladder = piece.fine_ladder(window, density);
            // Drifts that aren't tabulated have hardly any likelihood, but the same prior as the others.
            let covered = match ladder.rows {
                1 => 1.0,
                rows => (ladder.step * rows as f64 / window.width()).min(1.0) as f32,
            };
            all.grids.push(Grid { x: piece.x, ladder, covered, first_row: all.first_bins.len() });
            for drift in ladder.drifts() {
                let mut scores = [0.0; PHASES];
                let lowest = piece.scores(drift, density, &mut scores, &mut scratch);
                all.scores.push(scores);
                let phase = lowest.phase_of_first - lowest.phase_of_first.floor();
                all.first_bins.push((phase * BINS as f64).round() as usize % BINS);
            }
        }
        all
    }

    /// The number of rows, which is what memory and time go by.
    pub(super) fn rows(&self) -> usize {
        self.first_bins.len()
    }
}

/// The bins of several circles side by side: first [`ROWS`] rows by their points, then the same rows as dull
/// connections. Each step of the scatter waits for the one before it, so a single circle would leave the
/// processor idle most of the time.
type Columns = [[f32; LANES]; BINS];

/// Rows in one set of columns, and circles in it.
const ROWS: usize = 16;
const LANES: usize = 2 * ROWS;

/// Likelihoods over the circle of phases at one temperature, without scatter.
#[derive(Debug)]
pub(super) struct Circles {
    columns: Vec<Columns>,
}

impl Circles {
    /// Folds scores onto the circle. Scores a whole tick apart are the same phase with another whole offset,
    /// so both count.
    pub(super) fn new(scores: &Scores, temperature: f32) -> Self {
        let mut columns = vec![[[0.0; LANES]; BINS]; scores.rows().div_ceil(ROWS)];
        let scale = 1.0 / (temperature * DULLER);
        let mut likelihoods: Vec<Pair> = Vec::new();
        let mut circles = [[0.0; BINS]; LANES];
        for grid in &scores.grids {
            let rows = grid.first_row..grid.first_row + grid.ladder.rows;
            let of_piece = &scores.scores[rows.clone()];
            likelihoods.resize(of_piece.len(), [[0.0; PHASES]; 2]);
            let totals = raise(of_piece, scale, &mut likelihoods);
            // The mean over all phases and drifts is 1.
            let norms = totals.map(|total| (of_piece.len() * BINS) as f32 / total / grid.covered);
            for (row, pair) in rows.zip(&likelihoods) {
                let first = scores.first_bins[row];
                let lane = row % ROWS;
                circles[lane] = fold(&pair[0], norms[0], first);
                circles[lane + ROWS] = fold(&pair[1], norms[1], first);
                if lane == ROWS - 1 {
                    put_side_by_side(&circles, &mut columns[row / ROWS]);
                }
            }
        }
        if let Some(last) = columns.last_mut() {
            put_side_by_side(&circles, last);
        }
        Self { columns }
    }

    /// Tables with a scatter, each with the reference time of its piece. `scores` are those that the circles
    /// were made of, and `noise` has their temperature.
    pub(super) fn tables(&self, scores: &Scores, noise: &Noise) -> Vec<(f64, Table)> {
        let table =
            |grid: &Grid| (grid.x, Table { ladder: grid.ladder, values: vec![0.0; grid.ladder.rows * BINS] });
        let mut tables: Vec<(f64, Table)> = scores.grids.iter().map(table).collect();
        let mut rows = tables.iter_mut().flat_map(|(_, table)| table.values.as_chunks_mut::<BINS>().0);
        for columns in &self.columns {
            let mut spread = *columns;
            spread_out(&mut spread, noise);
            for (lane, row) in rows.by_ref().take(ROWS).enumerate() {
                row.iter_mut().zip(&spread).for_each(|(value, column)| *value = column[lane]);
            }
        }
        tables
    }
}

/// Likelihoods over phases by a row's points, and as those of a dull connection.
type Pair = [[f32; PHASES]; 2];

/// Likelihoods relative to the largest one: `scale` times the scores is the logarithm of those of a dull
/// connection, which raised to the power of [`DULLER`] are the others. Returns the sums of both.
#[multiversion(targets("x86_64+avx2"))]
fn raise(scores: &[[f32; PHASES]], scale: f32, likelihoods: &mut [Pair]) -> [f32; 2] {
    let top = largest(scores.as_flattened());
    let mut totals = [0.0; 2];
    for (row, [sharp, dull]) in scores.iter().zip(likelihoods) {
        for ((score, sharp), dull) in row.iter().zip(&mut *sharp).zip(&mut *dull) {
            *dull = exp((score - top) * scale);
            let square = *dull * *dull;
            *sharp = square * square;
        }
        totals[0] += sum(sharp);
        totals[1] += sum(dull);
    }
    totals
}

/// Makes log Bayes factors of likelihoods by points and as dull connections: the former are then in the first
/// half of the lanes.
#[multiversion(targets("x86_64+avx2"))]
fn spread_out(columns: &mut Columns, noise: &Noise) {
    scatter(columns, noise.scatter);
    let usual = 1.0 - noise.dull_share - noise.outlier_share;
    for column in columns {
        let (sharp, dull) = column.split_at_mut(ROWS);
        for (value, dull) in sharp.iter_mut().zip(dull) {
            *value = ln(usual * *value + noise.dull_share * *dull + noise.outlier_share);
        }
    }
}

/// A circle of likelihoods over phases, of which the first belongs to the bin `first`.
fn fold(likelihoods: &[f32; PHASES], norm: f32, first: usize) -> [f32; BINS] {
    let mut sums = [0.0; BINS];
    for turn in likelihoods.chunks(BINS) {
        sums.iter_mut().zip(turn).for_each(|(sum, likelihood)| *sum += likelihood);
    }
    sums.iter_mut().for_each(|sum| *sum *= norm);
    sums.rotate_right(first);
    sums
}

/// Writes circles as columns.
fn put_side_by_side(circles: &[[f32; BINS]; LANES], columns: &mut Columns) {
    for (bin, column) in columns.iter_mut().enumerate() {
        column.iter_mut().zip(circles).for_each(|(value, circle)| *value = circle[bin]);
    }
}

/// Log Bayes factors over phase (columns) and drift (rows).
#[derive(Clone, Debug)]
pub(super) struct Table {
    ladder: Ladder,
    values: Vec<f32>,
}

impl Table {
    /// Log Bayes factor at a phase (any real number; its whole part is ignored) and a drift.
    pub(super) fn at(&self, phase: f64, drift: f64) -> f32 {
        let (c, fc) = column(phase);
        let next = (c + 1) % BINS;
        self.between_rows(self.row_at(drift), |circle| circle[c] + fc * (circle[next] - circle[c]))
    }

    /// The derivatives of the log Bayes factor by phase, per tick, and by drift, per tick per second:
    /// difference quotients over a bin and half a row to either side.
    pub(super) fn slopes(&self, phase: f64, drift: f64) -> (f64, f64) {
        let (c, fc) = column(phase);
        let [before, next, last] = [BINS - 1, 1, 2].map(|more| (c + more) % BINS);
        let row = self.row_at(drift);
        let by_phase = self.between_rows(row, |circle| {
            let (low, high) = (circle[next] - circle[before], circle[last] - circle[c]);
            low + fc * (high - low)
        });
        let by_phase = f64::from(by_phase) * (0.5 * BINS as f64);
        if self.ladder.rows == 1 {
            return (by_phase, 0.0);
        }
        let value = |circle: &[f32; BINS]| circle[c] + fc * (circle[next] - circle[c]);
        let most = (self.ladder.rows - 1) as f64;
        let up = self.between_rows((row + 0.5).min(most), value);
        let down = self.between_rows((row - 0.5).max(0.0), value);
        (by_phase, f64::from(up - down) / self.ladder.step)
    }

    /// The row of a drift, with its fraction.
    #[inline(always)]
    fn row_at(&self, drift: f64) -> f64 {
        let Ladder { low, step, rows } = self.ladder;
        if rows == 1 { 0.0 } else { ((drift - low) / step).clamp(0.0, (rows - 1) as f64) }
    }

    /// What `value` is between two rows.
    #[inline(always)]
    fn between_rows(&self, at: f64, value: impl Fn(&[f32; BINS]) -> f32) -> f32 {
        let rows = self.values.as_chunks::<BINS>().0;
        if let [only] = rows {
            return value(only);
        }
        let r = (at as usize).min(rows.len() - 2);
        let fr = (at - r as f64) as f32;
        value(&rows[r]) * (1.0 - fr) + value(&rows[r + 1]) * fr
    }

    /// The drifts of the rows.
    pub(super) fn ladder(&self) -> Ladder {
        self.ladder
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

    /// Adds the Bayes factors, row by row, each the mean of two bins, to `coarse`.
    pub(super) fn add_coarse(&self, coarse: &mut Vec<[f32; COARSE]>) {
        for circle in self.values.as_chunks::<BINS>().0 {
            coarse.push(halve(circle));
        }
    }
}

/// Bins of a circle where half the resolution is enough.
pub(super) const COARSE: usize = BINS / 2;

/// The mean Bayes factors of two bins each.
#[multiversion(targets("x86_64+avx2"))]
fn halve(circle: &[f32; BINS]) -> [f32; COARSE] {
    let mut factors = [0.0; BINS];
    factors.iter_mut().zip(circle).for_each(|(factor, value)| *factor = exp(*value));
    let pairs = factors.as_chunks::<2>().0;
    std::array::from_fn(|k| 0.5 * (pairs[k][0] + pairs[k][1]))
}

/// The column of a phase, and the way to the next one, 0 to 1.
#[inline(always)]
fn column(phase: f64) -> (usize, f32) {
    // `floor` would be a call of a library.
    let rest = phase - (phase as i64) as f64;
    let column = (if rest < 0.0 { rest + 1.0 } else { rest }) * BINS as f64;
    let whole = column as usize;
    (whole % BINS, (column - whole as f64) as f32)
}

/// The factor by which a dull connection tells less than its points suggest. A likelihood to the power of
/// 1/4 is raised again by two squares.
const DULLER: f32 = 4.0;

/// Spreads each circle's likelihoods by the scatter of whole connections, a standard deviation in ticks. Two
/// exponentials in either direction are close to a normal law.
#[inline(always)]
fn scatter(columns: &mut Columns, sigma: f32) {
    // The exponential's mean is half of sigma.
    let kept = |sigma: f32| (-1.0 / (sigma / 2.0 * BINS as f32)).exp();
    let (sharp, dull) = (kept(sigma), kept(sigma * DULLER));
    let keep: [f32; LANES] = std::array::from_fn(|lane| if lane < ROWS { sharp } else { dull });
    for _ in 0..2 {
        smear(columns, &keep, |bin| bin);
        smear(columns, &keep, |bin| BINS - 1 - bin);
    }
}

/// Convolves each circle with an exponential that keeps the share `keep` from bin to bin, in the given order
/// of bins.
#[inline(always)]
fn smear(columns: &mut Columns, keep: &[f32; LANES], order: impl Fn(usize) -> usize) {
    let step = |state: &mut [f32; LANES], column: &[f32; LANES]| {
        for lane in 0..LANES {
            state[lane] = keep[lane] * state[lane] + (1.0 - keep[lane]) * column[lane];
        }
    };
    // What all earlier turns around the circle have left: a geometric series of what one turn leaves. Of
    // that turn, only the end matters where little is kept.
    let remembered = (-REMEMBERED / keep[LANES - 1].ln()).ceil().clamp(1.0, BINS as f32) as usize;
    let mut state = [0.0; LANES];
    (BINS - remembered..BINS).for_each(|bin| step(&mut state, &columns[order(bin)]));
    state.iter_mut().zip(keep).for_each(|(state, keep)| *state /= 1.0 - keep.powi(BINS as i32));
    for bin in 0..BINS {
        let column = &mut columns[order(bin)];
        step(&mut state, column);
        *column = state;
    }
}

/// What is kept of a bin after some steps counts until it is below e to the power of minus this: a float's
/// precision.
const REMEMBERED: f32 = 16.6;

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
        learn::learn(&pieces.iter().collect::<Vec<_>>(), WINDOW).density
    }

    fn table(piece: &Piece, density: &Density, noise: &Noise) -> Table {
        let scores = Scores::new([piece].into_iter(), WINDOW, density);
        Circles::new(&scores, noise.temperature).tables(&scores, noise).remove(0).1
    }

    #[test]
    fn factors_average_to_one() {
        let pieces = pieces(0.3, 12);
        let density = learned(&pieces);
        for piece in &pieces {
            let table = table(piece, &density, &PLAIN);
            let mean =
                table.values.iter().map(|v| f64::from(*v).exp()).sum::<f64>() / table.values.len() as f64;
            // The mean is over the drifts in the table; other drifts of the window have no likelihood.
            let Ladder { step, rows, .. } = table.ladder;
            let covered = if rows == 1 { 1.0 } else { step * rows as f64 / WINDOW.width() };
            assert!((mean * covered.min(1.0) - 1.0).abs() < 1e-3, "{mean} {covered}");
        }
    }

    #[test]
    fn peaks_at_the_phase_whatever_other_machines_do() {
        let (ours, theirs) = (pieces(0.3, 12), pieces(0.7, 12));
        let density = learned(&[ours.clone(), theirs.clone()].concat());
        let best = |piece: &Piece| {
            let table = table(piece, &density, &PLAIN);
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
