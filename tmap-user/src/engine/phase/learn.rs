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

use std::{ops::Range, sync::LazyLock};

use multiversion::multiversion;

use super::{
    density::{BINS, Density, GAPS, Histogram, PHASES, ZERO},
    drift::Window,
    elementary::{exp, largest, sum},
    piece::Piece,
};

/// The largest residual in the tables, in ticks. Beyond it, phase says nothing anyway.
const MAX_TICKS: usize = 16;

/// Rounds of EM after the first, rough one: the first few only bring the laws near, so they use few pieces.
/// The log likelihood of simulated and captured traffic gains nothing after six rounds in all.
pub(super) const NEARER_ROUNDS: usize = 2;
pub(super) const LAST_ROUNDS: usize = 1;

/// Rounds where the laws are known but for those of busy times.
pub(super) const MORE_ROUNDS: usize = 2;

/// What was learned.
pub(super) struct Learned {
    /// The laws.
    pub density: Density,
    shares: Shares,
}

impl Learned {
    /// Learns roughly, from pieces that are hardly known yet.
    pub(super) fn roughly(pieces: &[&Piece], window: Window) -> Self {
        let (mean, ticks) = rough_delay(pieces, window);
        let bins = ZERO + ticks * BINS + PHASES;
        let shares = Shares { of_all: rough_shares(mean), of_classes: vec![None; GAPS] };
        let mut learned = Self { density: shares.density(bins), shares };
        learned.round(pieces);
        learned
    }

    /// Learns on for some rounds.
    pub(super) fn again(&mut self, pieces: &[&Piece], rounds: usize) {
        (0..rounds).for_each(|_| self.round(pieces));
    }

    /// A round of EM.
    fn round(&mut self, pieces: &[&Piece]) {
        let (mut scratch, mut posteriors) = (Vec::new(), Vec::new());
        let mut histogram = Histogram::new(self.density.bins);
        for piece in pieces {
            fill_posteriors(piece, &self.density, &mut posteriors, &mut scratch);
            for (drift, posterior) in
                piece.ladder.every_second().drifts().zip(posteriors.as_chunks::<PHASES>().0)
            {
                let Some(chunks) = those_that_matter(posterior) else { continue };
                let posterior = &posterior[chunks.clone()];
                piece.add_residuals(drift, chunks.start, posterior, &mut histogram, &mut scratch);
            }
        }
        self.shares.learn(&histogram);
        self.density = self.shares.density(self.density.bins);
    }
}

/// Phases and drifts with a smaller posterior tell nothing of the law.
const NEGLIGIBLE: f32 = 1e-6;

/// Phases that are looked at in one go.
const AT_ONCE: usize = 16;

/// The phases from the first to the last whose posterior isn't negligible, and up to [`AT_ONCE`] on either
/// side.
fn those_that_matter(posterior: &[f32; PHASES]) -> Option<Range<usize>> {
    let matters = |chunk: &[f32; AT_ONCE]| chunk.iter().fold(false, |any, p| any | (*p > NEGLIGIBLE));
    let chunks = posterior.as_chunks().0;
    let first = chunks.iter().position(matters)?;
    let last = chunks.iter().rposition(matters)?;
    Some(first * AT_ONCE..(last + 1) * AT_ONCE)
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
fn rough_shares(mean: f64) -> [f32; COUNT] {
    let weight = |k: usize| {
        let near = (-0.5 * (part_mean(k) / mean).ln().powi(2)).exp();
        near * if k & 1 == 0 { 1.0 } else { 0.2 }
    };
    let total: f64 = (0..COUNT).map(weight).sum();
    std::array::from_fn(|k| (weight(k) / total) as f32)
}

/// The parts of every law, in as many bins as a law may have.
static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::new(ZERO + MAX_TICKS * BINS + PHASES));

/// The parts, as mass per bin.
struct Parts {
    /// Part by part.
    mass: Vec<Vec<f32>>,
    /// Bin by bin.
    by_bin: Vec<[f32; COUNT]>,
}

impl Parts {
    fn new(bins: usize) -> Self {
        let edge = |i: usize| (i as f64 - ZERO as f64) / BINS as f64;
        let mass: Vec<Vec<f32>> = (0..COUNT)
            .map(|k| {
                let mean = part_mean(k);
                // Probability that delay, or wait and delay, end before `e`.
                let before = |e: f64| match k % 2 {
                    0 => mean_below(e, mean) - mean_below(e - 1.0, mean),
                    _ => erlang(e, mean),
                };
                let edges: Vec<f64> = (0..=bins).map(|i| before(edge(i))).collect();
                edges.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0) as f32).collect()
            })
            .collect();
        let by_bin = (0..bins).map(|i| std::array::from_fn(|k| mass[k][i])).collect();
        Self { mass, by_bin }
    }

    /// The law of these shares, in some of the bins.
    fn sum(&self, shares: &[f32; COUNT], bins: Range<usize>) -> Vec<f32> {
        let mut sum = vec![1e-12; bins.len()];
        add_parts(&self.mass, shares, bins.start, &mut sum);
        sum
    }

    /// One EM step: shares from residuals and `prior_points` points shared as `prior`.
    fn reassign(
        &self,
        residuals: &Residuals<'_>,
        shares: &[f32; COUNT],
        prior: &[f32; COUNT],
        prior_points: f32,
    ) -> [f32; COUNT] {
        let Residuals { first, bins } = residuals;
        let mut ratio = self.sum(shares, *first..first + bins.len());
        ratio.iter_mut().zip(*bins).for_each(|(law, residuals)| *law = residuals / *law);
        let own = weigh(&self.by_bin[*first..], &ratio);
        let mut new: [f32; COUNT] = std::array::from_fn(|k| shares[k] * own[k] + prior_points * prior[k]);
        let total: f32 = new.iter().sum();
        new.iter_mut().for_each(|s| *s /= total);
        new
    }
}

/// Adds each part's mass times its share to bins from `first` on.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_parts(mass: &[Vec<f32>], shares: &[f32; COUNT], first: usize, bins: &mut [f32]) {
    for (part, share) in mass.iter().zip(shares).filter(|(_, share)| **share > 1e-6) {
        bins.iter_mut().zip(&part[first..]).for_each(|(bin, mass)| *bin += share * mass);
    }
}

/// The sum over bins of each part's mass times `factors`. Parts are summed side by side, because each
/// addition waits for the one before it.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn weigh(by_bin: &[[f32; COUNT]], factors: &[f32]) -> [f32; COUNT] {
    let mut sums = [0.0; COUNT];
    for (masses, factor) in by_bin.iter().zip(factors) {
        sums.iter_mut().zip(masses).for_each(|(sum, mass)| *sum += mass * factor);
    }
    sums
}

/// The shares of the parts.
struct Shares {
    /// In all residuals together.
    of_all: [f32; COUNT],
    /// In those of each class of gaps; `None` where they are hardly more than the prior.
    of_classes: Vec<Option<[f32; COUNT]>>,
}

impl Shares {
    /// The laws of these shares.
    fn density(&self, bins: usize) -> Density {
        let law = |own: &[f32; COUNT]| PARTS.sum(own, 0..bins);
        let own: Vec<Option<Vec<f32>>> = self.of_classes.iter().map(|own| own.as_ref().map(law)).collect();
        Density::new(&law(&self.of_all), &own)
    }

    /// Updates the shares by EM: those of all residuals together, then each class's on its own residuals.
    fn learn(&mut self, histogram: &Histogram) {
        let all = histogram.sum();
        let all = Residuals::new(&all);
        for _ in 0..INNER_ROUNDS {
            self.of_all = PARTS.reassign(&all, &self.of_all, &self.of_all, 0.0);
        }
        for (gap, own) in self.of_classes.iter_mut().enumerate() {
            let row = Residuals::new(histogram.row(gap));
            if row.bins.iter().sum::<f32>() < FEWEST_OF_CLASS {
                *own = None;
                continue;
            }
            let mut shares = own.unwrap_or(self.of_all);
            for _ in 0..INNER_ROUNDS {
                shares = PARTS.reassign(&row, &shares, &self.of_all, CLASS_PRIOR);
            }
            *own = Some(shares);
        }
    }
}

/// Residuals of a class by bin, without the empty bins at both ends: most classes have few or none.
struct Residuals<'a> {
    first: usize,
    bins: &'a [f32],
}

impl<'a> Residuals<'a> {
    fn new(all: &'a [f32]) -> Self {
        let first = all.iter().position(|r| *r != 0.0).unwrap_or(all.len());
        let last = all.iter().rposition(|r| *r != 0.0).map_or(first, |last| last + 1);
        Self { first, bins: &all[first..last] }
    }
}

/// EM steps on shares in each round of EM on phases.
const INNER_ROUNDS: usize = 3;

/// The weight of the common shares in each class's own, in points.
const CLASS_PRIOR: f32 = 300.0;

/// A class with fewer points has the common shares: beside the prior they would hardly count.
const FEWEST_OF_CLASS: f32 = 8.0;

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

/// Fills `all` with the joint posterior of the drift and phase of one piece, with a flat prior, drift by
/// drift.
fn fill_posteriors(piece: &Piece, density: &Density, all: &mut Vec<f32>, scratch: &mut Vec<f32>) {
    all.resize(piece.ladder.every_second().rows * PHASES, 0.0);
    for (drift, scores) in piece.ladder.every_second().drifts().zip(all.as_chunks_mut::<PHASES>().0) {
        piece.scores(drift, density, scores, scratch);
    }
    make_posterior(all);
}

/// Makes likelihoods, whose sum is 1, of log likelihoods.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn make_posterior(scores: &mut [f32]) {
    let best = largest(scores);
    scores.iter_mut().for_each(|score| *score = exp(*score - best));
    let share = 1.0 / sum(scores);
    scores.iter_mut().for_each(|score| *score *= share);
}

/// A first guess at the mean delay in ticks, and the number of ticks that the table needs.
fn rough_delay(pieces: &[&Piece], window: Window) -> (f64, usize) {
    let middle = window.middle() as f32;
    let median = |mut values: Vec<f32>, quantile: f64| {
        values.sort_unstable_by(f32::total_cmp);
        values.get(((values.len().max(1) - 1) as f64 * quantile) as usize).copied().unwrap_or(1.0)
    };
    let mean = median(pieces.iter().map(|p| p.mean_lateness(middle)).collect(), 0.5) - 0.5;
    let far = median(pieces.iter().map(|p| p.lateness_quantile(middle, 0.97)).collect(), 0.9);
    (f64::from(mean).clamp(0.03, 4.0), (f64::from(far).ceil() as usize + 1).clamp(2, MAX_TICKS))
}
