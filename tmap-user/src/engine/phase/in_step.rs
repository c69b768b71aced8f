//! Segments that keep step with the tick: they show nothing of where a tick begins.
//!
//! A phase is told by segments that leave at any part of the tick. Where a timer of whole ticks sends a
//! connection's segments, all lie at one part of it, and the connection is left out. Where the segments of
//! all connections *arrive* at one part of the tick, whoever sent them, the network or the sensor has a grid
//! of its own (LTE's subframes of 1 ms, a polled interface, a clock that steps): then all connections show
//! the grid's phase, however many machines there are. Connections that are there together show it where they
//! are compared; where they follow each other, each one's own arrivals do.

use std::{collections::BTreeMap, f64::consts::TAU};

use super::sample::{Sampled, Track};
use crate::engine::types::seconds_between;

/// A timer of whole ticks puts segments at one place within the tick, one of halves or quarters at two or
/// four.
const MOST_PLACES: usize = 4;

/// Places are further apart than this, in ticks, and together no wider than the second figure.
const APART_TICKS: f64 = 0.1;
const STEP_TICKS: f64 = 0.2;

/// The fewest points that show one place, and each further one: waits of any length lie so by chance in less
/// than one of a hundred tracks.
const STEP_POINTS: usize = 5;
const POINTS_PER_PLACE: usize = 4;

/// Whether a track's segments were sent in step with the tick. They then show few places within the tick
/// again and again, and nothing of where the tick begins.
pub(super) fn is_sent_in_step(track: &Track<'_>, hz: f64) -> bool {
    let [first, ..] = track.sample else { return false };
    let mut late: Vec<f64> = track
        .sample
        .iter()
        .map(|sampled| {
            let elapsed_s = seconds_between(first.point.time_ns, sampled.point.time_ns);
            hz * elapsed_s - (sampled.point.ticks - first.point.ticks) as f64
        })
        .collect();
    late.sort_unstable_by(f64::total_cmp);
    let gaps = late.windows(2).map(|pair| pair[1] - pair[0]);
    let (between, within): (Vec<f64>, Vec<f64>) = gaps.partition(|gap| *gap > APART_TICKS);
    let more_places = between.len();
    more_places < MOST_PLACES
        && late.len() >= STEP_POINTS + POINTS_PER_PLACE * more_places
        && within.iter().sum::<f64>() < STEP_TICKS
}

/// A segment is the first of its TSval wherever in the tick it comes only if none came in the tick before it:
/// otherwise, of segments that are close together, it comes at the tick's beginning.
const IDLE_TICKS: f64 = 2.0;

/// Times are compared within windows of so many seconds, in which the clocks of a grid and of the sensor stay
/// together: long ones for few segments, short ones for fine grids whose clock is far off.
const WINDOWS_S: [f64; 2] = [4.0, 0.5];

/// Grids of a tick, of its half, its third and so on: one of two thirds or of two ticks and a half is one of
/// these, too. Finer ones than the last move phases by less than jitter does.
const GRIDS: usize = 10;

/// Connections are in step where the directions of their arrivals on the circle of the grid have this share
/// in common: 0 for connections that have nothing to do with each other, 1 for a grid without jitter. On
/// networks without a grid it is below 0.14, with a jitter of a fifth of the grid 0.2 to 0.4.
const IN_COMMON: f64 = 0.25;

/// The least evidence for that, in standard deviations of what they have in common by chance.
const DEVIATIONS: f64 = 6.0;

/// Fewer connections than this, weighted by their arrivals, may be in step by chance: each keeps its own time
/// for long.
const FEWEST: f64 = 6.0;

/// Connections keep step by themselves where the directions of each one's own arrivals have this share in
/// common on average, also where too few are there at one time to compare them: then none shows a phase.
const OWN_IN_COMMON: f64 = 0.5;

/// A connection with more pairs of arrivals tells no more than one with so many: it may send at intervals of
/// its own.
const OWN_PAIRS: f64 = 20.0;

/// A sender's own timer keeps step, too. The directions of a grid agree where one clock makes them: at a rate
/// within so many millionths of the sensor's, by chance in one of so many cases.
const GRID_PPM: f64 = 60.0;
const BY_CHANCE: f64 = 20.0;

/// So many connections, and so many rates for each turn of the circle, show that: bounds of cost.
const MOST_COMPARED: usize = 64;
const RATES_PER_TURN: f64 = 4.0;
const MOST_RATES: f64 = 20_000.0;

/// Only for grids of a tick and its half: intervals of a connection's own are often multiples of finer ones,
/// and a third of a tick tells a phase.
const OWN_GRIDS: usize = 2;

/// So many arrivals show a grid as well as more: a bound of cost.
const MOST_ARRIVALS: usize = 1 << 14;

/// Whether the segments of all tracks arrive in step with the tick, or with a part of it.
pub(super) fn do_arrive_in_step(tracks: &[Track<'_>], hz: f64) -> bool {
    let is_after_rest = |sampled: &&Sampled| f64::from(sampled.gap_ns) * 1e-9 * hz >= IDLE_TICKS;
    let arrivals_of = |track: usize| tracks[track].sample.iter().filter(is_after_rest);
    let all = (0..tracks.len()).flat_map(|track| arrivals_of(track).map(move |s| (s.point.time_ns, track)));
    let mut arrivals: Vec<(u64, usize)> = all.collect();
    arrivals.sort_unstable();
    let beyond = arrivals.len().saturating_sub(MOST_ARRIVALS);
    let arrivals = &arrivals[beyond / 2..arrivals.len() - beyond.div_ceil(2)];
    is_of_many(arrivals) && WINDOWS_S.iter().any(|s| are_in_step(arrivals, hz, (s * 1e9) as u64))
}

/// Whether enough tracks have a share in these arrivals.
fn is_of_many(arrivals: &[(u64, usize)]) -> bool {
    let mut of_tracks: BTreeMap<usize, f64> = BTreeMap::new();
    arrivals.iter().for_each(|(_, track)| *of_tracks.entry(*track).or_default() += 1.0);
    let squares: f64 = of_tracks.values().map(|count| count * count).sum();
    squares > 0.0 && (arrivals.len() as f64).powi(2) >= FEWEST * squares
}

/// Whether arrivals, each with its track, are in step with any of the grids within windows of this length.
fn are_in_step(arrivals: &[(u64, usize)], hz: f64, window_ns: u64) -> bool {
    let mut common = [Common::default(); GRIDS];
    let mut own: BTreeMap<usize, Own> = BTreeMap::new();
    for window in arrivals.chunk_by(|a, b| a.0 / window_ns == b.0 / window_ns) {
        let mut of_tracks: BTreeMap<usize, Directions> = BTreeMap::new();
        for &(time_ns, track) in window {
            of_tracks.entry(track).or_default().add((time_ns % window_ns) as f64 * 1e-9 * hz);
        }
        for (grid, common) in common.iter_mut().enumerate() {
            common.add(of_tracks.values().map(|of| (of.arrivals, of.sums[grid])));
        }
        let at_s = (window[0].0 / window_ns * window_ns) as f64 * 1e-9;
        of_tracks.into_iter().for_each(|(track, of)| own.entry(track).or_default().add(at_s, &of));
    }
    common.iter().any(Common::is_clear) || do_keep_step(own.values(), hz)
}

/// Whether tracks keep step by themselves, nearly all of them, with one grid.
fn do_keep_step<'a>(own: impl Iterator<Item = &'a Own>, hz: f64) -> bool {
    let telling: Vec<&Own> = own.filter(|own| own.pairs > 0.0).collect();
    let [weights, squares, variance] = telling.iter().fold([0.0; 3], |[weights, squares, variance], own| {
        let weight = own.weight();
        [weights + weight, squares + weight * weight, variance + weight * weight / own.pairs]
    });
    let is_kept = |grid: usize| {
        let common: f64 = telling.iter().map(|own| own.weight() * own.cosines[grid] / own.pairs).sum();
        common > OWN_IN_COMMON * weights && common > DEVIATIONS * variance.sqrt()
    };
    weights * weights >= FEWEST * squares
        && squares > 0.0
        && (0..OWN_GRIDS).any(|grid| is_kept(grid) && is_of_one_clock(&telling, grid, hz))
}

/// Whether the directions of tracks are those of one grid, at any rate that a clock may have.
///
/// O(n r) for n tracks and r rates, both bounded.
fn is_of_one_clock(tracks: &[&Own], grid: usize, hz: f64) -> bool {
    let compared: Vec<&Own> = tracks.iter().step_by(tracks.len().div_ceil(MOST_COMPARED)).copied().collect();
    let times_s = || compared.iter().map(|own| own.busiest_at_s);
    let (first_s, last_s) =
        (times_s().fold(f64::INFINITY, f64::min), times_s().fold(f64::NEG_INFINITY, f64::max));
    let most_turns = GRID_PPM * 1e-6 * hz * (grid + 1) as f64 * (last_s - first_s);
    let rates = (2.0 * RATES_PER_TURN * most_turns).ceil().clamp(1.0, MOST_RATES);
    let agreement = |rate: f64| {
        let turns = most_turns * (2.0 * rate / rates - 1.0);
        let (cos, sin) = compared.iter().fold((0.0, 0.0), |(cos, sin), own| {
            let (own_cos, own_sin) = own.busiest.sums[grid];
            let back = -TAU * turns * (own.busiest_at_s - first_s) / (last_s - first_s).max(1.0);
            let angle = own_sin.atan2(own_cos) + back;
            (cos + angle.cos(), sin + angle.sin())
        });
        (cos * cos + sin * sin) / compared.len() as f64
    };
    let least = (BY_CHANCE * rates).ln();
    (0..=rates as usize).any(|rate| agreement(rate as f64) > least)
}

/// Arrivals of one track, as directions on the circle of each grid.
#[derive(Clone, Copy, Debug, Default)]
struct Directions {
    arrivals: f64,
    /// Sums of cosines and sines.
    sums: [(f64, f64); GRIDS],
}

impl Directions {
    /// Adds an arrival at `ticks`.
    fn add(&mut self, ticks: f64) {
        self.arrivals += 1.0;
        let (first_sin, first_cos) = (TAU * ticks.fract()).sin_cos();
        let (mut cos, mut sin) = (first_cos, first_sin);
        for sum in &mut self.sums {
            *sum = (sum.0 + cos, sum.1 + sin);
            (cos, sin) = (cos * first_cos - sin * first_sin, cos * first_sin + sin * first_cos);
        }
    }
}

/// What the directions of one track's arrivals have in common within windows, over all pairs of them.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// The sums of the cosines between the directions, for each grid.
    cosines: [f64; OWN_GRIDS],
    pairs: f64,
    /// The arrivals in the window with most of them, and when it begins, in seconds.
    busiest: Directions,
    busiest_at_s: f64,
}

impl Own {
    /// Adds the arrivals in a window that begins at this time.
    fn add(&mut self, at_s: f64, of: &Directions) {
        self.pairs += of.arrivals * (of.arrivals - 1.0);
        if of.arrivals > self.busiest.arrivals {
            (self.busiest, self.busiest_at_s) = (*of, at_s);
        }
        for (sum, (cos, sin)) in self.cosines.iter_mut().zip(of.sums) {
            *sum += cos * cos + sin * sin - of.arrivals;
        }
    }

    fn weight(&self) -> f64 {
        self.pairs.min(OWN_PAIRS)
    }
}

/// What the directions of different tracks have in common, over all pairs of their arrivals. What a track has
/// in common with itself doesn't count: it may send at intervals of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Common {
    /// The sum of the cosines between the directions.
    cosines: f64,
    pairs: f64,
    /// The variance of `cosines`, were the tracks' directions drawn at random.
    variance: f64,
}

impl Common {
    /// Adds the arrivals and the direction of each track in a window.
    fn add(&mut self, tracks: impl Iterator<Item = (f64, (f64, f64))>) {
        let (mut all, mut arrivals, mut own_pairs) = ((0.0, 0.0), 0.0, 0.0);
        let (mut squares, mut fourths) = (0.0, 0.0);
        for (of_track, (cos, sin)) in tracks {
            all = (all.0 + cos, all.1 + sin);
            arrivals += of_track;
            own_pairs += of_track * of_track;
            let square = cos * cos + sin * sin;
            squares += square;
            fourths += square * square;
        }
        self.cosines += all.0 * all.0 + all.1 * all.1 - squares;
        self.pairs += arrivals * arrivals - own_pairs;
        self.variance += squares * squares - fourths;
    }

    /// Whether much is in common, and not by chance.
    fn is_clear(&self) -> bool {
        self.cosines > IN_COMMON * self.pairs && self.cosines > DEVIATIONS * self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{phase::sample::Sample, types::Point};

    /// The sample of segments that were sent at these times by a clock of 1 kHz, in milliseconds.
    fn sample(times_ms: impl IntoIterator<Item = f64>) -> Sample {
        let mut sample = Sample::default();
        for t in times_ms {
            sample.add(Point { time_ns: (t * 1e6) as u64, ticks: t as i64 });
        }
        sample
    }

    /// The track of a sample.
    fn track(sample: &Sample) -> Track<'_> {
        Track { sample: sample.points(), offered: sample.offered(), ..Track::default() }
    }

    /// Whether segments that were sent at these times are in step with a clock of 1 kHz.
    fn is_in_step(times_ms: &[f64]) -> bool {
        is_sent_in_step(&track(&sample(times_ms.iter().copied())), 1000.0)
    }

    /// Whether the segments of ten connections arrive in step, each of which arrives at what `arrival` makes
    /// of a random time in milliseconds.
    fn do_arrive(mut arrival: impl FnMut(f64) -> f64) -> bool {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_pcg::Pcg64::seed_from_u64(1);
        let samples: Vec<Sample> = (0..10)
            .map(|connection| {
                let mut sent_ms = 200.0 * f64::from(connection);
                let mut later = || {
                    sent_ms += 2.0 + 60.0 * random.random::<f64>();
                    arrival(sent_ms)
                };
                sample((0..100).map(|_| later()).collect::<Vec<_>>())
            })
            .collect();
        do_arrive_in_step(&samples.iter().map(track).collect::<Vec<_>>(), 1000.0)
    }

    #[test]
    fn a_network_s_grid_is_found() {
        let on_grid = |step_ms: f64| move |t: f64| (t / step_ms).ceil() * step_ms;
        assert!(!do_arrive(|t| t), "any time");
        for step_ms in [1.0, 1.000_037, 0.5, 2.0 / 3.0, 0.4, 0.2, 0.125, 0.250_013, 0.1, 2.5] {
            assert!(do_arrive(on_grid(step_ms)), "{step_ms} ms");
        }
        // One of a twentieth shifts phases by less than jitter does.
        assert!(!do_arrive(on_grid(0.05)));
        assert!(do_arrive(|t| t.ceil() + 0.4 * t.fract()), "with jitter");
    }

    /// Connections that follow each other can't be compared, but each of them keeps step.
    #[test]
    fn a_grid_of_several_ticks_is_found_where_connections_are_few() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_pcg::Pcg64::seed_from_u64(1);
        let mut do_arrive = |step_ms: f64, jitter_ms: f64| {
            let samples: Vec<Sample> = (0..12)
                .map(|connection| {
                    let mut sent_ms = 25_000.0 * f64::from(connection);
                    let mut later = || {
                        sent_ms += 6.0 + 60.0 * random.random::<f64>();
                        (sent_ms / step_ms).ceil() * step_ms + jitter_ms * random.random::<f64>()
                    };
                    sample((0..8).map(|_| later()).collect::<Vec<_>>())
                })
                .collect();
            do_arrive_in_step(&samples.iter().map(track).collect::<Vec<_>>(), 1000.0)
        };
        for step_ms in [0.5, 1.0, 2.0, 4.000_068, 5.0] {
            assert!(do_arrive(step_ms, 0.1), "{step_ms} ms");
        }
        assert!(!do_arrive(1e-6, 0.1), "any time");
    }

    /// Each connection has a timer of its own, which no grid makes.
    #[test]
    fn senders_timers_are_no_grid() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_pcg::Pcg64::seed_from_u64(1);
        let of = |connection: u32, first_ms: f64| {
            let began_ms = 2_000.0 * f64::from(connection) + first_ms;
            sample((0..20).map(move |k| began_ms + 62.5 * f64::from(k)))
        };
        let samples: Vec<Sample> = (0..60).map(|connection| of(connection, random.random())).collect();
        assert!(!do_arrive_in_step(&samples.iter().map(track).collect::<Vec<_>>(), 1000.0));
    }

    #[test]
    fn each_connection_s_own_intervals_are_no_grid() {
        let of = |connection: u32| {
            let first_ms = 1.43 * f64::from(connection);
            sample((0..100).map(move |k| first_ms + 51.375 * f64::from(k)))
        };
        let samples: Vec<Sample> = (0..10).map(of).collect();
        assert!(!do_arrive_in_step(&samples.iter().map(track).collect::<Vec<_>>(), 1000.0));
    }

    #[test]
    fn segments_in_each_tick_are_no_grid() {
        let of = |connection: u32| {
            let first_ms = 1.137 * f64::from(connection * connection);
            let each_tick = (1..500).map(|tick| (first_ms + f64::from(tick)).floor() + 0.01);
            sample(std::iter::once(first_ms).chain(each_tick))
        };
        let samples: Vec<Sample> = (0..10).map(of).collect();
        assert!(!do_arrive_in_step(&samples.iter().map(track).collect::<Vec<_>>(), 1000.0));
    }

    #[test]
    fn segments_of_a_timer_are_in_step_and_others_are_not() {
        assert!(is_in_step(&[10.4, 50.5, 90.4, 130.45, 170.4]));
        assert!(!is_in_step(&[10.4, 50.9, 90.1, 130.6, 170.3]));
        assert!(!is_in_step(&[10.4, 50.5, 90.4, 130.45, 170.7]), "one is late");
    }

    #[test]
    fn a_timer_of_half_ticks_has_two_places() {
        let every = |step_ms: f64, count: i32| -> Vec<f64> {
            (0..count).map(|k| 10.1 + step_ms * f64::from(k) + 0.02 * f64::from(k % 3)).collect()
        };
        assert!(is_in_step(&every(62.5, 9)));
        assert!(is_in_step(&every(31.25, 17)));
        assert!(!is_in_step(&every(62.5, 8)), "four at each place may be there by chance");
        assert!(!is_in_step(&every(62.37, 20)), "the places are many");
    }

    #[test]
    fn waits_of_any_length_are_hardly_ever_in_step() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_pcg::Pcg64::seed_from_u64(1);
        for points in [5, 6, 9, 13, 17] {
            let mut track = || {
                let times: Vec<f64> =
                    (0..points).map(|k| 40.0 * f64::from(k) + random.random::<f64>()).collect();
                is_in_step(&times)
            };
            let by_chance = (0..2000).filter(|_| track()).count();
            assert!(by_chance < 20, "{by_chance} of 2000 with {points} points");
        }
    }

    #[test]
    fn few_segments_may_be_in_step_by_chance() {
        assert!(!is_in_step(&[10.4, 50.5, 90.4, 130.45]));
    }
}
