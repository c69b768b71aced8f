//! One machine along several paths: the explanation that lines compete with.
//!
//! A phase contains the least delay of the way to the sensor. Where segments to one peer take another way
//! than those to another, one clock shows a phase for each peer, and all of them drift alike. So the lines of
//! several machines are compared with one line that each path shifts by a delay of its own. Machines share
//! their peers: within one peer's connections, only machines make several phases. A counter that stands still
//! while its machine sleeps goes on at another phase. So the line may also be shifted by each long silence.

use std::collections::BTreeMap;

use super::{
    density::BINS,
    mixing,
    mixture::{Data, Mixture},
    sample::Track,
};
use crate::engine::types::{log_mean_exp, squares};

/// The lines of a mixture that are tried as the machine's only one, the heaviest first.
const STARTS: usize = 4;

/// The most rounds of shifting paths and fitting the line.
const ROUNDS: usize = 6;

/// EM rounds of the line between two shifts.
const LINE_ROUNDS: usize = 20;

/// Shifts and line are settled where a round gains less log evidence than this.
const SETTLED: f64 = 0.1;

/// How a track's segments came, as far as one machine's explanation depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its path, counted from 0.
    path: usize,
    /// Engine time of its first and last point, in nanoseconds.
    times_ns: (u64, u64),
}

impl Arrival {
    /// How a track's segments came.
    pub(super) fn of(track: &Track<'_>) -> Self {
        let ends = track.hull.first().zip(track.hull.last());
        let times_ns = ends.map_or((0, 0), |(first, last)| (first.time_ns, last.time_ns));
        Self { path: track.path, times_ns }
    }
}

/// The one line of a machine, and how its paths shift it.
#[derive(Debug)]
pub(super) struct AlongPaths {
    /// The mixture of this line alone, with every path shifted back.
    pub mixture: Mixture,
    /// Log evidence, on the scale of [`Mixture::log_evidence`].
    pub evidence: f64,
    /// The share of what tells the line's drift that remains where each shift is unknown, 0 to 1.
    pub told: f64,
}

/// The log odds of a machine that sleeps against one that doesn't, in nats.
const SLEEPS_NATS: f64 = -3.0;

/// A machine doesn't fall asleep in a silence shorter than this, in nanoseconds.
const LEAST_SILENCE_NS: u64 = 20_000_000_000;

/// The best explanation of these tracks by one machine; `None` where they have one path and no long silence,
/// which is what lines alone explain.
pub(super) fn one_machine(data: &Data, lines: &Mixture, arrivals: &[Arrival]) -> Option<AlongPaths> {
    let paths: Vec<usize> = arrivals.iter().map(|arrival| arrival.path).collect();
    let stretches = stretches(arrivals);
    let awake: Vec<(usize, usize)> = paths.iter().copied().zip(stretches.iter().copied()).collect();
    let along = fit(data, lines, &paths);
    let sleeping = stretches.iter().any(|&stretch| stretch > 0).then(|| fit(data, lines, &awake)).flatten();
    let sleeping = sleeping.map(|one| AlongPaths { evidence: one.evidence + SLEEPS_NATS, ..one });
    along.into_iter().chain(sleeping).max_by(|a, b| a.evidence.total_cmp(&b.evidence))
}

/// The best explanation by one line that is shifted for each value of `of`, which holds one for each track.
fn fit<T: Ord>(data: &Data, lines: &Mixture, of: &[T]) -> Option<AlongPaths> {
    let paths = Paths::new(of)?;
    let mut starts: Vec<usize> = (0..lines.lines.len()).collect();
    starts.sort_by(|&a, &b| lines.lines[b].weight.total_cmp(&lines.lines[a].weight));
    let told = paths.told(data);
    let found = starts.into_iter().take(STARTS).map(|j| paths.fit(data, lines, j, told));
    found.max_by(|a, b| a.evidence.total_cmp(&b.evidence))
}

/// For each track, the number of long silences before it.
fn stretches(arrivals: &[Arrival]) -> Vec<usize> {
    let times = |t: usize| arrivals[t].times_ns;
    let mut order: Vec<usize> = (0..arrivals.len()).collect();
    order.sort_by_key(|&t| times(t));
    let mut stretches = vec![0; arrivals.len()];
    let (mut stretch, mut busy_until_ns) = (0, None);
    for t in order {
        let (first_ns, last_ns) = times(t);
        let was_silent = busy_until_ns.is_some_and(|until_ns: u64| first_ns > until_ns + LEAST_SILENCE_NS);
        stretch += usize::from(was_silent);
        busy_until_ns = busy_until_ns.max(Some(last_ns));
        stretches[t] = stretch;
    }
    stretches
}

/// The tracks of each path.
struct Paths(Vec<Vec<usize>>);

impl Paths {
    fn new<T: Ord>(of: &[T]) -> Option<Self> {
        let mut paths: BTreeMap<&T, Vec<usize>> = BTreeMap::new();
        of.iter().enumerate().for_each(|(track, path)| paths.entry(path).or_default().push(track));
        (paths.len() > 1).then(|| Self(paths.into_values().collect()))
    }

    /// Fits the line and the shifts in turn, from line `j` of `lines`. `told` is the share of its drift that
    /// unknown shifts leave.
    fn fit(&self, data: &Data, lines: &Mixture, j: usize, told: f64) -> AlongPaths {
        let mut line = lines.lines[j].clone();
        line.weight = 1.0 - lines.none;
        let mut single = Mixture::new(data, vec![line], lines.none);
        let mut best: Option<AlongPaths> = None;
        let mut shifted = data.to_change();
        for _ in (0..ROUNDS).take_while(|_| !data.work.is_hurried()) {
            self.shift_back(&mut shifted, &single);
            single = Mixture::new(&shifted, single.lines, single.none);
            single.fit(&shifted, LINE_ROUNDS);
            let evidence = self.evidence(&shifted, &single);
            let before = best.as_ref().map_or(f64::NEG_INFINITY, |best| best.evidence);
            if evidence > before {
                best = Some(AlongPaths { mixture: single.clone(), evidence, told });
            }
            if evidence < before + SETTLED {
                break;
            }
        }
        best.unwrap_or(AlongPaths { mixture: single, evidence: f64::NEG_INFINITY, told })
    }

    /// The share of the spread of times that lies within paths: a shift takes what lies between them.
    fn told(&self, data: &Data) -> f64 {
        let time = |track: &usize| data.factors.x(data.tracks[*track].start);
        let of = |tracks: &[usize]| squares(tracks.iter().map(time));
        let within: f64 = self.0.iter().map(|tracks| of(tracks)).sum();
        within / of(&self.0.concat()).max(f64::MIN_POSITIVE)
    }

    /// Shifts each path to where the line makes it likeliest, as if its delay were that of all.
    fn shift_back(&self, data: &mut Data, single: &Mixture) {
        for tracks in &self.0 {
            let shift = likeliest(data, single, tracks);
            for &track in tracks {
                data.tracks[track].clone().for_each(|piece| data.factors.shift(piece, shift));
            }
        }
    }

    /// The log evidence of a line along shifted paths: that of the line, with every path's shift integrated
    /// over the circle. One of the phases is common to all, and is integrated once.
    fn evidence(&self, shifted: &Data, single: &Mixture) -> f64 {
        let of_shifts: f64 = self
            .0
            .iter()
            .map(|tracks| {
                let logs = log_likelihoods(shifted, single, tracks);
                log_mean_exp(&logs) - logs[0]
            })
            .sum();
        let phase_volume = 0.5 * (std::f64::consts::TAU / single.lines[0].information.at(0, 0)).ln();
        single.log_evidence(shifted) + of_shifts - phase_volume
    }
}

/// The log likelihood of a path's tracks for each shift, in bins.
fn log_likelihoods(data: &Data, single: &Mixture, tracks: &[usize]) -> Vec<f64> {
    let mut logs = vec![0.0; BINS];
    for &track in tracks {
        let factors = data.circle(track, &single.lines[0]);
        mixing::add_log_likelihoods_of_one(&factors, single.none as f32, &mut logs);
    }
    logs
}

/// The shift under which a path's tracks are likeliest.
fn likeliest(data: &Data, single: &Mixture, tracks: &[usize]) -> usize {
    let logs = log_likelihoods(data, single, tracks);
    logs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(bin, _)| bin)
}
