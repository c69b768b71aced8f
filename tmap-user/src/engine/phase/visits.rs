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
use crate::engine::types::{log_mean_exp, log_sum_exp};

/// Visits are one machine's where that is likelier than a machine for each visit by this, in nats.
const CLEARLY_ONE_NATS: f64 = 5.0;

/// A gap lies between visits where it is so many times as long as the line's mean one. Of random times, one
/// gap in twenty is.
const GAPS: f64 = 3.0;

/// It is also at least this share of the visit that a connection is in on average, from which a phase can be
/// foretold for so long.
const OF_VISIT: f64 = 1.0 / 3.0;

/// Times are cut into visits where random times have such long gaps more seldom than this, in nats: once in a
/// thousand cases.
const RANDOM_NATS: f64 = -7.0;

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
/// longer than those of random times, and in which rates that are possible differ by a tick.
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
    if visits.len() < 2 || random_nats(&lasting, &visits) > RANDOM_NATS {
        return vec![tracks.to_vec()];
    }
    visits.into_iter().map(|visit| visit.into_iter().map(|lasting| lasting.track).collect()).collect()
}

/// The log probability, in nats, that random times have as many gaps that sum to as much of the whole time.
/// So many given gaps have a share of it by the beta distribution; any of them may be these.
fn random_nats(lasting: &[Lasting], visits: &[Vec<Lasting>]) -> f64 {
    let (gaps, cuts) = (lasting.len() - 1, visits.len() - 1);
    let within_s: f64 = visits.iter().map(|visit| length_s(visit)).sum();
    let share = (1.0 - within_s / length_s(lasting)).clamp(1e-9, 1.0 - 1e-9);
    let ways_nats: f64 = (1..=cuts).map(|i| ((gaps - cuts + i) as f64 / i as f64).ln()).sum();
    // A beta distribution's tail is the chance of fewer successes than cuts.
    let mut exactly_nats = (gaps - 1) as f64 * (1.0 - share).ln();
    let fewer = (0..cuts).map(|successes| {
        let nats = exactly_nats;
        let odds = (gaps - 1 - successes) as f64 / (successes + 1) as f64;
        exactly_nats += (odds * share / (1.0 - share)).ln();
        nats
    });
    ways_nats + log_sum_exp(&fewer.collect::<Vec<_>>())
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

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;

    /// Connections that begin at these times and last a second, cut where there is none for so long.
    fn random_nats_of(mut times_s: Vec<f64>, gap_s: f64) -> f64 {
        times_s.sort_by(f64::total_cmp);
        let lasting: Vec<Lasting> =
            (0..).zip(times_s).map(|(track, from_s)| Lasting { from_s, to_s: from_s + 1.0, track }).collect();
        random_nats(&lasting, &cut_at(&lasting, gap_s))
    }

    #[test]
    fn random_times_are_no_visits() {
        let mut random = Pcg64::seed_from_u64(1);
        let mut at_random = || (0..20).map(|_| random.random_range(0.0..600.0)).collect::<Vec<f64>>();
        let visits = (0..200).filter(|_| random_nats_of(at_random(), 60.0) < RANDOM_NATS).count();
        assert!(visits <= 1, "{visits} of 200");
    }

    #[test]
    fn two_visits_are_visits() {
        let times_s = (0..20).map(|k| f64::from(k) + if k < 10 { 0.0 } else { 90.0 });
        assert!(random_nats_of(times_s.collect(), 30.0) < -20.0);
    }
}
