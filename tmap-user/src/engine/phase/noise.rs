//! The noise: how much connections scatter about their line, chosen by the evidence of the mixture.
//!
//! The law of residuals within connections is learned exactly. What moves whole connections off their
//! machine's line (queues that last as long as a connection, paths through a host) shows only between
//! connections. So lines are fitted with a medium noise, then the noise that explains them best is
//! chosen, and lines are fitted again.

use std::cell::OnceCell;

use super::{
    congestion::Congestion,
    density::Density,
    drift::Window,
    evidence_kinds::EvidenceKinds,
    learn,
    limits::{Limits, Work},
    line::Knots,
    mixture::{Data, Mixture},
    piece::Piece,
    search::{self, Found, Prior},
    table::{Circles, Noise, Scores, Table},
};

/// The most pieces that the law of delay is learned from.
pub(super) const LEARNED_FROM: usize = 200;

/// The most tracks that the noise is chosen on.
pub(super) const CHOSEN_FROM: usize = 400;

/// Tabulates pieces under any noise.
pub(super) struct Tables {
    cut: Vec<Vec<Piece>>,
    window: Window,
    density: Density,
    drift_range: f64,
    knots: Knots,
    kinds: EvidenceKinds,
    limits: Limits,
}

/// The range of machines' drifts, from the smallest to the largest, as a share of the rate.
const DRIFT_RANGE: f64 = 4e-4;

/// The fewest points of a piece that teaches the law well: fewer points show mostly their phase.
const GOOD_POINTS: usize = 8;

/// The number of points in good pieces from which no others are needed.
const ENOUGH_POINTS: usize = 400;

impl Tables {
    /// Learns the law of residuals from `cut`, the pieces of each track; `kinds` are in the same order.
    pub(super) fn new(
        mut cut: Vec<Vec<Piece>>,
        kinds: EvidenceKinds,
        window: Window,
        hz: f64,
        limits: &Limits,
    ) -> Self {
        let times = cut.iter().flatten().map(|p| p.x);
        let (low, high) = times.fold((0.0_f64, 0.0_f64), |(l, h), x| (l.min(x), h.max(x)));
        let knots = Knots::new(high - low, hz);
        let mut learned = learn::learn(&teachers(&cut), window);
        let congestion = Congestion::observe(cut.iter().flatten(), window, &learned.density);
        if congestion.is_seen() {
            cut.iter_mut().flatten().for_each(|piece| piece.mark(|x| congestion.at(x)));
            learned.again(&teachers(&cut), window, learn::MORE_ROUNDS);
        }
        let density = learned.density;
        Self { cut, window, density, drift_range: DRIFT_RANGE * hz, knots, kinds, limits: limits.clone() }
    }

    /// The scores of every `stride`-th track.
    fn scores(&self, stride: usize) -> Scores {
        Scores::new(self.cut.iter().step_by(stride).flatten(), self.window, &self.density)
    }

    /// The data of every `stride`-th track, of which `pieces` are the tables.
    fn data(&self, stride: usize, pieces: Vec<(f64, Table)>) -> Data {
        let mut tracks = Vec::new();
        let mut from = 0;
        for cut in self.cut.iter().step_by(stride) {
            tracks.push(from..from + cut.len());
            from += cut.len();
        }
        Data {
            pieces,
            tracks,
            window: self.window,
            drift_range: self.drift_range,
            knots: self.knots,
            kinds: self.kinds.every(stride),
            coarse: OnceCell::new(),
            work: Work::new(&self.limits),
        }
    }

    /// All tracks under a noise. Scores and circles take three times the memory of tables, so they are made
    /// for some tracks at a time. `None` where somebody waits.
    fn tabulate(&self, noise: &Noise) -> Option<Data> {
        let mut tables = Vec::new();
        for cut in self.cut.chunks(CHOSEN_FROM) {
            if self.limits.hurry.ends_searches() {
                return None;
            }
            let scores = Scores::new(cut.iter().flatten(), self.window, &self.density);
            tables.extend(Circles::new(&scores, noise.temperature).tables(&scores, noise));
        }
        Some(self.data(1, tables))
    }
}

/// The pieces that the law of residuals is learned from: the good ones, or all where those are few.
fn teachers(cut: &[Vec<Piece>]) -> Vec<&Piece> {
    let good = || cut.iter().flatten().filter(|piece| piece.len() >= GOOD_POINTS);
    let are_enough = good().map(Piece::len).sum::<usize>() >= ENOUGH_POINTS;
    let chosen: Vec<&Piece> = if are_enough { good().collect() } else { cut.iter().flatten().collect() };
    let stride = chosen.len().div_ceil(LEARNED_FROM).max(1);
    chosen.into_iter().step_by(stride).collect()
}

/// Temperatures tried: 1 is "residuals are independent". A burst shares its delay, so its n points tell
/// only as much as fewer independent ones.
const TEMPERATURES: [f32; 5] = [1.0, 1.2, 1.4, 1.7, 2.0];

/// Scatters tried, in ticks: a quarter apart.
const SCATTERS: [f32; 15] =
    [0.004, 0.005, 0.006_5, 0.008, 0.01, 0.012, 0.016, 0.02, 0.025, 0.03, 0.038, 0.048, 0.06, 0.08, 0.1];

/// The noise with which the search starts.
const MIDDLING: Noise = Noise { temperature: 1.4, scatter: 0.02, dull_share: 0.02, outlier_share: 0.01 };

/// Fits lines, chooses the noise and fits lines again; once more if the second choice differs. `None` where
/// somebody waits and no line was fitted yet.
pub(super) fn choose(tables: &Tables, max_lines: usize, prior: &Prior) -> Option<(Data, Found)> {
    let mut noise = MIDDLING;
    let mut data = tables.tabulate(&noise)?;
    let mut found = search::search(&data, max_lines, prior, None);
    for _ in 0..2 {
        let chosen = best_noise(tables, &found, noise);
        if chosen == noise {
            break;
        }
        let Some(again) = tables.tabulate(&chosen) else { break };
        again.work.take_over(&data.work);
        let there = search::search(&again, max_lines, prior, Some(&found));
        if there.best_evidence() < found.best_evidence() {
            found = found.or_better(&there);
            break;
        }
        noise = chosen;
        data = again;
        found = there.or_better(&found);
    }
    Some((data, found))
}

/// The noise under which the present lines, or one more, have the largest evidence. It is searched one
/// coordinate after the other.
fn best_noise(tables: &Tables, found: &Found, start: Noise) -> Noise {
    let count = found.best().lines.len();
    let mixtures: Vec<&Mixture> =
        [count, count + 1].iter().filter_map(|c| found.by_count.get(*c)?.as_ref()).map(|(m, _)| m).collect();
    let stride = tables.cut.len().div_ceil(CHOSEN_FROM);
    let scores = tables.scores(stride);
    let mut circles: Option<(f32, Circles)> = None;
    let mut tried: Vec<(Noise, f64)> = Vec::new();
    let mut evidence = |noise: Noise| {
        if let Some((_, known)) = tried.iter().find(|(n, _)| *n == noise) {
            return *known;
        }
        if tables.limits.hurry.ends_searches() {
            return f64::NEG_INFINITY;
        }
        let circles = match &mut circles {
            Some((temperature, circles)) if *temperature == noise.temperature => circles,
            other => &mut other.insert((noise.temperature, Circles::new(&scores, noise.temperature))).1,
        };
        let data = tables.data(stride, circles.tables(&scores, &noise));
        let of = |m: &&Mixture| {
            let mut mixture = Mixture::new(&data, m.lines.clone(), m.none);
            mixture.fit(&data, CHOICE_ROUNDS);
            mixture.log_evidence(&data)
        };
        let best = mixtures.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        tried.push((noise, best));
        best
    };
    let mut best = start;
    for _ in 0..2 {
        let before = best;
        best = climb(
            &TEMPERATURES,
            best,
            |n| n.temperature,
            |temperature, n| Noise { temperature, ..n },
            &mut evidence,
        );
        best = climb(&SCATTERS, best, |n| n.scatter, |scatter, n| Noise { scatter, ..n }, &mut evidence);
        if best == before {
            break;
        }
    }
    best
}

/// Moves along `grid` from `start` while the evidence grows, first by two values at a time, then by one.
fn climb(
    grid: &[f32],
    start: Noise,
    of: impl Fn(&Noise) -> f32,
    with: impl Fn(f32, Noise) -> Noise,
    evidence: &mut impl FnMut(Noise) -> f64,
) -> Noise {
    let mut at = grid.partition_point(|value| *value < of(&start)).min(grid.len() - 1);
    let mut best = (start, evidence(start));
    for step in [2_usize, 1] {
        for up in [true, false] {
            while let Some(next) = if up { Some(at + step) } else { at.checked_sub(step) } {
                let Some(value) = grid.get(next) else { break };
                let noise = with(*value, start);
                let there = evidence(noise);
                if there <= best.1 {
                    break;
                }
                (at, best) = (next, (noise, there));
            }
        }
    }
    best.0
}

/// Rounds of EM with each noise: few, because the lines are already near.
const CHOICE_ROUNDS: usize = 15;
