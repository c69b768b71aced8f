//! The kinds of evidence that connections show besides their clocks, as the mixture needs them.
//!
//! Few kinds of evidence occur behind one address, so a line keeps one log-likelihood ratio per kind
//! rather than per connection. Evidence never splits a line by itself: what half of a line gains by its
//! kind, it loses in weight. So two machines whose clocks coincide are as likely as one machine with two
//! ways of opening connections. Evidence helps to separate lines that are close.

use crate::engine::os::likeness::{Evidence, Switches, Tally, likeness};

/// The most kinds; connections of further kinds count as without evidence. Bounds the work per line.
const MOST_KINDS: usize = 64;

/// The kinds of evidence, and the kind of each connection.
#[derive(Clone, Debug, Default)]
pub(super) struct EvidenceKinds {
    kinds: Vec<Evidence>,
    of: Vec<Option<u8>>,
    /// The number of connections of each kind.
    totals: Vec<f64>,
    population: Tally,
    switches: Switches,
}

impl EvidenceKinds {
    /// Sorts connections, given in order, by their evidence of the features that are switched on.
    pub(super) fn new(shown: impl Iterator<Item = Evidence>, switches: Switches) -> Self {
        let mut kinds = Self { switches, ..Self::default() };
        for evidence in shown {
            kinds.population.add(&evidence, switches, 1.0);
            let evidence = evidence.of(switches);
            let known = kinds.kinds.iter().position(|kind| *kind == evidence);
            let kind = known.or_else(|| {
                (kinds.kinds.len() < MOST_KINDS).then(|| {
                    kinds.kinds.push(evidence);
                    kinds.kinds.len() - 1
                })
            });
            kinds.of.push(kind.map(|kind| kind as u8));
        }
        kinds.counted()
    }

    fn counted(mut self) -> Self {
        self.totals = vec![0.0; self.kinds.len()];
        self.of.iter().flatten().for_each(|&kind| self.totals[usize::from(kind)] += 1.0);
        self
    }

    /// The kinds of every `stride`-th connection, against the same population.
    pub(super) fn every(&self, stride: usize) -> Self {
        Self { of: self.of.iter().step_by(stride).copied().collect(), ..self.clone() }.counted()
    }

    /// Whether there is more than one kind.
    pub(super) fn differ(&self) -> bool {
        self.kinds.len() > 1
    }

    /// The kind of a connection, by its index; `None` beyond [`MOST_KINDS`].
    pub(super) fn kind(&self, track: usize) -> Option<usize> {
        self.of[track].map(usize::from)
    }

    /// An empty count of kinds.
    pub(super) fn none(&self) -> Vec<f64> {
        vec![0.0; if self.differ() { self.kinds.len() } else { 0 }]
    }

    /// The log-likelihood ratio of each kind for a machine that showed `counts` of each.
    pub(super) fn ratios(&self, counts: &[f64]) -> Vec<f64> {
        let mut group = Tally::default();
        for (kind, count) in self.kinds.iter().zip(counts).filter(|(_, count)| **count > 1e-3) {
            group.add(kind, self.switches, *count);
        }
        let ratio = |kind: &Evidence| likeness(kind, &group, &self.population, self.switches);
        self.kinds.iter().take(counts.len()).map(ratio).collect()
    }

    /// Log probability that a machine's usual kind is the commonest of `counts`: the cost of having chosen
    /// that kind after the fact.
    pub(super) fn choice(&self, counts: &[f64]) -> f64 {
        let usual = counts.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        usual.map_or(0.0, |(kind, _)| ((self.totals[kind] + 1.0) / (self.of.len() as f64 + 1.0)).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(hop_limit: u8) -> Evidence {
        Evidence::new(Some(1000.0), Some(true), None, hop_limit)
    }

    #[test]
    fn what_everybody_shows_tells_nothing() {
        let kinds = EvidenceKinds::new([64; 9].into_iter().map(shows), Switches::ALL);
        assert!(!kinds.differ());
        assert!(kinds.ratios(&kinds.none()).is_empty());
    }

    #[test]
    fn kinds_speak_for_machines_that_showed_them() {
        let kinds = EvidenceKinds::new([64, 64, 64, 63, 63, 63].into_iter().map(shows), Switches::ALL);
        assert!(kinds.differ());
        let ratios = kinds.ratios(&[3.0, 0.0]);
        assert!(ratios[0] > 0.4 && ratios[1] < -1.5, "{ratios:?}");
        assert!(kinds.choice(&[3.0, 0.0]) < -0.4);
        assert_eq!(kinds.every(3).kind(1), Some(1));
    }

    #[test]
    fn switches_decide_what_is_a_kind() {
        let without = Switches::ALL.without(crate::engine::os::likeness::Feature::Ttl);
        assert!(!EvidenceKinds::new([64, 63].into_iter().map(shows), without).differ());
    }
}
