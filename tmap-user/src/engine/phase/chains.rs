//! Chains: tracks that are most likely of one machine, by other evidence than their clocks.
//!
//! Source ports link connections ([`crate::engine::ports`]). Linked ones share their line, so their
//! likelihoods add up, and a chain of short connections tells as much as a long one. A link may be wrong.
//! What its own clock says then still counts for each of them.

use std::{collections::BTreeMap, ops::Range};

use super::{
    line::FittedLine,
    mixture::{Data, Mixture},
    piece::Piece,
    sample::Track,
};

/// The tracks of each chain; one in no chain is a chain of its own.
#[derive(Debug)]
pub(super) struct Chains(Vec<Vec<usize>>);

/// The share of links that are wrong.
const WRONG_LINKS: f64 = 0.03;

/// How a chain's segments came, as far as one machine's explanation depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its path, counted from 0.
    pub path: usize,
    /// Engine time of its first and last point, in nanoseconds.
    pub times_ns: (u64, u64),
}

impl Chains {
    /// The chains of the usable tracks. With fewer chains than `fewest`, each track stands for itself.
    pub(super) fn of(tracks: &[Track<'_>], usable: &[usize], fewest: usize) -> Self {
        let mut place: BTreeMap<usize, usize> = BTreeMap::new();
        let mut chains: Vec<Vec<usize>> = Vec::new();
        for &track in usable {
            let known = tracks[track].chain.map(|chain| *place.entry(chain).or_insert(chains.len()));
            match known.and_then(|at| chains.get_mut(at)) {
                Some(chain) => chain.push(track),
                None => chains.push(vec![track]),
            }
        }
        if chains.len() < fewest { Self::apart(usable) } else { Self(chains) }
    }

    /// Each track as a chain of its own.
    pub(super) fn apart(usable: &[usize]) -> Self {
        Self(usable.iter().map(|&track| vec![track]).collect())
    }

    /// Every so many chains.
    pub(super) fn every(&self, stride: usize) -> Self {
        Self(self.0.iter().step_by(stride).cloned().collect())
    }

    /// Whether a chain has several tracks.
    pub(super) fn are_joined(&self) -> bool {
        self.0.iter().any(|chain| chain.len() > 1)
    }

    /// The number of chains.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of chains, as a share of that of tracks.
    pub(super) fn share(&self) -> f64 {
        self.0.len() as f64 / self.0.iter().map(Vec::len).sum::<usize>().max(1) as f64
    }

    /// The tracks of each chain.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.0.iter()
    }

    /// The first track of each chain.
    pub(super) fn first(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|chain| chain[0])
    }

    /// The pieces of each chain, track by track, as `cut` makes them of a track.
    pub(super) fn cut(&self, cut: impl Fn(usize) -> Vec<Piece>) -> Vec<Vec<Piece>> {
        let of_track = |track: usize| cut(track).into_iter().map(move |piece| piece.of(track));
        self.0.iter().map(|chain| chain.iter().flat_map(|&track| of_track(track)).collect()).collect()
    }

    /// How each chain's segments came.
    pub(super) fn arrivals(&self, tracks: &[Track<'_>]) -> Vec<Arrival> {
        let ends = |&track: &usize| tracks[track].hull.first().zip(tracks[track].hull.last());
        let arrival = |chain: &Vec<usize>| {
            let times = chain.iter().filter_map(ends).map(|(first, last)| (first.time_ns, last.time_ns));
            let times_ns = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
            Arrival { path: tracks[chain[0]].path, times_ns }
        };
        self.0.iter().map(arrival).collect()
    }
}

/// The pieces of a track within its chain: the track, and where they are among all pieces.
pub(super) type Part = (usize, Range<usize>);

/// Clocks agree with chains where a link tells at least this share of which line a track is on. In
/// simulations and on virtual machines, right links told 0.3 to 0.6 of it, and ports that deceive 0 to 0.14.
const LEAST_TOLD: f64 = 0.2;

/// How far clocks may contradict the chains by chance, in nats.
const BY_CHANCE_NATS: f64 = 1.0;

/// Whether clocks agree with the chains: whether tracks are enough likelier as members of their chains than
/// one by one. Without lines, they don't.
pub(super) fn agree(mixture: &Mixture, data: &Data, parts: &[Vec<Part>]) -> bool {
    let alone = |(_, pieces): &Part| {
        let on = |line: &FittedLine| line.weight * data.factor_of(pieces.clone(), line).exp();
        (mixture.lines.iter().map(on).sum::<f64>() + mixture.none).ln()
    };
    let (mut gain, mut links) = (0.0, 0);
    for (chain, parts) in parts.iter().enumerate().filter(|(_, parts)| parts.len() > 1) {
        gain += f64::from(mixture.log_density(chain)) - parts.iter().map(alone).sum::<f64>();
        links += parts.len() - 1;
    }
    // What would tell a track's line for sure.
    let open: f64 = -mixture.lines.iter().map(|line| line.weight * line.weight.ln()).sum::<f64>();
    !mixture.lines.is_empty() && gain + BY_CHANCE_NATS > LEAST_TOLD * open * links as f64
}

/// The probability of each line for one track of a chain. The rest of the chain is a prior, which holds
/// unless the link is wrong; the track's own clock decides within it.
pub(super) fn posterior(
    mixture: &Mixture,
    data: &Data,
    chain: usize,
    parts: &[Part],
    track: usize,
) -> Vec<f32> {
    let own = parts.iter().find(|(of, _)| *of == track).map_or(0..0, |(_, pieces)| pieces.clone());
    let logs: Vec<f64> = mixture.lines.iter().map(|line| data.factor_of(own.clone(), line)).collect();
    let rest: Vec<f64> = (0..logs.len()).map(|j| mixture.factor(chain, j) - logs[j]).collect();
    let top = rest.iter().copied().fold(0.0, f64::max);
    let by_rest = |j: usize| mixture.lines[j].weight * (rest[j] - top).exp();
    let none = mixture.none * (-top).exp();
    let total: f64 = (0..rest.len()).map(by_rest).sum::<f64>() + none;
    let prior = |from_rest: f64, weight: f64| {
        (1.0 - WRONG_LINKS) * from_rest / total.max(f64::MIN_POSITIVE) + WRONG_LINKS * weight
    };
    let of_line = |j: usize| prior(by_rest(j), mixture.lines[j].weight) * logs[j].exp();
    let weights: Vec<f64> = (0..logs.len()).map(of_line).collect();
    let sum = weights.iter().sum::<f64>() + prior(none, mixture.none);
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}
