//! Which lines hold, however many there are.
//!
//! Where the number of lines is uncertain, one of them may pass through the phases of several machines, at a
//! rate that none of them has. Another number of lines, which is nearly as likely, then has no such line.

use super::{
    Line, Lines, coherence_s,
    line::phases_apart,
    mixture::{Data, Mixture},
    search::Found,
    steps,
};
use crate::engine::types::Doubt;

/// Numbers of lines are as good as likely if their evidence is this near to the largest, in nats.
const NEARLY_AS_LIKELY_NATS: f64 = 10.0;

/// Lines of two mixtures are the same if their skews differ by at most this many joint standard errors, and
/// their phases in the middle by less than this, in ticks.
const SAME_DEVIATIONS: f64 = 3.0;
const SAME_TICKS: f64 = 0.1;

/// Where more than this share of the tracks is on no line, lines are missing.
const MOST_UNEXPLAINED: f64 = 0.3;

/// Where several lines may bend, and connections on one of them are further apart than this share of
/// [`coherence_s`], others cross it in between, and it may go on along one of those.
const MOST_APART: f64 = 0.1;

/// For each of the lines that are `told`, those of `best`, whether it holds, with clocks of `hz`.
pub(super) fn holding(told: &Lines, best: &Mixture, data: &Data, found: &Found, hz: f64) -> Vec<bool> {
    let count = told.lines.len();
    // One of fewer lines is several of these, and where delays hide the phases, any line may be.
    let are_hidden = told.doubt == Some(Doubt::JitterTooLarge);
    if told.low < count || best.none > MOST_UNEXPLAINED || are_hidden || !are_shown(count, found) {
        return vec![false; count];
    }
    if count == 1 && !is_clearly_one(found) {
        return vec![false];
    }
    let others = nearly_as_likely(count, data, found, hz);
    let is_followed = |line: &Line| {
        let apart_s = data.span_s().0 / (line.weight * data.tracks.len() as f64);
        count == 1 || data.knots.none() || apart_s < MOST_APART * coherence_s(hz)
    };
    let holds = |(number, line): (usize, &Line)| {
        is_followed(line)
            && others.iter().all(|other| other.iter().any(|one| is_same(line, one)))
            && !steps::are_in(best, data, number)
    };
    told.lines.iter().enumerate().map(holds).collect()
}

/// Phases show so many lines as pairs of addresses demand where they make them likelier than any fewer lines
/// by this, in nats: a few tracks are on some line at one of a hundred drifts.
const CLEARLY_SHOWN_NATS: f64 = 6.0;

/// Whether phases alone show several lines. Where pairs of addresses tell the number of machines, phases may
/// show fewer lines; the others then pass through whatever these leave.
pub(super) fn are_shown(count: usize, found: &Found) -> bool {
    let are_demanded = count > 1 && found.prior.of(count) > found.prior.of(count - 1);
    let of_phases = found.of_phases();
    let of_fewer = of_phases.iter().take(count).copied().fold(f64::NEG_INFINITY, f64::max);
    !are_demanded || of_phases.get(count).is_some_and(|nats| *nats > of_fewer + CLEARLY_SHOWN_NATS)
}

/// The probabilities of each line, for a track, where lines may pass elsewhere: the track is as likely on any
/// other line, in half of all cases.
pub(super) fn evened(posterior: &mut [f32]) {
    let even = posterior.iter().sum::<f32>() / posterior.len().max(1) as f32;
    posterior.iter_mut().for_each(|p| *p = 0.5 * (*p + even));
}

/// A single line is one machine's where the evidence for it is as large as this, in nats, or where two lines
/// explain the tracks worse by so much. Of a dozen connections of several machines, some line takes most, and
/// a second one takes more.
const SURELY_ONE_NATS: f64 = 12.0;
const CLEARLY_ONE_NATS: f64 = 4.0;

/// Whether one line is clearly likelier than none or two.
fn is_clearly_one(found: &Found) -> bool {
    match found.evidences()[..] {
        [_, one, two, ..] => one > SURELY_ONE_NATS || one - two > CLEARLY_ONE_NATS,
        _ => true,
    }
}

/// The lines of each other number than `count` that is nearly as likely as the likeliest.
fn nearly_as_likely(count: usize, data: &Data, found: &Found, hz: f64) -> Vec<Vec<Line>> {
    let likely = found.best_evidence() - NEARLY_AS_LIKELY_NATS;
    let is_other = |(other, evidence): &&(Mixture, f64)| {
        let lines = other.lines.len();
        lines > 0 && lines != count && evidence + found.prior.of(lines) > likely
    };
    let others = found.by_count.iter().flatten().filter(is_other);
    others.map(|(other, _)| other.lines.iter().map(|line| line.estimate(data, hz)).collect()).collect()
}

fn is_same(one: &Line, other: &Line) -> bool {
    one.skew_ppm.may_equal(other.skew_ppm, 0.0, SAME_DEVIATIONS)
        && phases_apart(one.phase_ticks.value, other.phase_ticks.value) < SAME_TICKS
}
