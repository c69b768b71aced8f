//! Candidates for a further line: a Hough transform (Duda and Hart 1972) of what the present mixture
//! leaves unexplained.

use std::ops::Range;

use multiversion::multiversion;

use super::{
    drift::{Ladder, Window},
    elementary::{ROUNDER, largest, ln, smallest},
    mixture::{Data, Mixture},
    table::COARSE,
};

/// A candidate for a new line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Phase at time zero, in ticks.
    pub phase: f64,
    /// Drift, in ticks per second.
    pub drift: f64,
    /// The middle of the time in which it was found, in seconds.
    pub about: f64,
    /// Gain in log likelihood, roughly.
    pub gain: f32,
}

/// The step between trial drifts, as the difference in phase at the ends of the data, in ticks.
const STEP_TICKS: f64 = 0.04;

/// The most trial drifts: bounds the time.
const MAX_DRIFTS: usize = 1500;

/// The most pieces used: candidates don't need all of them.
const MAX_PIECES: usize = 1024;

/// The share of connections that a new line is assumed to take.
fn trial_weight(lines: usize) -> f32 {
    0.5 / (lines + 1) as f32
}

/// The length of the windows in which lines that may bend are searched, in seconds: within one, they
/// hardly bend.
pub(super) const WINDOW_S: f64 = 600.0;

/// The most windows searched, spread evenly.
const MAX_WINDOWS: usize = 4;

/// Two candidates are different lines if they are further apart than this somewhere in the data, in ticks.
const LEAST_APART_TICKS: f64 = 0.08;

/// The best `count` candidates that differ from each other.
pub(super) fn candidates(data: &Data, mixture: &Mixture, count: usize) -> Vec<Candidate> {
    let times = data.pieces.iter().map(|(x, _)| *x);
    let (low, high) = times.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    let weight = trial_weight(mixture.lines.len());
    let all = |about: f64, span: f64| {
        let near = |x: f64| (x - about).abs() <= span / 2.0;
        let stride = data.pieces.iter().filter(|(x, _)| near(*x)).count().div_ceil(MAX_PIECES).max(1);
        let mut votes = Votes::default();
        let (mut number, mut row) = (0, 0);
        for (t, range) in data.tracks.iter().enumerate() {
            // What the track's likelihood is without a new line.
            let present = (mixture.log_density(t) / range.len() as f64).exp() as f32;
            for (x, table) in &data.pieces[range.clone()] {
                let rows = row..row + table.ladder().rows;
                row = rows.end;
                if near(*x) {
                    if number % stride == 0 {
                        votes.add(
                            x - about,
                            table.ladder(),
                            &data.coarse()[rows],
                            weight / present,
                            1.0 - weight,
                        );
                    }
                    number += 1;
                }
            }
        }
        votes.peaks(data.window, span.max(1e-3), about)
    };
    if data.knots.none() {
        let (about, span) = ((low + high) / 2.0, high - low);
        return spread_out(all(about, span * 1.001), high - low, count);
    }
    let windows = (((high - low) / WINDOW_S).ceil() as usize).clamp(1, MAX_WINDOWS);
    let step = (high - low) / windows as f64;
    let found = (0..windows).flat_map(|w| all(low + step * (w as f64 + 0.5), WINDOW_S)).collect();
    spread_out(found, WINDOW_S, count)
}

/// The largest sum of votes: what the type of sums holds, with a margin for rounding.
const MOST_VOTES: f32 = 30_000.0;

/// For each piece, the gain of a new line at each phase and drift, as whole numbers of votes.
#[derive(Default)]
struct Votes {
    ballots: Vec<Ballot>,
    gains: Vec<[f32; COARSE]>,
}

/// One piece's votes.
struct Ballot {
    /// Time relative to the middle, in seconds.
    x: f64,
    ladder: Ladder,
    /// The first of its gains.
    from: usize,
}

impl Votes {
    /// Adds a piece, whose likelihood on a new line would be `kept` and `factor` times its Bayes factors, in
    /// shares of the present likelihood.
    fn add(&mut self, x: f64, ladder: Ladder, circles: &[[f32; COARSE]], factor: f32, kept: f32) {
        let from = self.gains.len();
        self.ballots.push(Ballot { x, ladder, from });
        self.gains.extend_from_slice(circles);
        make_gains(&mut self.gains[from..], factor, kept);
    }

    /// The two best phases at each trial drift.
    fn peaks(&self, window: Window, span: f64, about: f64) -> Vec<Candidate> {
        let drifts = ((window.width() * span / 2.0 / STEP_TICKS).ceil() as usize + 1).min(MAX_DRIFTS);
        let step = window.width() / drifts.max(2).saturating_sub(1) as f64;
        let drifts: Vec<f64> = (0..drifts).map(|d| window.low + step * d as f64).collect();
        let (counted, vote) = self.counted();
        let mut found = vec![[(0, 0); 2]; drifts.len()];
        best_phases(self, &counted, &drifts, &mut found);
        let candidate = |drift: f64, (column, votes): (usize, i16)| Candidate {
            // The middle of two bins.
            phase: (column as f64 + 0.25) / COARSE as f64 - drift * about,
            drift,
            about,
            gain: f32::from(votes) * vote,
        };
        drifts.iter().zip(found).flat_map(|(drift, best)| best.map(|best| candidate(*drift, best))).collect()
    }

    /// The gains as votes, each circle twice in a row, so that any turn of it is a slice; and the gain of one
    /// vote. It is so small that sums of votes are nearly exact, and so large that they fit their type.
    fn counted(&self) -> (Vec<Ballots>, f32) {
        let ends = self.ballots.iter().skip(1).map(|ballot| ballot.from).chain([self.gains.len()]);
        let most = |gains: &[[f32; COARSE]]| {
            let gains = gains.as_flattened();
            largest(gains).abs().max(smallest(gains).abs())
        };
        let total: f32 = self.ballots.iter().zip(ends).map(|(b, end)| most(&self.gains[b.from..end])).sum();
        let vote = (total / MOST_VOTES).max(f32::MIN_POSITIVE);
        (self.gains.iter().map(|gains| count(gains, 1.0 / vote)).collect(), vote)
    }

    /// The votes for each phase at one drift.
    #[inline(always)]
    fn sums(&self, votes: &[Ballots], drift: f64) -> [i16; COARSE] {
        let mut sums = [0_i16; COARSE];
        for Ballot { x, ladder, from } in &self.ballots {
            let circle = &votes[from + ladder.nearest(drift)];
            let turn = (drift * x * COARSE as f64 + WHOLE_TURNS) as i64 as usize % COARSE;
            for (sum, votes) in sums.iter_mut().zip(&circle[turn..turn + COARSE]) {
                *sum = sum.wrapping_add(*votes);
            }
        }
        sums
    }
}

/// A circle's votes, twice in a row.
type Ballots = [i16; 2 * COARSE];

/// Makes log gains of Bayes factors.
#[multiversion(targets("x86_64+avx2"))]
fn make_gains(circles: &mut [[f32; COARSE]], factor: f32, kept: f32) {
    circles.as_flattened_mut().iter_mut().for_each(|value| *value = ln(factor * *value + kept));
}

/// Gains as votes, `scale` to one of gain.
#[multiversion(targets("x86_64+avx2"))]
fn count(gains: &[f32; COARSE], scale: f32) -> Ballots {
    // The sum's lowest bits are the nearest whole number.
    std::array::from_fn(|bin| (gains[bin % COARSE] * scale + ROUNDER).to_bits() as i16)
}

/// Fills `found` with the two best phases at each drift.
#[multiversion(targets("x86_64+avx2"))]
fn best_phases(votes: &Votes, counted: &[Ballots], drifts: &[f64], found: &mut [[(usize, i16); 2]]) {
    let apart = COARSE / 16 + 1;
    for (drift, found) in drifts.iter().zip(found) {
        let sums = votes.sums(counted, *drift);
        let first = most(&sums, 0..COARSE);
        // NTP keeps machines alike, so there may be a second peak at the same drift.
        *found = [first, most(&sums, first.0 + apart..first.0 + COARSE + 1 - apart)];
    }
}

/// Bins added to a turn: whole turns, so that the sum isn't negative, and half a bin, so that it is rounded.
const WHOLE_TURNS: f64 = (1_u64 << 40) as f64 + 0.5;

/// The bin with most votes among some bins, of which those beyond the last are the first again.
#[inline(always)]
fn most(sums: &[i16; COARSE], bins: Range<usize>) -> (usize, i16) {
    let turned = |range: Range<usize>| sums[range].iter().copied().fold(i16::MIN, i16::max);
    let top = turned(bins.start.min(COARSE)..bins.end.min(COARSE));
    let top = top.max(turned(bins.start.saturating_sub(COARSE)..bins.end.saturating_sub(COARSE)));
    let bin = bins.map(|bin| bin % COARSE).find(|bin| sums[*bin] == top);
    (bin.unwrap_or(0), top)
}

/// The largest peaks that differ from each other: by [`LEAST_APART_TICKS`] somewhere in the data.
fn spread_out(mut peaks: Vec<Candidate>, span: f64, count: usize) -> Vec<Candidate> {
    peaks.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let mut kept: Vec<Candidate> = Vec::new();
    for peak in peaks {
        let apart = |other: &Candidate| {
            let phase = (peak.phase + peak.drift * peak.about - other.phase - other.drift * peak.about)
                .rem_euclid(1.0);
            let apart_ticks = phase.min(1.0 - phase).max((peak.drift - other.drift).abs() * span / 2.0);
            apart_ticks > LEAST_APART_TICKS
        };
        if kept.iter().all(apart) {
            kept.push(peak);
            if kept.len() == count {
                break;
            }
        }
    }
    kept
}
