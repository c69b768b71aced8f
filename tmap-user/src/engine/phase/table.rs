//! The likelihood of one piece on any line, as a table over phase and drift.
//!
//! An entry is the logarithm of a Bayes factor. It compares a line that has this phase and drift at the
//! piece's reference time with a clock of its own, of which nothing is known (phase uniform on the circle,
//! drift uniform in the window). Lines are then compared by look-ups, so a connection costs the same
//! whether it had ten segments or ten million.
//!
//! ```text
//! Scores (no noise in it) -> Circles (at a temperature) -> Factors (with a scatter)
//! ```
//!
//! Each step is a transform of the step before it, so another scatter needs no new circles, and another
//! temperature no new scores.

use std::ops::Range;

use multiversion::multiversion;

use super::{
    density::{BINS, Density, PHASES},
    drift::{Ladder, Window},
    elementary::{exp, largest, ln, sum},
    factors::Factors,
    line::{FittedLine, Knots},
    piece::Piece,
    recycled::Recycled,
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
    scores: Recycled<[f32; PHASES]>,
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
            let ladder = piece.ladder;
            // Drifts that aren't tabulated have hardly any likelihood, but the same prior as the others.
            let covered = match ladder.rows {
                1 => 1.0,
                rows => (ladder.step * rows as f64 / window.width()).min(1.0) as f32,
            };
            all.grids.push(Grid { x: piece.x, ladder, covered, first_row: all.first_bins.len() });
            for drift in ladder.drifts() {
                let mut scores = [0.0; PHASES];
                let phase_of_first = piece.scores(drift, density, &mut scores, &mut scratch);
                all.scores.push(scores);
                let phase = phase_of_first - phase_of_first.floor();
                all.first_bins.push((phase * BINS as f64).round() as usize % BINS);
            }
        }
        all
    }

    /// For each piece, the rows near the drifts that it has on any of these lines.
    pub(super) fn rows_near(&self, lines: &[&FittedLine], knots: &Knots) -> Vec<Range<usize>> {
        let near = |grid: &Grid| {
            let Ladder { low, step, rows } = grid.ladder;
            if rows == 1 || lines.is_empty() {
                return grid.first_row..grid.first_row + 1;
            }
            // A cast takes what is below the first row as that.
            let at = |line: &&FittedLine| ((line.at_time(grid.x, knots).1 - low) / step) as usize;
            let first = lines.iter().map(at).min().unwrap_or(0).min(rows).saturating_sub(ASIDE);
            let last = (lines.iter().map(at).max().unwrap_or(0).min(rows) + ASIDE).min(rows - 1);
            grid.first_row + first..grid.first_row + last + 1
        };
        self.grids.iter().map(near).collect()
    }

    /// The number of rows, which is what memory and time go by.
    pub(super) fn rows(&self) -> usize {
        self.first_bins.len()
    }
}

/// Rows on either side of a line's drift that count as near: slopes reach over one, and lines move.
const ASIDE: usize = 2;

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
    columns: Recycled<Columns>,
}

impl Circles {
    /// Folds scores onto the circle. Scores a whole tick apart are the same phase with another whole offset,
    /// so both count.
    pub(super) fn new(scores: &Scores, temperature: f32) -> Self {
        let mut columns: Recycled<Columns> = Recycled::default();
        columns.resize(scores.rows().div_ceil(ROWS), [[0.0; LANES]; BINS]);
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
                fold(&pair[0], norms[0], first, &mut circles[lane]);
                fold(&pair[1], norms[1], first, &mut circles[lane + ROWS]);
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

    /// The log Bayes factors under a scatter. `scores` are those that the circles were made of, and `noise`
    /// has their temperature.
    pub(super) fn factors(&self, scores: &Scores, noise: &Noise) -> Factors {
        let mut factors = Factors::new(scores.grids.iter().map(|grid| (grid.x, grid.ladder)));
        let mut spread = [[[0.0; LANES]; BINS]; 2];
        for (rows, columns) in factors.rows_mut().chunks_mut(ROWS).zip(self.columns.iter()) {
            spread_out(columns, noise, &mut spread, rows);
        }
        factors
    }

    /// Likewise, with only some rows of each piece. They are ranges of `scores`' rows.
    pub(super) fn some_factors(&self, scores: &Scores, noise: &Noise, some: &[Range<usize>]) -> Factors {
        let mut factors = Factors::new(scores.grids.iter().zip(some).map(|(grid, some)| {
            let Ladder { low, step, .. } = grid.ladder;
            let low = low + step * (some.start - grid.first_row) as f64;
            (grid.x, Ladder { low, step, rows: some.len() })
        }));
        let mut rows = some.iter().cloned().flatten();
        let (mut chosen, mut spread) = ([[0.0; LANES]; BINS], [[[0.0; LANES]; BINS]; 2]);
        for into in factors.rows_mut().chunks_mut(ROWS) {
            for (to, row) in rows.by_ref().take(ROWS).enumerate() {
                copy_lane(&self.columns[row / ROWS], row % ROWS, &mut chosen, to);
            }
            spread_out(&chosen, noise, &mut spread, into);
        }
        factors
    }
}

/// Copies a row's lanes from some columns to others.
fn copy_lane(from: &Columns, lane: usize, to: &mut Columns, to_lane: usize) {
    for (to, from) in to.iter_mut().zip(from) {
        (to[to_lane], to[to_lane + ROWS]) = (from[lane], from[lane + ROWS]);
    }
}

/// Likelihoods over phases by a row's points, and as those of a dull connection.
type Pair = [[f32; PHASES]; 2];

/// Likelihoods relative to the largest one: `scale` times the scores is the logarithm of those of a dull
/// connection, which raised to the power of [`DULLER`] are the others. Returns the sums of both.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
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

/// Columns that become parts of rows in one go, while they are in registers.
const BLOCK: usize = 8;

/// Fills `rows` with log Bayes factors. `columns` are likelihoods by points and as dull connections, and
/// `spread` is memory to work in.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn spread_out(columns: &Columns, noise: &Noise, spread: &mut [Columns; 2], rows: &mut [[f32; BINS]]) {
    scatter(columns, noise.scatter, spread);
    let usual = 1.0 - noise.dull_share - noise.outlier_share;
    for (number, block) in spread[1].as_chunks::<BLOCK>().0.iter().enumerate() {
        let mut logs = [[0.0; BLOCK]; ROWS];
        for (k, column) in block.iter().enumerate() {
            for lane in 0..ROWS {
                let factor = usual * column[lane] + noise.dull_share * column[lane + ROWS];
                logs[lane][k] = ln(factor + noise.outlier_share);
            }
        }
        for (row, logs) in rows.iter_mut().zip(&logs) {
            row[number * BLOCK..(number + 1) * BLOCK].copy_from_slice(logs);
        }
    }
}

/// Fills a circle with likelihoods over phases, of which the first belongs to the bin `first`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn fold(likelihoods: &[f32; PHASES], norm: f32, first: usize, circle: &mut [f32; BINS]) {
    let mut sums: [f32; BINS] = std::array::from_fn(|bin| likelihoods[bin] + likelihoods[BINS + bin]);
    sums.iter_mut().zip(&likelihoods[2 * BINS..]).for_each(|(sum, likelihood)| *sum += likelihood);
    sums.iter_mut().for_each(|sum| *sum *= norm);
    let (later, earlier) = sums.split_at(BINS - first);
    circle[first..].copy_from_slice(later);
    circle[..first].copy_from_slice(earlier);
}

/// Writes circles as columns.
fn put_side_by_side(circles: &[[f32; BINS]; LANES], columns: &mut Columns) {
    for (bin, column) in columns.iter_mut().enumerate() {
        column.iter_mut().zip(circles).for_each(|(value, circle)| *value = circle[bin]);
    }
}

/// The factor by which a dull connection tells less than its points suggest. A likelihood to the power of
/// 1/4 is raised again by two squares.
const DULLER: f32 = 4.0;

/// Spreads each circle's likelihoods by the scatter of whole connections, a standard deviation in ticks, into
/// the second of `spread`. Two exponentials in either direction are close to a normal law.
#[inline(always)]
fn scatter(columns: &Columns, sigma: f32, [once, twice]: &mut [Columns; 2]) {
    // The exponential's mean is half of sigma.
    let kept = |sigma: f32| (-1.0 / (sigma / 2.0 * BINS as f32)).exp();
    let (sharp, dull) = (kept(sigma), kept(sigma * DULLER));
    let keep: [f32; LANES] = std::array::from_fn(|lane| if lane < ROWS { sharp } else { dull });
    smear(columns, &keep, once);
    smear(once, &keep, twice);
}

/// Convolves each circle with an exponential in both directions that keeps the share `keep` from bin to bin.
///
/// That is an exponential upwards plus one downwards without the bin itself, so both are made at once: each
/// step waits for the one before it. Where they have met, the later one adds to what the earlier one left.
#[inline(always)]
fn smear(columns: &Columns, keep: &[f32; LANES], spread: &mut Columns) {
    let mut up = around(columns, keep, |bin| bin);
    let mut down = around(columns, keep, |bin| BINS - 1 - bin);
    let scale = keep.map(|keep| 1.0 / (1.0 + keep));
    let mut steps = |bins: Range<usize>, put: fn(f32, f32, f32) -> f32| {
        for bin in bins {
            let back = BINS - 1 - bin;
            for lane in 0..LANES {
                let (keep, scale) = (keep[lane], scale[lane]);
                up[lane] = keep * up[lane] + (1.0 - keep) * columns[bin][lane];
                let carried = keep * down[lane];
                down[lane] = carried + (1.0 - keep) * columns[back][lane];
                spread[bin][lane] = put(spread[bin][lane], up[lane], scale);
                spread[back][lane] = put(spread[back][lane], carried, scale);
            }
        }
    };
    steps(0..BINS / 2, |_, own, _| own);
    steps(BINS / 2..BINS, |other, own, scale| (other + own) * scale);
}

/// What all earlier turns around a circle have left at its first bin, in the given order of bins: a geometric
/// series of what one turn leaves. Of that turn, only the end matters where little is kept.
#[inline(always)]
fn around(columns: &Columns, keep: &[f32; LANES], order: impl Fn(usize) -> usize) -> [f32; LANES] {
    let remembered = (-REMEMBERED / keep[LANES - 1].ln()).ceil().clamp(1.0, BINS as f32) as usize;
    let mut left = [0.0; LANES];
    for bin in BINS - remembered..BINS {
        let column = &columns[order(bin)];
        for lane in 0..LANES {
            left[lane] = keep[lane] * left[lane] + (1.0 - keep[lane]) * column[lane];
        }
    }
    left.iter_mut().zip(keep).for_each(|(left, keep)| *left /= 1.0 - keep.powi(BINS as i32));
    left
}

/// What is kept of a bin after some steps counts until it is below e to the power of minus this: a float's
/// precision.
const REMEMBERED: f32 = 16.6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        phase::{Sampled, Track, density::Density, learn::Learned, sample::NO_GAP_NS},
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
                Piece::cut(&Track { sample: &sample, offered: 40, ..Track::default() }, HZ, 0, WINDOW)
            })
            .collect()
    }

    fn learned(pieces: &[Piece]) -> Density {
        let pieces: Vec<&Piece> = pieces.iter().collect();
        let mut learned = Learned::roughly(&pieces, WINDOW);
        learned.again(&pieces, 4);
        learned.density
    }

    fn factors(piece: &Piece, density: &Density, noise: &Noise) -> Factors {
        let scores = Scores::new([piece].into_iter(), WINDOW, density);
        Circles::new(&scores, noise.temperature).factors(&scores, noise)
    }

    #[test]
    fn factors_average_to_one() {
        let pieces = pieces(0.3, 12);
        let density = learned(&pieces);
        for piece in &pieces {
            let factors = factors(piece, &density, &PLAIN);
            // The mean is over the drifts in the table; other drifts of the window have no likelihood.
            let Ladder { low, step, rows } = piece.ladder;
            let at =
                |bin: usize, row: usize| factors.at(0, bin as f64 / BINS as f64, low + step * row as f64);
            let all = (0..rows).flat_map(|row| (0..BINS).map(move |bin| f64::from(at(bin, row)).exp()));
            let mean = all.sum::<f64>() / (rows * BINS) as f64;
            let covered = if rows == 1 { 1.0 } else { step * rows as f64 / WINDOW.width() };
            assert!((mean * covered.min(1.0) - 1.0).abs() < 1e-3, "{mean} {covered}");
        }
    }

    #[test]
    fn a_scatter_is_two_exponentials_in_either_direction() {
        let (sigma, from) = (0.02_f32, 5);
        let mut columns = [[0.0; LANES]; BINS];
        columns[from] = [1.0; LANES];
        let mut spread = [[[0.0; LANES]; BINS]; 2];
        scatter(&columns, sigma, &mut spread);
        let exponentials = |keep: f64| -> Vec<f64> {
            let kernel = |bins: i32| (1.0 - keep) / (1.0 + keep) * keep.powi(bins.abs());
            let once = |bins: i32| (-9..=9).map(|turn| kernel(bins + turn * BINS as i32)).sum::<f64>();
            let twice = |bins: i32| (0..BINS as i32).map(|by| once(by) * once(bins - by)).sum();
            (0..BINS as i32).map(|bin| twice(bin - from as i32)).collect()
        };
        for (lane, sigma) in [(0, sigma), (ROWS, sigma * DULLER)] {
            let direct = exponentials((-1.0 / (f64::from(sigma) / 2.0 * BINS as f64)).exp());
            for (bin, direct) in direct.iter().enumerate() {
                let found = f64::from(spread[1][bin][lane]);
                assert!((found - direct).abs() < 1e-6, "{lane}, {bin}: {found} {direct}");
            }
        }
    }

    #[test]
    fn some_rows_are_those_of_all() {
        let mut pieces = pieces(0.3, 12);
        let density = learned(&pieces);
        pieces.iter_mut().for_each(|piece| piece.narrow(WINDOW, &density));
        let scores = Scores::new(pieces.iter(), WINDOW, &density);
        let circles = Circles::new(&scores, 1.4);
        let noise = Noise { temperature: 1.4, scatter: 0.01, dull_share: 0.02, outlier_share: 0.01 };
        let knots = Knots::new(12.0, HZ);
        let line = FittedLine::at(0.2, 0.003, 1.0, &knots);
        let near = scores.rows_near(&[&line], &knots);
        assert!(near.iter().any(|rows| rows.len() > 1), "{near:?}");
        let (all, some) = (circles.factors(&scores, &noise), circles.some_factors(&scores, &noise, &near));
        for piece in 0..pieces.len() {
            let [all, some] = [&all, &some].map(|factors| factors.at(piece, 0.2, 0.003));
            assert!((all - some).abs() < 1e-5, "{piece}: {all} {some}");
        }
    }

    #[test]
    fn peaks_at_the_phase_whatever_other_machines_do() {
        let (ours, theirs) = (pieces(0.3, 12), pieces(0.7, 12));
        let density = learned(&[ours.clone(), theirs.clone()].concat());
        let best = |piece: &Piece| {
            let factors = factors(piece, &density, &PLAIN);
            (0..BINS)
                .map(|c| c as f64 / BINS as f64)
                .max_by(|a, b| factors.at(0, *a, 0.0).total_cmp(&factors.at(0, *b, 0.0)))
        };
        let apart: Vec<f64> = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (best(b).unwrap() - best(a).unwrap()).rem_euclid(1.0))
            .collect();
        assert!(apart.iter().all(|d| (d - 0.4).abs() < 0.06), "{apart:?}");
    }
}
