//! Lines that rest on few visits: each visit may as well be another machine's.
//!
//! Within a visit of a minute, a rate is known to some ppm. So after a gap of some minutes, a clock may show
//! any phase, and a line goes on through whatever phase the next visit has. Through the visits of several
//! machines some line passes, too, at a rate that none of them has. Only many visits, or gaps over which the
//! visits tell the phase, show that they are one machine's.

use std::f64::consts::TAU;

use smallvec::smallvec;

use super::{
    density::BINS,
    line::{FittedLine, WEAK_INFORMATION},
    mixture::{Data, Mixture},
    symmetric::{Numbers, Symmetric},
};
use crate::engine::types::log_mean_exp;

/// Visits are one machine's where that is likelier than a machine for each visit by this, in nats.
const CLEARLY_ONE_NATS: f64 = 5.0;

/// A gap lies between visits where it is so many times as long as the line's mean one. Of random times, one
/// gap in twenty is.
const GAPS: f64 = 3.0;

/// It is also at least this share of the visit that a connection is in on average, from which a phase can be
/// foretold for so long.
const OF_VISIT: f64 = 1.0 / 3.0;

/// More visits than this tell a line wherever it is one machine's: a bound of cost.
const MOST_VISITS: usize = 60;

/// A line through more tracks than this isn't looked at: a bound of cost.
const MOST_TRACKS: usize = 20_000;

/// The smallest visit's share of the tracks on each of these lines: so many are one machine's at least, also
/// where a larger one is of two machines at once. All of them are where visits are clearly one machine's, or
/// where there is one.
pub(super) fn surely_one(lines: &Mixture, data: &Data) -> Vec<f64> {
    let of_line = |(number, line): (usize, &FittedLine)| {
        let on_line = (0..data.tracks.len()).filter(|&track| lines.posterior(track, number) > 0.5);
        let tracks: Vec<usize> = on_line.take(MOST_TRACKS + 1).collect();
        if tracks.len() > MOST_TRACKS {
            return 1.0;
        }
        let visits = cut(data, &tracks);
        if !(2..=MOST_VISITS).contains(&visits.len()) || one_nats(&visits, line, data) > CLEARLY_ONE_NATS {
            return 1.0;
        }
        let smallest = visits.iter().map(Vec::len).min().unwrap_or(0);
        smallest as f64 / tracks.len() as f64
    };
    lines.lines.iter().enumerate().map(of_line).collect()
}

/// The probability of a track on a line of which this share is surely one machine's: in half of all cases,
/// the other visits are others'.
pub(super) fn probability(on_line: f32, surely_one: f64) -> f32 {
    on_line * (0.5 + 0.5 * surely_one) as f32
}

/// A track that lasts from one time to another, in seconds.
#[derive(Clone, Copy, Debug)]
struct Lasting {
    from_s: f64,
    to_s: f64,
    track: usize,
}

impl Lasting {
    fn of(data: &Data, track: usize) -> Self {
        let times = || data.tracks[track].clone().map(|piece| data.factors.x(piece));
        let (from_s, to_s) =
            (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
        Self { from_s, to_s, track }
    }
}

/// Tracks, visit by visit: between visits are gaps that are long beside the line's others and beside visits,
/// and in which rates that are possible differ by a tick.
///
/// O(n log n) for n tracks.
fn cut(data: &Data, tracks: &[usize]) -> Vec<Vec<usize>> {
    let mut lasting: Vec<Lasting> = tracks.iter().map(|&track| Lasting::of(data, track)).collect();
    lasting.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
    let [first, .., last] = lasting[..] else { return vec![tracks.to_vec()] };
    let mean_gap_s = (last.from_s - first.from_s) / lasting.len() as f64;
    let least_gap_s = (GAPS * mean_gap_s).max(1.0 / data.window.width());
    let all_s: f64 =
        cut_at(&lasting, least_gap_s).iter().map(|visit| visit.len() as f64 * length_s(visit)).sum();
    let visits = cut_at(&lasting, least_gap_s.max(OF_VISIT * all_s / lasting.len() as f64));
    visits.into_iter().map(|visit| visit.into_iter().map(|lasting| lasting.track).collect()).collect()
}

/// From the begin of the first of a visit's tracks to that of the last, in seconds.
fn length_s(visit: &[Lasting]) -> f64 {
    visit.first().zip(visit.last()).map_or(0.0, |(first, last)| last.from_s - first.from_s)
}

/// Tracks, in order of time, cut where there is none for longer than this.
fn cut_at(lasting: &[Lasting], least_gap_s: f64) -> Vec<Vec<Lasting>> {
    let (mut visits, mut until_s): (Vec<Vec<Lasting>>, f64) = (Vec::new(), f64::NEG_INFINITY);
    for &one in lasting {
        match visits.last_mut() {
            Some(visit) if one.from_s - until_s <= least_gap_s => visit.push(one),
            _ => visits.push(vec![one]),
        }
        until_s = until_s.max(one.to_s);
    }
    visits
}

/// How much likelier it is that `line` goes through all visits than that each has a phase of its own at the
/// line's rates, in nats: by the likelihood of the tracks, integrated over phases and rates.
fn one_nats(visits: &[Vec<usize>], line: &FittedLine, data: &Data) -> f64 {
    let parameters = data.knots.parameters();
    let weak_drift = WEAK_INFORMATION / data.window.width().powi(2);
    let prior = data.knots.prior(WEAK_INFORMATION, weak_drift);
    let (mut one, mut each) = (Symmetric::diagonal(&prior), Symmetric::diagonal(&prior));
    let nothing: Numbers = smallvec![0.0; parameters];
    let mut nats = 0.0;
    for visit in visits {
        let mut circle = [0.0_f32; BINS];
        let mut of_visit = Symmetric::diagonal(&nothing);
        for &track in visit {
            let of_track = data.circle(track, line);
            circle.iter_mut().zip(of_track).for_each(|(sum, factor)| *sum += factor);
            let mut gradient = nothing.clone();
            line.add_gradient(&data.factors, data.tracks[track].clone(), &data.knots, &mut gradient);
            of_visit.add_square(1.0, &gradient);
        }
        nats += f64::from(circle[0]) - log_mean_exp(&circle.map(f64::from));
        one.add(1.0, &of_visit);
        each.add(1.0, &of_visit);
        // Of a phase of its own, the visit tells nothing of the line.
        let of_phase: Numbers = (0..parameters).map(|other| of_visit.at(0, other)).collect();
        if of_phase[0] > 0.0 {
            each.add_square(-1.0 / of_phase[0], &of_phase);
        }
    }
    let volume = |information: &Symmetric| {
        -0.5 * information.factor().map_or(f64::INFINITY, |factor| factor.log_determinant())
    };
    // What `each` has left of the line's own phase is its prior of one.
    nats + 0.5 * TAU.ln() + volume(&one) - volume(&each)
}
