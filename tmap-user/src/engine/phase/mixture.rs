//! A mixture of lines on the cylinder (time, phase modulo one tick), fitted by EM.
//!
//! Every connection belongs to one of the lines or, with a small probability, to none. EM is that of
//! Dempster, Laird and Rubin 1977; its M step updates each line once by Fisher scoring.

use std::cell::OnceCell;

use super::{
    drift::Window,
    evidence_kinds::EvidenceKinds,
    limits::Work,
    line::{Knots, Line, Update},
    table::{COARSE, Table},
};

/// The data, as the mixture needs it.
#[derive(Clone, Debug)]
pub(super) struct Data {
    /// Pieces as middle time and table; those of one connection are side by side.
    pub pieces: Vec<(f64, Table)>,
    /// The pieces of each connection: a range of `pieces`.
    pub tracks: Vec<std::ops::Range<usize>>,
    /// Drifts that lines may have.
    pub window: Window,
    /// Drifts that machines may have anywhere, in ticks per second.
    pub drift_range: f64,
    /// Where lines may bend.
    pub knots: Knots,
    /// The evidence that connections show besides their clocks.
    pub kinds: EvidenceKinds,
    /// Bayes factors at half the resolution, row by row of all pieces; computed when they are first used.
    pub coarse: OnceCell<Vec<[f32; COARSE]>>,
    /// What was done with them.
    pub work: Work,
}

impl Data {
    /// The most that track `t` could gain from a line: the mean of its log Bayes factor under its own
    /// posterior. It is 0 for a track that fits all lines equally well.
    pub(super) fn sharpness(&self, t: usize) -> f64 {
        self.pieces[self.tracks[t].clone()].iter().map(|(_, table)| table.sharpness()).fold(0.0, f64::max)
    }

    /// A copy whose tables may be changed.
    pub(super) fn to_change(&self) -> Self {
        Self { coarse: OnceCell::new(), ..self.clone() }
    }

    /// Bayes factors at half the resolution, row by row of all pieces.
    pub(super) fn coarse(&self) -> &[[f32; COARSE]] {
        self.coarse.get_or_init(|| {
            let mut coarse = Vec::new();
            self.pieces.iter().for_each(|(_, table)| table.add_coarse(&mut coarse));
            coarse
        })
    }

    /// Log Bayes factor of track `t` on a line: by its clock and by its other evidence.
    pub(super) fn factor(&self, t: usize, line: &Line) -> f64 {
        let shown = self.kinds.kind(t).and_then(|kind| line.kinds.get(kind)).copied().unwrap_or(0.0);
        let of_clock: f64 = self.pieces[self.tracks[t].clone()]
            .iter()
            .map(|(x, table)| {
                let (phase, drift) = line.at_time(*x, &self.knots);
                f64::from(table.at(phase, drift))
            })
            .sum();
        of_clock + shown
    }
}

/// A fitted mixture.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    /// The lines.
    pub lines: Vec<Line>,
    /// Share of connections that are on no line.
    pub none: f64,
    /// Log likelihood, against "every connection is a clock of its own".
    pub log_likelihood: f64,
    /// Log Bayes factors, track by line: `factors[t * lines + j]`.
    factors: Vec<f64>,
    /// Log likelihood of each track under the whole mixture.
    densities: Vec<f64>,
}

/// The smallest share of connections on no line: real captures always have some.
const MIN_NONE: f64 = 0.005;

impl Mixture {
    /// A mixture of given lines, not yet fitted.
    pub(super) fn new(data: &Data, lines: Vec<Line>, none: f64) -> Self {
        let mut mixture =
            Self { lines, none, log_likelihood: 0.0, factors: Vec::new(), densities: Vec::new() };
        mixture.evaluate(data, &|_| true);
        mixture
    }

    /// A mixture that differs from a fitted one in some lines, and in weights. Further lines are new.
    pub(super) fn changed(
        data: &Data,
        from: &Self,
        lines: Vec<Line>,
        none: f64,
        differs: impl Fn(usize) -> bool,
    ) -> Self {
        let (before, count) = (from.lines.len(), lines.len());
        let mut factors = Vec::with_capacity(data.tracks.len() * count);
        for t in 0..data.tracks.len() {
            factors.extend_from_slice(&from.factors[t * before..(t + 1) * before]);
            factors.resize((t + 1) * count, 0.0);
        }
        let mut mixture = Self { lines, none, log_likelihood: 0.0, factors, densities: Vec::new() };
        mixture.evaluate(data, &|j| j >= before || differs(j));
        mixture
    }

    /// Recomputes the factors of the lines that moved, and the likelihood.
    fn evaluate(&mut self, data: &Data, moved: &impl Fn(usize) -> bool) {
        let count = self.lines.len();
        self.factors.resize(data.tracks.len() * count, 0.0);
        for j in (0..count).filter(|&j| moved(j)) {
            data.work.add(data.pieces.len());
            for t in 0..data.tracks.len() {
                self.factors[t * count + j] = data.factor(t, &self.lines[j]);
            }
        }
        self.densities = (0..data.tracks.len()).map(|t| self.density(t)).collect();
        self.log_likelihood = self.densities.iter().sum();
    }

    /// Posterior probability of each line for each track, track by track.
    fn posteriors(&self) -> Vec<f64> {
        let count = self.lines.len();
        let mut all = self.factors.clone();
        for (t, row) in all.chunks_exact_mut(count.max(1)).enumerate() {
            let density = self.log_density(t);
            for (p, line) in row.iter_mut().zip(&self.lines) {
                *p = line.weight * (*p - density).exp();
            }
        }
        all
    }

    /// Log of track `t`'s likelihood under the whole mixture.
    pub(super) fn log_density(&self, t: usize) -> f64 {
        self.densities[t]
    }

    fn density(&self, t: usize) -> f64 {
        let count = self.lines.len();
        let row = &self.factors[t * count..(t + 1) * count];
        let top = row.iter().copied().fold(0.0, f64::max);
        let on_lines: f64 = row.iter().zip(&self.lines).map(|(f, l)| l.weight * (f - top).exp()).sum();
        top + (on_lines + self.none * (-top).exp()).ln()
    }

    /// Log of the likelihood that a track would have, if this were its log Bayes factor on the only line.
    pub(super) fn log_density_on(&self, factor: f64) -> f64 {
        let top = factor.max(0.0);
        top + ((1.0 - self.none) * (factor - top).exp() + self.none * (-top).exp()).ln()
    }

    /// Each track's likelihood if it is on one of the lines, against being a clock of its own.
    pub(super) fn likelihoods_on_lines(&self) -> Vec<f64> {
        let on_lines = (1.0 - self.none).max(f64::MIN_POSITIVE);
        self.densities.iter().map(|density| (density.exp() - self.none).max(0.0) / on_lines).collect()
    }

    /// The log likelihood that would be lost without line `j` if nothing else changed.
    pub(super) fn loss_without(&self, j: usize) -> f64 {
        let others = (1.0 - self.lines[j].weight).max(f64::MIN_POSITIVE).ln();
        let left = |t| (1.0 - self.posterior(t, j)).max(1e-12).ln();
        (0..self.densities.len()).map(|t| others - left(t)).sum()
    }

    /// Posterior probability that track `t` is on line `j`.
    pub(super) fn posterior(&self, t: usize, j: usize) -> f64 {
        let count = self.lines.len();
        self.lines[j].weight * (self.factors[t * count + j] - self.log_density(t)).exp()
    }

    /// Runs EM until the likelihood settles, at most `rounds` rounds.
    pub(super) fn fit(&mut self, data: &Data, rounds: usize) {
        self.fit_some(data, rounds, |_| true, Reach::ALL);
    }

    /// Runs EM on the lines for which `moves` is true, with the tracks within `reach`. A trial change
    /// concerns only its neighbours, and the factors of the other lines need no new look-ups.
    pub(super) fn fit_some(
        &mut self,
        data: &Data,
        rounds: usize,
        moves: impl Fn(usize) -> bool,
        reach: Reach,
    ) {
        for _ in (0..rounds).take_while(|_| !data.work.is_hurried()) {
            let before = self.log_likelihood;
            self.round(data, &moves, reach);
            if self.log_likelihood - before < SETTLED {
                break;
            }
        }
    }

    fn round(&mut self, data: &Data, moves: &impl Fn(usize) -> bool, reach: Reach) {
        let tracks = data.tracks.len();
        let count = self.lines.len();
        let posteriors = self.posteriors();
        let mut shares = vec![0.0; count];
        for row in posteriors.chunks_exact(count.max(1)) {
            shares.iter_mut().zip(row).for_each(|(share, p)| *share += p);
        }
        for j in (0..count).filter(|&j| moves(j)) {
            let mut update = Update::new(&data.knots);
            for (t, row) in posteriors.chunks_exact(count).enumerate() {
                let pieces = &data.pieces[data.tracks[t].clone()];
                if row[j] > NEGLIGIBLE && reach.holds(pieces) {
                    update.add(pieces, &self.lines[j], row[j]);
                }
            }
            update.apply(&mut self.lines[j], data.window);
            let kinds = data.kinds.ratios(&shown(data, posteriors.iter().skip(j).step_by(count).copied()));
            self.lines[j].kinds = kinds;
        }
        self.reweigh(&shares, tracks as f64);
        self.evaluate(data, moves);
    }

    /// The expected number of connections of each kind on line `j`.
    pub(super) fn shown(&self, data: &Data, j: usize) -> Vec<f64> {
        shown(data, (0..data.tracks.len()).map(|t| self.posterior(t, j)))
    }

    /// Sets the weights from expected counts: the posterior mean, with a Dirichlet prior of a half each.
    fn reweigh(&mut self, shares: &[f64], tracks: f64) {
        let on_lines: f64 = shares.iter().sum();
        let total = tracks + 0.5 * (shares.len() + 1) as f64;
        let none = (((tracks - on_lines).max(0.0) + 0.5) / total).max(MIN_NONE);
        let scale = (1.0 - none) / (on_lines + 0.5 * shares.len() as f64).max(1e-9);
        for (line, share) in self.lines.iter_mut().zip(shares) {
            line.weight = (share + 0.5) * scale;
        }
        self.none = if shares.is_empty() { 1.0 } else { none };
    }
}

/// The expected number of connections of each kind on a line, from each track's probability to be on it.
fn shown(data: &Data, posteriors: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut counts = data.kinds.none();
    if !counts.is_empty() {
        for (t, p) in posteriors.enumerate() {
            if let Some(kind) = data.kinds.kind(t) {
                counts[kind] += p;
            }
        }
    }
    counts
}

/// The time from which tracks may move a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The middle, in seconds.
    pub about: f64,
    /// The distance from the middle, in seconds.
    pub within_s: f64,
}

impl Reach {
    /// All of time.
    pub(super) const ALL: Self = Self { about: 0.0, within_s: f64::INFINITY };

    fn holds(&self, pieces: &[(f64, Table)]) -> bool {
        pieces.iter().any(|(x, _)| (x - self.about).abs() <= self.within_s)
    }
}

/// The smallest posterior with which a track moves a line.
const NEGLIGIBLE: f64 = 1e-3;

/// EM stops when a round gains less log likelihood than this.
const SETTLED: f64 = 0.02;
