//! From lines to machines: the interval of the number of machines, given the lines found.
//!
//! Two machines whose lines run too close together look like one, and a machine with too few connections
//! makes no line at all. Both are occupancy problems: given the number of machines, the distribution of
//! the number of visible lines is known well enough to invert it by Bayes' rule.

use super::{
    mixture::{Data, Mixture},
    search::Found,
};
use crate::engine::types::squares;

/// The interval of the number of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// Lower end of the 90 % interval.
    pub low: usize,
    /// Upper end; `None` where the data sets none.
    pub high: Option<usize>,
}

/// The observability of machines: what decides how many lines a number of machines makes.
#[derive(Clone, Debug)]
pub(super) struct Observability {
    /// How easily machines' lines run together.
    pub merging: Merging,
    /// Connections that a machine needs to be seen as a line.
    pub needed: f64,
    /// Connections in all.
    pub connections: f64,
    /// The likelihood of the share of connections that are on no line.
    pub outliers: Outliers,
    /// The weight of log evidences, 0 to 1.
    pub trust: f64,
}

/// Each tail of the interval.
const TAIL: f64 = 0.05;

/// The log evidence (in nats) that a line needs, roughly: its phase and drift cost that much.
const DRAWN_AT: f64 = 9.0;

/// The most machines considered, per line (and a few more). If the posterior reaches that bound, the
/// interval is open above.
const MOST_PER_LINE: usize = 6;

/// The load below which a machine counts as idle, as a share of the mean.
const NO_LOAD: f64 = 1e-6;

impl Observability {
    /// The observability in the best mixture; `evidence` is its log evidence, `sharpness` the mean gain
    /// of a connection, in nats; `unlinked` the share of tracks that are linked to none before them.
    pub(super) fn of(data: &Data, mixture: &Mixture, evidence: f64, sharpness: f64, unlinked: f64) -> Self {
        let connections = data.tracks.len() as f64;
        let lines = mixture.lines.len().max(1) as f64;
        let on_lines: f64 = mixture.lines.iter().map(|l| l.weight).sum::<f64>() * connections;
        // The gain of a connection from its line, given the other lines: less, the more lines there are.
        let lost: f64 = (0..mixture.lines.len()).map(|j| mixture.loss_without(data, j)).sum();
        let told = lost / on_lines.max(1.0);
        let sharp = (sharpness / SHARP).clamp(0.0, 1.0).powf(FALLS_AS).max(LEAST_TRUST);
        // Links may be wrong.
        let sharp = sharp * unlinked.max(LEAST_UNLINKED);
        let left = sharp * evidence / (evidence + DRAWN_AT * lines);
        Self {
            merging: Merging::of(data, mixture),
            needed: DRAWN_AT / told.max(0.05),
            connections,
            outliers: Outliers::of(&mixture.likelihoods_on_lines(data), left),
            trust: TRUST_IN_LAW * sharp,
        }
    }

    /// The probability of each number of visible lines up to `most`, for one number of machines.
    fn visible(&self, machines: usize, most: usize) -> Vec<f64> {
        let drawn = lines_of(self.merging.probability(machines), machines, most);
        let mean = self.connections / machines as f64;
        let threshold = (self.needed / mean).max(NO_LOAD);
        let unseen = load_below(threshold);
        let load_of_unseen = (load_of_those_below(threshold) / unseen).min(threshold);
        let hidden = binomial(machines, unseen);
        let mut lines = vec![0.0; most + 1];
        for (hidden, chance) in hidden.into_iter().enumerate() {
            // The connections of unseen machines must be off the lines, apart from coincidences.
            let share = hidden as f64 * load_of_unseen / machines as f64;
            let weight = chance * self.outliers.likelihood(share);
            for (total, of_seen) in lines.iter_mut().zip(&drawn[machines - hidden]) {
                *total += weight * of_seen;
            }
        }
        lines
    }
}

/// For each number of machines seen, the probability of each number of lines: a machine either falls on an
/// existing line, with a probability of `merge` for each, or makes a new one.
fn lines_of(merge: f64, machines: usize, most: usize) -> Vec<Vec<f64>> {
    let mut state = vec![0.0; most + 1];
    state[0] = 1.0;
    let mut all = vec![state.clone()];
    for _ in 0..machines {
        for lines in (0..=most).rev() {
            let onto = |l: usize| (l as f64 * merge).min(1.0);
            let from_below = if lines == 0 { 0.0 } else { state[lines - 1] * (1.0 - onto(lines - 1)) };
            state[lines] = state[lines] * onto(lines) + from_below;
        }
        all.push(state.clone());
    }
    all
}

/// The likelihood of each share of outliers, which are connections on no line, relative to the likeliest
/// share.
#[derive(Clone, Debug)]
pub(super) struct Outliers(Vec<f64>);

/// The number of shares tried.
const OUTLIER_STEPS: usize = 100;

/// The weight of log evidences. They assume that the learned law of delay is the true one. On recordings of
/// known machines they are off by some nats either way, more than the law's own uncertainty explains.
const TRUST_IN_LAW: f64 = 0.5;

/// Connections of a mean gain below this, in nats, show the law badly: they are short, or their paths vary.
/// The weight of their evidence falls as this power of the gain, down to the last share. Measured on
/// simulated short ones.
const SHARP: f64 = 1.5;
const FALLS_AS: f64 = 1.3;
const LEAST_TRUST: f64 = 0.25;

/// The weight of evidence falls with the share of tracks that are linked to none before them, down to this.
const LEAST_UNLINKED: f64 = 0.7;

/// The mean share of connections that no line explains although their machine has one (exponential prior).
const OUTLIER_SHARE: f64 = 0.02;

impl Outliers {
    /// The likelihoods, from each connection's likelihood on a line against that on none.
    ///
    /// The lines were fitted to the same connections that are evidence here, and many lines also take in
    /// connections of unseen machines. So the connections are weighted by the square of `left`, the share
    /// of the lines' gain that remains after their cost. With the square, the intervals of simulated WANs
    /// hold the truth about as often as they should.
    pub(super) fn of(on_lines: &[f64], left: f64) -> Self {
        let trust = left.clamp(0.0, 1.0).powi(2);
        let log = |share: f64| -> f64 {
            on_lines.iter().map(|on_line| (share + (1.0 - share) * on_line).max(f64::MIN_POSITIVE).ln()).sum()
        };
        let logs: Vec<f64> = (0..OUTLIER_STEPS).map(|k| log(k as f64 / OUTLIER_STEPS as f64)).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self(logs.iter().map(|log| (trust * (log - top)).exp()).collect())
    }

    /// The likelihood that this share belongs to unseen machines, with some more outliers beside it.
    fn likelihood(&self, share: f64) -> f64 {
        let step = 1.0 / OUTLIER_STEPS as f64;
        let first = ((share / step).round() as usize).min(OUTLIER_STEPS - 1);
        let prior = |k: usize| (-(k as f64) * step / OUTLIER_SHARE).exp();
        let more = (OUTLIER_STEPS - first).min(8);
        let sum: f64 = (0..more).map(|k| prior(k) * self.0[first + k]).sum();
        sum / (0..more).map(prior).sum::<f64>()
    }
}

/// The log-likelihood of each number of machines, from 1 to `most`, by what phases alone show: of so many
/// with unrelated phases, some may coincide, so that they make so few lines or fewer. Empty where there are
/// no lines.
///
/// O(m^2 n) for m machines and n lines.
pub(super) fn by_phases(found: &Found, most: usize) -> Vec<f64> {
    let information = information(found.likeliest());
    if information <= 0.0 {
        return Vec::new();
    }
    let weights = weights(&found.of_phases(), TRUST_IN_LAW);
    let log = |machines: usize| {
        let merge = least_apart(information / machines as f64);
        let lines = lines_of(merge, machines, weights.len() - 1);
        let mut so_few = 0.0;
        let of_lines = lines[machines].iter().zip(&weights).take(machines + 1).map(|(chance, weight)| {
            so_few += chance;
            so_few * weight
        });
        of_lines.sum::<f64>().ln()
    };
    (1..=most).map(log).collect()
}

/// The weight of each number of lines, from log evidences that are trusted so much: 1 for the likeliest.
fn weights(evidences: &[f64], trust: f64) -> Vec<f64> {
    let top = evidences.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    evidences.iter().map(|evidence| (trust * (evidence - top)).exp()).collect()
}

/// What all connections on lines tell of phases, in inverse square ticks.
fn information(mixture: &Mixture) -> f64 {
    mixture.lines.iter().map(|line| line.information.at(0, 0)).sum()
}

/// The least distance of two lines that are told apart, in ticks, if each has this information about its
/// phase, in inverse square ticks. Of two lines at a distance `d`, each with the information `i`, connections
/// gain about `i d^2 / 4` by being two: there, that is the cost of a line.
fn least_apart(information: f64) -> f64 {
    (4.0 * DRAWN_AT / information.max(1.0)).sqrt().min(0.5)
}

/// Numbers of lines of less weight are left out.
const LEAST_WEIGHT: f64 = 1e-3;

/// Adds numbers of lines beyond those tried. A search ends where the evidence has fallen for a while; where
/// it fell slowly, as in short connections, more lines are nearly as likely. It is taken to fall on as it did
/// from the likeliest number on.
fn go_on(weights: &mut Vec<f64>) {
    let Some(last) = weights.iter().rposition(|&weight| weight > 0.0) else { return };
    let likeliest = weights.iter().position(|&weight| weight >= 1.0).unwrap_or(last);
    if likeliest == last {
        return;
    }
    let ratio = weights[last].powf(1.0 / (last - likeliest) as f64);
    weights.truncate(last + 1);
    let mut weight = weights[last] * ratio;
    while weight > LEAST_WEIGHT && weights.len() <= MOST_PER_LINE * last {
        weights.push(weight);
        weight *= ratio;
    }
}

/// The interval of the number of machines, from the evidence for each number of lines and the observability.
pub(super) fn count(found: &Found, observability: &Observability) -> Count {
    let mut weights = weights(&found.evidences(), observability.trust);
    let drawn = weights.iter().rposition(|w| *w > LEAST_WEIGHT).unwrap_or(0);
    go_on(&mut weights);
    let most_lines = weights.len() - 1;
    let most = (drawn * MOST_PER_LINE + 8).min(observability.connections as usize).max(drawn).max(1);
    let posterior: Vec<f64> = (1..=most)
        .map(|machines| {
            let visible = observability.visible(machines, most_lines);
            let likelihood: f64 = visible.iter().zip(&weights).map(|(v, w)| v * w).sum();
            // Scale-free prior: as likely between 1 and 10 as between 10 and 100.
            likelihood / machines as f64
        })
        .collect();
    let total: f64 = posterior.iter().sum();
    if total <= 0.0 {
        return Count { low: drawn.max(1), high: None };
    }
    let quantile = |level: f64| {
        let mut sum = 0.0;
        let beyond = |p: &f64| {
            sum += p / total;
            sum >= level
        };
        posterior.iter().position(beyond).map_or(most, |i| i + 1)
    };
    let high = quantile(1.0 - TAIL);
    Count {
        low: quantile(TAIL),
        high: (high < most || most == observability.connections as usize).then_some(high),
    }
}

/// The probability that a machine's load is below `share` of the mean. The loads' gamma distribution of
/// shape 2 lies between machines that share work evenly, as behind a balancer, and people, who don't.
fn load_below(share: f64) -> f64 {
    let x = 2.0 * share;
    // 1 - exp(-x) (1 + x), without loss where x is small.
    if x < 1e-3 { x * x / 2.0 } else { 1.0 - (-x).exp() * (1.0 + x) }
}

/// The mean load of all machines where only loads below `share` of the mean count, and others as 0.
fn load_of_those_below(share: f64) -> f64 {
    let x = 2.0 * share;
    if x < 1e-2 { x * x * x / 6.0 } else { 1.0 - (-x).exp() * (1.0 + x + x * x / 2.0) }
}

/// The binomial distribution: the probability of each number of successes.
fn binomial(trials: usize, probability: f64) -> Vec<f64> {
    let mut chance = vec![0.0; trials + 1];
    chance[0] = 1.0;
    for n in 0..trials {
        for k in (0..=n + 1).rev() {
            let from_below = if k == 0 { 0.0 } else { chance[k - 1] * probability };
            chance[k] = chance[k] * (1.0 - probability) + from_below;
        }
    }
    chance
}

/// How easily machines' lines run too close together over the data's length to be told apart. Phases are
/// random, and drifts are spread like those found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merging {
    /// What all connections tell of phases, in inverse square ticks. Each machine has its share of it.
    information: f64,
    /// How far two machines' drifts differ over the data, in ticks: standard deviation.
    apart: f64,
}

/// No drifts differ by less over the data, in ticks.
const LEAST_TICKS: f64 = 1e-6;

impl Merging {
    fn of(data: &Data, mixture: &Mixture) -> Self {
        let lines = &mixture.lines;
        let times: Vec<f64> = data.factors.times().collect();
        let spread_s = (squares(times.iter().copied()) / times.len() as f64).sqrt();
        let of_drifts = squares(lines.iter().map(|line| line.drift()));
        // With few lines, the spread of drifts isn't known. It is at least a tenth of a ppm at 1 kHz.
        let sigma = (of_drifts / (lines.len() as f64 - 1.0).max(1.0)).sqrt().max(1e-4);
        Self {
            information: information(mixture),
            apart: (std::f64::consts::SQRT_2 * sigma * spread_s).max(LEAST_TICKS),
        }
    }

    /// The probability that two of so many machines can't be told apart.
    fn probability(self, machines: usize) -> f64 {
        let Self { information, apart } = self;
        if information <= 0.0 {
            return 1.0;
        }
        let least = least_apart(information / machines as f64);
        // Chance that phases lie within what the drifts' difference e leaves: the mean of 2 sqrt(d^2 - e^2).
        // Beyond five standard deviations there is none.
        let step = least.min(5.0 * apart) / 64.0;
        let mut sum = 0.0;
        for k in 0..64 {
            let e = step * (f64::from(k) + 0.5);
            let density = (-0.5 * (e / apart).powi(2)).exp() * 2.0 / (apart * std::f64::consts::TAU.sqrt());
            sum += density * 2.0 * (least * least - e * e).sqrt() * step;
        }
        sum.min(2.0 * least).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All machines are seen, and every connection is clearly on a line.
    fn clear(connections: f64) -> Observability {
        let on_lines = vec![100.0; connections as usize];
        Observability {
            merging: Merging { information: f64::INFINITY, apart: 1.0 },
            needed: 0.0,
            connections,
            outliers: Outliers::of(&on_lines, 1.0),
            trust: TRUST_IN_LAW,
        }
    }

    fn distribution(observability: &Observability, machines: usize, most: usize) -> Vec<f64> {
        let visible = observability.visible(machines, most);
        let total: f64 = visible.iter().sum();
        visible.iter().map(|v| v / total).collect()
    }

    #[test]
    fn all_machines_are_seen_when_nothing_hides_them() {
        let visible = distribution(&clear(100.0), 5, 8);
        assert!((visible[5] - 1.0).abs() < 1e-9, "{visible:?}");
    }

    #[test]
    fn coincidences_follow_the_birthday_problem() {
        let lines = lines_of(1.0 / 365.0, 23, 23);
        assert!((lines[23][23] - 0.4927).abs() < 1e-3, "{}", lines[23][23]);
    }

    #[test]
    fn the_more_machines_share_the_connections_the_more_easily_they_merge() {
        let merging = Merging { information: 36e4, apart: 1e-4 };
        assert!((merging.probability(1) - 0.02).abs() < 1e-3, "{}", merging.probability(1));
        assert!((merging.probability(4) - 0.04).abs() < 1e-3, "{}", merging.probability(4));
        let apart = Merging { apart: 1.0, ..merging };
        assert!(apart.probability(4) < 1e-3, "{}", apart.probability(4));
    }

    #[test]
    fn unseen_machines_need_connections_on_no_line() {
        let crowd = Observability { needed: 30.0, ..clear(100.0) };
        let none = distribution(&crowd, 4, 4);
        // A quarter of the connections is nowhere.
        let on_lines: Vec<f64> = (0..100).map(|k| if k % 4 == 0 { 0.01 } else { 100.0 }).collect();
        let some =
            distribution(&Observability { outliers: Outliers::of(&on_lines, 1.0), ..crowd.clone() }, 4, 4);
        assert!(none[4] > 0.99 && some[4] < 0.01, "{none:?} {some:?}");
        // Where the lines' gain barely pays, what they hold proves little.
        let barely =
            distribution(&Observability { outliers: Outliers::of(&[100.0; 100], 0.0), ..crowd }, 4, 4);
        assert!(barely[4] < 0.5, "{barely:?}");
    }

    #[test]
    fn loads_are_a_distribution_of_mean_one() {
        assert!((load_below(1.0) - 0.593_994).abs() < 1e-6);
        assert!((load_of_those_below(1e3) - 1.0).abs() < 1e-9 && (load_below(1e3) - 1.0).abs() < 1e-9);
        // The series for small shares meet the closed forms.
        for (f, x) in [(load_below as fn(f64) -> f64, 5e-4), (load_of_those_below, 5e-3)] {
            assert!((f(x * 1.000_01) / f(x * 0.999_99) - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn binomial_by_hand() {
        let [none, one, two] = binomial(2, 0.3)[..] else { panic!() };
        assert!((none - 0.49).abs() + (one - 0.42).abs() + (two - 0.09).abs() < 1e-12);
    }
}
