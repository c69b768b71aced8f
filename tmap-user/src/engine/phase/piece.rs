//! A piece: a part of one connection, short enough that a few trial drifts cover all plausible skews.
//!
//! Segment `i` arrives at `x_i` (seconds) with value `v_i` (ticks). Under a clock whose phase at the
//! piece's reference time is `theta` and which gains `drift` ticks per second over its nominal rate
//! `H`, it is late by
//!
//! ```text
//! e_i = H x_i - v_i + drift (x_i - x_ref) + theta     (modulo a whole number of ticks, K)
//! ```
//!
//! where `e_i` is the wait for the next tick (up to 1) plus the network's delay.

use super::{
    density::{ANY_GAP, BINS, Density, EARLY_BINS, Histogram, PHASES, gap_class},
    drift::{self, Ladder, Window},
    elementary::{exp, largest, sum},
    sample::{NO_GAP_NS, Sampled, Track},
};
use crate::engine::types::Point;

/// A piece: residuals relative to its own reference time.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Reference time, seconds since the fit's own time zero: the mean of the sample's times.
    pub x: f64,
    /// Sampled points: time since `x` in seconds; `H x_i - v_i` in ticks less `base`.
    sample: Vec<(f32, f32)>,
    /// The sampled points' classes of gaps.
    gaps: Vec<u8>,
    /// Corners of the hull, in the form of `sample`.
    hull: Vec<(f32, f32)>,
    /// Whole and fractional ticks subtracted from the residuals.
    base: f64,
    /// First arrivals that are not in the sample.
    unsampled: f32,
    /// Root mean square of the sample's times about `x`.
    spread_s: f64,
    /// The drifts to try: at first evenly spread over the window, then those that the piece allows.
    pub ladder: Ladder,
}

impl Piece {
    /// Cuts `track` into pieces that have few drifts in the window. Points are relative to `zero_ns`.
    pub(super) fn cut(track: &Track<'_>, hz: f64, zero_ns: u64, window: Window) -> Vec<Self> {
        let longest_s = drift::longest_piece_s(window);
        // Where memory left no sample, the hull's corners are used instead, although they are chosen by
        // their delay.
        let chosen: Vec<Sampled>;
        let sample = if track.sample.is_empty() {
            chosen = track.hull.iter().map(|&point| Sampled { point, gap_ns: NO_GAP_NS }).collect();
            &chosen
        } else {
            track.sample
        };
        let [Some(first), Some(last)] = [sample.first(), sample.last()] else { return Vec::new() };
        let (first, last) = (first.point, last.point);
        let span_s = (last.time_ns - first.time_ns) as f64 * 1e-9;
        let count = ((span_s / longest_s).ceil() as usize).clamp(1, MAX_PIECES);
        let edge = |k: usize| {
            first.time_ns + ((last.time_ns - first.time_ns) as f64 * k as f64 / count as f64) as u64
        };
        let left_out = (track.offered as f64 - sample.len() as f64).max(0.0);
        (0..count)
            .filter_map(|k| {
                let (from, to) = (edge(k), if k + 1 == count { u64::MAX } else { edge(k + 1) });
                let within = |p: &&Point| p.time_ns >= from && p.time_ns < to;
                let part: Vec<&Sampled> = sample.iter().filter(|s| within(&&s.point)).collect();
                let corners: Vec<&Point> = track.hull.iter().filter(within).collect();
                let unsampled = left_out * part.len() as f64 / sample.len() as f64;
                Self::new(&part, &corners, unsampled as f32, (hz, zero_ns), window)
            })
            .collect()
    }

    fn new(
        sample: &[&Sampled],
        hull: &[&Point],
        unsampled: f32,
        (hz, zero_ns): (f64, u64),
        window: Window,
    ) -> Option<Self> {
        let seconds = |p: &Point| (i128::from(p.time_ns) - i128::from(zero_ns)) as f64 * 1e-9;
        let first = sample.first()?.point;
        let count = sample.len() as f64;
        let x = sample.iter().map(|s| seconds(&s.point)).sum::<f64>() / count;
        let spread_s = (sample.iter().map(|s| (seconds(&s.point) - x).powi(2)).sum::<f64>() / count).sqrt();
        let residual = |p: &Point| hz * seconds(p) - (p.ticks - first.ticks) as f64;
        let base = residual(&first);
        let relative = |p: &Point| ((seconds(p) - x) as f32, (residual(p) - base) as f32);
        Some(Self {
            x,
            sample: sample.iter().map(|s| relative(&s.point)).collect(),
            gaps: sample.iter().map(|s| gap_class(s.gap_ns)).collect(),
            hull: hull.iter().map(|p| relative(p)).collect(),
            base,
            unsampled,
            spread_s,
            ladder: Ladder::coarse(spread_s, window),
        })
    }

    /// The number of sampled points.
    pub(super) fn len(&self) -> usize {
        self.sample.len()
    }

    /// Writes the sampled residuals at `drift` to `out`, minus the smallest of sample and hull. Returns that
    /// smallest residual, and the smallest of the sample alone.
    fn lateness(&self, drift: f32, out: &mut Vec<f32>) -> (f32, f32) {
        let at = |&(dx, y): &(f32, f32)| y + drift * dx;
        out.clear();
        out.extend(self.sample.iter().map(at));
        let of_sample = out.iter().copied().fold(f32::INFINITY, f32::min);
        let lowest = self.hull.iter().map(at).fold(of_sample, f32::min);
        for value in out.iter_mut() {
            *value -= lowest;
        }
        (lowest, of_sample)
    }

    /// Writes the log likelihood at `drift` of each phase to `scores`, one per bin. Returns the phase of the
    /// first, in ticks: the one at which the smallest residual lies [`EARLY_BINS`] before zero. Score `g`
    /// belongs to the phase (modulo 1) that is `g` bins later.
    ///
    /// Exact for independent residuals. Sampled points count by their density. Of the others only the
    /// smallest is known, so it counts by its density, and the rest by the survival function.
    pub(super) fn scores(
        &self,
        drift: f32,
        density: &Density,
        scores: &mut [f32; PHASES],
        scratch: &mut Vec<f32>,
    ) -> f64 {
        let (lowest, of_sample) = self.lateness(drift, scratch);
        scores.fill(0.0);
        density.add_log(scratch, &self.gaps, scores);
        let mut others = self.unsampled;
        if lowest < of_sample && others >= 1.0 {
            density.add_log(&[0.0], &[ANY_GAP], scores);
            others -= 1.0;
        }
        if others > 0.0 {
            density.add_log_survival(others, scores);
        }
        -f64::from(lowest) - self.base - EARLY_BINS as f64 / BINS as f64
    }

    /// Adds the residuals at `drift` to a histogram, weighted by the posterior of the phase in the layout of
    /// [`Self::scores`], from the phase `first` on.
    pub(super) fn add_residuals(
        &self,
        drift: f32,
        first: usize,
        posterior: &[f32],
        histogram: &mut Histogram,
        scratch: &mut Vec<f32>,
    ) {
        self.lateness(drift, scratch);
        for (&late, &gap) in scratch.iter().zip(&self.gaps) {
            histogram.add(late, gap, first, posterior);
        }
    }

    /// Time and residual of each sampled point, relative to the phase and drift that fit the piece alone.
    pub(super) fn residuals(&self, density: &Density) -> Vec<(f64, f64)> {
        let mut scores = [0.0_f32; PHASES];
        let mut late = Vec::new();
        let mut best = (f32::NEG_INFINITY, 0.0);
        for drift in self.ladder.drifts() {
            self.scores(drift, density, &mut scores, &mut late);
            let top = largest(&scores);
            if top > best.0 {
                best = (top, drift);
            }
        }
        let (top, drift) = best;
        self.scores(drift, density, &mut scores, &mut late);
        scores.iter_mut().for_each(|score| *score = exp(*score - top));
        let total = sum(&scores);
        scores.iter_mut().enumerate().for_each(|(phase, weight)| *weight *= phase as f32);
        let smallest = f64::from(sum(&scores) / total - EARLY_BINS as f32) / BINS as f64;
        self.lateness(drift, &mut late);
        let point =
            |((dx, _), late): (&(f32, f32), &f32)| (self.x + f64::from(*dx), smallest + f64::from(*late));
        self.sample.iter().zip(&late).map(point).collect()
    }

    /// Spaces the drifts to try finely over the range that the piece itself allows.
    pub(super) fn narrow(&mut self, window: Window, density: &Density) {
        if window.width() * self.spread_s < FINE_TICKS {
            return;
        }
        let coarse = Ladder::coarse(self.spread_s, window);
        let mut scores = [0.0_f32; PHASES];
        let mut scratch = Vec::new();
        let tops: Vec<f32> = coarse
            .drifts()
            .map(|drift| {
                self.scores(drift, density, &mut scores, &mut scratch);
                largest(&scores)
            })
            .collect();
        let best = tops.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let allowed = |top: &f32| *top > best - SUPPORT_LOG;
        let first = tops.iter().position(allowed).unwrap_or(0).saturating_sub(1);
        let last = (tops.iter().rposition(allowed).unwrap_or(0) + 1).min(coarse.rows - 1);
        let low = coarse.low + coarse.step * first as f64;
        let width = if coarse.rows == 1 { 0.0 } else { coarse.step * (last - first) as f64 };
        let step = FINE_TICKS.max(FINE_OF_POINT / self.len() as f64);
        let rows = ((width * self.spread_s / step).ceil() as usize + 1).min(MAX_ROWS);
        self.ladder = match rows {
            0 | 1 => Ladder { low: low + width / 2.0, step: 0.0, rows: 1 },
            _ => Ladder { low, step: width / (rows - 1) as f64, rows },
        };
    }

    /// Moves points of busy times to classes of their own. `class_at` returns the class of a busy time, and
    /// `None` for other times.
    pub(super) fn mark(&mut self, class_at: impl Fn(f64) -> Option<u8>) {
        for (gap, (dx, _)) in self.gaps.iter_mut().zip(&self.sample) {
            if let Some(busy) = class_at(self.x + f64::from(*dx)) {
                *gap = busy;
            }
        }
    }

    /// Mean residual above the smallest, in ticks.
    pub(super) fn mean_lateness(&self, drift: f32) -> f32 {
        let mut late = Vec::new();
        self.lateness(drift, &mut late);
        late.iter().sum::<f32>() / late.len() as f32
    }

    /// A quantile of the residuals above the smallest one, in ticks.
    pub(super) fn lateness_quantile(&self, drift: f32, quantile: f64) -> f32 {
        let mut late = Vec::new();
        self.lateness(drift, &mut late);
        late.sort_unstable_by(f32::total_cmp);
        late[((late.len() - 1) as f64 * quantile) as usize]
    }
}

/// The step between fine trial drifts, as the move of residuals in ticks (root mean square): less than the
/// phase error of the best connections on a quiet LAN, because the step blurs a connection by as much.
const FINE_TICKS: f64 = 0.01;

/// The step of a single point, likewise: n points tell the phase, a wait of up to a tick, to a tick / n.
const FINE_OF_POINT: f64 = 0.2;

/// The most rows of a fine ladder.
const MAX_ROWS: usize = 20;

/// Drifts whose log likelihood is below the best one's by this are not tabulated.
const SUPPORT_LOG: f32 = 10.0;

/// The most pieces of a track; the pieces of very long tracks are longer and tolerate less drift.
const MAX_PIECES: usize = 64;
