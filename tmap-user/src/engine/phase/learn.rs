//! Learning the law of a single residual: the wait for the next tick plus the network's delay.
//!
//! The law is learned *within* connections, where no clustering is needed. Each connection's residuals
//! follow the same law, shifted by that connection's own, unknown phase. With every phase integrated out
//! (flat prior on the circle), maximising the likelihood estimates the shape from differences between
//! points of one connection alone. So two machines can never widen the law; a density learned inside the
//! mixture does widen, and swallows neighbouring lines. The method is expectation-maximisation
//! (Dempster, Laird and Rubin 1977) over histograms.
//!
//! The law is a sum of smooth parts. Each is a delay of a certain size, with or without a wait before it
//! that is uniform over a tick. Parts are as wide as they are late. So the sum is sharp at the edge, where
//! a quiet LAN is sharp and points are many, and smooth in the tail, where points are few. A plain
//! histogram needs one width for both, and learns its own noise. Each class of gaps has its own shares
//! of the parts.

use std::ops::Range;

use super::{
    density::{BINS, Density, GAPS, Histogram, PHASES, ZERO},
    drift::{Ladder, Window},
    piece::Piece,
};

/// The largest residual in the tables, in ticks. Beyond it, phase says nothing anyway.
const MAX_TICKS: usize = 16;

/// Rounds of EM. The log likelihood of simulated and captured traffic gains nothing after six.
const ROUNDS: usize = 5;

/// Learns the laws from pieces.
pub(super) fn learn(pieces: &[&Piece], window: Window) -> Density {
    let (mean, ticks) = rough_delay(pieces, window);
    let parts = Parts::new(ZERO + ticks * BINS + PHASES);
    let mut shares = vec![rough_shares(mean); GAPS + 1];
    let mut density = Density::new(&vec![parts.sum(&shares[GAPS], 0..parts.bins); GAPS + 1]);
    let mut scratch = Vec::new();
    let mut ladders: Vec<Vec<f32>> = Vec::new();
    let mut histogram = Histogram::new(density.bins);
    for round in 0..ROUNDS {
        histogram.clear();
        for (i, piece) in pieces.iter().enumerate() {
            if round == 0 {
                ladders.push(Ladder::coarse(piece.spread_s, window).drifts().collect());
            } else if round & 1 == 1 {
                ladders[i] = piece.fine_ladder(window, &density).drifts().collect();
            }
            let drifts = &ladders[i];
            let posteriors = posteriors(piece, drifts, &density, &mut scratch);
            for (drift, posterior) in drifts.iter().zip(&posteriors) {
                piece.add_residuals(*drift, posterior, &mut histogram, &mut scratch);
            }
        }
        parts.share_out(&histogram, &mut shares);
        let mut laws: Vec<Vec<f64>> = Vec::with_capacity(shares.len());
        for (class, own) in shares.iter().enumerate() {
            let known = class.checked_sub(1).filter(|&before| shares[before] == *own);
            laws.push(known.map_or_else(|| parts.sum(own, 0..parts.bins), |before| laws[before].clone()));
        }
        density = Density::new(&laws);
    }
    density
}

/// The delays of the parts: means from 0.01 ticks (10 µs at 1 kHz) up, each larger by [`RATIO`].
const SIZES: usize = 15;
const SMALLEST: f64 = 0.01;
const RATIO: f64 = 1.6;

/// The number of parts: each size with a wait before it (even indices) and without.
const COUNT: usize = 2 * SIZES;

/// Mean delay of a part, in ticks.
fn part_mean(k: usize) -> f64 {
    SMALLEST * RATIO.powi((k / 2) as i32)
}

/// The initial shares: parts with delays of about `mean`, mostly with a wait.
fn rough_shares(mean: f64) -> Vec<f64> {
    let weight = |k: usize| {
        let near = (-0.5 * (part_mean(k) / mean).ln().powi(2)).exp();
        near * if k & 1 == 0 { 1.0 } else { 0.2 }
    };
    let total: f64 = (0..COUNT).map(weight).sum();
    (0..COUNT).map(|k| weight(k) / total).collect()
}

/// Parts that are summed side by side.
const SIDE_BY_SIDE: usize = 10;
const _: () = assert!(COUNT.is_multiple_of(SIDE_BY_SIDE));

/// The parts, as mass per bin.
struct Parts {
    bins: usize,
    /// Part by part.
    mass: Vec<Vec<f64>>,
    /// Bin by bin.
    by_bin: Vec<[f64; COUNT]>,
}

impl Parts {
    fn new(bins: usize) -> Self {
        let edge = |i: usize| (i as f64 - ZERO as f64) / BINS as f64;
        let mass: Vec<Vec<f64>> = (0..COUNT)
            .map(|k| {
                let mean = part_mean(k);
                // Probability that delay, or wait and delay, end before `e`.
                let before = |e: f64| match k % 2 {
                    0 => mean_below(e, mean) - mean_below(e - 1.0, mean),
                    _ => erlang(e, mean),
                };
                (0..bins).map(|i| (before(edge(i + 1)) - before(edge(i))).max(0.0)).collect()
            })
            .collect();
        let by_bin = (0..bins).map(|i| std::array::from_fn(|k| mass[k][i])).collect();
        Self { bins, mass, by_bin }
    }

    /// The law of these shares, in some of the bins.
    fn sum(&self, shares: &[f64], bins: Range<usize>) -> Vec<f64> {
        let mut sum = vec![1e-12; bins.len()];
        for (part, share) in self.mass.iter().zip(shares).filter(|(_, s)| **s > 1e-6) {
            sum.iter_mut().zip(&part[bins.clone()]).for_each(|(s, p)| *s += share * p);
        }
        sum
    }

    /// The sum over bins, from `first` on, of each part's mass times `factors`. Parts are summed side by
    /// side, because each addition waits for the one before it.
    fn weigh(&self, first: usize, factors: &[f64]) -> [f64; COUNT] {
        let mut sums = [0.0; COUNT];
        for (group, sums) in sums.as_chunks_mut::<SIDE_BY_SIDE>().0.iter_mut().enumerate() {
            for (masses, factor) in self.by_bin[first..].iter().zip(factors) {
                let masses = &masses.as_chunks::<SIDE_BY_SIDE>().0[group];
                sums.iter_mut().zip(masses).for_each(|(sum, mass)| *sum += mass * factor);
            }
        }
        sums
    }

    /// Updates the shares by EM: those of all residuals together, then each class's on its own residuals.
    fn share_out(&self, histogram: &Histogram, shares: &mut [Vec<f64>]) {
        let Some((of_all, of_classes)) = shares.split_last_mut() else { return };
        let all = Residuals::new(histogram.sum().into_iter());
        for _ in 0..INNER_ROUNDS {
            *of_all = self.reassign(&all, of_all, of_all, 0.0);
        }
        for (gap, own) in of_classes.iter_mut().enumerate() {
            let row = Residuals::new(histogram.row(gap).iter().map(|h| f64::from(*h)));
            for _ in 0..INNER_ROUNDS {
                *own = self.reassign(&row, own, of_all, CLASS_PRIOR);
            }
        }
    }

    /// One EM step: shares from residuals and `prior_points` points shared as `prior`.
    fn reassign(&self, residuals: &Residuals, shares: &[f64], prior: &[f64], prior_points: f64) -> Vec<f64> {
        let Residuals { first, bins } = residuals;
        let law = self.sum(shares, *first..first + bins.len());
        let ratio: Vec<f64> = bins.iter().zip(&law).map(|(r, l)| r / l).collect();
        let own = self.weigh(*first, &ratio);
        let mut new: Vec<f64> = own
            .iter()
            .zip(shares)
            .zip(prior)
            .map(|((own, share), prior)| share * own + prior_points * prior)
            .collect();
        let total: f64 = new.iter().sum();
        new.iter_mut().for_each(|s| *s /= total);
        new
    }
}

/// Residuals of a class by bin, without the empty bins at both ends: most classes have few or none.
struct Residuals {
    first: usize,
    bins: Vec<f64>,
}

impl Residuals {
    fn new(all: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator + Clone) -> Self {
        let first = all.clone().position(|r| r != 0.0).unwrap_or(all.len());
        let last = all.clone().rposition(|r| r != 0.0).map_or(first, |last| last + 1);
        Self { first, bins: all.take(last).skip(first).collect() }
    }
}

/// EM steps on shares in each round of EM on phases.
const INNER_ROUNDS: usize = 3;

/// The weight of the common shares in each class's own, in points.
const CLASS_PRIOR: f64 = 300.0;

/// Erlang distribution of shape 3: delays are sums of several waits, and with the smooth start the exact
/// position of the edge doesn't matter.
fn erlang(e: f64, mean: f64) -> f64 {
    if e <= 0.0 {
        return 0.0;
    }
    let x = 3.0 * e / mean;
    1.0 - (-x).exp() * (1.0 + x + x * x / 2.0)
}

/// Integral of [`erlang`] from 0. The probability that a uniform wait and the delay end before `e` is the
/// difference of two of these integrals, a tick apart.
fn mean_below(e: f64, mean: f64) -> f64 {
    if e <= 0.0 {
        return 0.0;
    }
    let x = 3.0 * e / mean;
    e - mean + (-x).exp() * mean / 3.0 * (3.0 + 2.0 * x + x * x / 2.0)
}

/// Joint posterior of the drift and phase of one piece, with a flat prior.
fn posteriors(piece: &Piece, drifts: &[f32], density: &Density, scratch: &mut Vec<f32>) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> = drifts
        .iter()
        .map(|&drift| {
            let mut scores = vec![0.0; PHASES];
            piece.scores(drift, density, &mut scores, scratch);
            scores
        })
        .collect();
    let best = all.iter().flatten().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in all.iter_mut().flatten() {
        *score = (*score - best).exp();
        total += *score;
    }
    for score in all.iter_mut().flatten() {
        *score /= total;
    }
    all
}

/// A first guess at the mean delay in ticks, and the number of ticks that the table needs.
fn rough_delay(pieces: &[&Piece], window: Window) -> (f64, usize) {
    let middle = ((window.low + window.high) / 2.0) as f32;
    let median = |mut values: Vec<f32>, quantile: f64| {
        values.sort_unstable_by(f32::total_cmp);
        values.get(((values.len().max(1) - 1) as f64 * quantile) as usize).copied().unwrap_or(1.0)
    };
    let mean = median(pieces.iter().map(|p| p.mean_lateness(middle)).collect(), 0.5) - 0.5;
    let far = median(pieces.iter().map(|p| p.lateness_quantile(middle, 0.97)).collect(), 0.9);
    (f64::from(mean).clamp(0.03, 4.0), (f64::from(far).ceil() as usize + 1).clamp(2, MAX_TICKS))
}
