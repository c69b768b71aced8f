//! Machines told apart by the phase and the skew of their clocks.
//!
//! Newer stacks add a random number of ticks to TSval for each connection or pair of addresses, so the
//! whole ticks say nothing. The *fraction* of a tick survives, and so does the rate. Over time, a machine
//! is a line on a cylinder, `phase(t) = phase + drift t` modulo one tick, and each of its connections lies
//! on that line. Counting machines is counting lines.
//!
//! ```text
//! Track (hull + sample) -> Piece (short enough for a few trial drifts)
//! ```
//!
//! # Cost
//! Learning uses at most [`tabulate::LEARNED_FROM`] pieces, choosing the noise at most
//! [`tabulate::CHOSEN_FROM`] tracks, and proposing lines at most 1024 pieces. A table costs the same for any
//! length of connection, and another noise only transforms it. EM costs connections times lines per round.
//! In all, the cost is O(connections x lines) plus a constant, and [`limits::Work`] bounds it: a search that
//! spends its budget ends with the lines that it has, and the count has no upper end. [`limits::Limits`]
//! bounds the memory of tables, too: where they would take more, they are coarser, and of fewer tracks.
//!
//! # Limits
//! Phase is relative to the network's least delay, and skew to the sensor's clock. Containers on one
//! kernel share its clock, so they are one line. Machines whose lines coincide are one line, and
//! [`count`] computes how likely that is.

mod adrift;
mod agreement;
mod congestion;
mod count;
mod density;
mod drift;
mod elementary;
mod evidence;
mod evidence_kinds;
mod factors;
mod hough;
mod in_step;
mod learn;
pub mod limits;
mod line;
pub mod links;
mod mixing;
mod mixture;
mod noise;
mod paths;
mod piece;
mod recycled;
mod regular;
pub mod room;
pub mod sample;
mod search;
mod stable;
mod steps;
mod stretch;
mod symmetric;
mod table;
mod tabulate;
mod thinning;
mod visits;
mod ways;

pub use crate::engine::types::Point;
use crate::engine::{
    os::likeness::Switches,
    types::{Doubt, Estimate, in_order, joint, log_mean_exp, seconds_between},
};
use agreement::Agreement;
use drift::Window;
use evidence_kinds::EvidenceKinds;
use limits::Limits;
use links::{Linked, Links, Reason};
use mixture::{Data, Mixture};
use paths::{AlongPaths, Arrival};
use piece::Piece;
use regular::Shown;
pub use sample::{Sampled, Track};
use search::{Found, Prior};
use tabulate::Tables;

/// The fewest tracks with a clock that lines are fitted to.
const FEWEST_TRACKS: usize = 4;

/// The fewest tracks per line searched for: a line through two tracks is no evidence.
const FEWEST_PER_LINE: usize = 3;

/// Tracks of fewer points than this say next to nothing of their phase. Leaving them out bounds the cost;
/// they are shared out among the lines that others show.
const FEWEST_POINTS: usize = 3;

/// The coarsest usable resolution of time stamps, as a share of a tick: coarser ones distort phases.
const COARSEST_TICKS: f64 = 0.1;

/// The mean gain per connection, in nats, below which jitter hides the phases.
const LEAST_SHARPNESS: f64 = 0.2;

/// Lines whose evidence is below this, in nats, set no upper bound of the number of machines: that is about
/// what one line costs.
const LEAST_BOUND_NATS: f64 = 9.0;

/// Where more tracks than this share are on no line, the lines that were found set no upper bound.
const MOST_ON_NONE: f64 = 0.25;

/// Settings of a [`fit`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Resolution of the capture's time stamps, in nanoseconds.
    pub resolution_ns: u64,
    /// The most lines searched for.
    pub max_lines: usize,
    /// The evidence besides clocks that counts.
    pub switches: Switches,
    /// What is known of the number of lines beside their phases: log-likelihoods in nats, from no line on.
    /// Numbers beyond the end are as likely as the last one; empty where nothing is known.
    pub prior: Vec<f64>,
    /// Tracks that are most likely of one machine, whatever their clocks show.
    pub linked: Vec<Linked>,
    /// What ends the search early.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resolution_ns: 1,
            max_lines: 64,
            switches: Switches::ALL,
            prior: Vec::new(),
            linked: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// One line: a machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Skew against the nominal rate, in ppm.
    pub skew_ppm: Estimate,
    /// How far off the skew may be besides, in ppm: standard deviation, 0 where it is known. The times of
    /// connections may leave it open, or the number of lines.
    pub open_ppm: f64,
    /// The share of its connections that are one machine's at least: below 1 where it rests on few visits,
    /// of which each may be another machine's.
    pub surely_one: f64,
    /// Phase at [`Lines::reference_ns`], in ticks, 0 to 1. It includes the network's least delay.
    pub phase_ticks: Estimate,
    /// Share of the tracks that lie on the line, 0 to 1.
    pub weight: f64,
}

/// The result of a [`fit`].
#[derive(Clone, Debug)]
pub struct Lines {
    /// Engine time to which phases refer, in nanoseconds.
    pub reference_ns: u64,
    /// Lower end of the count's 90 % interval, at least 1.
    pub low: usize,
    /// Upper end; `None` where the data sets none.
    pub high: Option<usize>,
    /// What limits the count, if anything does.
    pub doubt: Option<Doubt>,
    /// The lines, the largest share first.
    pub lines: Vec<Line>,
    /// For each track, the probability of each line; the remainder to 1 is "on no line".
    pub posteriors: Vec<Vec<f32>>,
    /// Log evidence for each number of lines, from 0; minus infinity where none was tried.
    pub evidences: Vec<f64>,
    /// Log-likelihood of each number of machines from 1 on by phases alone; empty where nothing is known
    /// beside them.
    pub of_phases: Vec<f64>,
    /// How much better the lines explain the tracks than unrelated phases do, in nats; minus infinity without
    /// lines.
    pub related_nats: f64,
    /// Whether the tracks' clocks contradict links by [`Reason::Times`].
    pub do_clocks_refute_pages: bool,
}

/// Finds the lines behind `tracks`, whose clocks all tick nominally at `hz`. Deterministic.
///
/// With too few tracks or too coarse time stamps there are no lines, and [`Lines::doubt`] says why. Where
/// somebody waits ([`Limits::hurry`]), it returns soon, with the lines found until then.
pub fn fit(tracks: &[Track<'_>], hz: f64, settings: &Settings) -> Lines {
    let is_usable =
        |t: &usize| points(&tracks[*t]) >= FEWEST_POINTS && !in_step::is_sent_in_step(&tracks[*t], hz);
    let usable: Vec<usize> = (0..tracks.len()).filter(is_usable).collect();
    let nothing = |doubt| Lines::nothing(tracks.len(), middle_ns(tracks.iter()), doubt);
    if settings.resolution_ns as f64 * 1e-9 * hz > COARSEST_TICKS {
        return nothing(Doubt::CaptureTooCoarse);
    }
    if in_step::do_arrive_in_step(tracks, hz) {
        return nothing(Doubt::InStep);
    }
    let Some(busiest) = stretch::busiest(tracks, &usable, hz) else {
        return follow(tracks, hz, settings, &usable);
    };
    follow(tracks, hz, settings, &busiest).of_busiest_hours()
}

/// Finds the lines of those tracks that are `usable`.
fn follow(tracks: &[Track<'_>], hz: f64, settings: &Settings, usable: &[usize]) -> Lines {
    let zero_ns = middle_ns(usable.iter().map(|&track| &tracks[track]));
    let nothing = |doubt| Lines::nothing(tracks.len(), zero_ns, doubt);
    if usable.len() < FEWEST_TRACKS {
        return nothing(Doubt::TooFewConnections);
    }
    if median_gap_s(tracks, usable) > MOST_APART * coherence_s(hz) {
        return nothing(Doubt::TooFarApart);
    }
    let window = rough_window(tracks, usable, hz);
    let task = Task { tracks, hz, zero_ns, window, settings };
    let lines = task.lines(usable);
    if !task.asks_for_more(&lines, usable.len()) {
        return lines;
    }
    let wide = Task { window: Window::around(0.0, 2.0 * LARGEST_SKEW * hz), ..task };
    let again = wide.lines(usable);
    match again.doubt {
        Some(Doubt::Interrupted) => lines,
        _ if wide.is_at_edge(&again) => nothing(Doubt::Unrelated),
        _ => again,
    }
}

/// A line this near an end of the window of drifts, as a share of it, may belong to a clock beyond it.
const EDGE: f64 = 0.05;

/// A drift is known where its standard error is less than this share of that.
const KNOWN: f64 = 0.5;

/// The most tracks with unrelated phases that are looked at again with a wider window: a bound of cost.
const MOST_WIDE: usize = 500;

/// The tracks of a fit, and what they have in common.
#[derive(Clone, Copy)]
struct Task<'a> {
    tracks: &'a [Track<'a>],
    hz: f64,
    zero_ns: u64,
    window: Window,
    settings: &'a Settings,
}

impl Task<'_> {
    /// Finds the lines of those tracks that are usable, with as many links as clocks agree with.
    fn lines(&self, usable: &[usize]) -> Lines {
        let mut reasons: &[Reason] = &[Reason::Ports, Reason::Times];
        loop {
            match self.fit(usable, reasons) {
                Some((lines, Agreement::Clear)) => {
                    let are_left_out = !reasons.contains(&Reason::Times);
                    let do_clocks_refute_pages = are_left_out && !lines.lines.is_empty();
                    return Lines { do_clocks_refute_pages, ..lines };
                }
                Some((_, Agreement::Rather(others))) => reasons = others,
                None => return Lines::nothing(self.tracks.len(), self.zero_ns, Doubt::Interrupted),
            }
        }
    }

    /// Whether clocks may run further from the nominal rate than was thought.
    fn asks_for_more(&self, lines: &Lines, usable: usize) -> bool {
        let is_widest = self.window.width() > 1.9 * LARGEST_SKEW * self.hz;
        let may_be_beyond = lines.doubt == Some(Doubt::Unrelated) && usable <= MOST_WIDE;
        !is_widest && (may_be_beyond || self.is_at_edge(lines))
    }

    /// Whether a line lies at an end of the window of drifts.
    fn is_at_edge(&self, lines: &Lines) -> bool {
        let Window { low, high } = self.window;
        let near = EDGE * (high - low);
        lines.lines.iter().any(|line| {
            let [drift, sigma] = [line.skew_ppm.value, line.skew_ppm.sigma].map(|ppm| ppm * 1e-6 * self.hz);
            // One that is hardly known lies anywhere in the window.
            sigma < KNOWN * near && (drift < low + near || drift > high - near)
        })
    }

    /// Finds the lines of those tracks that are usable, with links for these reasons, and how far clocks
    /// agree with them. `None` where somebody waits and nothing was found yet.
    fn fit(&self, usable: &[usize], reasons: &[Reason]) -> Option<(Lines, Agreement)> {
        let Self { tracks, hz, zero_ns, window, settings } = *self;
        let cut = usable.iter().map(|&t| Piece::cut(&tracks[t], hz, zero_ns, window)).collect();
        let kinds = EvidenceKinds::new(usable.iter().map(|&t| tracks[t].shown), settings.switches);
        let links = Links::of(&settings.linked, usable, reasons);
        let unlinked = 1.0 - links.count() as f64 / usable.len().max(1) as f64;
        let tables = Tables::new(cut, (kinds, links), window, hz, &settings.limits)?;
        let usable: &[usize] = &usable.iter().step_by(tables.every()).copied().collect::<Vec<_>>();
        let most = settings.max_lines.min(usable.len() / FEWEST_PER_LINE + 1);
        let prior = Prior::new(&settings.prior);
        let (mut data, found) = noise::choose(&tables, most, &prior)?;
        let shown = self.shown(usable, &found);
        let ways = ways::search_again(&mut data, found, (most, &prior), &shown);
        let found = &ways.best;
        let mut best = found.best();
        let mut lines = report(&data, found, hz, unlinked);
        for way in &ways.others {
            lines.may_be(&report(&data, way, hz, unlinked));
        }
        if ways.is_open {
            lines.high = None;
        }
        lines.reference_ns = zero_ns;
        lines.of_phases = count::by_phases(found, found.prior.len().saturating_sub(1));
        let agreement = agreement::of(best, &data, &settings.linked, usable, reasons);
        let arrivals: Vec<Arrival> = usable.iter().map(|&t| Arrival::of(&tracks[t])).collect();
        let several = found.best_lines().filter(|_| best.lines.len() != 1);
        let adrift = |several| adrift::one_machine(&data, several, found.best_evidence());
        let (adrift, may_be_one) = several.map_or((None, false), adrift);
        lines.low = if may_be_one { 1 } else { lines.low };
        let along = several.and_then(|several| paths::one_machine(&data, several, &arrivals));
        let along = along.into_iter().chain(adrift).max_by(|a, b| a.evidence.total_cmp(&b.evidence));
        let single = simpler(found, along.as_ref());
        let evidence = single.as_ref().map_or(found.best_evidence(), |single| single.evidence);
        if let Some(single) = &single {
            best = single.mixture;
            lines.are_one(self.shifted(best.lines[0].estimate(&data, hz), single.told));
        }
        let related_nats = evidence - unrelated_nats(best, &data);
        if single.is_none() {
            lines.related_nats = related_nats;
        }
        let (doubt, least_nats) = least_related(&data);
        if !data.work.is_over() && related_nats < least_nats {
            return Some((Lines::nothing(tracks.len(), zero_ns, doubt), agreement));
        }
        let holds = stable::holding(&lines, best, &data, found, hz);
        for (line, _) in lines.lines.iter_mut().zip(holds).filter(|(_, holds)| !holds) {
            line.open_ppm = self.most_open_ppm();
        }
        lines.posteriors = self.posteriors(best, usable);
        if !stable::are_shown(best.lines.len(), found) {
            lines.posteriors.iter_mut().for_each(|posterior| stable::evened(posterior));
        }
        for (line, share) in lines.lines.iter_mut().zip(visits::surely_one(best, &data)) {
            line.surely_one = share;
        }
        let lines = self.with_open_skews(lines.sorted(), usable).of_few_visits(self.most_open_ppm());
        Some((if tables.every() > 1 { lines.of_some_tracks() } else { lines }, agreement))
    }

    /// The line whose drift is known by this share only, because it is shifted by unknown times.
    fn shifted(&self, mut line: Line, told: f64) -> Line {
        line.skew_ppm.sigma /= told.max(f64::MIN_POSITIVE).sqrt();
        if told < LEAST_TOLD {
            line.open_ppm = self.most_open_ppm();
        }
        line
    }

    /// When the tracks on each of the best lines begin, and how long they last.
    fn shown(&self, usable: &[usize], found: &Found) -> Vec<Vec<Shown>> {
        let best = found.best();
        let on = |line: usize| -> Vec<Shown> {
            let on_line = usable.iter().enumerate().filter(|(number, _)| best.posterior(*number, line) > 0.5);
            self.of_tracks(on_line.map(|(_, &track)| track))
        };
        (0..best.lines.len()).map(on).collect()
    }

    /// When these tracks begin, and how long they last.
    fn of_tracks(&self, tracks: impl Iterator<Item = usize>) -> Vec<Shown> {
        let shown = |track: usize| {
            let [first, .., last] = self.tracks[track].hull else { return None };
            let begin_s = seconds_between(self.zero_ns, first.time_ns);
            Some(Shown { begin_s, length_s: seconds_between(first.time_ns, last.time_ns) })
        };
        tracks.filter_map(shown).collect()
    }

    /// These lines through those tracks that are usable, with what regular times and few visits leave open of
    /// their skews.
    fn with_open_skews(&self, mut lines: Lines, usable: &[usize]) -> Lines {
        let width = self.window.width();
        let are_several = lines.lines.len() > 1;
        for (number, line) in lines.lines.iter_mut().enumerate() {
            let is_on = |track: &usize| lines.posteriors[*track].get(number).is_some_and(|&p| p > 0.5);
            let shown = self.of_tracks(usable.iter().copied().filter(is_on));
            let may_be_image = || {
                are_several && (regular::are_few_visits(&shown) || regular::is_partly_regular(&shown, width))
            };
            let slipped_ppm = regular::slipped(&shown, MOST_BRIDGED * coherence_s(self.hz)) / self.hz * 1e6;
            line.skew_ppm.sigma = joint(line.skew_ppm.sigma, slipped_ppm);
            if regular::is_open(&shown, width) || may_be_image() {
                line.open_ppm = self.most_open_ppm();
            }
        }
        lines
    }

    /// What is left open of a skew of which nothing is known, in ppm: standard deviation.
    fn most_open_ppm(&self) -> f64 {
        self.window.width() / 12_f64.sqrt() / self.hz * 1e6
    }

    /// For each track, the probability of each line.
    fn posteriors(&self, best: &Mixture, usable: &[usize]) -> Vec<Vec<f32>> {
        // A track that says nothing of its phase is a machine's as often as others are.
        let shares: Vec<f32> = best.lines.iter().map(|line| line.weight as f32).collect();
        let mut posteriors = vec![shares; self.tracks.len()];
        for (number, &track) in usable.iter().enumerate() {
            let on = |line: usize| best.posterior(number, line).min(1.0) as f32;
            posteriors[track] = (0..best.lines.len()).map(on).collect();
        }
        posteriors
    }
}

/// Lines are given up where unrelated phases explain the tracks better than they do by this, in nats.
const CLEARLY_UNRELATED_NATS: f64 = 10.0;

/// How much better than unrelated phases lines must explain the tracks at least, in nats, and why they are
/// given up where they don't. A line that may bend finds a way through such phases.
fn least_related(data: &Data) -> (Doubt, f64) {
    if data.knots.none() { (Doubt::Unrelated, -CLEARLY_UNRELATED_NATS) } else { (Doubt::TooFarApart, 0.0) }
}

/// Log likelihood of tracks whose clocks run at one rate, and whose phases are unrelated: lines may explain
/// such tracks only because they share that rate. Minus infinity where that is no question: without lines,
/// and where one straight line explains the tracks.
fn unrelated_nats(lines: &Mixture, data: &Data) -> f64 {
    let heaviest = lines.lines.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
    let is_asked = lines.lines.len() > 1 || !data.knots.none();
    let Some(line) = heaviest.filter(|_| is_asked) else { return f64::NEG_INFINITY };
    let of_track = |track: usize| log_mean_exp(&data.circle(track, line).map(f64::from));
    (0..data.tracks.len()).map(of_track).sum()
}

/// Several lines are told only where they explain the tracks better than one machine does by this, in nats: a
/// machine that isn't there does more harm than one that is missed.
const CLEARLY_SEVERAL_NATS: f64 = 3.0;

/// Where no line explains the tracks, one machine along several paths is told if it does so by this, in nats.
const CLEARLY_ONE_NATS: f64 = 5.0;

/// Below this share of what tells a drift, where it is shifted by unknown times, what is left tells it no
/// more: a line finds a way through phases that may all be shifted.
const LEAST_TOLD: f64 = 0.04;

/// An explanation by one machine.
#[derive(Debug)]
struct Single<'a> {
    mixture: &'a Mixture,
    evidence: f64,
    /// The share of what tells its drift that remains where shifts are unknown.
    told: f64,
}

/// The explanation by one machine, where it is better than no line and several lines aren't clearly better
/// than it: one line, or one that is shifted by the paths or by silences.
fn simpler<'a>(found: &'a Found, along: Option<&'a AlongPaths>) -> Option<Single<'a>> {
    let margin = match found.best().lines.len() {
        0 => -CLEARLY_ONE_NATS,
        1 => return None,
        _ => CLEARLY_SEVERAL_NATS,
    };
    let prior = found.prior.of(1);
    let one = found.by_count.get(1).and_then(Option::as_ref);
    let one = one.map(|(mixture, evidence)| Single { mixture, evidence: evidence + prior, told: 1.0 });
    let along = along.map(|AlongPaths { mixture, evidence, told }| Single {
        mixture,
        evidence: evidence + prior,
        told: *told,
    });
    let single = one.into_iter().chain(along).max_by(|a, b| a.evidence.total_cmp(&b.evidence))?;
    (found.best_evidence() < single.evidence + margin).then_some(single)
}

/// What `found` says of the lines; `unlinked` is the share of tracks that are linked to none before them.
fn report(data: &Data, found: &Found, hz: f64, unlinked: f64) -> Lines {
    let best: &Mixture = found.best();
    let sharpness =
        (0..data.tracks.len()).map(|t| data.sharpness(t)).sum::<f64>() / data.tracks.len().max(1) as f64;
    let observability = count::Observability::of(data, best, found.best_evidence(), sharpness, unlinked);
    let count = count::count(found, &observability);
    let doubt = match (best.lines.len(), sharpness < LEAST_SHARPNESS) {
        (_, true) => Some(Doubt::JitterTooLarge),
        _ if data.work.is_spent() => Some(Doubt::BudgetSpent),
        (0, _) => Some(Doubt::TooFewConnections),
        _ => None,
    };
    Lines {
        reference_ns: 0,
        low: count.low.min(best.lines.len()).max(1),
        // A search that was cut short may have left lines out, and lines that hardly pay exclude nothing.
        // Where many tracks are on no line, one wasn't found.
        high: if doubt.is_some()
            || data.work.is_over()
            || found.best_evidence() < LEAST_BOUND_NATS
            || best.none > MOST_ON_NONE
        {
            None
        } else {
            count.high.map(|h| h.max(best.lines.len()))
        },
        doubt,
        lines: best.lines.iter().map(|line| line.estimate(data, hz)).collect(),
        posteriors: Vec::new(),
        evidences: found.evidences(),
        of_phases: Vec::new(),
        related_nats: f64::NEG_INFINITY,
        do_clocks_refute_pages: false,
    }
}

impl Lines {
    /// No lines, for this reason.
    pub fn nothing(tracks: usize, reference_ns: u64, doubt: Doubt) -> Self {
        Self {
            reference_ns,
            low: 1,
            high: None,
            doubt: Some(doubt),
            lines: Vec::new(),
            posteriors: vec![Vec::new(); tracks],
            evidences: Vec::new(),
            of_phases: Vec::new(),
            related_nats: f64::NEG_INFINITY,
            do_clocks_refute_pages: false,
        }
    }

    /// The number of lines, which is the best count of machines; 0 where no lines could be fitted.
    /// Machines that coincide or are too idle to be seen only widen the interval.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// There may as well be as many as these others.
    fn may_be(&mut self, others: &Self) {
        self.low = self.low.min(others.low);
        self.high = self.high.zip(others.high).map(|(a, b)| a.max(b));
    }

    /// They are those of the busiest hours: at other times there may be other machines.
    fn of_busiest_hours(mut self) -> Self {
        if self.count() > 0 {
            self.high = None;
            self.doubt = self.doubt.or(Some(Doubt::BusiestHours));
        } else if self.doubt == Some(Doubt::TooFewConnections) {
            self.doubt = Some(Doubt::TooFarApart);
        }
        self
    }

    /// These lines, where those that rest on few visits have a skew of which this is left open, in ppm:
    /// standard deviation.
    fn of_few_visits(mut self, most_open_ppm: f64) -> Self {
        for (number, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| line.surely_one < 1.0) {
            line.open_ppm = most_open_ppm;
            let on_line = self.posteriors.iter_mut().filter_map(|posterior| posterior.get_mut(number));
            on_line.for_each(|p| *p = visits::probability(*p, line.surely_one));
        }
        self
    }

    /// They are those of some of the tracks, as many as memory allows: others may be other machines'.
    fn of_some_tracks(self) -> Self {
        Self { high: None, doubt: self.doubt.or(Some(Doubt::BudgetSpent)), ..self }
    }

    /// The lines are those of one machine along several paths, which `line` explains better.
    fn are_one(&mut self, line: Line) {
        (self.low, self.lines) = (1, vec![line]);
        // That no line was found is no doubt any more.
        self.doubt = self.doubt.filter(|doubt| *doubt != Doubt::TooFewConnections);
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

impl line::FittedLine {
    fn estimate(&self, data: &Data, hz: f64) -> Line {
        let (low, high) = data.factors.times().fold((-1e-3_f64, 1e-3_f64), |(l, h), x| (l.min(x), h.max(x)));
        let (drift, sigma) = self.mean_drift(low, high, &data.knots);
        Line {
            skew_ppm: Estimate { value: drift / hz * 1e6, sigma: sigma / hz * 1e6 },
            open_ppm: 0.0,
            surely_one: 1.0,
            phase_ticks: Estimate { value: self.phase().rem_euclid(1.0), sigma: self.phase_sigma() },
            weight: self.weight,
        }
    }
}

/// The time over which a clock's phase can be foretold to a quarter of a tick, in seconds: a rate that
/// wanders by [`line::WANDER`] in ten minutes puts the phase off by `hz * WANDER * sqrt(t / 600) * t`.
fn coherence_s(hz: f64) -> f64 {
    (0.25 * 600_f64.sqrt() / (hz * line::WANDER)).powf(2.0 / 3.0)
}

/// Tracks further apart than this many times [`coherence_s`] say nothing of each other.
const MOST_APART: f64 = 3.0;

/// A line that bends may slip by a tick where it has no track for longer than this share of [`coherence_s`]:
/// from there on, half a tick is less than four standard deviations of what its bends may be.
const MOST_BRIDGED: f64 = 0.6;

/// The median time from the beginning of one track to that of the next, in seconds.
fn median_gap_s(tracks: &[Track<'_>], usable: &[usize]) -> f64 {
    let starts = usable.iter().filter_map(|&t| tracks[t].hull.first());
    let mut starts: Vec<u64> = starts.map(|point| point.time_ns).collect();
    starts.sort_unstable();
    let mut gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).map_or(0.0, |gap| *gap as f64 * 1e-9)
}

fn points(track: &Track<'_>) -> usize {
    track.sample.len().max(track.hull.len())
}

/// The middle of the time that the tracks cover, rounded to a whole second. A phase is counted from a grid of
/// nominal ticks, and on whole seconds the grid stays the same when the middle moves.
fn middle_ns<'a>(tracks: impl Iterator<Item = &'a Track<'a>> + Clone) -> u64 {
    let low = tracks.clone().filter_map(|t| t.hull.first()).map(|p| p.time_ns).min().unwrap_or(0);
    let high = tracks.filter_map(|t| t.hull.last()).map(|p| p.time_ns).max().unwrap_or(0);
    (low + (high - low) / 2) / SECOND_NS * SECOND_NS
}

const SECOND_NS: u64 = 1_000_000_000;

/// The largest skew of a clock, as a share: crystals are within 100 ppm, badly calibrated TSCs within 500
/// (Kohno et al. 2005 saw no larger one).
const LARGEST_SKEW: f64 = 5e-4;

/// The largest error of a hull's skew, as a share, with which it shapes the window.
const USEFUL_SKEW: f64 = 4e-5;

/// The skew that bounds the window where too few hulls are useful, as a share: that of crystals.
const USUAL_SKEW: f64 = 1e-4;

/// The margin of the window beyond what the hulls suggest, as a share: 5 ppm.
const WINDOW_MARGIN: f64 = 5e-6;

/// How far a hull's edge is off the clock over its whole span, in ticks: within about a third.
const HULL_ERROR_TICKS: f64 = 0.3;

/// The window of drifts that the usable tracks' own hulls suggest, without a twentieth of them at either end.
fn rough_window(tracks: &[Track<'_>], usable: &[usize], hz: f64) -> Window {
    let mut slopes: Vec<(f64, f64)> = usable.iter().filter_map(|&t| hull_drift(&tracks[t], hz)).collect();
    slopes.retain(|(drift, error)| *error < USEFUL_SKEW * hz && drift.abs() < LARGEST_SKEW * hz);
    if slopes.len() < 3 {
        return Window { low: -USUAL_SKEW * hz, high: USUAL_SKEW * hz };
    }
    let lows = in_order(slopes.iter().map(|(drift, error)| drift - error));
    let highs = in_order(slopes.iter().map(|(drift, error)| drift + error));
    let trim = slopes.len() / 20;
    let margin = WINDOW_MARGIN * hz;
    let limit = LARGEST_SKEW * hz;
    Window {
        low: (lows[trim] - margin).max(-limit),
        high: (highs[highs.len() - 1 - trim] + margin).min(limit),
    }
}

/// The drift by the hull's edge over its middle, in ticks per second, and its rough error.
fn hull_drift(track: &Track<'_>, hz: f64) -> Option<(f64, f64)> {
    let [first, .., last] = track.hull else { return None };
    let middle = first.time_ns + (last.time_ns - first.time_ns) / 2;
    let edge = track.hull.windows(2).find(|w| w[1].time_ns >= middle)?;
    let seconds = (edge[1].time_ns - edge[0].time_ns) as f64 * 1e-9;
    let span_s = (last.time_ns - first.time_ns) as f64 * 1e-9;
    let drift = (edge[1].ticks - edge[0].ticks) as f64 / seconds - hz;
    (seconds > 0.0).then_some((drift, HULL_ERROR_TICKS / span_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: f64 = 1000.0;

    /// The two corners of the hull of a minute at this skew.
    fn minute(skew_ppm: f64) -> [Point; 2] {
        let ticks = (60.0 * HZ * (1.0 + skew_ppm * 1e-6)).round() as i64;
        [Point { time_ns: 0, ticks: 0 }, Point { time_ns: 60 * SECOND_NS, ticks }]
    }

    #[test]
    fn tracks_that_are_not_usable_shape_no_window() {
        let (own, odd) = (minute(0.0), minute(400.0));
        let tracks: Vec<Track<'_>> =
            (0..20).map(|i| Track { hull: if i < 10 { &own } else { &odd }, ..Track::default() }).collect();
        let of = |usable: std::ops::Range<usize>| rough_window(&tracks, &usable.collect::<Vec<_>>(), HZ);
        assert!(of(0..20).high > 400e-6 * HZ);
        assert!(of(0..10).high < 20e-6 * HZ, "{:?}", of(0..10));
    }
}
