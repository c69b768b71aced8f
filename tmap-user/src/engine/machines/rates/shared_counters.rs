//! Counters of one rate that connections share, where that rate is taken to be theirs.
//!
//! At a wrong rate, hardly any two connections show the same counter. So connections are first sorted by the
//! value that they show, and only those with a neighbour near enough are followed through time.

use multiversion::multiversion;

use crate::engine::{
    clock::{
        envelope::Envelope,
        rate::{NOMINAL, RATES},
    },
    machines::counters::{
        coincidence::{ANYWHERE_NATS, LEAST_SHARED_NATS},
        counter_values::CounterValues,
    },
    types::{Point, WRAP_TICKS, seconds_between, wrap_difference},
};

/// How far delays shift one connection against another, in seconds, on most paths.
const DELAY_S: f64 = 0.03;

/// The largest skew of most clocks, relative.
const SKEW: f64 = 100e-6;

/// A connection: the highest line of a rate that its points hold up is its counter, if that is its rate. A
/// late segment says nothing.
pub(super) struct Shown {
    /// When it begins.
    pub begin_ns: u64,
    /// The rates that are possible, a bit for each.
    pub possible: u32,
    /// The counter at each possible rate, when the first connection of that rate begins.
    values: [u32; RATES],
}

/// Reads off what connections show, in order of their beginnings. Each comes with its possible rates.
pub(super) fn show<'a>(order: impl ExactSizeIterator<Item = (&'a Envelope, u32)>) -> Vec<Shown> {
    let mut shown = Vec::with_capacity(order.len());
    // The rates that any connection had so far, and when the first of each began.
    let (mut begun, mut origins_ns, mut shifts_ns) = (0, [0; RATES], [0.0; RATES]);
    for (envelope, possible) in order {
        let Some(first) = envelope.points().first() else { continue };
        let begin_ns = first.time_ns;
        let origin_ns = shown.first().map_or(begin_ns, |shown: &Shown| shown.begin_ns);
        for rate in rates(possible & !begun) {
            origins_ns[rate] = begin_ns;
            shifts_ns[rate] = begin_ns.wrapping_sub(origin_ns).cast_signed() as f64;
        }
        begun |= possible;
        let mut values = [0; RATES];
        if possible.is_power_of_two() {
            let rate = possible.trailing_zeros() as usize;
            values[rate] = envelope.support(NOMINAL[rate].0, origins_ns[rate]).map_or(0, modulo_wrap);
        } else {
            let heights = supports(envelope.points(), origin_ns, &shifts_ns);
            rates(possible).for_each(|rate| values[rate] = modulo_wrap(heights[rate]));
        }
        shown.push(Shown { begin_ns, possible, values });
    }
    shown
}

/// The rates whose bits are set.
fn rates(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let rate = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (rate < RATES).then_some(rate)
    })
}

/// What [`Envelope::support`] is at all rates, each `shifts_ns` later than at the origin.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn supports(points: &[Point], origin_ns: u64, shifts_ns: &[f64; RATES]) -> [f64; RATES] {
    let mut heights = [f64::NEG_INFINITY; RATES];
    for point in points {
        let until_ns = origin_ns.wrapping_sub(point.time_ns).cast_signed() as f64;
        let ticks = point.ticks as f64;
        for rate in 0..RATES {
            let height = ticks + NOMINAL[rate].0 * ((until_ns + shifts_ns[rate]) * 1e-9);
            heights[rate] = if height > heights[rate] { height } else { heights[rate] };
        }
    }
    heights
}

/// A number of ticks as a TSval would show it.
fn modulo_wrap(ticks: f64) -> u32 {
    let whole = ticks as i64;
    // Conversion rounds towards zero, counters round down.
    let below = whole - i64::from(whole as f64 > ticks);
    below as u32
}

/// Finds shared counters, one rate after the other, in the same memory.
#[derive(Default)]
pub(super) struct SharedCounters {
    of_rate: Vec<u32>,
    by_value: Vec<u64>,
    near: Vec<u32>,
    counters: Vec<Counter>,
    /// The counter of each connection in `near`.
    counter_of: Vec<u32>,
}

/// A counter, as its connections so far show it.
struct Counter {
    members: u32,
    /// What sharing it is worth to all of them, in nats.
    nats: f64,
    last_ns: u64,
    value: u32,
}

impl SharedCounters {
    /// Follows counters of a nominal rate through the connections for which it is possible. `tell` hears what
    /// sharing a counter is worth to each connection, by its place in `shown`, in nats.
    ///
    /// O(n log n) for n connections.
    pub(super) fn find(&mut self, rate: usize, shown: &[Shown], mut tell: impl FnMut(usize, f64)) {
        let hz = NOMINAL[rate].0;
        self.of_rate.clear();
        let is_possible = |(_, shown): &(u32, &Shown)| shown.possible >> rate & 1 == 1;
        self.of_rate.extend((0..).zip(shown).filter(is_possible).map(|(place, _)| place));
        let [first, .., last] = self.of_rate[..] else { return };
        let origin_ns = shown[first as usize].begin_ns;
        let reach = |begin_ns: u64| {
            half_width_ticks(hz, seconds_between(origin_ns, begin_ns)).min(WRAP_TICKS / 8.0) as u32
        };
        let values = self.of_rate.iter().map(|&place| shown[place as usize].values[rate]);
        find_near(values, reach(shown[last as usize].begin_ns), &mut self.by_value, &mut self.near);
        self.counters.clear();
        self.counter_of.clear();
        let mut values = CounterValues::default();
        for &before in &self.near {
            let Shown { begin_ns, values: own, .. } = &shown[self.of_rate[before as usize] as usize];
            let (begin_ns, value) = (*begin_ns, own[rate]);
            let near = values.near(value, reach(begin_ns)).filter_map(|c| {
                let counter = &self.counters[c];
                let off = wrap_difference(f64::from(value) - f64::from(counter.value)).abs();
                let half_width = half_width_ticks(hz, seconds_between(counter.last_ns, begin_ns));
                (off <= half_width).then_some((c, off, half_width))
            });
            let Some((c, _, half_width)) = near.min_by(|a, b| a.1.total_cmp(&b.1)) else {
                values.insert(value, self.counters.len());
                self.counter_of.push(self.counters.len() as u32);
                self.counters.push(Counter { members: 1, nats: 0.0, last_ns: begin_ns, value });
                continue;
            };
            let counter = &mut self.counters[c];
            counter.nats += (-(2.0 * half_width).ln() - ANYWHERE_NATS - f64::from(before).ln()).max(0.0);
            counter.members += 1;
            counter.last_ns = begin_ns;
            values.replace(counter.value, value, c);
            counter.value = value;
            self.counter_of.push(c as u32);
        }
        for (&before, &c) in self.near.iter().zip(&self.counter_of) {
            let Counter { members, nats, .. } = self.counters[c as usize];
            if nats >= LEAST_SHARED_NATS {
                // Each has its part of what they show together.
                tell(self.of_rate[before as usize] as usize, nats / f64::from(members));
            }
        }
    }
}

/// Finds the places of values that have another one within `reach` ticks, also across the wrap, in order.
/// `by_value` is room to sort them in.
fn find_near(values: impl Iterator<Item = u32>, reach: u32, by_value: &mut Vec<u64>, near: &mut Vec<u32>) {
    by_value.clear();
    // Values first, then places.
    by_value.extend(values.zip(0_u64..).map(|(value, place)| u64::from(value) << 32 | place));
    by_value.sort_unstable();
    near.clear();
    let value = |of: u64| (of >> 32) as u32;
    let [first, .., last] = by_value[..] else { return };
    let mut was_near = value(first).wrapping_sub(value(last)) <= reach;
    for (at, &own) in by_value.iter().enumerate() {
        let next = by_value.get(at + 1).copied().unwrap_or(first);
        let is_near = value(next).wrapping_sub(value(own)) <= reach;
        if was_near || is_near {
            near.push(own as u32);
        }
        was_near = is_near;
    }
    near.sort_unstable();
}

/// How far a counter may be from where another connection of its machine foretold it, in ticks.
fn half_width_ticks(hz: f64, elapsed_s: f64) -> f64 {
    1.0 + hz * (DELAY_S + SKEW * elapsed_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(values: &[u32], reach: u32) -> Vec<u32> {
        let mut near = Vec::new();
        find_near(values.iter().copied(), reach, &mut Vec::new(), &mut near);
        near
    }

    #[test]
    fn neighbours_are_found_across_the_wrap() {
        assert_eq!(near(&[5, 1_000, 1_010, 5_000, u32::MAX - 3], 10), [0, 1, 2, 4]);
        assert_eq!(near(&[5, 1_000, 1_010, 5_000, u32::MAX - 3], 8), [0; 0]);
        assert_eq!(near(&[7], 8), [0; 0]);
    }

    #[test]
    fn what_a_connection_shows_at_all_rates_is_what_it_shows_at_each() {
        let mut envelope = Envelope::default();
        let begin_ns = 1_700_000_000_123_456_789;
        for (time_ns, ticks) in [(0, 10), (900_000_000, 450), (1_900_000_000, 500)] {
            envelope.add(Point { time_ns: begin_ns + time_ns, ticks: ticks - 200 });
        }
        let mut earlier = Envelope::default();
        earlier.add(Point { time_ns: begin_ns - 5_000_000_000, ticks: 7 });
        let all = (1 << RATES) - 1;
        let shown = show([(&earlier, 1 << 3), (&envelope, all)].into_iter());
        for (rate, (hz, _)) in NOMINAL.into_iter().enumerate() {
            let origin_ns = if rate == 3 { begin_ns - 5_000_000_000 } else { begin_ns };
            let ticks = envelope.support(hz, origin_ns).unwrap();
            assert_eq!(shown[1].values[rate], ticks.rem_euclid(WRAP_TICKS) as u32, "{hz} Hz");
        }
    }
}
