//! Candidates for a further line: a Hough transform (Duda and Hart 1972) of what the present mixture
//! leaves unexplained.

use super::{
    density::BINS,
    drift::Window,
    mixture::{Data, Mixture},
    table::Table,
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
    let gains = gains(data, mixture);
    let all = |about: f64, span: f64| {
        let near = |(x, _): &&(f64, Table)| (x - about).abs() <= span / 2.0;
        let stretch: Vec<(f64, &Table, &[f32])> = data
            .pieces
            .iter()
            .zip(&gains)
            .filter(|(piece, _)| near(piece))
            .map(|((x, table), gain)| (x - about, table, &gain[..]))
            .collect();
        peaks(&stretch, data.window, span.max(1e-3), about)
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

/// The two best phases at each trial drift. Times are relative to `about`.
fn peaks(stretch: &[(f64, &Table, &[f32])], window: Window, span: f64, about: f64) -> Vec<Candidate> {
    let drifts = ((window.width() * span / 2.0 / STEP_TICKS).ceil() as usize + 1).min(MAX_DRIFTS);
    let step = window.width() / drifts.max(2).saturating_sub(1) as f64;
    let stride = stretch.len().div_ceil(MAX_PIECES).max(1);
    let mut peaks: Vec<Candidate> = Vec::new();
    let mut sums = vec![0.0_f32; BINS];
    for d in 0..drifts {
        let drift = window.low + step * d as f64;
        sums.fill(0.0);
        for (x, table, gain) in stretch.iter().step_by(stride) {
            let row = table.nearest_row(drift);
            let circle = &gain[row * BINS..(row + 1) * BINS];
            let turn = drift * x;
            let shift = ((turn - turn.floor()) * BINS as f64).round() as usize % BINS;
            let (head, tail) = sums.split_at_mut(BINS - shift);
            head.iter_mut().zip(&circle[shift..]).for_each(|(s, g)| *s += g);
            tail.iter_mut().zip(circle).for_each(|(s, g)| *s += g);
        }
        let at = |(column, gain): (usize, f32)| Candidate {
            phase: column as f64 / BINS as f64 - drift * about,
            drift,
            about,
            gain,
        };
        let first = largest(&sums, |_| true);
        // NTP keeps machines alike, so there may be a second peak at the same drift.
        let second = largest(&sums, |column| circular(column, first.0) > BINS / 16);
        peaks.extend([at(first), at(second)]);
    }
    peaks
}

fn largest(sums: &[f32], allowed: impl Fn(usize) -> bool) -> (usize, f32) {
    let candidates = sums.iter().enumerate().filter(|(column, _)| allowed(*column));
    candidates.fold((0, f32::NEG_INFINITY), |best, (i, g)| if *g > best.1 { (i, *g) } else { best })
}

fn circular(a: usize, b: usize) -> usize {
    let d = a.abs_diff(b);
    d.min(BINS - d)
}

/// For each piece, the gain of a new line of [`trial_weight`], at each phase and drift.
fn gains(data: &Data, mixture: &Mixture) -> Vec<Vec<f32>> {
    let weight = trial_weight(mixture.lines.len());
    let mut gains = vec![Vec::new(); data.pieces.len()];
    for (t, range) in data.tracks.iter().enumerate() {
        let present = mixture.log_density(t) as f32 / range.len() as f32;
        for i in range.clone() {
            let values = data.pieces[i].1.values();
            gains[i] = values.iter().map(|b| (weight * (b - present).exp() + 1.0 - weight).ln()).collect();
        }
    }
    gains
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
