//! The search for the number of lines: forward selection by evidence, with split, removal and restart
//! moves.

use super::{
    hough::{self, Candidate},
    line::{FittedLine, phases_apart},
    mixture::{Data, Mixture, Reach},
};

/// The best mixtures found, one per number of lines.
#[derive(Debug)]
pub(super) struct Found {
    /// The best mixture and its evidence, indexed by the number of lines; `None` where none was tried.
    pub by_count: Vec<Option<(Mixture, f64)>>,
    /// The evidence of phases found under another noise, indexed by the number of lines.
    elsewhere: Vec<f64>,
    /// What is known of the number of lines beside phases.
    pub prior: Prior,
}

/// What is known of the number of lines beside their phases, in nats.
#[derive(Clone, Debug, Default)]
pub(super) struct Prior(Vec<f64>);

impl Prior {
    /// A prior of log-likelihoods, from no line on; nothing is known where it is empty.
    pub(super) fn new(nats: &[f64]) -> Self {
        Self(nats.to_vec())
    }

    /// The log-likelihood of `count` lines.
    pub(super) fn of(&self, count: usize) -> f64 {
        self.0.get(count).or(self.0.last()).copied().unwrap_or(0.0)
    }

    /// How many numbers of lines it tells apart.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The fewest lines, beside none, that are possible.
    fn fewest(&self) -> usize {
        self.0.iter().skip(1).position(|nats| nats.is_finite()).map_or(1, |at| at + 1)
    }
}

impl Found {
    /// The mixture with the largest evidence.
    pub(super) fn best(&self) -> &Mixture {
        let best = self.by_count.iter().flatten().max_by(|a, b| self.judged(a).total_cmp(&self.judged(b)));
        &best.expect("the empty mixture is always there").0
    }

    /// The mixture with the largest evidence among those with lines.
    pub(super) fn best_lines(&self) -> Option<&Mixture> {
        let with_lines = self.by_count.iter().skip(1).flatten();
        with_lines.max_by(|a, b| self.judged(a).total_cmp(&self.judged(b))).map(|(mixture, _)| mixture)
    }

    /// The evidence of [`Self::best`].
    pub(super) fn best_evidence(&self) -> f64 {
        self.by_count.iter().flatten().map(|found| self.judged(found)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The evidence with what is known of the number of lines.
    fn judged(&self, (mixture, evidence): &(Mixture, f64)) -> f64 {
        evidence + self.prior.of(mixture.lines.len())
    }

    /// Evidence for each number of lines: the largest under any noise tried so far.
    pub(super) fn evidences(&self) -> Vec<f64> {
        let judged = |(count, evidence)| evidence + self.prior.of(count);
        self.of_phases().into_iter().enumerate().map(judged).collect()
    }

    /// The evidence of phases alone for each number of lines.
    pub(super) fn of_phases(&self) -> Vec<f64> {
        let own = self.by_count.iter().map(|e| e.as_ref().map_or(f64::NEG_INFINITY, |e| e.1));
        own.zip(self.elsewhere.iter().copied().chain(std::iter::repeat(f64::NEG_INFINITY)))
            .map(|(own, other)| own.max(other))
            .collect()
    }

    /// The mixture that phases alone make likeliest.
    pub(super) fn likeliest(&self) -> &Mixture {
        let best = self.by_count.iter().flatten().max_by(|a, b| a.1.total_cmp(&b.1));
        &best.expect("the empty mixture is always there").0
    }

    /// Adds the evidence that another search found under another noise. The true noise isn't known, so a
    /// number of lines counts if it is likely under either noise.
    pub(super) fn or_better(mut self, other: &Self) -> Self {
        self.elsewhere = other.of_phases();
        self
    }

    /// Keeps a mixture if it is the best of its number of lines, and returns its evidence. Mixtures with a
    /// nearly empty line are not kept: such lines cost little and can fit anything.
    fn offer(&mut self, mixture: Mixture, data: &Data) -> f64 {
        let evidence = mixture.log_evidence(data);
        let tracks = data.tracks.len() as f64;
        if mixture.lines.iter().any(|line| line.weight * tracks < FEWEST_HELD) {
            return evidence;
        }
        let count = mixture.lines.len();
        if self.by_count.len() <= count {
            self.by_count.resize_with(count + 1, || None);
        }
        let place = &mut self.by_count[count];
        if place.as_ref().is_none_or(|(_, e)| evidence > *e) {
            *place = Some((mixture, evidence));
        }
        evidence
    }

    fn at(&self, count: usize) -> Option<&(Mixture, f64)> {
        self.by_count.get(count).and_then(Option::as_ref)
    }

    fn evidence(&self, count: usize) -> f64 {
        self.at(count).map_or(f64::NEG_INFINITY, |found| self.judged(found))
    }
}

/// The fewest tracks on a line, as a sum of probabilities.
const FEWEST_HELD: f64 = 2.0;

/// The candidates tried per birth.
const CANDIDATES: usize = 6;
/// EM rounds for the lines that a trial concerns, and for all lines of a finalist.
const TRIAL_ROUNDS: usize = 6;
const FULL_ROUNDS: usize = 60;
/// Trials whose evidence differs by less have found the same lines.
const SAME_EVIDENCE: f64 = 1e-3;
/// The trials that are fitted in full.
const FINALISTS: usize = 3;
/// The births without gain after which the search still goes on: the next one may gain.
const PATIENCE: usize = 2;

/// A search ends where the evidence fell this far, in nats. In simulated traffic, evidence that fell by five
/// or more never rose again.
const HOPELESS_NATS: f64 = 6.0;

/// With what a search starts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// With nothing. Such a search is a glance, since its noise is not the right one yet.
    Nothing,
    /// With the mixtures of an earlier search.
    From(&'a Found),
}

/// Searches for up to `max_lines` lines.
pub(super) fn search(data: &Data, max_lines: usize, prior: &Prior, start: Start<'_>) -> Found {
    let mut found = Found { by_count: Vec::new(), elsewhere: Vec::new(), prior: prior.clone() };
    found.offer(Mixture::new(data, Vec::new(), 1.0), data);
    let Start::From(before) = start else {
        ascend(data, &mut found, max_lines);
        return found;
    };
    let best = before.best().lines.len();
    for (mixture, _) in before.by_count.iter().flatten().filter(|(m, _)| m.lines.len().abs_diff(best) <= 2) {
        let mut mixture = Mixture::new(data, mixture.lines.clone(), mixture.none);
        mixture.fit(data, FULL_ROUNDS);
        found.offer(mixture, data);
    }
    for _ in 0..MAX_PASSES {
        ascend(data, &mut found, max_lines);
        if found.best().lines.len() < 2 {
            break;
        }
        // From the same lines, another pass would find the same.
        let grown = found.best_evidence();
        improve(data, &mut found);
        if found.best_evidence() < grown + WORTH_A_PASS {
            break;
        }
    }
    found
}

/// The most passes of growth and improvement, and the gain in evidence that makes another pass follow.
const MAX_PASSES: usize = 3;
const WORTH_A_PASS: f64 = 0.1;

/// Grows the best mixture line by line until the evidence stops growing.
fn ascend(data: &Data, found: &mut Found, max_lines: usize) {
    let mut current = found.best().clone();
    let mut without_gain = 0;
    while current.lines.len() < max_lines && without_gain <= PATIENCE && !data.work.is_over() {
        let best = found.best_evidence();
        let Some(next) = grow(data, &current).filter(|_| !data.work.is_hurried()) else { break };
        let count = next.lines.len();
        found.offer(next.clone(), data);
        current = found.at(count).map_or(next, |(mixture, _)| mixture.clone());
        if count < found.prior.fewest() {
            continue;
        }
        if found.evidence(count) < best - HOPELESS_NATS {
            break;
        }
        without_gain = if found.evidence(count) > best { 0 } else { without_gain + 1 };
    }
}

/// The best of several births and splits, by evidence.
fn grow(data: &Data, current: &Mixture) -> Option<Mixture> {
    let births = hough::candidates(data, current, CANDIDATES).into_iter().map(|c| birth(data, current, &c));
    let trials = births.chain(splits(data, current)).map(|m| (m.log_evidence(data), m));
    let mut trials: Vec<(f64, Mixture)> = trials.collect();
    trials.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Several ways often lead to the same lines.
    trials.dedup_by(|a, b| b.0 - a.0 < SAME_EVIDENCE);
    trials.truncate(FINALISTS);
    let settled = trials.into_iter().map(|(_, mut mixture)| {
        mixture.fit(data, FULL_ROUNDS);
        (mixture.log_evidence(data), mixture)
    });
    settled.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, mixture)| mixture)
}

fn birth(data: &Data, current: &Mixture, place: &Candidate) -> Mixture {
    let share = 1.0 / (current.lines.len() + 2) as f64;
    let mut lines: Vec<FittedLine> = current.lines.iter().map(|line| line.lighter(1.0 - share)).collect();
    lines.push(FittedLine::at(place.phase, place.drift, share * 0.8, &data.knots));
    let none = (1.0 - lines.iter().map(|l| l.weight).sum::<f64>()).clamp(0.01, 1.0);
    let mut mixture = Mixture::changed(data, current, lines, none, |_| false);
    let newest = current.lines.len();
    if !data.knots.none() {
        // A candidate is right only near the time where it was found, so a bending line grows from there.
        let mut within_s = place.window_s / 2.0;
        while within_s < span_s(data) {
            let reach = Reach { about: place.about, within_s };
            mixture.fit_some(data, GROWTH_ROUNDS, |j| j == newest, reach);
            within_s += (place.window_s / 4.0).max(within_s * GROWTH_SHARE - MOST_EVEN_S);
        }
    }
    // The nearest line moves as well; the others hardly would.
    let near = nearest(&mixture, newest);
    mixture.fit_some(data, TRIAL_ROUNDS, |j| j == newest || Some(j) == near, Reach::ALL);
    mixture
}

/// EM rounds for each time span by which a bending line grows.
const GROWTH_ROUNDS: usize = 3;

/// Up to hours, a line grows by equal steps. Beyond them its steps grow with its length, so that a line
/// of years costs tens of steps: what lies that far apart tells little of the bends between.
const GROWTH_SHARE: f64 = 0.5;
const MOST_EVEN_S: f64 = 3600.0;

/// The line that passes closest to line `j` at time zero.
fn nearest(mixture: &Mixture, j: usize) -> Option<usize> {
    let distance = |i: &usize| phases_apart(mixture.lines[*i].phase(), mixture.lines[j].phase());
    (0..mixture.lines.len()).filter(|i| *i != j).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// The best few mixtures with one line split in two, in phase or in drift.
fn splits(data: &Data, current: &Mixture) -> Vec<Mixture> {
    let span = span_s(data);
    let newest = current.lines.len();
    let mut halves: Vec<(usize, Mixture)> = Vec::new();
    for j in (0..newest).take_while(|_| !data.work.is_hurried()) {
        for (phase, drift) in [(0.06, 0.0), (0.04, 0.08 / span), (0.04, -0.08 / span)] {
            let mut lines = current.lines.clone();
            let whole = lines[j].lighter(0.5);
            lines[j] = whole.moved(-phase, -drift);
            lines.push(whole.moved(phase, drift));
            let mut mixture = Mixture::changed(data, current, lines, current.none, |i| i == j);
            mixture.fit_some(data, GLANCE_ROUNDS, |i| i == j || i == newest, Reach::ALL);
            halves.push((j, mixture));
        }
    }
    halves.sort_by(|a, b| b.1.log_likelihood.total_cmp(&a.1.log_likelihood));
    halves.truncate(CANDIDATES);
    let settle = |(j, mut mixture): (usize, Mixture)| {
        mixture.fit_some(data, TRIAL_ROUNDS, |i| i == j || i == newest, Reach::ALL);
        mixture
    };
    halves.into_iter().map(settle).collect()
}

/// EM rounds after which only the best splits are kept.
const GLANCE_ROUNDS: usize = 2;

/// Removes each line of the best mixture in turn and adds another. That frees a line that lies between two
/// machines.
fn improve(data: &Data, found: &mut Found) {
    let start = found.best().clone();
    for j in (0..start.lines.len()).take_while(|_| !data.work.is_over()) {
        let mut lines = start.lines.clone();
        lines.remove(j);
        let mut fewer = Mixture::new(data, lines, start.none);
        fewer.fit(data, FULL_ROUNDS / 3);
        if data.work.is_hurried() {
            return;
        }
        found.offer(fewer.clone(), data);
        for place in hough::candidates(data, &fewer, 2) {
            let mut again = birth(data, &fewer, &place);
            again.fit(data, FULL_ROUNDS / 3);
            if data.work.is_hurried() {
                return;
            }
            found.offer(again, data);
        }
    }
}

/// Time from the first piece to the last, in seconds.
fn span_s(data: &Data) -> f64 {
    data.span_s().0.max(1e-3)
}
