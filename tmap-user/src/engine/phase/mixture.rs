//! A mixture of lines on the cylinder (time, phase modulo one tick), fitted by EM.
//!
//! Every connection belongs to one of the lines or, with a small probability, to none. EM is that of
//! Dempster, Laird and Rubin 1977; its M step updates each line once by Fisher scoring.

use std::{cell::OnceCell, ops::Range};

use super::{
    density::BINS,
    drift::Window,
    evidence_kinds::EvidenceKinds,
    factors::{COARSE, Factors},
    limits::Work,
    line::{FittedLine, Knots, Update},
    links::Links,
    mixing::{self, LANES},
};

/// The data, as the mixture needs it.
#[derive(Clone, Debug)]
pub(super) struct Data {
    /// Log Bayes factors of the pieces; those of one connection are side by side.
    pub factors: Factors,
    /// The pieces of each connection: a range of those in `factors`.
    pub tracks: Vec<Range<usize>>,
    /// Drifts that lines may have.
    pub window: Window,
    /// Drifts that machines may have anywhere, in ticks per second.
    pub drift_range: f64,
    /// Where lines may bend.
    pub knots: Knots,
    /// The evidence that connections show besides their clocks.
    pub kinds: EvidenceKinds,
    /// Which connections are most likely of one machine by other evidence.
    pub links: Links,
    /// Bayes factors at a quarter of the phases, row by row of all pieces; computed when they are first used.
    pub coarse: OnceCell<Vec<[f32; COARSE]>>,
    /// What was done with them.
    pub work: Work,
}

impl Data {
    /// The most that track `t` could gain from a line: the mean of its log Bayes factor under its own
    /// posterior. It is 0 for a track that fits all lines equally well.
    pub(super) fn sharpness(&self, t: usize) -> f64 {
        self.tracks[t].clone().map(|piece| self.factors.sharpness(piece)).fold(0.0, f64::max)
    }

    /// A copy whose tables may be changed.
    pub(super) fn to_change(&self) -> Self {
        Self { coarse: OnceCell::new(), ..self.clone() }
    }

    /// Bayes factors at a quarter of the phases, row by row of all pieces.
    pub(super) fn coarse(&self) -> &[[f32; COARSE]] {
        self.coarse.get_or_init(|| self.factors.coarse())
    }

    /// Time from the first piece to the last, in seconds, and the middle between them.
    pub(super) fn span_s(&self) -> (f64, f64) {
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = self.factors.times().fold(ends, |(l, h), x| (l.min(x), h.max(x)));
        (high - low, (low + high) / 2.0)
    }

    /// Log Bayes factor of track `t` on a line by its evidence besides its clock.
    fn factor_of_kind(&self, t: usize, line: &FittedLine) -> f32 {
        if line.kinds.is_empty() {
            return 0.0;
        }
        self.kinds.kind(t).and_then(|kind| line.kinds.get(kind)).map_or(0.0, |factor| *factor as f32)
    }

    /// Log Bayes factor of track `t` on a line: by its clock and by its other evidence.
    #[inline(always)]
    fn factor(&self, t: usize, line: &FittedLine) -> f32 {
        let mut sum = self.factor_of_kind(t, line);
        for piece in self.tracks[t].clone() {
            let (phase, drift) = line.at_time(self.factors.x(piece), &self.knots);
            sum += self.factors.at(piece, phase, drift);
        }
        sum
    }

    /// Log Bayes factors of track `t` on a line, and on the same line at each whole bin after it.
    pub(super) fn circle(&self, t: usize, line: &FittedLine) -> [f32; BINS] {
        let mut sums = [self.factor_of_kind(t, line); BINS];
        for piece in self.tracks[t].clone() {
            let (phase, drift) = line.at_time(self.factors.x(piece), &self.knots);
            self.factors.add_circle(piece, phase, drift, &mut sums);
        }
        sums
    }
}

/// A fitted mixture.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    /// The lines.
    pub lines: Vec<FittedLine>,
    /// Share of connections that are on no line.
    pub none: f64,
    /// Log likelihood, against "every connection is a clock of its own".
    pub log_likelihood: f64,
    /// Log Bayes factors of tracks by themselves, line by line: `own[j * places + t]`, where the number of
    /// places is that of tracks, rounded up.
    own: Vec<f32>,
    /// Those with what links tell.
    factors: Vec<f32>,
    /// Log likelihood of each track under the whole mixture.
    logs: Vec<f32>,
}

/// The smallest share of connections on no line: real captures always have some.
const MIN_NONE: f64 = 0.005;

impl Mixture {
    /// A mixture of given lines, not yet fitted.
    pub(super) fn new(data: &Data, lines: Vec<FittedLine>, none: f64) -> Self {
        let own = Vec::with_capacity(lines.len() * places(data));
        let logs = vec![0.0; places(data)];
        let mut mixture = Self { lines, none, log_likelihood: 0.0, own, factors: Vec::new(), logs };
        mixture.evaluate(data, &|_| true);
        mixture
    }

    /// A mixture that differs from a fitted one in some lines, and in weights. Further lines are new.
    pub(super) fn changed(
        data: &Data,
        from: &Self,
        lines: Vec<FittedLine>,
        none: f64,
        differs: impl Fn(usize) -> bool,
    ) -> Self {
        let before = from.lines.len();
        let mut own = Vec::with_capacity(lines.len() * places(data));
        own.extend_from_slice(&from.own);
        let logs = vec![0.0; places(data)];
        let mut mixture = Self { lines, none, log_likelihood: 0.0, own, factors: Vec::new(), logs };
        mixture.evaluate(data, &|j| j >= before || differs(j));
        mixture
    }

    /// Recomputes the factors of the lines that moved, and the likelihood.
    fn evaluate(&mut self, data: &Data, moved: &impl Fn(usize) -> bool) {
        let places = places(data);
        self.own.resize(self.lines.len() * places, 0.0);
        for (j, line) in self.lines.iter().enumerate().filter(|(j, _)| moved(*j)) {
            data.work.add(data.factors.len());
            let factors = &mut self.own[j * places..(j + 1) * places];
            factors
                .iter_mut()
                .take(data.tracks.len())
                .enumerate()
                .for_each(|(t, f)| *f = data.factor(t, line));
        }
        let (mut factors, mut logs) = (std::mem::take(&mut self.factors), std::mem::take(&mut self.logs));
        self.weigh(&data.links, &mut factors, &mut logs);
        (self.factors, self.logs) = (factors, logs);
        self.log_likelihood = self.logs[..data.tracks.len()].iter().map(|log| f64::from(*log)).sum();
    }

    /// Fills `logs` with the log likelihood of each track where these links tell more, and `factors` with the
    /// factors that include that; they stay as they are without links.
    fn weigh(&self, links: &Links, factors: &mut Vec<f32>, logs: &mut [f32]) {
        let weights: Vec<f32> = self.lines.iter().map(|line| line.weight as f32).collect();
        let none = self.none as f32;
        mixing::log_likelihoods(&self.own, &weights, none, logs);
        if !links.none() {
            factors.clone_from(&self.own);
            links.weigh(&weights, none, factors, logs);
        }
    }

    /// Log Bayes factors of all tracks on line `j`.
    fn factors_on(&self, j: usize) -> &[f32] {
        let places = self.logs.len();
        let factors = if self.factors.is_empty() { &self.own } else { &self.factors };
        &factors[j * places..(j + 1) * places]
    }

    /// Fills `posteriors` with the probability of each track to be on line `j`.
    fn fill_posteriors(&self, j: usize, posteriors: &mut [f32]) {
        mixing::posteriors(self.factors_on(j), self.lines[j].weight as f32, &self.logs, posteriors);
    }

    /// Log Bayes factor of track `t` by itself on line `j`.
    fn factor(&self, t: usize, j: usize) -> f64 {
        f64::from(self.own[j * self.logs.len() + t])
    }

    /// Log of track `t`'s likelihood under the whole mixture.
    pub(super) fn log_density(&self, t: usize) -> f32 {
        self.logs[t]
    }

    /// Each track's likelihood by itself if it is on one of the lines, against being a clock of its own.
    pub(super) fn likelihoods_on_lines(&self, data: &Data) -> Vec<f64> {
        let on_lines = (1.0 - self.none).max(f64::MIN_POSITIVE);
        let logs = self.logs_with(&Links::default());
        let likelihoods = logs.iter().take(data.tracks.len()).map(|log| f64::from(*log).exp());
        likelihoods.map(|likelihood| (likelihood - self.none).max(0.0) / on_lines).collect()
    }

    /// How much better tracks are explained by the line that fits each best than by no line, in nats. Unlike
    /// the likelihood, it doesn't fall with the number of lines that each track might have been on.
    pub(super) fn explained(&self, data: &Data) -> f64 {
        let best = |t: usize| (0..self.lines.len()).map(|j| self.factor(t, j)).fold(0.0, f64::max);
        (0..data.tracks.len()).map(best).sum()
    }

    /// Log likelihood of these lines with other links of tracks.
    pub(super) fn log_likelihood_with(&self, links: &Links) -> f64 {
        // Places beyond the last track have no likelihood to lose.
        self.logs_with(links).iter().map(|log| f64::from(*log)).sum()
    }

    /// Log likelihood of each track with other links.
    fn logs_with(&self, links: &Links) -> Vec<f32> {
        let mut logs = vec![0.0; self.logs.len()];
        self.weigh(links, &mut Vec::new(), &mut logs);
        logs
    }

    /// This mixture without line `j`, whose share goes to what is left.
    fn without(&self, j: usize) -> Self {
        let left = (1.0 - self.lines[j].weight).max(f64::MIN_POSITIVE);
        let mut others = Self { none: self.none / left, ..self.clone() };
        others.lines.remove(j);
        others.lines.iter_mut().for_each(|line| line.weight /= left);
        let places = self.logs.len();
        others.own.drain(j * places..(j + 1) * places);
        others
    }

    /// The log likelihood that would be lost without line `j` if nothing else changed.
    pub(super) fn loss_without(&self, data: &Data, j: usize) -> f64 {
        if !data.links.none() {
            return self.log_likelihood - self.without(j).log_likelihood_with(&data.links);
        }
        let others = (1.0 - self.lines[j].weight).max(f64::MIN_POSITIVE).ln();
        // One minus the posterior would be rounded to nothing where a track is surely on the line.
        let elsewhere = |t: usize| {
            let log = f64::from(self.logs[t]);
            let on = |i: usize| self.lines[i].weight * (f64::from(self.factors_on(i)[t]) - log).exp();
            let lines = (0..self.lines.len()).filter(|i| *i != j).map(on);
            lines.sum::<f64>() + self.none * (-log).exp()
        };
        (0..data.tracks.len()).map(|t| others - elsewhere(t).max(1e-12).ln()).sum()
    }

    /// Posterior probability that track `t` is on line `j`.
    pub(super) fn posterior(&self, t: usize, j: usize) -> f64 {
        self.lines[j].weight * f64::from(self.factors_on(j)[t] - self.logs[t]).exp()
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
        let mut posteriors = vec![0.0; self.logs.len()];
        let mut shares = vec![0.0; self.lines.len()];
        for (j, share) in shares.iter_mut().enumerate() {
            self.fill_posteriors(j, &mut posteriors);
            let posteriors = &posteriors[..tracks];
            *share = posteriors.iter().map(|p| f64::from(*p)).sum();
            if moves(j) {
                self.update(j, data, posteriors, reach);
            }
        }
        self.reweigh(&shares, tracks as f64);
        self.evaluate(data, moves);
    }

    /// Moves line `j` to where the tracks that are on it with these probabilities are likelier.
    fn update(&mut self, j: usize, data: &Data, posteriors: &[f32], reach: Reach) {
        let line = &mut self.lines[j];
        let mut update = Update::new(&data.knots);
        let near = posteriors
            .iter()
            .zip(&data.tracks)
            .filter(|(p, pieces)| **p > NEGLIGIBLE && reach.holds(&data.factors, (*pieces).clone()));
        update.add(&data.factors, line, near.map(|(p, pieces)| (pieces.clone(), f64::from(*p))));
        update.apply(line, data.window);
        if data.kinds.differ() {
            line.kinds = data.kinds.ratios(&shown(data, posteriors.iter().map(|p| f64::from(*p))));
        }
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

/// The number of places that a line's factors take: that of tracks, rounded up.
fn places(data: &Data) -> usize {
    data.tracks.len().next_multiple_of(LANES)
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

    fn holds(&self, factors: &Factors, mut pieces: Range<usize>) -> bool {
        self.within_s == f64::INFINITY
            || pieces.any(|piece| (factors.x(piece) - self.about).abs() <= self.within_s)
    }
}

/// The smallest posterior with which a track moves a line.
const NEGLIGIBLE: f32 = 1e-3;

/// EM stops when a round gains less log likelihood than this.
const SETTLED: f64 = 0.02;
