//! Links: which tracks are most likely of one machine by other evidence than their clocks.
//!
//! Source ports link connections ([`crate::engine::ports`]), and so does that an address opened them at about
//! the same time. A link may be wrong: a track has the machine of the one before it with some probability,
//! and any machine, by its share, otherwise. So a chain of short connections tells as much as a long one, and
//! a wrong link costs little. Links are a forest, so the likelihood of all tracks is exact (belief
//! propagation; Pearl 1988).

use std::collections::HashMap;

use crate::engine::union_find::UnionFind;

/// Why two tracks are most likely of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The source port of the one goes on from that of the other.
    Ports,
    /// They begin at about the same time.
    Times,
}

impl Reason {
    /// The probability that a link is right.
    fn right(self) -> f64 {
        match self {
            Self::Ports => 0.97,
            Self::Times => 0.95,
        }
    }
}

/// Tracks that are linked for one reason.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The reason.
    pub reason: Reason,
    /// Pairs of tracks, by their indices.
    pub pairs: Vec<(usize, usize)>,
}

/// The links of tracks.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// For each track, the one before it, and the probability that the link is right; empty without links.
    before: Vec<Option<(usize, f64)>>,
    /// The tracks that are linked, each behind the one before it.
    order: Vec<usize>,
}

impl Links {
    /// The links of those tracks that are `usable`, for these reasons. A pair of tracks that are linked
    /// already, directly or by way of others, tells nothing more.
    pub(super) fn of(linked: &[Linked], usable: &[usize], reasons: &[Reason]) -> Self {
        let places: HashMap<usize, usize> =
            usable.iter().enumerate().map(|(at, track)| (*track, at)).collect();
        let mut trees = UnionFind::new(usable.len());
        let mut near: Vec<Vec<(usize, f64)>> = vec![Vec::new(); usable.len()];
        for Linked { reason, pairs } in linked.iter().filter(|linked| reasons.contains(&linked.reason)) {
            for (a, b) in pairs {
                let Some((&a, &b)) = places.get(a).zip(places.get(b)) else { continue };
                if trees.first(a) != trees.first(b) {
                    trees.join(a, b);
                    near[a].push((b, reason.right()));
                    near[b].push((a, reason.right()));
                }
            }
        }
        Self::from_first_tracks(&near)
    }

    /// The links of trees, of which `near` has those on either side of each track, from the first track of
    /// each tree on.
    fn from_first_tracks(near: &[Vec<(usize, f64)>]) -> Self {
        let (mut before, mut order) = (vec![None; near.len()], Vec::new());
        let mut is_reached = vec![false; near.len()];
        for first in 0..near.len() {
            if is_reached[first] || near[first].is_empty() {
                continue;
            }
            let mut at = order.len();
            is_reached[first] = true;
            order.push(first);
            while let Some(&track) = order.get(at) {
                for &(next, right) in &near[track] {
                    if !is_reached[next] {
                        before[next] = Some((track, right));
                        is_reached[next] = true;
                        order.push(next);
                    }
                }
                at += 1;
            }
        }
        if order.is_empty() { Self::default() } else { Self { before, order } }
    }

    /// Whether there are no links.
    pub(super) fn none(&self) -> bool {
        self.order.is_empty()
    }

    /// The tracks that links join, group by group; a track without links is a group by itself.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut group_of: Vec<Option<usize>> = vec![None; self.before.len()];
        let mut is_linked = vec![false; self.before.len()];
        self.order.iter().for_each(|&track| is_linked[track] = true);
        let unlinked = (0..self.before.len()).filter(|&track| !is_linked[track]);
        for track in self.order.iter().copied().chain(unlinked) {
            let before = self.before[track].and_then(|(before, _)| group_of[before]);
            let group = before.unwrap_or(groups.len());
            if before.is_none() {
                groups.push(Vec::new());
            }
            groups[group].push(track);
            group_of[track] = Some(group);
        }
        groups
    }

    /// The number of links.
    pub(super) fn count(&self) -> usize {
        self.before.iter().flatten().count()
    }

    /// Adds what links tell to log Bayes factors and log likelihoods of tracks. `factors` are those of the
    /// tracks by themselves, line by line, each as long as `logs`; `logs` are made of them with the same
    /// `weights` of lines and share of tracks on `none`.
    ///
    /// Afterwards the sum of `logs` is the log likelihood of all tracks. A factor is such that it gives the
    /// track's probability to be on the line as that of a track without links does.
    ///
    /// O(n m) for n linked tracks and m lines.
    pub(super) fn weigh(&self, weights: &[f32], none: f32, factors: &mut [f32], logs: &mut [f32]) {
        let places = logs.len();
        let weights: Vec<f64> = weights.iter().chain([&none]).map(|weight| f64::from(*weight)).collect();
        let mut beliefs = Beliefs::new(weights, self.before.len());
        for &track in &self.order {
            beliefs.set(track, |line| factors.get(line * places + track).copied().unwrap_or(0.0));
        }
        for &track in self.order.iter().rev() {
            logs[track] = beliefs.gather(track, self.before[track]) as f32;
        }
        for &track in &self.order {
            beliefs.spread(track, self.before[track]);
            for line in 0..factors.len() / places {
                factors[line * places + track] = beliefs.factor(track, line) as f32 + logs[track];
            }
        }
    }
}

/// The smallest likelihood that is told apart from none.
const LEAST: f64 = 1e-300;

/// What is believed of each track's line; the last one stands for no line.
struct Beliefs {
    weights: Vec<f64>,
    /// Track by track: first the likelihoods of the track and those behind it, on each line, relative to the
    /// largest; then the track's probability of each line.
    of: Vec<f64>,
    /// For each track, the log of the largest likelihood, then the mean of its likelihoods over lines.
    scales: Vec<f64>,
}

impl Beliefs {
    fn new(weights: Vec<f64>, tracks: usize) -> Self {
        Self { of: vec![0.0; tracks * weights.len()], scales: vec![0.0; tracks], weights }
    }

    fn of(&mut self, track: usize) -> &mut [f64] {
        let lines = self.weights.len();
        &mut self.of[track * lines..(track + 1) * lines]
    }

    /// Sets a track's likelihoods from its log Bayes factors on each line; on no line it is 0.
    fn set(&mut self, track: usize, factor: impl Fn(usize) -> f32) {
        let last = self.weights.len() - 1;
        let factor = |line: usize| if line == last { 0.0 } else { f64::from(factor(line)) };
        let top = (0..=last).map(factor).fold(f64::NEG_INFINITY, f64::max);
        self.scales[track] = top;
        self.of(track).iter_mut().enumerate().for_each(|(line, of)| *of = (factor(line) - top).exp());
    }

    /// Tells the track before it what a track and those behind it show. Returns the log likelihood that they
    /// add.
    fn gather(&mut self, track: usize, before: Option<(usize, f64)>) -> f64 {
        // Of many tracks behind one, products could become too small.
        let top = self.of(track).iter().copied().fold(LEAST, f64::max);
        self.of(track).iter_mut().for_each(|of| *of /= top);
        let lines = self.weights.len();
        let own = &self.of[track * lines..(track + 1) * lines];
        let mean = own.iter().zip(&self.weights).map(|(of, weight)| of * weight).sum::<f64>().max(LEAST);
        let log = self.scales[track] + top.ln() + mean.ln();
        self.scales[track] = mean;
        if let Some((before, right)) = before {
            for line in 0..lines {
                self.of[before * lines + line] *= message(self.of[track * lines + line], mean, right);
            }
        }
        log
    }

    /// Makes probabilities of a track's likelihoods, where those of the track before it are probabilities
    /// already.
    fn spread(&mut self, track: usize, before: Option<(usize, f64)>) {
        let (lines, mean) = (self.weights.len(), self.scales[track]);
        let mut prior = self.weights.clone();
        if let Some((before, right)) = before {
            // The probabilities of the track before, without what this one told it.
            let rest = |line: usize| {
                self.of[before * lines + line] / message(self.of[track * lines + line], mean, right)
            };
            let rest: Vec<f64> = (0..lines).map(rest).collect();
            let all: f64 = rest.iter().sum();
            let goes_on =
                |(prior, rest): (&mut f64, f64)| *prior = right * rest + (1.0 - right) * *prior * all;
            prior.iter_mut().zip(rest).for_each(goes_on);
        }
        let own = self.of(track);
        own.iter_mut().zip(&prior).for_each(|(of, prior)| *of *= prior);
        let total = own.iter().sum::<f64>().max(LEAST);
        own.iter_mut().for_each(|of| *of /= total);
    }

    /// The log Bayes factor that gives a track's probability of a line.
    fn factor(&self, track: usize, line: usize) -> f64 {
        let probability = self.of[track * self.weights.len() + line];
        (probability.max(LEAST) / self.weights[line].max(LEAST)).ln()
    }
}

/// How much likelier a link that is right with this probability makes a line of the track before it, where
/// the track itself has this likelihood on that line, and this one on average.
fn message(own: f64, mean: f64, right: f64) -> f64 {
    right * own / mean + 1.0 - right
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::phase::mixing::{self, LANES};

    /// The log likelihood of all tracks, and each track's probability of each line, by trying all ways.
    fn by_hand(links: &Links, weights: &[f32], none: f32, factors: &[f32]) -> (f64, Vec<Vec<f64>>) {
        let tracks = links.before.len();
        let weights: Vec<f64> = weights.iter().chain([&none]).map(|weight| f64::from(*weight)).collect();
        let lines = weights.len();
        let (mut total, mut shares) = (0.0, vec![vec![0.0; lines]; tracks]);
        for way in 0..lines.pow(tracks as u32) {
            let of = |track: usize| way / lines.pow(track as u32) % lines;
            let mut likelihood = 1.0;
            for track in 0..tracks {
                let line = of(track);
                likelihood *= match links.before[track] {
                    Some((before, right)) => {
                        let same = if of(before) == line { 1.0 } else { 0.0 };
                        right * same + (1.0 - right) * weights[line]
                    }
                    None => weights[line],
                };
                if line + 1 < lines {
                    likelihood *= f64::from(factors[line * LANES + track]).exp();
                }
            }
            total += likelihood;
            (0..tracks).for_each(|track| shares[track][of(track)] += likelihood);
        }
        shares.iter_mut().flatten().for_each(|share| *share /= total);
        (f64::ln(total), shares)
    }

    #[test]
    fn links_are_a_forest_and_what_is_not_usable_is_left_out() {
        let of = |reason, pairs: &[(usize, usize)]| Linked { reason, pairs: pairs.to_vec() };
        let ports = of(Reason::Ports, &[(2, 0), (3, 4), (9, 0)]);
        let all = [ports, of(Reason::Times, &[(0, 1), (1, 2), (2, 3)])];
        let both = Links::of(&all, &[0, 1, 2, 3, 4, 5], &[Reason::Ports, Reason::Times]);
        let [ports, times] = [Reason::Ports, Reason::Times].map(|reason| Some(reason.right()));
        let before = |track: usize| both.before[track].map(|(before, _)| before);
        assert_eq!([0, 1, 2, 3, 4, 5].map(before), [None, Some(0), Some(0), Some(2), Some(3), None]);
        let right = |track: usize| both.before[track].map(|(_, right)| right);
        assert_eq!([1, 2, 3, 4].map(right), [times, ports, times, ports], "ports come first");
        assert_eq!(both.count(), 4);
        assert!(Links::of(&all, &[0, 3], &[Reason::Ports, Reason::Times]).none());
        assert_eq!(
            Links::of(&all, &[0, 1, 2], &[Reason::Times]).before,
            [None, Some((0, 0.95)), Some((1, 0.95))]
        );
    }

    proptest! {
        /// Likelihoods and probabilities are those of all ways to lay tracks on lines.
        #[test]
        fn links_are_weighed_exactly(
            before in prop::collection::vec((any::<bool>(), 0.0..1.0, 0.0..0.99), 1..6),
            own in prop::collection::vec(-6.0_f32..6.0, 2 * LANES),
        ) {
            let mut near = vec![Vec::new(); before.len()];
            for (track, &(is_linked, place, right)) in before.iter().enumerate().skip(1) {
                let other = (place * track as f64) as usize;
                if is_linked {
                    near[track].push((other, right));
                    near[other].push((track, right));
                }
            }
            let links = Links::from_first_tracks(&near);
            prop_assume!(!links.none());
            let (weights, none) = ([0.5, 0.3], 0.2);
            let (mut factors, mut logs) = (own.clone(), [0.0; LANES]);
            mixing::log_likelihoods(&factors, &weights, none, &mut logs);
            links.weigh(&weights, none, &mut factors, &mut logs);
            let (exact, shares) = by_hand(&links, &weights, none, &own);
            let sum: f64 = logs[..before.len()].iter().map(|log| f64::from(*log)).sum();
            prop_assert!((sum - exact).abs() < 1e-3, "{sum} {exact}");
            for (track, shares) in shares.iter().enumerate() {
                for line in 0..2 {
                    let share = weights[line] * (factors[line * LANES + track] - logs[track]).exp();
                    prop_assert!((f64::from(share) - shares[line]).abs() < 1e-3, "{share} {}", shares[line]);
                }
            }
        }
    }
}
