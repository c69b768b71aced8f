//! One machine along several paths: the explanation that lines compete with.
//!
//! A phase contains the least delay of the way to the sensor. Where segments to one peer take another way
//! than those to another, one clock shows a phase for each peer, and all of them drift alike. So the lines of
//! several machines are compared with one line that each path shifts by a delay of its own. Machines share
//! their peers: within one peer's connections, only machines make several phases.

use super::{
    density::BINS,
    mixture::{Data, Mixture},
};

/// The lines of a mixture that are tried as the machine's only one, the heaviest first.
const STARTS: usize = 4;

/// The most rounds of shifting paths and fitting the line.
const ROUNDS: usize = 6;

/// EM rounds of the line between two shifts.
const LINE_ROUNDS: usize = 20;

/// Shifts and line are settled where a round gains less log evidence than this.
const SETTLED: f64 = 0.1;

/// The one line of a machine, and how its paths shift it.
#[derive(Debug)]
pub(super) struct AlongPaths {
    /// The mixture of this line alone, with every path shifted back.
    pub mixture: Mixture,
    /// Log evidence, on the scale of [`Mixture::log_evidence`].
    pub evidence: f64,
}

/// The best explanation by one machine. `path_of` holds the path of each track, counted from 0; `None` where
/// all tracks have one path, which is what lines alone explain.
pub(super) fn one_machine(data: &Data, lines: &Mixture, path_of: &[usize]) -> Option<AlongPaths> {
    let paths = Paths::new(path_of)?;
    let mut starts: Vec<usize> = (0..lines.lines.len()).collect();
    starts.sort_by(|&a, &b| lines.lines[b].weight.total_cmp(&lines.lines[a].weight));
    let found = starts.into_iter().take(STARTS).map(|j| paths.fit(data, lines, j));
    found.max_by(|a, b| a.evidence.total_cmp(&b.evidence))
}

/// The tracks of each path.
struct Paths(Vec<Vec<usize>>);

impl Paths {
    fn new(path_of: &[usize]) -> Option<Self> {
        let count = path_of.iter().max()? + 1;
        let mut paths = vec![Vec::new(); count];
        path_of.iter().enumerate().for_each(|(track, &path)| paths[path].push(track));
        paths.retain(|tracks| !tracks.is_empty());
        (paths.len() > 1).then_some(Self(paths))
    }

    /// Fits the line and the shifts in turn, from line `j` of `lines`.
    fn fit(&self, data: &Data, lines: &Mixture, j: usize) -> AlongPaths {
        let mut line = lines.lines[j].clone();
        line.weight = 1.0 - lines.none;
        let mut single = Mixture::new(data, vec![line], lines.none);
        let mut best: Option<AlongPaths> = None;
        for _ in 0..ROUNDS {
            let shifts: Vec<usize> = self.0.iter().map(|tracks| likeliest(data, &single, tracks)).collect();
            let shifted = self.shifted(data, &shifts);
            single = Mixture::new(&shifted, single.lines, single.none);
            single.fit(&shifted, LINE_ROUNDS);
            let evidence = self.evidence(&shifted, &single);
            let before = best.as_ref().map_or(f64::NEG_INFINITY, |best| best.evidence);
            if evidence > before {
                best = Some(AlongPaths { mixture: single.clone(), evidence });
            }
            if evidence < before + SETTLED {
                break;
            }
        }
        best.unwrap_or(AlongPaths { mixture: single, evidence: f64::NEG_INFINITY })
    }

    /// The data as they would be if no path were shifted.
    fn shifted(&self, data: &Data, shifts: &[usize]) -> Data {
        let mut shifted = data.clone();
        for (tracks, &shift) in self.0.iter().zip(shifts) {
            for piece in tracks.iter().flat_map(|&track| data.tracks[track].clone()) {
                shifted.pieces[piece].1.shift(shift);
            }
        }
        shifted
    }

    /// The log evidence of a line along shifted paths: that of the line, with every path's shift integrated
    /// over the circle. One of the phases is common to all, and is integrated once.
    fn evidence(&self, shifted: &Data, single: &Mixture) -> f64 {
        let of_shifts: f64 = self
            .0
            .iter()
            .map(|tracks| {
                let logs = log_likelihoods(shifted, single, tracks);
                let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean = logs.iter().map(|log| (log - top).exp()).sum::<f64>() / logs.len() as f64;
                top + mean.ln() - logs[0]
            })
            .sum();
        let phase_volume = 0.5 * (std::f64::consts::TAU / single.lines[0].information.at(0, 0)).ln();
        single.log_evidence(shifted) + of_shifts - phase_volume
    }
}

/// The log likelihood of a path's tracks for each shift, in bins.
fn log_likelihoods(data: &Data, single: &Mixture, tracks: &[usize]) -> Vec<f64> {
    let line = &single.lines[0];
    let mut logs = vec![0.0; BINS];
    for (bin, log) in logs.iter_mut().enumerate() {
        let shifted = line.moved(bin as f64 / BINS as f64, 0.0);
        let of_track = |&track: &usize| single.log_density_on(data.factor(track, &shifted));
        *log = tracks.iter().map(of_track).sum();
    }
    logs
}

/// The shift under which a path's tracks are likeliest.
fn likeliest(data: &Data, single: &Mixture, tracks: &[usize]) -> usize {
    let logs = log_likelihoods(data, single, tracks);
    logs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(bin, _)| bin)
}
