//! Where round trips meet clocks: the engine knows each host's tick rate and machine, and with them
//! what the host's own TCP computes.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{
    Engine, Event,
    connection::Connection,
    flow::FlowKey,
    rtt::{self, report::Clockwork},
};

/// A measured rate this close to the nominal one, relative, is that rate.
const NOMINAL: f64 = 1e-3;

impl Engine {
    /// Whether round trips are taken.
    pub fn takes_round_trips(&self) -> bool {
        self.rtt.is_some()
    }

    /// What is new about round trips; `None` where they aren't taken or nothing is.
    pub(super) fn review_round_trips(&mut self, now_ns: u64) -> Option<Event> {
        let mut news = self.rtt.as_mut()?.review(now_ns);
        for sample in &mut news.samples {
            let connection = self.open.get(&sample.key).map(|&place| &self.connections[place]);
            sample.tick_hz = connection.and_then(Connection::tick_hz);
        }
        let any = !news.samples.is_empty() || !news.anomalies.is_empty() || news.interval.is_some();
        any.then(|| Event::Rtt(Box::new(news)))
    }

    /// Everything known about round trips; `None` where they aren't taken.
    pub(super) fn round_trips(&mut self, now_ns: u64) -> Option<rtt::Report> {
        let rates = self.machine_rates();
        let mut latest: HashMap<FlowKey, &Connection, RandomState> = HashMap::default();
        for (_, connection) in &self.connections {
            let known = latest.entry(connection.key).or_insert(connection);
            if known.serial < connection.serial {
                *known = connection;
            }
        }
        let report = self.rtt.as_mut()?.report(now_ns, |key| {
            let Some(connection) = latest.get(key) else { return Clockwork::default() };
            let machine = Some(connection.machine).filter(|number| *number != 0);
            let of_machine = || rates.get(&(key.src, machine?)).copied();
            Clockwork { machine, tick_hz: connection.tick_hz().or_else(of_machine) }
        });
        Some(report)
    }

    /// The tick rates of machines, in Hz.
    fn machine_rates(&self) -> BTreeMap<(Address, u32), f64> {
        let mut rates = BTreeMap::new();
        for host in self.hosts.values() {
            let Some(found) = &host.found else { continue };
            for (group, &number) in found.analysis.groups.iter().zip(&found.numbers) {
                let measured_hz = group.rate_hz.value;
                let is_nominal = (measured_hz / group.hz - 1.0).abs() < NOMINAL;
                rates.insert((host.address, number), if is_nominal { group.hz } else { measured_hz });
            }
        }
        rates
    }
}
