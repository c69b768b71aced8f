//! Candidates for a further line: a Hough transform (Duda and Hart 1972) of what the present mixture
//! leaves unexplained.

use std::ops::Range;

use multiversion::multiversion;

use super::{
    drift::{Ladder, Window},
    elementary::{ROUNDER, exp, largest, ln, smallest},
    factors::COARSE,
    line::phases_apart,
    mixture::{Data, Mixture},
};
use crate::engine::types::in_order;

/// A candidate for a new line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Phase at time zero, in ticks.
    pub phase: f64,
    /// Drift, in ticks per second.
    pub drift: f64,
    /// The middle of the window in which it was found, in seconds.
    pub about: f64,
    /// The length of that window, in seconds.
    pub window_s: f64,
    /// Gain in log likelihood, roughly.
    pub gain: f32,
}

/// The step between trial drifts, as the difference in phase at the ends of the data, in ticks.
const STEP_TICKS: f64 = 0.04;

/// The most trial drifts: bounds the time.
const MAX_DRIFTS: usize = 9000;

/// The most pieces used: candidates don't need all of them.
const MAX_PIECES: usize = 1024;

/// The share of connections that a new line is assumed to take.
fn trial_weight(lines: usize) -> f32 {
    0.5 / (lines + 1) as f32
}

/// The length of the windows in which lines that may bend are searched, in seconds: within one, they
/// hardly bend.
const WINDOW_S: f64 = 600.0;

/// Few occasions need a longer window, up to an hour, in which a wandering clock of 1 kHz is off by a quarter
/// of a tick: between two of them, a line may drift by any number of ticks, and only several tell by how
/// many.
const LONGEST_WINDOW_S: f64 = 3600.0;

/// As many occasions as a window should hold.
const ENOUGH_OCCASIONS: f64 = 6.0;

/// Pieces that follow each other within this time are one occasion, in seconds, which lasts for so long at
/// most: where pieces never pause, they are many.
const OCCASION_S: f64 = 30.0;
const LONGEST_OCCASION_S: f64 = 120.0;

/// The most windows searched, spread evenly.
const MAX_WINDOWS: usize = 4;

/// Two candidates are different lines if they are further apart than this somewhere in the data, in ticks.
const LEAST_APART_TICKS: f64 = 0.08;

/// The best `count` candidates that differ from each other.
pub(super) fn candidates(data: &Data, mixture: &Mixture, count: usize) -> Vec<Candidate> {
    let (span_s, middle_s) = data.span_s();
    let weight = trial_weight(mixture.lines.len());
    let all = |about: f64, span: f64| {
        let near = |piece: &usize| (data.factors.x(*piece) - about).abs() <= span / 2.0;
        let stride = (0..data.factors.len()).filter(near).count().div_ceil(MAX_PIECES).max(1);
        let mut votes = Votes::new(data.window, span.max(1e-3));
        let mut number = 0;
        for (t, pieces) in data.tracks.iter().enumerate() {
            // What the track's likelihood is without a new line.
            let present = exp(mixture.log_density(t) / pieces.len() as f32);
            for piece in pieces.clone().filter(near) {
                if number % stride == 0 {
                    let circles = &data.coarse()[data.factors.rows_of(piece)];
                    let x = data.factors.x(piece) - about;
                    votes.add(x, data.factors.ladder(piece), circles, weight / present, 1.0 - weight);
                }
                number += 1;
            }
        }
        votes.peaks(about, span)
    };
    if data.knots.none() {
        return spread_out(all(middle_s, span_s * 1.001), span_s, count);
    }
    let enough_s = span_s * ENOUGH_OCCASIONS / occasions(data) as f64;
    let window_s = enough_s.clamp(WINDOW_S, LONGEST_WINDOW_S).min(span_s);
    let windows = ((span_s / window_s).ceil() as usize).clamp(1, MAX_WINDOWS);
    let step = span_s / windows as f64;
    let low = middle_s - span_s / 2.0;
    let found = (0..windows).flat_map(|w| all(low + step * (w as f64 + 0.5), window_s)).collect();
    spread_out(found, window_s, count)
}

/// How many occasions the pieces are, at least one.
fn occasions(data: &Data) -> usize {
    let times = in_order(data.factors.times());
    let [first, ..] = times[..] else { return 1 };
    let (mut count, mut began_s, mut before_s) = (1, first, first);
    for time_s in times {
        if time_s - before_s > OCCASION_S || time_s - began_s > LONGEST_OCCASION_S {
            (count, began_s) = (count + 1, time_s);
        }
        before_s = time_s;
    }
    count
}

/// The largest sum of votes: what the type of sums holds, with a margin for rounding.
const MOST_VOTES: f32 = 30_000.0;

/// Trial drifts, numbered from 0, and for each piece the gain of a new line at each phase and drift.
struct Votes {
    /// The first trial drift and the step to the next, in ticks per second, and how many there are.
    drifts: Ladder,
    ballots: Vec<Ballot>,
    gains: Vec<[f32; COARSE]>,
}

/// One piece's votes, and where they are at each trial drift. From one drift to the next, both the row and
/// the turn move by an equal step, so they are kept as whole numbers, which are cheap to multiply and wrap.
struct Ballot {
    /// The first of its gains, and its last row.
    from: usize,
    last_row: i64,
    /// The row at the first drift, in parts of 2^32.
    row: i64,
    row_step: i64,
    /// The turn at the first drift, as a share of 2^32.
    turn: u32,
    turn_step: u32,
}

/// The parts of a row or of a whole turn.
const PARTS: f64 = (1_u64 << 32) as f64;

impl Ballot {
    /// A piece at a time relative to the middle, in seconds, with rows of these drifts.
    fn new(x: f64, rows: Ladder, drifts: Ladder, from: usize) -> Self {
        let (row, row_step) = match rows.rows {
            1 => (0.0, 0.0),
            _ => ((drifts.low - rows.low) / rows.step + 0.5, drifts.step / rows.step),
        };
        // Half a bin more, so that the bin is the nearest.
        let (turn, turn_step) = (drifts.low * x + 0.5 / COARSE as f64, drifts.step * x);
        Self {
            from,
            last_row: rows.rows as i64 - 1,
            row: (row * PARTS) as i64,
            row_step: (row_step * PARTS) as i64,
            turn: (turn.rem_euclid(1.0) * PARTS) as u32,
            turn_step: (turn_step.rem_euclid(1.0) * PARTS) as u32,
        }
    }

    /// The row and the bin at a trial drift.
    #[inline(always)]
    fn at(&self, drift: usize) -> (usize, usize) {
        let row = self.row.wrapping_add(self.row_step.wrapping_mul(drift as i64)) >> 32;
        let turn = self.turn.wrapping_add(self.turn_step.wrapping_mul(drift as u32));
        let bin = ((u64::from(turn) * COARSE as u64) >> 32) as usize;
        (self.from + row.clamp(0, self.last_row) as usize, bin)
    }
}

impl Votes {
    /// No votes yet, for lines within so many seconds.
    fn new(window: Window, span: f64) -> Self {
        let rows = ((window.width() * span / 2.0 / STEP_TICKS).ceil() as usize + 1).min(MAX_DRIFTS);
        let step = window.width() / rows.max(2).saturating_sub(1) as f64;
        Self { drifts: Ladder { low: window.low, step, rows }, ballots: Vec::new(), gains: Vec::new() }
    }

    /// Adds a piece, whose likelihood on a new line would be `kept` and `factor` times its Bayes factors, in
    /// shares of the present likelihood.
    fn add(&mut self, x: f64, ladder: Ladder, circles: &[[f32; COARSE]], factor: f32, kept: f32) {
        let from = self.gains.len();
        self.ballots.push(Ballot::new(x, ladder, self.drifts, from));
        self.gains.extend_from_slice(circles);
        make_gains(&mut self.gains[from..], factor, kept);
    }

    /// The two best phases at every second trial drift, and at the others where these are best.
    fn peaks(&self, about: f64, window_s: f64) -> Vec<Candidate> {
        let Ladder { low, step, rows: drifts } = self.drifts;
        let (counted, vote) = self.counted();
        let mut found: Vec<Peak> = Vec::new();
        let every_second: Vec<usize> = (0..drifts).step_by(2).collect();
        find_peaks(&self.ballots, &counted, &every_second, &mut found);
        let between = between_the_best(&mut found, drifts);
        find_peaks(&self.ballots, &counted, &between, &mut found);
        let candidate = |Peak { drift, bin, votes }: Peak| {
            let drift = low + step * drift as f64;
            // The middle of four bins.
            let phase = (bin as f64 + 0.375) / COARSE as f64 - drift * about;
            Candidate { phase, drift, about, window_s, gain: f32::from(votes) * vote }
        };
        found.into_iter().map(candidate).collect()
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
}

/// A circle's votes, twice in a row.
type Ballots = [i16; 2 * COARSE];

/// Makes log gains of Bayes factors.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn make_gains(circles: &mut [[f32; COARSE]], factor: f32, kept: f32) {
    circles.as_flattened_mut().iter_mut().for_each(|value| *value = ln(factor * *value + kept));
}

/// Gains as votes, `scale` to one of gain.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn count(gains: &[f32; COARSE], scale: f32) -> Ballots {
    // The sum's lowest bits are the nearest whole number.
    let once = gains.map(|gain| (gain * scale + ROUNDER).to_bits() as i16);
    let mut twice = [0; 2 * COARSE];
    twice[..COARSE].copy_from_slice(&once);
    twice[COARSE..].copy_from_slice(&once);
    twice
}

/// A phase with many votes at a trial drift.
#[derive(Clone, Copy, Debug)]
struct Peak {
    /// The number of the trial drift.
    drift: usize,
    bin: usize,
    votes: i16,
}

/// Peaks about which every trial drift is looked at.
const LOOKED_AT: usize = 32;

/// The trial drifts on either side of those of the best peaks, each once.
fn between_the_best(found: &mut [Peak], drifts: usize) -> Vec<usize> {
    let best = largest_first(found, LOOKED_AT, |peak| f32::from(peak.votes));
    let mut beside: Vec<usize> =
        best.iter().flat_map(|peak| [peak.drift.wrapping_sub(1), peak.drift + 1]).collect();
    beside.retain(|drift| *drift < drifts);
    beside.sort_unstable();
    beside.dedup();
    beside
}

/// The `count` largest of `all`, in order; the others are behind them in any order.
fn largest_first<T>(all: &mut [T], count: usize, of: impl Fn(&T) -> f32) -> &mut [T] {
    let order = |a: &T, b: &T| of(b).total_cmp(&of(a));
    let count = count.min(all.len());
    if count < all.len() {
        all.select_nth_unstable_by(count, order);
    }
    all[..count].sort_unstable_by(order);
    &mut all[..count]
}

/// Adds the two best phases at each of these drifts to `found`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn find_peaks(ballots: &[Ballot], counted: &[Ballots], drifts: &[usize], found: &mut Vec<Peak>) {
    let apart = COARSE / 16 + 1;
    for &drift in drifts {
        let mut sums = [0_i16; COARSE];
        for ballot in ballots {
            let (row, bin) = ballot.at(drift);
            for (sum, votes) in sums.iter_mut().zip(&counted[row][bin..bin + COARSE]) {
                *sum = sum.wrapping_add(*votes);
            }
        }
        let first = most(&sums, 0..COARSE);
        // NTP keeps machines alike, so there may be a second peak at the same drift.
        let second = most(&sums, first.0 + apart..first.0 + COARSE + 1 - apart);
        found.extend([first, second].map(|(bin, votes)| Peak { drift, bin, votes }));
    }
}

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
    let mut kept: Vec<Candidate> = Vec::new();
    let mut rest = &mut peaks[..];
    // Most peaks are never looked at, so few are sorted at a time.
    while !rest.is_empty() {
        let sorted = largest_first(rest, SORTED_AT_ONCE, |peak| peak.gain).len();
        let (best, others) = rest.split_at_mut(sorted);
        for peak in best {
            if kept.iter().all(|other| are_apart(peak, other, span)) {
                kept.push(*peak);
                if kept.len() == count {
                    return kept;
                }
            }
        }
        rest = others;
    }
    kept
}

/// Peaks that are sorted in one go.
const SORTED_AT_ONCE: usize = 64;

/// Whether two candidates differ by [`LEAST_APART_TICKS`] somewhere in the data.
fn are_apart(one: &Candidate, other: &Candidate, span: f64) -> bool {
    let phases_apart = phases_apart(one.phase + one.drift * one.about, other.phase + other.drift * one.about);
    let apart_ticks = phases_apart.max((one.drift - other.drift).abs() * span / 2.0);
    apart_ticks > LEAST_APART_TICKS
}
