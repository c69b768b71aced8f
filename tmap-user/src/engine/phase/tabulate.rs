//! Tables of all pieces under any noise: what can be kept from one noise to the next, and how much at a time.

use std::{
    cell::{OnceCell, RefCell},
    ops::Range,
    rc::Rc,
};

use super::{
    congestion::Congestion,
    density::{BINS, Density},
    drift::Window,
    evidence_kinds::EvidenceKinds,
    factors::{COARSE, Factors},
    learn::{self, Learned},
    limits::{Limits, Work},
    line::{FittedLine, Knots},
    links::Links,
    mixture::Data,
    piece::Piece,
    room::Taken,
    table::{Circles, Noise, Scores},
    thinning::Thinned,
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
    /// From one track that is tabulated to the next.
    every: usize,
    window: Window,
    density: Density,
    drift_range: f64,
    knots: Knots,
    kinds: EvidenceKinds,
    /// Links of the tracks, where all are tabulated.
    links: Links,
    limits: Limits,
    /// Scores of the tracks that the noise is chosen on.
    chosen: OnceCell<Scores>,
    /// Their circles, by temperature: a search for the noise comes back to each of them.
    circles: RefCell<Vec<(f32, Rc<Circles>)>>,
    /// The room that tables may take.
    _room: Taken,
}

/// The most rows of which the circles of all temperatures are kept, which takes five kilobytes a row. Of more
/// rows, those of one temperature are.
const MOST_KEPT: usize = 16_384;

/// The most rows of which scores and circles are made at a time: they take two kilobytes a row. Long
/// connections whose skews differ much have a thousand rows each.
const MOST_ROWS: usize = 32_768;

/// What scores and circles of a row take, in bytes.
const SCORES_BYTES: usize = 2_048;

/// Tables that a search holds at once: of the last two noises, those being made, and what they are made of.
const TABLES_AT_ONCE: usize = 4;

/// The memory of a row: its circle, and a quarter of that for the proposal of lines.
const ROW_BYTES: usize = size_of::<[f32; BINS]>() + size_of::<[f32; COARSE]>();

/// The range of machines' drifts, from the smallest to the largest, as a share of the rate.
const DRIFT_RANGE: f64 = 4e-4;

/// The fewest points of a piece that teaches the law well: fewer points show mostly their phase.
const GOOD_POINTS: usize = 8;

/// The number of points in good pieces from which no others are needed.
const ENOUGH_POINTS: usize = 400;

impl Tables {
    /// Learns the law of residuals from `cut`, the pieces of each track; `kinds` and `links` are in the same
    /// order. Where memory is short, only some of the tracks are tabulated ([`Self::every`]).
    /// `None` where somebody waits before there is room for tables.
    pub(super) fn new(
        mut cut: Vec<Vec<Piece>>,
        (kinds, links): (EvidenceKinds, Links),
        window: Window,
        hz: f64,
        limits: &Limits,
    ) -> Option<Self> {
        let times = cut.iter().flatten().map(|p| p.x);
        let (low, high) = times.fold((0.0_f64, 0.0_f64), |(l, h), x| (l.min(x), h.max(x)));
        let knots = Knots::new(high - low, hz);
        let mut some: Vec<Piece> = teachers(&cut, ROUGH_FROM).into_iter().cloned().collect();
        let mut learned = Learned::roughly(&some.iter().collect::<Vec<_>>(), window);
        some.iter_mut().for_each(|piece| piece.narrow(window, &learned.density));
        learned.again(&some.iter().collect::<Vec<_>>(), learn::NEARER_ROUNDS);
        cut.iter_mut().flatten().for_each(|piece| piece.narrow(window, &learned.density));
        let thinned = Thinned::to_fit(&mut cut, limits.table_bytes / TABLES_AT_ONCE / ROW_BYTES);
        let bytes = thinned.rows * ROW_BYTES * TABLES_AT_ONCE;
        let room = limits.room.take(bytes, || limits.hurry.ends_searches())?;
        learned.again(&teachers(&cut, LEARNED_FROM), learn::LAST_ROUNDS);
        let congestion = Congestion::observe(cut.iter().flatten(), &learned.density);
        if congestion.is_seen() {
            cut.iter_mut().flatten().for_each(|piece| piece.mark(|x| congestion.at(x)));
            learned.again(&teachers(&cut, LEARNED_FROM), learn::MORE_ROUNDS);
        }
        thinned.coarsen(&mut cut);
        Some(Self {
            cut,
            every: thinned.every,
            window,
            density: learned.density,
            drift_range: DRIFT_RANGE * hz,
            knots,
            kinds: kinds.every(thinned.every),
            links: if thinned.every == 1 { links } else { Links::default() },
            limits: limits.clone(),
            chosen: OnceCell::new(),
            circles: RefCell::default(),
            _room: room,
        })
    }

    /// From one track that is tabulated to the next: more than 1 where the tables of all would take too much
    /// memory.
    pub(super) fn every(&self) -> usize {
        self.every
    }

    /// The most rows of which scores and circles are made at a time.
    fn rows_at_once(&self) -> usize {
        MOST_ROWS.min(self.limits.table_bytes / TABLES_AT_ONCE / SCORES_BYTES)
    }

    /// From one track that the noise is chosen on to the next.
    fn stride(&self) -> usize {
        let rows = self.cut.iter().map(|cut| rows_of(cut)).sum::<usize>();
        self.cut.len().div_ceil(CHOSEN_FROM).max(rows.div_ceil(self.rows_at_once())).max(1)
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
    pub(super) fn data_of_some(&self, noise: &Noise, some: &[Range<usize>]) -> Data {
        let factors = self.circles(noise.temperature).some_factors(self.chosen(), noise, some);
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
            links: if stride == 1 { self.links.clone() } else { Links::default() },
            coarse: OnceCell::new(),
            work: Work::new(&self.limits),
        }
    }

    /// All tracks under a noise. Scores and circles take four times the memory of tables, so they are made
    /// for some tracks at a time. `None` where somebody waits.
    pub(super) fn tabulate(&self, noise: &Noise) -> Option<Data> {
        if self.stride() == 1 {
            let factors = self.circles(noise.temperature).factors(self.chosen(), noise);
            return Some(self.data(1, factors));
        }
        let mut factors = Factors::default();
        factors.reserve(self.cut.iter().map(|cut| rows_of(cut)).sum());
        let mut rest = &self.cut[..];
        while !rest.is_empty() {
            if self.is_hurried() {
                return None;
            }
            let (some, later) = rest.split_at(fewer_rows(rest, self.rows_at_once()));
            rest = later;
            let scores = Scores::new(some.iter().flatten(), self.window, &self.density);
            factors.append(Circles::new(&scores, noise.temperature).factors(&scores, noise));
        }
        Some(self.data(1, factors))
    }

    /// For each piece that the noise is chosen on, its rows near its drifts on these lines.
    pub(super) fn rows_near(&self, lines: &[&FittedLine]) -> Vec<Range<usize>> {
        self.chosen().rows_near(lines, &self.knots)
    }

    /// Whether somebody waits.
    pub(super) fn is_hurried(&self) -> bool {
        self.limits.hurry.ends_searches()
    }
}

fn rows_of(cut: &[Piece]) -> usize {
    cut.iter().map(|piece| piece.ladder.rows).sum()
}

/// How many of the first tracks have no more than `most` rows, and at least one.
fn fewer_rows(tracks: &[Vec<Piece>], most: usize) -> usize {
    let mut rows = 0;
    let fit = tracks.iter().take_while(|cut| {
        rows += rows_of(cut);
        rows <= most
    });
    fit.count().max(1)
}

/// At most `most` pieces that the law of residuals is learned from: of the good ones, or of all where those
/// are few.
fn teachers(cut: &[Vec<Piece>], most: usize) -> Vec<&Piece> {
    let good = || cut.iter().flatten().filter(|piece| piece.len() >= GOOD_POINTS);
    let are_enough = good().map(Piece::len).sum::<usize>() >= ENOUGH_POINTS;
    let chosen: Vec<&Piece> = if are_enough { good().collect() } else { cut.iter().flatten().collect() };
    let stride = chosen.len().div_ceil(most).max(1);
    chosen.into_iter().step_by(stride).collect()
}
