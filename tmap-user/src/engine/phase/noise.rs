//! The noise: how much connections scatter about their line, chosen by the evidence of the mixture.
//!
//! The law of residuals within connections is learned exactly. What moves whole connections off their
//! machine's line (queues that last as long as a connection, paths through a host) shows only between
//! connections. So lines are fitted with a medium noise, then the noise that explains them best is
//! chosen, and lines are fitted again.

use std::{
    cell::{OnceCell, RefCell},
    ops::Range,
    rc::Rc,
};

use super::{
    congestion::Congestion,
    density::Density,
    drift::Window,
    evidence_kinds::EvidenceKinds,
    factors::Factors,
    learn::{self, Learned},
    line::{Knots, Line},
    mixture::{Data, Mixture, Work},
    piece::Piece,
    search::{self, Found, Prior, Start},
    table::{Circles, Noise, Scores},
};

/// The most pieces that the law of delay is learned from.
pub(super) const LEARNED_FROM: usize = 200;

/// The most pieces that it is learned from at first, roughly.
const ROUGH_FROM: usize = 24;

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
    /// Scores of the tracks that the noise is chosen on.
    chosen: OnceCell<Scores>,
    /// Their circles, by temperature: a search for the noise comes back to each of them.
    circles: RefCell<Vec<(f32, Rc<Circles>)>>,
    /// Memory for the next tables: a search for the noise needs many, one after the other.
    spare: RefCell<Factors>,
}

/// The most rows of which the circles of all temperatures are kept, which takes five kilobytes a row. Of more
/// rows, those of one temperature are.
const MOST_KEPT: usize = 16_384;

/// The range of machines' drifts, from the smallest to the largest, as a share of the rate.
const DRIFT_RANGE: f64 = 4e-4;

/// The fewest points of a piece that teaches the law well: fewer points show mostly their phase.
const GOOD_POINTS: usize = 8;

/// The number of points in good pieces from which no others are needed.
const ENOUGH_POINTS: usize = 400;

impl Tables {
    /// Learns the law of residuals from `cut`, the pieces of each track; `kinds` are in the same order.
    pub(super) fn new(mut cut: Vec<Vec<Piece>>, kinds: EvidenceKinds, window: Window, hz: f64) -> Self {
        let times = cut.iter().flatten().map(|p| p.x);
        let (low, high) = times.fold((0.0_f64, 0.0_f64), |(l, h), x| (l.min(x), h.max(x)));
        let knots = Knots::new(high - low, hz);
        let mut some: Vec<Piece> = teachers(&cut, ROUGH_FROM).into_iter().cloned().collect();
        let mut learned = Learned::roughly(&some.iter().collect::<Vec<_>>(), window);
        some.iter_mut().for_each(|piece| piece.narrow(window, &learned.density));
        learned.again(&some.iter().collect::<Vec<_>>(), learn::NEARER_ROUNDS);
        cut.iter_mut().flatten().for_each(|piece| piece.narrow(window, &learned.density));
        learned.again(&teachers(&cut, LEARNED_FROM), learn::LAST_ROUNDS);
        let congestion = Congestion::observe(cut.iter().flatten(), &learned.density);
        if congestion.is_seen() {
            cut.iter_mut().flatten().for_each(|piece| piece.mark(|x| congestion.at(x)));
            learned.again(&teachers(&cut, LEARNED_FROM), learn::MORE_ROUNDS);
        }
        Self {
            cut,
            window,
            density: learned.density,
            drift_range: DRIFT_RANGE * hz,
            knots,
            kinds,
            chosen: OnceCell::new(),
            circles: RefCell::default(),
            spare: RefCell::default(),
        }
    }

    /// From one track that the noise is chosen on to the next.
    fn stride(&self) -> usize {
        self.cut.len().div_ceil(CHOSEN_FROM).max(1)
    }

    /// The scores of the tracks that the noise is chosen on.
    fn chosen(&self) -> &Scores {
        let tracks = || self.cut.iter().step_by(self.stride()).flatten();
        self.chosen.get_or_init(|| Scores::new(tracks(), self.window, &self.density))
    }

    /// The circles of these tracks at a temperature.
    fn circles(&self, temperature: f32) -> Rc<Circles> {
        let mut known = self.circles.borrow_mut();
        if let Some((_, circles)) = known.iter().find(|(of, _)| *of == temperature) {
            return Rc::clone(circles);
        }
        if self.chosen().rows() > MOST_KEPT {
            known.clear();
        }
        let circles = Rc::new(Circles::new(self.chosen(), temperature));
        known.push((temperature, Rc::clone(&circles)));
        circles
    }

    /// The data of these tracks under a noise, with only these rows.
    fn data_of_some(&self, noise: &Noise, some: &[Range<usize>]) -> Data {
        let mut factors = self.spare.take();
        self.circles(noise.temperature).fill_some(self.chosen(), noise, some, &mut factors);
        self.data(self.stride(), factors)
    }

    /// The data of every `stride`-th track, of which `factors` are the tables.
    fn data(&self, stride: usize, factors: Factors) -> Data {
        let mut tracks = Vec::new();
        let mut from = 0;
        for cut in self.cut.iter().step_by(stride) {
            tracks.push(from..from + cut.len());
            from += cut.len();
        }
        Data {
            factors,
            tracks,
            window: self.window,
            drift_range: self.drift_range,
            knots: self.knots,
            kinds: self.kinds.every(stride),
            coarse: OnceCell::new(),
            work: Work::default(),
        }
    }

    /// All tracks under a noise. Scores and circles take three times the memory of tables, so they are made
    /// for some tracks at a time.
    fn tabulate(&self, noise: &Noise) -> Data {
        let mut factors = Factors::default();
        if self.stride() == 1 {
            self.circles(noise.temperature).fill_factors(self.chosen(), noise, &mut factors);
            return self.data(1, factors);
        }
        for cut in self.cut.chunks(CHOSEN_FROM) {
            let scores = Scores::new(cut.iter().flatten(), self.window, &self.density);
            let mut some = Factors::default();
            Circles::new(&scores, noise.temperature).fill_factors(&scores, noise, &mut some);
            factors.append(some);
        }
        self.data(1, factors)
    }
}

/// At most `most` pieces that the law of residuals is learned from: of the good ones, or of all where those are
/// few.
fn teachers(cut: &[Vec<Piece>], most: usize) -> Vec<&Piece> {
    let good = || cut.iter().flatten().filter(|piece| piece.len() >= GOOD_POINTS);
    let are_enough = good().map(Piece::len).sum::<usize>() >= ENOUGH_POINTS;
    let chosen: Vec<&Piece> = if are_enough { good().collect() } else { cut.iter().flatten().collect() };
    let stride = chosen.len().div_ceil(most).max(1);
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

/// Fits lines roughly, chooses the noise and fits lines well; once more if a second choice differs.
pub(super) fn choose(tables: &Tables, max_lines: usize, prior: &Prior) -> (Data, Found) {
    let rough = tables.tabulate(&MIDDLING);
    let glance = search::search(&rough, max_lines, prior, Start::Nothing);
    let noise = best_noise(tables, &glance, MIDDLING, ROUGHLY);
    let (data, found) = fit(tables, noise, max_lines, (&rough, &glance));
    let chosen = best_noise(tables, &found, noise, FINELY);
    if chosen == noise {
        return (data, found);
    }
    let (there, again) = fit(tables, chosen, max_lines, (&data, &found));
    if again.best_evidence() < found.best_evidence() {
        return (data, found.or_better(&again));
    }
    (there, again)
}

/// Fits lines under a noise, from those that were found before.
fn fit(tables: &Tables, noise: Noise, max_lines: usize, before: (&Data, &Found)) -> (Data, Found) {
    let (data_before, found_before) = before;
    let data = tables.tabulate(&noise);
    data.work.take_over(&data_before.work);
    let found = search::search(&data, max_lines, &found_before.prior, Start::From(found_before));
    (data, found.or_better(found_before))
}

/// The noise under which the present lines, or one more, have the largest evidence. It is searched one
/// coordinate after the other.
fn best_noise(tables: &Tables, found: &Found, start: Noise, steps: Steps) -> Noise {
    let count = found.best().lines.len();
    let mixtures: Vec<&Mixture> =
        [count, count + 1].iter().filter_map(|c| found.by_count.get(*c)?.as_ref()).map(|(m, _)| m).collect();
    // Other rows would only matter if the lines moved far.
    let lines: Vec<&Line> = mixtures.iter().flat_map(|mixture| &mixture.lines).collect();
    let near = tables.chosen().rows_near(&lines, &tables.knots);
    let mut tried: Vec<(Noise, f64)> = Vec::new();
    let mut evidence = |noise: Noise| {
        if let Some((_, known)) = tried.iter().find(|(n, _)| *n == noise) {
            return *known;
        }
        let data = tables.data_of_some(&noise, &near);
        let of = |m: &&Mixture| {
            let mut mixture = Mixture::new(&data, m.lines.clone(), m.none);
            mixture.fit(&data, CHOICE_ROUNDS);
            mixture.log_evidence(&data)
        };
        let best = mixtures.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        tables.spare.replace(data.factors);
        tried.push((noise, best));
        best
    };
    let mut best = start;
    for _ in 0..steps.turns {
        let before = best;
        best = climb((&TEMPERATURES, steps.of_temperature), best, |n| &mut n.temperature, &mut evidence);
        best = climb((&SCATTERS, steps.of_scatter), best, |n| &mut n.scatter, &mut evidence);
        if best == before {
            break;
        }
    }
    best
}

/// How a search for the noise goes along its grids.
#[derive(Clone, Copy, Debug)]
struct Steps {
    /// Values from one that is tried to the next. Another temperature costs more than another scatter.
    of_temperature: usize,
    of_scatter: usize,
    /// How often both coordinates are searched at most.
    turns: usize,
}

/// Under a noise that is far off, lines are so, too: the first choice need not be exact. It leaves the
/// temperature alone.
const ROUGHLY: Steps = Steps { of_temperature: TEMPERATURES.len(), of_scatter: 3, turns: 1 };
const FINELY: Steps = Steps { of_temperature: 1, of_scatter: 1, turns: 2 };

/// Moves `start` along a grid by equal steps while the evidence grows.
fn climb(
    (grid, step): (&[f32], usize),
    start: Noise,
    coordinate: impl Fn(&mut Noise) -> &mut f32,
    evidence: &mut impl FnMut(Noise) -> f64,
) -> Noise {
    let mut best = (start, evidence(start));
    let from = *coordinate(&mut best.0);
    let mut at = grid.partition_point(|value| *value < from).min(grid.len() - 1);
    for up in [true, false] {
        while let Some(next) = if up { Some(at + step) } else { at.checked_sub(step) } {
            let Some(value) = grid.get(next) else { break };
            let mut noise = start;
            *coordinate(&mut noise) = *value;
            let there = evidence(noise);
            if there <= best.1 {
                break;
            }
            (at, best) = (next, (noise, there));
        }
    }
    best.0
}

/// Rounds of EM with each noise: few, because the lines are already near.
const CHOICE_ROUNDS: usize = 15;
