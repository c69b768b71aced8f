//! From lines to machines: how many there are, given how many can be seen.
//!
//! Two machines whose lines run closer than can be told apart look like one, and a machine with too
//! few connections makes no line at all. Both are occupancy problems: given the number of machines,
//! the distribution of the number of visible lines is known well enough to invert it by Bayes' rule.

use super::{
    mixture::{Data, Mixture},
    search::Found,
};

/// How many machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Lower end of the 90 % interval.
    pub low: usize,
    /// Upper end; `None` where the data sets none.
    pub high: Option<usize>,
}

/// What stands between machines and lines.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Probability that two machines chosen at random can't be told apart.
    pub merge: f64,
    /// Connections that a machine needs to be seen.
    pub needed: f64,
    /// Connections in all.
    pub connections: f64,
    /// Connections that no line explains.
    pub unexplained: f64,
    /// Probability that a connection of an unseen machine falls on a line by chance.
    pub covered: f64,
}

/// Each tail of the interval.
const TAIL: f64 = 0.05;

/// The log evidence that a line must bring to be drawn, roughly: its place and drift cost that much.
const DRAWN_AT: f64 = 9.0;

/// Machines beyond this many times the lines drawn (and a few) aren't considered: the interval is
/// then open above.
const MOST_PER_LINE: usize = 6;

/// Share of connections that no line explains although their machine has one: strays.
const STRAYS: f64 = 0.02;

impl Sight {
    /// Sees as the best mixture does.
    pub fn of(data: &Data, mixture: &Mixture) -> Self {
        let connections = data.tracks.len() as f64;
        let lines = mixture.lines.len().max(1) as f64;
        // What one connection tells about its phase: the gain of being on the right line.
        let told: f64 = (0..data.tracks.len()).map(|t| data.sharpness(t).max(0.0)).sum::<f64>() / connections;
        Self {
            merge: merge_probability(data, mixture, connections / lines),
            needed: DRAWN_AT / told.max(0.05),
            connections,
            unexplained: mixture.none * connections,
            covered: (2.0 * lines * (-told).exp()).min(0.95),
        }
    }

    /// Probability of each number of visible lines up to `most`, for one number of machines.
    fn visible(&self, machines: usize, most: usize) -> Vec<f64> {
        // Loads differ: exponential about their mean, as when shares are uniform on the simplex.
        let unseen = 1.0 - (-self.needed * machines as f64 / self.connections).exp();
        let mut lines_of = vec![0.0; most + 1];
        let mut chance = vec![0.0; machines + 1];
        chance[0] = 1.0;
        for n in 0..machines {
            for k in (0..=n + 1).rev() {
                let from_below = if k == 0 { 0.0 } else { chance[k - 1] * unseen };
                chance[k] = chance[k] * (1.0 - unseen) + from_below;
            }
        }
        let drawn = self.lines_of_seen(machines, most);
        for hidden in 0..=machines {
            // Unseen machines' connections must be somewhere: off the lines, but for coincidences.
            let each = (self.needed.max(1.0) + 1.0) / 2.0;
            let expected = STRAYS * self.connections + hidden as f64 * each * (1.0 - self.covered);
            let explains = poisson_density(self.unexplained, expected);
            for (total, of_seen) in lines_of.iter_mut().zip(&drawn[machines - hidden]) {
                *total += chance[hidden] * explains * of_seen;
            }
        }
        lines_of
    }

    /// For each number of machines that could be seen, the probability of each number of lines: a
    /// machine falls on a line that is there, or makes a new one.
    fn lines_of_seen(&self, machines: usize, most: usize) -> Vec<Vec<f64>> {
        let mut state = vec![0.0; most + 1];
        state[0] = 1.0;
        let mut all = vec![state.clone()];
        for _ in 0..machines {
            for lines in (0..=most).rev() {
                let onto = |l: usize| (l as f64 * self.merge).min(1.0);
                let from_below = if lines == 0 { 0.0 } else { state[lines - 1] * (1.0 - onto(lines - 1)) };
                state[lines] = state[lines] * onto(lines) + from_below;
            }
            all.push(state.clone());
        }
        all
    }
}

/// Combines the evidence for each number of lines with what can be seen.
pub fn count(found: &Found, sight: &Sight) -> Count {
    let evidences = found.evidences();
    let top = evidences.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = evidences.iter().map(|e| (e - top).exp()).collect();
    let most_lines = weights.len() - 1;
    let drawn = weights.iter().rposition(|w| *w > 1e-3).unwrap_or(0);
    let most = (drawn * MOST_PER_LINE + 8).min(sight.connections as usize).max(drawn).max(1);
    let posterior: Vec<f64> = (1..=most)
        .map(|machines| {
            let visible = sight.visible(machines, most_lines);
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
    Count { low: quantile(TAIL), high: (high < most || most == sight.connections as usize).then_some(high) }
}

/// Poisson probability, continued to expected counts between whole numbers by Stirling's formula.
fn poisson_density(count: f64, mean: f64) -> f64 {
    let log_factorial = (1..=count.round() as u32).map(|k| f64::from(k).ln()).sum::<f64>();
    (count.round() * mean.max(1e-9).ln() - mean - log_factorial).exp()
}

/// Probability that two machines' lines, phases random, drifts spread as those found, run closer
/// over the data's length than can be told apart.
fn merge_probability(data: &Data, mixture: &Mixture, connections_per_line: f64) -> f64 {
    let lines = &mixture.lines;
    if lines.is_empty() {
        return 1.0;
    }
    // Two lines at distance d, each with n connections that tell the phase with variance v, gain
    // about n d^2 / (4 v) by being two: at the least distance that equals the cost of a line.
    let information: f64 = lines.iter().map(|l| l.information.at(0, 0)).sum::<f64>() / lines.len() as f64;
    let per_connection = information / connections_per_line.max(1.0);
    let least = (4.0 * DRAWN_AT / (connections_per_line * per_connection).max(1.0)).sqrt().min(0.5);
    let times: Vec<f64> = data.pieces.iter().map(|(x, _)| *x).collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let spread_s = (times.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / times.len() as f64).sqrt();
    let drift = lines.iter().map(|l| l.drift()).sum::<f64>() / lines.len() as f64;
    let squares: f64 = lines.iter().map(|l| (l.drift() - drift).powi(2)).sum();
    // With few lines, the spread of drifts isn't known: a tenth of a ppm in 1 kHz ticks at least.
    let sigma = (squares / (lines.len() as f64 - 1.0).max(1.0)).sqrt().max(1e-4);
    let apart = std::f64::consts::SQRT_2 * sigma * spread_s;
    // Chance that phases lie within what the drifts' difference e leaves: mean of 2 sqrt(d^2 - e^2).
    let step = least / 64.0;
    let mut sum = 0.0;
    for k in 0..64 {
        let e = step * (f64::from(k) + 0.5);
        let density = (-0.5 * (e / apart).powi(2)).exp() * 2.0 / (apart * std::f64::consts::TAU.sqrt());
        sum += density * 2.0 * (least * least - e * e).sqrt() * step;
    }
    sum.min(2.0 * least).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Sight = Sight { merge: 0.0, needed: 0.0, connections: 1e6, unexplained: 0.0, covered: 0.0 };

    fn distribution(sight: &Sight, machines: usize, most: usize) -> Vec<f64> {
        let visible = sight.visible(machines, most);
        let total: f64 = visible.iter().sum();
        visible.iter().map(|v| v / total).collect()
    }

    #[test]
    fn all_machines_are_seen_when_nothing_hides_them() {
        let visible = distribution(&Sight { connections: 100.0, ..CLEAR }, 5, 8);
        assert!((visible[5] - 1.0).abs() < 1e-9, "{visible:?}");
    }

    #[test]
    fn coincidences_follow_the_birthday_problem() {
        let sight = Sight { merge: 1.0 / 365.0, connections: 100.0, ..CLEAR };
        let visible = distribution(&sight, 23, 23);
        assert!((visible[23] - 0.4927).abs() < 1e-3, "{}", visible[23]);
    }

    #[test]
    fn unseen_machines_need_unexplained_connections() {
        let sight = Sight { needed: 5.0, connections: 100.0, ..CLEAR };
        let without = sight.visible(4, 4);
        let with = Sight { unexplained: 6.0, ..sight }.visible(4, 4);
        assert!(without[3] / without[4] < 0.3 * with[3] / with[4], "{without:?} {with:?}");
    }

    #[test]
    fn poisson() {
        assert!((poisson_density(3.0, 2.0) - 0.180_447).abs() < 1e-6);
    }
}
