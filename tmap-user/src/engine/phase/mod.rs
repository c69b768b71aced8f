//! Machines told apart by the phase and the skew of their clocks.
//!
//! Newer stacks add a random number of ticks to TSval for each connection or pair of addresses, so
//! the whole ticks say nothing. The *fraction* of a tick survives, and so does the rate: seen over
//! time, a machine is a line on a cylinder, `phase(t) = phase + drift t` modulo one tick, and every
//! connection of that machine lies on it. Counting machines is finding how many lines there are.
//!
//! ```text
//! Track (hull + sample) -> Piece (short enough for a few trial drifts)
//!   density: the law of a single residual, learned within connections, where no clustering is needed
//!   table:   per piece, the log Bayes factor of every (phase, drift)
//!   noise:   how much connections scatter about their line, chosen by evidence
//!   hough -> mixture (EM) -> search (births, splits, removals; integrated likelihood) -> count
//! ```
//!
//! # Cost
//! Learning looks at no more than [`noise::LEARNED_FROM`] pieces, choosing the noise and proposing lines at no more
//! than [`noise::CHOSEN_FROM`] and 1024; a table costs the same whatever its connection's length. EM costs
//! connections times lines per round. All in all O(connections x lines) with a constant part.
//!
//! # What it can't see
//! Phase is relative to the network's least delay, and skew to the sensor's clock. Containers on one
//! kernel share its clock: they are one line. Machines whose lines coincide are one line: [`count`]
//! says how likely that is.

mod congestion;
mod count;
mod density;
mod drift;
mod evidence;
mod evidence_kinds;
mod hough;
mod learn;
mod line;
mod mixture;
mod noise;
mod piece;
pub mod sample;
mod search;
mod symmetric;
mod table;

pub use crate::engine::types::Point;
use crate::engine::{
    os::likeness::Switches,
    types::{Doubt, Estimate},
};
use drift::Window;
use evidence_kinds::EvidenceKinds;
use mixture::{Data, Mixture};
use noise::Tables;
use piece::Piece;
pub use sample::{Sampled, Track};
use search::Found;

/// Fewer tracks with a clock than this, and nothing is said about lines.
const FEWEST_TRACKS: usize = 4;

/// Lines looked for are at most one for so many tracks: a line through two tracks is no evidence.
const FEWEST_PER_LINE: usize = 3;

/// Sampled points that make a track's phase worth having.
const FEWEST_POINTS: usize = 3;

/// Time stamps coarser than this share of a tick fake phases or hide them.
const COARSEST_TICKS: f64 = 0.1;

/// Mean gain per connection, in nats, below which jitter hides the phases.
const LEAST_SHARPNESS: f64 = 0.2;

/// What a fit needs to know besides the tracks.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Resolution of the capture's time stamps, in nanoseconds.
    pub resolution_ns: u64,
    /// The most lines looked for.
    pub max_lines: usize,
    /// Which other evidence counts.
    pub switches: Switches,
}

impl Default for Settings {
    fn default() -> Self {
        Self { resolution_ns: 1, max_lines: 64, switches: Switches::ALL }
    }
}

/// One machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Skew against the nominal rate, in ppm.
    pub skew_ppm: Estimate,
    /// Phase at the reference time, in ticks, 0 to 1, the network's least delay included.
    pub phase_ticks: Estimate,
    /// Share of the tracks.
    pub weight: f64,
}

/// What a fit found.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Engine time to which phases refer.
    pub reference_ns: u64,
    /// The number of lines: the best count of machines that can be told apart. 0 where nothing can be
    /// said; machines that coincide or are too idle to be seen widen the interval only.
    pub count: usize,
    /// Lower end of the count's 90 % interval, at least 1.
    pub low: usize,
    /// Upper end; `None` where the data sets none.
    pub high: Option<usize>,
    /// What limits the answer, if anything.
    pub doubt: Option<Doubt>,
    /// The lines, the largest share first.
    pub lines: Vec<Line>,
    /// For each track, the probability of each line; the rest to 1 is "none of them".
    pub posteriors: Vec<Vec<f32>>,
    /// Log evidence for each number of lines, from 0; minus infinity where none was tried.
    pub evidences: Vec<f64>,
}

/// Finds the lines behind `tracks`, all of which tick nominally at `hz`. Deterministic.
pub fn fit(tracks: &[Track<'_>], hz: f64, settings: &Settings) -> Lines {
    let zero_ns = middle_ns(tracks);
    let usable: Vec<usize> = (0..tracks.len()).filter(|&t| points(&tracks[t]) >= FEWEST_POINTS).collect();
    let nothing = |doubt| Lines::nothing(tracks.len(), zero_ns, doubt);
    if settings.resolution_ns as f64 * 1e-9 * hz > COARSEST_TICKS {
        return nothing(Doubt::CaptureTooCoarse);
    }
    if usable.len() < FEWEST_TRACKS {
        return nothing(Doubt::TooFewConnections);
    }
    let window = rough_window(tracks, hz);
    let longest_s = drift::longest_piece_s(window);
    let cut: Vec<Vec<Piece>> =
        usable.iter().map(|&t| Piece::cut(&tracks[t], hz, zero_ns, longest_s)).collect();
    let kinds = EvidenceKinds::new(usable.iter().map(|&t| tracks[t].shown), settings.switches);
    let tables = Tables::new(cut, kinds, window, hz);
    let (data, found) = noise::choose(&tables, settings.max_lines.min(usable.len() / FEWEST_PER_LINE + 1));
    let best = found.best();
    let mut lines = report(&data, &found, hz);
    lines.reference_ns = zero_ns;
    lines.posteriors = vec![vec![0.0; best.lines.len()]; tracks.len()];
    for (t, &track) in usable.iter().enumerate() {
        lines.posteriors[track] = (0..best.lines.len()).map(|j| best.posterior(t, j) as f32).collect();
    }
    lines.sorted()
}

fn report(data: &Data, found: &Found, hz: f64) -> Lines {
    let best: &Mixture = found.best();
    let sharpness =
        (0..data.tracks.len()).map(|t| data.sharpness(t)).sum::<f64>() / data.tracks.len().max(1) as f64;
    let count = count::count(found, &count::Sight::of(data, best, found.best_evidence()));
    let doubt = match (best.lines.len(), sharpness < LEAST_SHARPNESS) {
        (_, true) => Some(Doubt::JitterTooLarge),
        (0, _) => Some(Doubt::TooFewConnections),
        _ => None,
    };
    Lines {
        reference_ns: 0,
        count: best.lines.len(),
        low: count.low.min(best.lines.len()).max(1),
        high: if doubt.is_some() { None } else { count.high.map(|h| h.max(best.lines.len())) },
        doubt,
        lines: best.lines.iter().map(|line| line.estimate(data, hz)).collect(),
        posteriors: Vec::new(),
        evidences: found.evidences(),
    }
}

impl Lines {
    fn nothing(tracks: usize, reference_ns: u64, doubt: Doubt) -> Self {
        Self {
            reference_ns,
            count: 0,
            low: 1,
            high: None,
            doubt: Some(doubt),
            lines: Vec::new(),
            posteriors: vec![Vec::new(); tracks],
            evidences: Vec::new(),
        }
    }

    fn sorted(mut self) -> Self {
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        order.sort_by(|&a, &b| self.lines[b].weight.total_cmp(&self.lines[a].weight));
        self.lines = order.iter().map(|&j| self.lines[j]).collect();
        for row in self.posteriors.iter_mut().filter(|row| !row.is_empty()) {
            *row = order.iter().map(|&j| row[j]).collect();
        }
        self
    }
}

impl line::Line {
    fn estimate(&self, data: &Data, hz: f64) -> Line {
        let times = data.pieces.iter().map(|(x, _)| *x);
        let (low, high) = times.fold((-1e-3_f64, 1e-3_f64), |(l, h), x| (l.min(x), h.max(x)));
        let (drift, sigma) = self.mean_drift(low, high, &data.knots);
        Line {
            skew_ppm: Estimate { value: drift / hz * 1e6, sigma: sigma / hz * 1e6 },
            phase_ticks: Estimate { value: self.phase().rem_euclid(1.0), sigma: self.phase_sigma() },
            weight: self.weight,
        }
    }
}

fn points(track: &Track<'_>) -> usize {
    track.sample.len().max(track.hull.len())
}

/// Middle of the time that the tracks cover, on a whole second: a phase is counted from a grid of nominal
/// ticks, and grids of whole seconds are the same one whenever the middle moves.
fn middle_ns(tracks: &[Track<'_>]) -> u64 {
    let low = tracks.iter().filter_map(|t| t.hull.first()).map(|p| p.time_ns).min().unwrap_or(0);
    let high = tracks.iter().filter_map(|t| t.hull.last()).map(|p| p.time_ns).max().unwrap_or(0);
    (low + (high - low) / 2) / SECOND_NS * SECOND_NS
}

const SECOND_NS: u64 = 1_000_000_000;

/// Skews beyond this aren't clocks' (Kohno et al. 2005 saw none; crystals are within 100 ppm, badly
/// calibrated TSCs within 500), as a share.
const LARGEST_SKEW: f64 = 5e-4;

/// Hulls this uncertain don't shape the window.
const USEFUL_SKEW: f64 = 4e-5;

/// The window where too few hulls tell: what crystals do.
const USUAL_SKEW: f64 = 1e-4;

/// The window of drifts that the tracks' own hulls suggest, all but a twentieth on either side.
fn rough_window(tracks: &[Track<'_>], hz: f64) -> Window {
    let mut slopes: Vec<(f64, f64)> = tracks.iter().filter_map(|t| hull_drift(t, hz)).collect();
    slopes.retain(|(drift, error)| *error < USEFUL_SKEW * hz && drift.abs() < LARGEST_SKEW * hz);
    if slopes.len() < 3 {
        return Window { low: -USUAL_SKEW * hz, high: USUAL_SKEW * hz };
    }
    let mut lows: Vec<f64> = slopes.iter().map(|(drift, error)| drift - error).collect();
    let mut highs: Vec<f64> = slopes.iter().map(|(drift, error)| drift + error).collect();
    lows.sort_unstable_by(f64::total_cmp);
    highs.sort_unstable_by(f64::total_cmp);
    let trim = slopes.len() / 20;
    let margin = 5e-6 * hz;
    let limit = LARGEST_SKEW * hz;
    Window {
        low: (lows[trim] - margin).max(-limit),
        high: (highs[highs.len() - 1 - trim] + margin).min(limit),
    }
}

/// Drift by the hull's edge over its middle, in ticks per second, and a rough error: the hull is
/// within a third of a tick of the clock.
fn hull_drift(track: &Track<'_>, hz: f64) -> Option<(f64, f64)> {
    let [first, .., last] = track.hull else { return None };
    let middle = first.time_ns + (last.time_ns - first.time_ns) / 2;
    let edge = track.hull.windows(2).find(|w| w[1].time_ns >= middle)?;
    let seconds = (edge[1].time_ns - edge[0].time_ns) as f64 * 1e-9;
    let span_s = (last.time_ns - first.time_ns) as f64 * 1e-9;
    let drift = (edge[1].ticks - edge[0].ticks) as f64 / seconds - hz;
    (seconds > 0.0).then_some((drift, 0.3 / span_s))
}
