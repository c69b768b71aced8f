//! Which lines hold, however many there are.
//!
//! Where the number of lines is uncertain, one of them may pass through the phases of several machines, at a
//! rate that none of them has. Another number of lines, which is nearly as likely, then has no such line.

use super::{
    coherence_s,
    line::{Knots, Line},
    mixture::{Data, Mixture},
    search::Found,
};

/// Numbers of lines are as good as likely if their evidence is this near to the largest, in nats.
const NEARLY_AS_LIKELY_NATS: f64 = 10.0;

/// Lines of two mixtures are the same if their mean drifts differ by less than this many joint standard
/// errors, and their phases in the middle by less than this, in ticks.
const SAME_DEVIATIONS: f64 = 3.0;
const SAME_TICKS: f64 = 0.1;

/// Where more than this share of the tracks is on no line, lines are missing.
const MOST_UNEXPLAINED: f64 = 0.3;

/// Where several lines may bend, and connections on one of them are further apart than this share of
/// [`coherence_s`], others cross it in between, and it may go on along one of those.
const MOST_APART: f64 = 0.1;

/// For each line of `best`, whether it holds, where there are at least `fewest` machines with clocks of `hz`.
pub(super) fn lines(best: &Mixture, data: &Data, found: &Found, fewest: usize, hz: f64) -> Vec<bool> {
    let count = best.lines.len();
    // One of fewer lines is several of these.
    if fewest < count || best.none > MOST_UNEXPLAINED {
        return vec![false; count];
    }
    let likely = found.best_evidence() - NEARLY_AS_LIKELY_NATS;
    let others: Vec<&Mixture> = found
        .by_count
        .iter()
        .flatten()
        .filter(|(other, evidence)| {
            let lines = other.lines.len();
            lines > 0 && lines != count && evidence + found.prior.of(lines) > likely
        })
        .map(|(other, _)| other)
        .collect();
    let span = Span::of(data);
    let is_followed = |line: &Line| {
        let apart_s = (span.high - span.low) / (line.weight * data.tracks.len() as f64);
        count == 1 || data.knots.none() || apart_s < MOST_APART * coherence_s(hz)
    };
    let holds = |line: &Line| {
        is_followed(line)
            && others.iter().all(|other| other.lines.iter().any(|one| span.is_same(line, one, &data.knots)))
    };
    best.lines.iter().map(holds).collect()
}

/// The time of the data: its ends, in seconds.
struct Span {
    low: f64,
    high: f64,
}

impl Span {
    fn of(data: &Data) -> Self {
        let (span_s, middle_s) = data.span_s();
        let half = span_s.max(1e-3) / 2.0;
        Self { low: middle_s - half, high: middle_s + half }
    }

    fn is_same(&self, one: &Line, other: &Line, knots: &Knots) -> bool {
        let [(a, a_sigma), (b, b_sigma)] =
            [one, other].map(|line| line.mean_drift(self.low, self.high, knots));
        let apart = (one.phase() - other.phase()).rem_euclid(1.0);
        (a - b).abs() < SAME_DEVIATIONS * a_sigma.hypot(b_sigma) && apart.min(1.0 - apart) < SAME_TICKS
    }
}
