//! One machine whose pages come late as a whole: another explanation that lines compete with.
//!
//! Where the connections of a page fill a queue, or a radio sleeps between pages, all of a page come late by
//! the same time, and the next page's by another. Linked connections then agree in a phase that is off their
//! machine's line, so several lines lie beside each other where one machine is. It is told as one line about
//! which linked connections scatter together.

use super::{
    factors::COARSE,
    line::FittedLine,
    mixture::{Data, Mixture},
    paths::AlongPaths,
};

/// How linked connections scatter about the line together, in ticks.
#[derive(Clone, Copy)]
enum Scatter {
    /// By a normal law of this standard deviation.
    Normal(f64),
    /// Anywhere within so much on either side.
    Within(f64),
}

const SCATTERS: [Scatter; 6] = [
    Scatter::Normal(0.03),
    Scatter::Normal(0.06),
    Scatter::Normal(0.12),
    Scatter::Within(0.1),
    Scatter::Within(0.15),
    Scatter::Within(0.2),
];

impl Scatter {
    /// The weight of a distance from the line.
    fn weight(self, apart: f64) -> f64 {
        match self {
            Self::Normal(deviation) => (-0.5 * (apart / deviation).powi(2)).exp(),
            Self::Within(most) => f64::from(u8::from(apart <= most)),
        }
    }
}

/// The lines whose drifts are tried, the heaviest first.
const STARTS: usize = 4;

/// The most groups of linked connections that are looked at, spread evenly: a bound of cost.
const MOST_GROUPS: usize = 256;

/// The share of groups on no line.
const NONE: f64 = 0.02;

/// One machine is told only where it is likelier than several lines by this, in nats. Machines whose pages
/// are few look alike: of four browsers with 30 connections each, all were told as one without this.
const CLEARLY_NATS: f64 = 6.0;

/// There may be only one machine where several lines aren't likelier by this, in nats.
const MAY_BE_NATS: f64 = 3.0;

/// The explanation by one machine instead of `several`, where that is clearly the better one, and whether
/// there may be only one. `best_nats` is the evidence of the lines that are told.
pub(super) fn one_machine(data: &Data, several: &Mixture, best_nats: f64) -> (Option<AlongPaths>, bool) {
    let Some(one) = best(data, several) else { return (None, false) };
    let gain = one.evidence - best_nats;
    ((gain > CLEARLY_NATS).then_some(one), gain > -MAY_BE_NATS)
}

/// The best explanation of linked tracks by one line about which they scatter together; `None` without links.
fn best(data: &Data, several: &Mixture) -> Option<AlongPaths> {
    if data.links.none() {
        return None;
    }
    let mut lines: Vec<&FittedLine> = several.lines.iter().collect();
    lines.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let groups = data.links.groups();
    let stride = groups.len().div_ceil(MOST_GROUPS).max(1);
    let told = |line: &FittedLine| {
        let of_group = |group: &Vec<usize>| Circle::new(&circle(data, line, group));
        let circles: Vec<Circle> = groups.iter().step_by(stride).map(of_group).collect();
        let best = best_about(&circles);
        (best.0 * stride as f64, line.moved(best.1, 0.0))
    };
    let (nats, line) = lines.into_iter().take(STARTS).map(told).max_by(|a, b| a.0.total_cmp(&b.0))?;
    // A phase, a drift and a scatter cost what a line's phase and drift do, and the choice of a scatter.
    let of_lines = several.log_likelihood - several.log_evidence(data);
    let cost = of_lines / several.lines.len() as f64 + (SCATTERS.len() as f64).ln();
    let mixture = Mixture::new(data, vec![line.lighter((1.0 - NONE) / line.weight)], NONE);
    // Pages that are off the line by any time tell hardly more of its drift than that it was tried.
    Some(AlongPaths { mixture, evidence: nats - cost, told: 0.0 })
}

/// The log likelihood of a group's tracks together on a line, and on the same line later by each part of a
/// tick.
fn circle(data: &Data, line: &FittedLine, group: &[usize]) -> [f64; COARSE] {
    let mut sums = [0.0; COARSE];
    for &track in group {
        let of_track = data.circle(track, line);
        let bins = of_track.len() / COARSE;
        sums.iter_mut().enumerate().for_each(|(place, sum)| *sum += f64::from(of_track[place * bins]));
    }
    sums
}

/// A group's likelihoods around the circle of phases, relative to the largest one, whose log is `top`.
struct Circle {
    top: f64,
    likelihoods: [f64; COARSE],
}

impl Circle {
    fn new(nats: &[f64; COARSE]) -> Self {
        let top = nats.iter().copied().fold(0.0, f64::max);
        Self { top, likelihoods: nats.map(|nats| (nats - top).exp()) }
    }

    /// The log likelihood of the group if it scatters about a phase: `weights` has one for each place after
    /// it.
    fn scattered(&self, phase: usize, weights: &[f64; COARSE]) -> f64 {
        let weight = |place: usize| weights[(place + COARSE - phase) % COARSE];
        let sum: f64 = self.likelihoods.iter().enumerate().map(|(place, of)| weight(place) * of).sum();
        let share = sum / weights.iter().sum::<f64>();
        self.top + ((1.0 - NONE) * share + NONE * (-self.top).exp()).ln()
    }
}

/// The largest log likelihood of groups about any phase with any scatter, and that phase, in ticks after the
/// line's own.
fn best_about(circles: &[Circle]) -> (f64, f64) {
    let mut best = (f64::NEG_INFINITY, 0.0);
    for scatter in SCATTERS {
        let weights =
            std::array::from_fn(|after| scatter.weight(after.min(COARSE - after) as f64 / COARSE as f64));
        for phase in 0..COARSE {
            let nats = circles.iter().map(|circle| circle.scattered(phase, &weights)).sum();
            if nats > best.0 {
                best = (nats, phase as f64 / COARSE as f64);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_about_one_phase_are_likelier_than_anywhere() {
        let at =
            |place: usize| Circle::new(&std::array::from_fn(|bin| if bin == place { 5.0 } else { -5.0 }));
        let near: Vec<Circle> = [9, 10, 11, 12, 10, 9].map(at).into();
        let far: Vec<Circle> = [1, 9, 17, 25, 13, 30].map(at).into();
        let (nats, phase) = best_about(&near);
        assert!((phase * COARSE as f64 - 10.0).abs() <= 1.0, "{phase}");
        assert!(nats > best_about(&far).0 + 3.0);
    }
}
