//! The report on round trips at one moment.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    connection::Connection,
    distribution::Distribution,
    engine::RttEngine,
    half_connection::HalfConnection,
    report::{Direction, Machine, Prefix, Report, SideClock, TwoClocks},
    two_clocks::Doubts,
    two_places::Places,
};
use crate::engine::types::FlowKey;

impl RttEngine {
    /// Everything known at `now_ns`, but for the round trips of connections that two clocks stamped, or that
    /// were captured at two places.
    /// `clock_of` returns the machine and clock behind a connection side.
    pub fn report(&mut self, now_ns: u64, clock_of: impl Fn(&FlowKey) -> SideClock) -> Report {
        self.settle(now_ns);
        let mut report = Report {
            total: self.total.summary(),
            histogram: self.total.buckets(),
            connections: self.connections.len() as u64,
            anomalies: self.listed.clone(),
            counts: self.counts,
            ..Report::default()
        };
        let all = || self.connections.iter().map(|(_, connection)| connection);
        let (doubts, places) = (Doubts::of(all()), Places::of(all()));
        let is_sound = |one: &Connection| doubts.ahead_ns(one).is_none() && !places.are_two(one);
        let mut machines: BTreeMap<Whose, Vec<(&HalfConnection, SideClock)>> = BTreeMap::new();
        for (_, connection) in &self.connections {
            let [a, b] = &connection.halves;
            let ahead_ns = doubts.ahead_ns(connection);
            if let Some(ahead_ns) = ahead_ns {
                let before = report.two_clocks.unwrap_or(TwoClocks { connections: 0, ahead_ns });
                let (connections, ahead_ns) = (before.connections + 1, before.ahead_ns.max(ahead_ns));
                report.two_clocks = Some(TwoClocks { connections, ahead_ns });
            }
            let is_sound = is_sound(connection);
            report.two_places += u64::from(ahead_ns.is_none() && !is_sound);
            report.one_way += u64::from(a.segments == 0 || b.segments == 0);
            for (own, peer, key) in [(a, b, connection.key_of(0)), (b, a, connection.key_of(1))] {
                let clock = clock_of(&key);
                if own.rtt.count() > 0 && is_sound {
                    machines.entry((key.src, clock.machine)).or_default().push((own, clock));
                }
                report.directions.push(Direction {
                    key,
                    first_ns: connection.first_ns,
                    segments: own.segments,
                    peer_segments: peer.segments,
                    rtt: own.rtt.summary().filter(|_| is_sound),
                    host_ticks: own.host.summary().filter(|_| is_sound),
                    clock,
                    anomalies: own.anomalies,
                });
            }
        }
        report.directions.sort_by_key(|direction| (direction.key, direction.first_ns));
        // One after the other: a sum takes a histogram, and there may be as many machines as connections.
        report.machines = machines.into_iter().filter_map(|(whose, sides)| machine(whose, &sides)).collect();
        let prefixes = self.prefixes.iter();
        report.prefixes =
            prefixes.filter_map(|(prefix, rtt)| Some((*prefix, rtt.summary()?, rtt.buckets()))).collect();
        report.prefixes.sort_by_key(|(prefix, ..)| *prefix);
        if report.two_clocks.is_some() || report.two_places > 0 {
            self.sum_up_again(is_sound, &mut report);
        }
        report
    }

    /// Sums up once more, with the connections that are sound: sums that were made on the way have the round
    /// trips of the others, too.
    fn sum_up_again(&self, is_sound: impl Fn(&Connection) -> bool, report: &mut Report) {
        let mut total = Distribution::default();
        let mut prefixes: BTreeMap<Prefix, Vec<&HalfConnection>> = BTreeMap::new();
        for (_, connection) in self.connections.iter().filter(|(_, one)| is_sound(one)) {
            for (side, half) in connection.halves.iter().enumerate().filter(|(_, half)| half.rtt.count() > 0)
            {
                total.merge(&half.rtt);
                let host = connection.key_of(side).src;
                let prefix = Prefix::of(host, self.options.prefix_ip4, self.options.prefix_ip6);
                // Those beyond the bound are counted as missing.
                if self.prefixes.contains_key(&prefix) {
                    prefixes.entry(prefix).or_default().push(half);
                }
            }
        }
        (report.total, report.histogram) = (total.summary(), total.buckets());
        let sum = |(prefix, halves): (Prefix, Vec<&HalfConnection>)| {
            let mut sum = Distribution::default();
            halves.into_iter().for_each(|half| sum.merge(&half.rtt));
            Some((prefix, sum.summary()?, sum.buckets()))
        };
        report.prefixes = prefixes.into_iter().filter_map(sum).collect();
    }
}

/// An address and the number of one of its machines; `None` for connections of no machine.
type Whose = (Address, Option<u32>);

/// The round trips of a machine, from its sides of connections.
fn machine(whose: Whose, sides: &[(&HalfConnection, SideClock)]) -> Option<Machine> {
    let mut gathering = Gathering::default();
    sides.iter().for_each(|(side, clock)| gathering.add(side, *clock));
    gathering.machine(whose)
}

/// The sum of a machine's connections.
#[derive(Default)]
struct Gathering {
    connections: u64,
    tick_hz: Option<f64>,
    rtt: Distribution,
    host: Distribution,
}

impl Gathering {
    fn add(&mut self, side: &HalfConnection, clock: SideClock) {
        self.connections += 1;
        self.rtt.merge(&side.rtt);
        // Ticks of several clocks can't be added.
        if clock.machine.is_some() {
            self.tick_hz = self.tick_hz.or(clock.tick_hz);
            self.host.merge(&side.host);
        }
    }

    fn machine(self, (address, machine): Whose) -> Option<Machine> {
        Some(Machine {
            address,
            machine,
            tick_hz: self.tick_hz,
            connections: self.connections,
            rtt: self.rtt.summary()?,
            histogram: self.rtt.buckets(),
            host_ticks: self.host.summary(),
        })
    }
}
