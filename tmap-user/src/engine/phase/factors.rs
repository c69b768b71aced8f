//! Log Bayes factors of pieces over phase and drift, for look-ups.
//!
//! EM looks a connection up on every line in every round, so the tables of all pieces lie in one piece of
//! memory, row by row, and a look-up is a few loads.

use std::ops::Range;

use multiversion::multiversion;

use super::{
    density::BINS,
    drift::Ladder,
    elementary::{exp, ln, sum},
    recycled::Recycled,
};

/// The tables of several pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Factors {
    places: Vec<Place>,
    /// Log Bayes factors over phases, row by row of all pieces.
    rows: Recycled<[f32; BINS]>,
}

/// Where a piece's rows are, and which drifts they belong to.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The piece's reference time, in seconds.
    x: f64,
    ladder: Ladder,
    /// Rows per tick per second; 0 where there is one row.
    rows_per_drift: f64,
    /// The first of the piece's rows.
    first: usize,
}

impl Place {
    /// The row below a drift, the one above it, and the way between them, 0 to 1.
    #[inline(always)]
    fn between(&self, drift: f64) -> (usize, usize, f32) {
        let last = self.ladder.rows - 1;
        let at = ((drift - self.ladder.low) * self.rows_per_drift).clamp(0.0, last as f64);
        let below = at as usize;
        (self.first + below, self.first + (below + 1).min(last), (at - below as f64) as f32)
    }
}

impl Factors {
    /// Tables of zeros, for pieces of these reference times (in seconds) and drifts.
    pub(super) fn new(pieces: impl Iterator<Item = (f64, Ladder)>) -> Self {
        let mut factors = Self::default();
        let mut first = 0;
        for (x, ladder) in pieces {
            let rows_per_drift = if ladder.rows == 1 { 0.0 } else { 1.0 / ladder.step };
            factors.places.push(Place { x, ladder, rows_per_drift, first });
            first += ladder.rows;
        }
        factors.rows.resize(first, [0.0; BINS]);
        factors
    }

    /// The rows of all pieces, to be filled.
    pub(super) fn rows_mut(&mut self) -> &mut [[f32; BINS]] {
        &mut self.rows
    }

    /// Makes room for so many rows, so that none is moved as more come.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.rows.reserve_exact(rows);
    }

    /// Adds the pieces of `other`.
    pub(super) fn append(&mut self, other: Self) {
        let rows = self.rows.len();
        self.places
            .extend(other.places.into_iter().map(|place| Place { first: place.first + rows, ..place }));
        self.rows.extend_from_slice(&other.rows);
    }

    /// The number of pieces.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The reference time of a piece, in seconds.
    #[inline(always)]
    pub(super) fn x(&self, piece: usize) -> f64 {
        self.places[piece].x
    }

    /// The reference times of all pieces, in seconds.
    pub(super) fn times(&self) -> impl Iterator<Item = f64> {
        self.places.iter().map(|place| place.x)
    }

    /// The drifts of a piece's rows.
    pub(super) fn ladder(&self, piece: usize) -> Ladder {
        self.places[piece].ladder
    }

    /// A piece's rows, as indices of those of all pieces.
    pub(super) fn rows_of(&self, piece: usize) -> Range<usize> {
        let Place { first, ladder, .. } = self.places[piece];
        first..first + ladder.rows
    }

    /// Log Bayes factor of a piece at a phase (any real number; its whole part is ignored) and a drift.
    #[inline(always)]
    pub(super) fn at(&self, piece: usize, phase: f64, drift: f64) -> f32 {
        let (column, share) = column(phase);
        let next = (column + 1) % BINS;
        let (below, above, up) = self.places[piece].between(drift);
        let value = |row: usize| between_bins(&self.rows[row], (column, next), share);
        let low = value(below);
        low + up * (value(above) - low)
    }

    /// The derivatives of a piece's log Bayes factor by phase, per tick, and by drift, per tick per second:
    /// difference quotients over a bin and half a row to either side.
    #[inline(always)]
    pub(super) fn slopes(&self, piece: usize, phase: f64, drift: f64) -> (f64, f64) {
        let (column, share) = column(phase);
        let [before, next, last] = [BINS - 1, 1, 2].map(|more| (column + more) % BINS);
        let place = &self.places[piece];
        let slope = |row: usize| {
            let circle = &self.rows[row];
            let (low, high) = (circle[next] - circle[before], circle[last] - circle[column]);
            low + share * (high - low)
        };
        let (below, above, up) = place.between(drift);
        let low = slope(below);
        let by_phase = f64::from(low + up * (slope(above) - low)) * (0.5 * BINS as f64);
        if place.ladder.rows == 1 {
            return (by_phase, 0.0);
        }
        let value = |row: usize| between_bins(&self.rows[row], (column, next), share);
        // Half a row up and half a row down lie in two neighbouring steps: the nearest row's.
        let nearest = if up < 0.5 { below } else { above };
        let share_above = if up < 0.5 { up + 0.5 } else { up - 0.5 };
        let first = place.first;
        let (down, top) =
            (nearest.saturating_sub(1).max(first), (nearest + 1).min(first + place.ladder.rows - 1));
        let middle = value(nearest);
        let step = (1.0 - share_above) * (middle - value(down)) + share_above * (value(top) - middle);
        (by_phase, f64::from(step) * place.rows_per_drift)
    }

    /// Adds a piece's log Bayes factors at a phase and at each whole bin after it, once around the circle, to
    /// `sums`.
    pub(super) fn add_circle(&self, piece: usize, phase: f64, drift: f64, sums: &mut [f32; BINS]) {
        let (column, share) = column(phase);
        let (below, above, up) = self.places[piece].between(drift);
        add_turned(&self.rows[below], &self.rows[above], up, (column, share), sums);
    }

    /// A piece's mean log Bayes factor over phases, for a line of the right drift, under the posterior.
    pub(super) fn sharpness(&self, piece: usize) -> f64 {
        let rows = self.rows[self.rows_of(piece)].iter().map(weight_and_mean);
        let best = rows.fold((0.0, 0.0), |best: (f32, f32), row| if row.0 > best.0 { row } else { best });
        f64::from(best.1)
    }

    /// Turns a piece's circles back by `bins`: what a phase had is at a phase that is less by these.
    pub(super) fn shift(&mut self, piece: usize, bins: usize) {
        let rows = self.rows_of(piece);
        self.rows[rows].iter_mut().for_each(|circle| circle.rotate_left(bins % BINS));
    }

    /// The Bayes factors of all rows, each the mean of four bins.
    pub(super) fn coarse(&self) -> Vec<[f32; COARSE]> {
        self.rows.iter().map(pool).collect()
    }
}

/// Bins of a circle where a quarter of the resolution is enough.
pub(super) const COARSE: usize = BINS / 4;

/// The mean Bayes factors of four bins each.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn pool(circle: &[f32; BINS]) -> [f32; COARSE] {
    let factors = circle.map(exp);
    let four = factors.as_chunks::<4>().0;
    std::array::from_fn(|k| 0.25 * (four[k][0] + four[k][1] + four[k][2] + four[k][3]))
}

/// The sum of a circle's Bayes factors, and their logarithms' mean under the posterior, against a flat one.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn weight_and_mean(circle: &[f32; BINS]) -> (f32, f32) {
    let factors = circle.map(exp);
    let gains: [f32; BINS] = std::array::from_fn(|bin| factors[bin] * circle[bin]);
    let weight = sum(&factors);
    (weight, sum(&gains) / weight - ln(weight / BINS as f32))
}

/// Adds what lies between two circles, turned back by `bins` and a share of one, to `sums`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_turned(
    below: &[f32; BINS],
    above: &[f32; BINS],
    up: f32,
    (bins, share): (usize, f32),
    sums: &mut [f32; BINS],
) {
    let mut turned = [0.0; BINS + 1];
    let mut copy = |from: usize, to: usize, count: usize| {
        let pairs = below[from..from + count].iter().zip(&above[from..from + count]);
        for (value, (low, high)) in turned[to..to + count].iter_mut().zip(pairs) {
            *value = low + up * (high - low);
        }
    };
    copy(bins, 0, BINS - bins);
    copy(0, BINS - bins, bins);
    turned[BINS] = turned[0];
    for (bin, sum) in sums.iter_mut().enumerate() {
        *sum += turned[bin] + share * (turned[bin + 1] - turned[bin]);
    }
}

/// What lies between a circle's bin and the next one.
#[inline(always)]
fn between_bins(circle: &[f32; BINS], (bin, next): (usize, usize), share: f32) -> f32 {
    circle[bin] + share * (circle[next] - circle[bin])
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One piece whose log Bayes factors are a smooth function of phase and drift.
    fn smooth() -> Factors {
        let ladder = Ladder { low: -0.01, step: 0.005, rows: 5 };
        let mut factors = Factors::new([(7.0, ladder)].into_iter());
        for (row, circle) in factors.rows_mut().iter_mut().enumerate() {
            let drift = ladder.low + ladder.step * row as f64;
            *circle = std::array::from_fn(|bin| value(bin as f64 / BINS as f64, drift) as f32);
        }
        factors
    }

    fn value(phase: f64, drift: f64) -> f64 {
        3.0 * (std::f64::consts::TAU * phase).cos() + 100.0 * drift
    }

    #[test]
    fn look_ups_interpolate_and_ignore_whole_ticks() {
        let factors = smooth();
        for (phase, drift) in [(0.1, 0.001), (-3.26, -0.0074), (41.999, 0.01)] {
            let found = f64::from(factors.at(0, phase, drift));
            assert!((found - value(phase, drift)).abs() < 2e-3, "{phase} {drift}: {found}");
        }
        assert_eq!(factors.at(0, 0.3, 0.5), factors.at(0, 0.3, 0.01), "beyond the last row");
    }

    #[test]
    fn slopes_are_derivatives() {
        let factors = smooth();
        let (by_phase, by_drift) = factors.slopes(0, 0.1, 0.001);
        let exact = -3.0 * std::f64::consts::TAU * (std::f64::consts::TAU * 0.1).sin();
        assert!((by_phase / exact - 1.0).abs() < 0.01, "{by_phase} {exact}");
        assert!((by_drift / 100.0 - 1.0).abs() < 0.01, "{by_drift}");
    }

    #[test]
    fn a_circle_is_a_look_up_at_each_bin() {
        let mut factors = smooth();
        let mut sums = [1.0; BINS];
        factors.add_circle(0, 0.123, 0.0012, &mut sums);
        for (bin, sum) in sums.iter().enumerate() {
            let one = 1.0 + factors.at(0, 0.123 + bin as f64 / BINS as f64, 0.0012);
            assert!((sum - one).abs() < 1e-5, "{bin}: {sum} {one}");
        }
        let before = factors.at(0, 0.5, 0.0);
        factors.shift(0, 32);
        assert!((factors.at(0, 0.25, 0.0) - before).abs() < 1e-5);
    }
}
