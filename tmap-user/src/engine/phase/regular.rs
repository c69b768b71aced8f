//! What the times at which connections begin leave open: machines that connect at regular times, or seldom.
//!
//! A machine with one connection every 60 s shows its phase every 60 s. A line that drifts by one tick more
//! in 60 s (16.7 ppm at 1 kHz) passes through the same phases, so the rate is known modulo that only, as a
//! frequency is that was sampled too slowly (aliasing). Of a few visits, too, several rates may pass through
//! all phases.

use std::f64::consts::TAU;

use crate::engine::types::in_order;

/// Drifts of lines that differ by more than this share of a step can be told apart: the trial frequencies
/// are that dense.
const PER_LOBE: f64 = 4.0;

/// The most trial frequencies, and the most times of a line: bounds of cost.
const MOST_FREQUENCIES: usize = 8192;
const MOST_TIMES: usize = 512;

/// The fewest periods within the data.
const FEWEST_PERIODS: f64 = 8.0;

/// A period is seen where its power is so many times that of random times, and of the median frequency:
/// visits of several connections have more power at all frequencies. Of thousands of frequencies of random
/// times, one in a hundred cases has one of so much power.
const POWER: f64 = 14.0;
const ABOVE_MEDIAN: f64 = 18.0;

/// A period has at least this share of the highest power. Beside a period of many connections, frequencies
/// next to it have enough power to be seen, too.
const OF_HIGHEST: f64 = 0.2;

/// The share of a line's times that must agree with a period for its rate to be known modulo that only.
const AGREE: f64 = 0.75;

/// Below this share, the times don't agree any more with a period that is too long to be one.
const DISAGREE: f64 = 0.5;

/// When a connection begins, and how long it lasts, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shown {
    pub begin_s: f64,
    pub length_s: f64,
}

/// The move of the phase, in ticks, that a connection shows itself: it tells drifts apart that differ by so
/// much over its length.
const SHOWN_TICKS: f64 = 0.2;

impl Shown {
    /// The highest frequency at which its time counts: drifts that differ by more it tells apart itself.
    fn reach_hz(&self) -> f64 {
        SHOWN_TICKS / self.length_s.max(1e-9)
    }
}

/// The power of a line's times at each trial frequency from 0 on, as a share of that of times that agree.
fn spectrum(line: &[Shown], step_hz: f64, count: usize) -> Vec<f64> {
    let stride = line.len().div_ceil(MOST_TIMES).max(1);
    let mut sums = vec![(0.0, 0.0); count];
    let mut used = 0;
    for shown in line.iter().step_by(stride) {
        let (sin, cos) = (TAU * step_hz * shown.begin_s).sin_cos();
        let (mut x, mut y) = (1.0, 0.0);
        let reach = shown.reach_hz() / step_hz;
        for sum in sums.iter_mut().take(reach as usize + 1) {
            *sum = (sum.0 + x, sum.1 + y);
            (x, y) = (x * cos - y * sin, x * sin + y * cos);
        }
        used += 1;
    }
    let all = f64::from(used).max(1.0).powi(2);
    sums.into_iter().map(|(x, y)| (x * x + y * y) / all).collect()
}

/// The highest frequency at which most connections count: longer ones tell drifts apart by themselves, so
/// that no period leaves them open.
fn reached_hz(lines: &[Vec<Shown>]) -> f64 {
    let mut reached_hz: Vec<f64> = lines.iter().flatten().map(Shown::reach_hz).collect();
    reached_hz.sort_unstable_by(f64::total_cmp);
    reached_hz.get(((1.0 - AGREE) * reached_hz.len() as f64) as usize).copied().unwrap_or(0.0)
}

/// The step from one trial frequency to the next, and how many there are up to `most_hz`.
fn trials(span_s: f64, most_hz: f64) -> (f64, usize) {
    let step_hz = 1.0 / (PER_LOBE * span_s.max(1e-3));
    (step_hz, ((most_hz / step_hz) as usize + 1).min(MOST_FREQUENCIES))
}

fn span_s<'a>(shown: impl Iterator<Item = &'a Shown> + Clone) -> f64 {
    let times_s = || shown.clone().map(|shown| shown.begin_s);
    times_s().fold(f64::NEG_INFINITY, f64::max) - times_s().fold(f64::INFINITY, f64::min)
}

/// The smallest step by which the drifts of lines may differ unseen, in ticks per second, up to `most`: one
/// tick for each period of the times at which their connections begin. `None` where they aren't regular.
///
/// O(n) for n connections of all lines, times the number of trial frequencies.
pub(super) fn step(lines: &[Vec<Shown>], most: f64) -> Option<f64> {
    let span_s = span_s(lines.iter().flatten());
    let (step_hz, count) = trials(span_s, most.min(reached_hz(lines)));
    let first = (PER_LOBE * FEWEST_PERIODS) as usize;
    if !span_s.is_finite() || count <= first {
        return None;
    }
    // Relative to that of random times, whose power is one for each of them.
    let mut power = vec![0.0; count];
    for line in lines {
        let weight = line.len().min(MOST_TIMES) as f64 / lines.len() as f64;
        for (sum, share) in power.iter_mut().zip(spectrum(line, step_hz, count)) {
            *sum += weight * share;
        }
    }
    let mut sorted = power[first..].to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let highest = sorted[sorted.len() - 1];
    let least = POWER.max(ABOVE_MEDIAN * sorted[sorted.len() / 2]).max(OF_HIGHEST * highest);
    let is_peak = |at: &usize| {
        let beside = [at.wrapping_sub(1), at + 1].map(|at| power.get(at).copied().unwrap_or(0.0));
        power[*at] > least && power[*at] >= beside[0] && power[*at] >= beside[1]
    };
    let mut peaks = (first..count).filter(is_peak).map(|at| at as f64 * step_hz);
    peaks.find(|&hz| agreement_nats(lines, hz) > SURELY_NATS)
}

/// A period is one if occasions agree with it by so many nats: of thousands of frequencies of random times,
/// one in some hundred cases has one with which they agree so well.
const SURELY_NATS: f64 = 13.0;

/// What a line's own angle costs, in nats.
const ANGLE_NATS: f64 = 1.0;

/// How much better occasions of these lines agree with a period than random ones do, in nats.
fn agreement_nats(lines: &[Vec<Shown>], hz: f64) -> f64 {
    lines.iter().map(|line| (of_line_nats(line, hz) - ANGLE_NATS).max(0.0)).sum()
}

/// How much better those of one line do. Its connections of one visit are one occasion: they agree with each
/// other, whatever the period is.
fn of_line_nats(line: &[Shown], hz: f64) -> f64 {
    let counting = line.iter().filter(|shown| shown.reach_hz() >= hz);
    let begins = in_order(counting.map(|shown| shown.begin_s * hz));
    let occasions = begins.chunk_by(|one, next| next - one < WITHIN_PERIODS);
    let (mut count, mut sum) = (0.0, (0.0, 0.0));
    for occasion in occasions.flat_map(cut) {
        let middle = occasion.iter().sum::<f64>() / occasion.len() as f64;
        let (sin, cos) = (TAU * middle).sin_cos();
        sum = (sum.0 + cos, sum.1 + sin);
        count += 1.0;
    }
    count * gain_nats(sum.0.hypot(sum.1) / f64::max(count, 1.0))
}

/// Connections of one occasion follow each other within this part of a period.
const WITHIN_PERIODS: f64 = 0.25;

/// Cuts connections that go on for longer than half a period, so that dense ones are several occasions.
fn cut(begins: &[f64]) -> impl Iterator<Item = &[f64]> {
    let first = begins[0];
    begins.chunk_by(move |one, next| ((one - first) * 2.0).floor() == ((next - first) * 2.0).floor())
}

/// How much likelier each of many angles is by the wrapped normal law of this resultant than if all angles
/// are alike, in nats.
fn gain_nats(resultant: f64) -> f64 {
    let variance = -2.0 * resultant.clamp(1e-9, LARGEST_RESULTANT).ln();
    resultant.powi(2).max(0.5 * (TAU.ln() - 1.0 - variance.ln()))
}

/// Angles aren't known better than this resultant says.
const LARGEST_RESULTANT: f64 = 0.99;

/// Connections that begin within this time of each other are one visit, in seconds: what a page takes to
/// load.
const VISIT_S: f64 = 3.0;

/// The share of connections that begin within a visit, beyond that of random times, from which on visits
/// count.
const IN_VISITS: f64 = 0.3;

/// Through fewer visits than this, lines of other machines may pass.
const FEWEST_VISITS: usize = 40;

/// Whether lines of several machines rest on few visits.
pub(super) fn are_few(lines: &[Vec<Shown>]) -> bool {
    lines.len() > 1 && lines.iter().any(|line| are_few_visits(line))
}

/// Whether a line's connections came in a few visits of several each. Each visit shows one phase, however
/// many connections it has, and the machine was drawn once.
pub(super) fn are_few_visits(shown: &[Shown]) -> bool {
    let begins_s = in_order(shown.iter().map(|shown| shown.begin_s));
    let [first, .., last] = begins_s[..] else { return false };
    let gaps = begins_s.len() - 1;
    let visits = 1 + begins_s.windows(2).filter(|pair| pair[1] - pair[0] > VISIT_S).count();
    let within = 1.0 - (visits - 1) as f64 / gaps as f64;
    let at_random = 1.0 - (-VISIT_S * gaps as f64 / (last - first)).exp();
    visits < FEWEST_VISITS && within > at_random + IN_VISITS
}

/// Whether so large a share of connections begins in step with one period, in which a clock of this drift
/// drifts by one tick.
fn are_in_step(shown: &[Shown], drift: f64, share: f64) -> bool {
    spectrum(shown, drift, 2)[1] > share * share
}

/// Whether connections begin in step with one period, in which a clock of this drift drifts by one tick.
pub(super) fn agree(shown: &[Shown], drift: f64) -> bool {
    are_in_step(shown, drift, AGREE)
}

/// Whether the drift of a line with these connections is known only modulo a step of at most `most` ticks per
/// second.
pub(super) fn is_open(shown: &[Shown], most: f64) -> bool {
    let (step_hz, count) = trials(span_s(shown.iter()), most);
    let shares = spectrum(shown, step_hz, count);
    let beyond = shares.iter().position(|share| *share < DISAGREE * DISAGREE);
    beyond.is_some_and(|from| shares[from..].iter().any(|share| *share > AGREE * AGREE))
}

/// How far a line's drift may be off because it slipped by a tick wherever it had no connection for longer
/// than `bridged_s`, in ticks per second: standard deviation.
pub(super) fn slipped(shown: &[Shown], bridged_s: f64) -> f64 {
    let begins_s = in_order(shown.iter().map(|shown| shown.begin_s));
    let wide = begins_s.windows(2).filter(|pair| pair[1] - pair[0] > bridged_s).count();
    if wide == 0 { 0.0 } else { (wide as f64).sqrt() / span_s(shown.iter()) }
}

/// The share of a line's times that must agree with a period for it to hold a machine that connects in step
/// with that: the line may have collected as many connections of others.
const PARTLY: f64 = 0.4;

/// Whether a line holds a machine that connects in step with a period, beside connections of others. Where
/// the line is an image of that machine's, it passes through their phases, too.
pub(super) fn is_partly_regular(shown: &[Shown], most: f64) -> bool {
    step(&[shown.to_vec()], most).is_some_and(|step_hz| are_in_step(shown, step_hz, PARTLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    fn shown(times_s: impl IntoIterator<Item = f64>) -> Vec<Shown> {
        times_s.into_iter().map(|begin_s| Shown { begin_s, length_s: 0.2 }).collect()
    }

    /// One connection in each period, some time after its begin.
    fn regular(period_s: f64, count: usize, jitter_s: f64, seed: u64) -> Vec<Shown> {
        let mut random = Pcg64::seed_from_u64(seed);
        let begin_s = random.random_range(0.0..period_s);
        shown((0..count).map(|k| begin_s + period_s * k as f64 + jitter_s * random.random::<f64>()))
    }

    fn at_random(span_s: f64, count: usize, seed: u64) -> Vec<Shown> {
        let mut random = Pcg64::seed_from_u64(seed);
        shown((0..count).map(|_| span_s * random.random::<f64>()))
    }

    /// Pages of six connections each, of which each lasts so long.
    fn long_pages(span_s: f64, count: usize, seed: u64, length_s: f64) -> Vec<Shown> {
        let mut shown = pages(span_s, count, seed);
        shown.iter_mut().for_each(|one| one.length_s = length_s);
        shown
    }

    /// Pages of six connections each.
    fn pages(span_s: f64, count: usize, seed: u64) -> Vec<Shown> {
        let starts = at_random(span_s, count, seed).into_iter();
        shown(starts.flat_map(|start| (0..6).map(move |k| start.begin_s + 0.2 * f64::from(k))))
    }

    #[test]
    fn a_period_is_a_step() {
        let machines: Vec<Vec<Shown>> = (0..5).map(|seed| regular(60.0, 60, 3.0, seed)).collect();
        let step = step(&machines, 0.2).expect("a period");
        assert!((step - 1.0 / 60.0).abs() < 1e-4, "{step}");
        assert!(machines.iter().all(|line| is_open(line, 0.2)));
        assert!(!is_open(&machines[0], 0.015), "no two drifts differ by so much");
    }

    #[test]
    fn a_regular_machine_is_seen_among_connections_of_others() {
        for seed in 0..20 {
            let line = [regular(60.0, 60, 0.05, seed), at_random(3600.0, 50, seed)].concat();
            assert!(!is_open(&line, 0.2) && is_partly_regular(&line, 0.2), "{seed}");
            assert!(!is_partly_regular(&at_random(3600.0, 110, seed), 0.2), "{seed}");
            let few = [regular(60.0, 60, 0.05, seed), at_random(3600.0, 300, seed)].concat();
            assert!(!is_partly_regular(&few, 0.2), "{seed}: the others tell its rate");
        }
    }

    #[test]
    fn long_connections_tell_drifts_apart() {
        let mut line = regular(60.0, 60, 3.0, 1);
        line.iter_mut().for_each(|shown| shown.length_s = 30.0);
        assert!(!is_open(&line, 0.2) && step(&[line], 0.2).is_none());
    }

    #[test]
    fn two_machines_on_one_line_show_it_too() {
        let both = [regular(60.0, 60, 1.0, 1), regular(60.0, 60, 1.0, 2)].concat();
        assert!(step(&[both], 0.2).is_some());
    }

    #[test]
    fn random_times_have_none() {
        for seed in 0..200 {
            let lines: Vec<Vec<Shown>> = (0..4).map(|line| at_random(3600.0, 30, 4 * seed + line)).collect();
            assert_eq!(step(&lines, 0.2), None, "{seed}");
            assert!(!lines.iter().any(|line| is_open(line, 0.2)), "{seed}");
        }
    }

    #[test]
    fn visits_of_several_connections_are_not_regular() {
        for length_s in [0.2, 1.8, 3.0, 10.0] {
            let is_regular = |seed: &u64| {
                let span_s = if seed.is_multiple_of(2) { 3600.0 } else { 240.0 };
                step(&[long_pages(span_s, 5 + *seed as usize % 25, *seed, length_s)], 0.2).is_some()
            };
            assert!((0..200).filter(is_regular).count() <= 2, "{length_s}");
        }
    }

    /// Connections of a visit agree with each other, so a dozen visits had a period that nobody kept.
    #[test]
    fn visits_of_a_minute_are_not_regular() {
        let long_visits = |seed: u64| {
            let visits = at_random(3600.0, 12 + seed as usize % 15, seed).into_iter().enumerate();
            let within = |(k, one): (usize, Shown)| {
                at_random(60.0, 12, 1_000 * seed + k as u64)
                    .into_iter()
                    .map(move |s| Shown { begin_s: one.begin_s + s.begin_s, ..s })
            };
            visits.flat_map(within).collect::<Vec<_>>()
        };
        let is_regular = |seed: &u64| step(&[long_visits(*seed)], 0.2).is_some();
        assert_eq!((0..200).filter(is_regular).count(), 0);
    }

    /// Six connections at once each minute: frequencies next to this have much power, too.
    #[test]
    fn a_period_of_many_connections_is_told_exactly() {
        let line = regular(60.0, 60, 1.0, 7).repeat(6);
        let step = step(&[line.clone(), line], 0.2).expect("a period");
        assert!((step - 1.0 / 60.0).abs() < 5e-5, "{step}");
    }

    #[test]
    fn visits_are_told_from_dense_traffic() {
        assert!(are_few_visits(&pages(600.0, 10, 1)) && are_few_visits(&pages(3600.0, 35, 1)));
        assert!(!are_few_visits(&pages(3600.0, 100, 1)), "as many visits as show a line");
        assert!(!are_few_visits(&at_random(60.0, 600, 1)) && !are_few_visits(&at_random(3600.0, 30, 1)));
        assert!(!are_few_visits(&shown([1.0])) && !are_few_visits(&[]));
    }

    #[test]
    fn two_pieces_leave_the_rate_open() {
        let mut line = at_random(60.0, 30, 1);
        let later = |shown: Shown| Shown { begin_s: shown.begin_s + 1800.0, ..shown };
        line.extend(at_random(60.0, 30, 2).into_iter().map(later));
        assert!(is_open(&line, 0.2));
    }
}
