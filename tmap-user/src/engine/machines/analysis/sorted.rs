//! Connections of an address, sorted by their tick rates.

use std::collections::{BTreeMap, BTreeSet};

use super::explained::losing_counters;
use crate::engine::{
    clock::{
        fit::{self, Clock, Fitted, fit_nominal},
        rate::Deviations,
        unsteady,
    },
    flows::connection::Connection,
    machines::{
        offsets::by_offset::Item,
        rates::{
            brief::Brief,
            nominal::{self, Seen},
        },
    },
    options::Options,
    os::{self, Observations},
    types::Estimate,
};

/// Connections, sorted by the results of their fits.
pub(super) struct Sorted<'a> {
    /// The probability of each connection's nominal rate: below 1 where other connections had to tell it.
    pub rate_probability: Vec<f64>,
    /// Those of a nominal rate, keyed by its bits, whose order is that of the rates.
    pub steady: BTreeMap<u64, Vec<Item<'a>>>,
    /// Those without a steady rate, each with the rate that it shows, in Hz.
    pub odd: Vec<(usize, Estimate)>,
    /// Those of which nothing tells the rate.
    pub unclear: Vec<usize>,
}

/// Sorts connections by their rates; the records' times have this resolution, in nanoseconds.
pub(super) fn sort_by_rate<'a>(
    connections: &[&'a Connection],
    options: &Options,
    resolution_ns: u64,
) -> Sorted<'a> {
    let mut sorted = Sorted {
        rate_probability: vec![1.0; connections.len()],
        steady: BTreeMap::new(),
        odd: Vec::new(),
        unclear: Vec::new(),
    };
    let mut open = false;
    for (index, connection) in connections.iter().enumerate() {
        match connection.clock(resolution_ns) {
            Fitted::Steady(clock) => sorted.add(index, connection, clock),
            Fitted::Odd(rate_hz) => sorted.odd.push((index, rate_hz)),
            Fitted::Weak(_) | Fitted::Unclear => open = true,
        }
    }
    let reopened = sorted.reopen();
    if open || !reopened.is_empty() {
        sorted.place_open(connections, &reopened, options, resolution_ns);
    }
    sorted.join_unsteady(connections);
    sorted
}

/// The range of the slowest unsteady rate, as a share of the nominal one: old Apple systems show 880 to
/// 998 Hz of 1000, with a margin for load and for measurement.
const SLOWEST_UNSTEADY: f64 = 0.8;
const FASTEST_UNSTEADY: f64 = 1.01;

impl<'a> Sorted<'a> {
    /// Adds a connection with a steady clock.
    fn add(&mut self, index: usize, connection: &'a Connection, clock: Clock) {
        let item = Item { index, peer: connection.peer(), envelope: &connection.flow.envelope, clock };
        self.steady.entry(clock.hz.to_bits()).or_default().push(item);
    }

    /// Takes out connections of a rate that all of them together contradict, though each of them may have it:
    /// 1000 Hz is far commoner than 1024. Returns them.
    fn reopen(&mut self) -> BTreeSet<usize> {
        let mut reopened = BTreeSet::new();
        for (bits, items) in &mut self.steady {
            let hz = f64::from_bits(*bits);
            let rate_hz = |item: &Item<'_>| fit::allow_for_wander(item.clock.rate_hz, item.envelope.span_s());
            if Deviations::of(items.iter().map(rate_hz), hz).contradict(0.0) {
                reopened.extend(items.iter().map(|item| item.index));
                items.clear();
            }
        }
        self.steady.retain(|_, items| !items.is_empty());
        reopened
    }

    /// Places connections that don't tell their rate alone, and `reopened` ones, by what all connections
    /// show.
    fn place_open(
        &mut self,
        connections: &[&'a Connection],
        reopened: &BTreeSet<usize>,
        options: &Options,
        resolution_ns: u64,
    ) {
        let fitted = |index: usize| match connections[index].clock(resolution_ns) {
            Fitted::Steady(clock) if reopened.contains(&index) => {
                let span_s = connections[index].flow.envelope.span_s();
                Fitted::Weak(fit::allow_for_wander(clock.rate_hz, span_s))
            }
            other => other,
        };
        let stamped = (0..connections.len())
            .filter(|&index| !connections[index].flow.envelope.points().is_empty())
            .filter(|&index| !matches!(fitted(index), Fitted::Odd(_)));
        let places: Vec<usize> = stamped.collect();
        let seen: Vec<Seen<'_>> = places
            .iter()
            .map(|&index| Seen {
                envelope: &connections[index].flow.envelope,
                brief: Brief::of(connections[index]),
                known_hz: match fitted(index) {
                    Fitted::Steady(clock) => Some(clock.hz),
                    _ => None,
                },
            })
            .collect();
        let by_system = likely_rates(connections, options);
        for (&index, told) in places.iter().zip(nominal::tell(&seen, &by_system)) {
            let rate_hz = match fitted(index) {
                Fitted::Weak(rate_hz) => Some(rate_hz),
                Fitted::Unclear => None,
                Fitted::Steady(_) | Fitted::Odd(_) => continue,
            };
            match told {
                Some((hz, probability)) => {
                    self.rate_probability[index] = probability;
                    let envelope = &connections[index].flow.envelope;
                    let clock = fit_nominal(envelope, hz, rate_hz, resolution_ns);
                    self.add(index, connections[index], clock);
                }
                None => self.unclear.push(index),
            }
        }
        let unstamped = |index: &usize| connections[*index].flow.envelope.points().is_empty();
        self.unclear.extend((0..connections.len()).filter(unstamped));
    }

    /// Joins steady connections to the unsteady ones, where one counter explains all connections near
    /// that rate: an unsteady clock may seem steady for the length of a connection.
    fn join_unsteady(&mut self, connections: &[&Connection]) {
        let Some(slowest) = self.odd.iter().map(|(_, rate)| rate.value).reduce(f64::min) else { return };
        let near = |hz: f64| hz * SLOWEST_UNSTEADY <= slowest && slowest <= hz * FASTEST_UNSTEADY;
        let Some(bits) = self.steady.keys().copied().find(|bits| near(f64::from_bits(*bits))) else { return };
        let mut all = self.odd.clone();
        all.extend(self.steady[&bits].iter().map(|item| (item.index, item.clock.rate_hz)));
        if unsteady::one_counter(all.iter().map(|&(index, rate)| (&connections[index].flow.envelope, rate))) {
            self.steady.remove(&bits);
            self.odd = all;
            return;
        }
        // Of several counters, those with an unsteady connection take their steady ones along.
        let members: Vec<usize> = all.iter().map(|&(index, _)| index).collect();
        let is_odd: BTreeSet<usize> = self.odd.iter().map(|&(index, _)| index).collect();
        let counters = losing_counters(&members, connections);
        let loses = |counter: &&Vec<usize>| counter.iter().any(|index| is_odd.contains(index));
        let losing: BTreeSet<usize> = counters.iter().filter(loses).flatten().copied().collect();
        all.retain(|(index, _)| is_odd.contains(index) || losing.contains(index));
        self.odd = all;
        self.steady.retain(|_, items| {
            items.retain(|item| !losing.contains(&item.index));
            !items.is_empty()
        });
    }
}

/// The tick rates that the connections' handshakes suggest.
fn likely_rates(connections: &[&Connection], options: &Options) -> Vec<(f64, f64)> {
    let mut seen = Observations::default();
    for connection in connections {
        seen.add(connection.flow.fingerprint, connection.flow.hop_limit, 1.0);
        seen.last_seen_ns = seen.last_seen_ns.max(connection.flow.last_ns);
    }
    os::likely_rates(&seen, options.signatures())
}
