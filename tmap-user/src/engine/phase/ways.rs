//! Other ways to lay lines through the same phases, where connections begin at regular times or in few
//! visits.
//!
//! Where drifts may differ by several ticks for each period, one line finds a way through the phases of
//! several machines. A window of drifts as wide as one tick for each period holds an image of each line, and
//! leaves no such way. Through few visits, many lines pass; most clocks are near the nominal rate, so
//! narrower windows may hold better ones, which a search of the whole one misses.

use super::{
    drift::Window,
    mixture::Data,
    regular::{self, Shown},
    search::{self, Found, Prior, Start},
};

/// Lines explain the tracks as well as others do where those explain them better by no more than this, in
/// nats: so much, and so much more for each track.
const AS_GOOD_NATS: f64 = 5.0;
const AS_GOOD_NATS_EACH: f64 = 0.02;

/// What a line explains in tracks that are other lines', in nats: its phase and its drift are free.
const EACH_LINE_NATS: f64 = 9.0;

/// Ways that are less likely than the best one by this, in nats, say nothing of the number of lines.
const LIKELY_NATS: f64 = 5.0;

/// Windows of drifts, as shares of the whole one, in which few visits are looked at again.
const NARROW: [f64; 2] = [0.2, 0.05];

/// Few visits leave many ways where drifts may differ by more than this over the data, in ticks. In simulated
/// page loads, intervals held the truth in nine of ten cases up to there, and less often beyond.
const MANY_TICKS: f64 = 150.0;

/// What was found.
pub(super) struct Ways {
    /// The lines that are told.
    pub best: Found,
    /// Others that may be the true ones.
    pub others: Vec<Found>,
    /// Whether nothing sets an upper bound of the number of lines.
    pub is_open: bool,
}

/// The settings of a search: the most lines, and what is known of their number.
pub(super) type Search<'a> = (usize, &'a Prior);

/// Searches again where the times at which connections begin leave several ways. `lines` are the connections
/// on each line that was `found`.
pub(super) fn search_again(data: &mut Data, found: Found, search: Search<'_>, lines: &[Vec<Shown>]) -> Ways {
    if let Some(step) = regular::step(lines, data.window.width()) {
        let is_one_source = regular::agree(&lines.concat(), step);
        return within_a_step(data, found, search, step, is_one_source);
    }
    let ticks = data.window.width() * data.span_s().0;
    if ticks > MANY_TICKS && regular::are_few(lines) {
        return near_nominal(data, found, search);
    }
    Ways { best: found, others: Vec::new(), is_open: false }
}

/// Searches within one step of drifts, and within either half of one, because machines that NTP disciplines
/// have nearly the same drift. Lines within a step are told if they explain the tracks. One source that meets
/// several machines in turn may do so in any number of turns.
fn within_a_step(data: &mut Data, found: Found, search: Search<'_>, step: f64, is_one_source: bool) -> Ways {
    let middle = data.window.middle();
    let windows = [(middle, step), (middle, step / 2.0), (middle + step / 2.0, step / 2.0)];
    let mut ways = search_in(data, search, &windows.map(|(middle, width)| Window::around(middle, width)));
    let explained = |found: &Found| found.best().explained(data);
    let most = ways.iter().chain([&found]).map(explained).fold(f64::NEG_INFINITY, f64::max);
    let least = most - AS_GOOD_NATS - AS_GOOD_NATS_EACH * data.tracks.len() as f64;
    ways.retain(|way| explained(way) >= least);
    let Some(first) = ways.pop() else {
        return Ways { best: found, others: Vec::new(), is_open: true };
    };
    let best = take_best(first, &mut ways);
    // More lines explain more, whatever they are.
    let more_lines = best.best().lines.len().saturating_sub(found.best().lines.len());
    if explained(&found) >= least - EACH_LINE_NATS * more_lines as f64 {
        ways.push(found);
    }
    ways.retain(|way| way.best_evidence() > best.best_evidence() - LIKELY_NATS);
    let is_open = is_one_source && best.best().lines.len() > 1;
    Ways { best, others: ways, is_open }
}

/// Searches near the nominal rate. The likeliest lines are told, and all ways bound their number below.
/// Nothing does above: each visit shows one phase, however many connections it has.
fn near_nominal(data: &mut Data, found: Found, search: Search<'_>) -> Ways {
    let (middle, width) = (data.window.middle(), data.window.width());
    let mut others = search_in(data, search, &NARROW.map(|share| Window::around(middle, share * width)));
    others.retain(|way| !way.best().lines.is_empty());
    let best = take_best(found, &mut others);
    Ways { best, others, is_open: true }
}

/// The way of the largest evidence. `others` are those that remain.
fn take_best(mut best: Found, others: &mut [Found]) -> Found {
    for way in others {
        if way.best_evidence() > best.best_evidence() {
            std::mem::swap(way, &mut best);
        }
    }
    best
}

/// Searches in each of these windows of drifts.
fn search_in(data: &mut Data, (most, prior): Search<'_>, windows: &[Window]) -> Vec<Found> {
    let all = data.window;
    let mut ways = Vec::with_capacity(windows.len());
    for window in windows {
        if data.work.is_over() {
            break;
        }
        data.window = *window;
        let glance = search::search(data, most, prior, Start::Nothing);
        ways.push(search::search(data, most, prior, Start::From(&glance)));
    }
    data.window = all;
    ways
}
