//! Where round trips meet clocks: the analyst knows each host's tick rate and machine, and with them
//! what the host's own TCP computes.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{
    Event,
    connection::Connection,
    flow::FlowKey,
    flows::Flows,
    host::Host,
    rtt::{self, report::Clockwork},
};

/// A measured rate this close to the nominal one, relative, is that rate.
const NOMINAL: f64 = 1e-3;

/// What is known of the clocks behind connections.
#[derive(Debug, Default)]
pub struct Clockworks {
    /// The latest connection of each name.
    latest: HashMap<FlowKey, Latest, RandomState>,
    /// The tick rates of machines, in Hz.
    rates: BTreeMap<(Address, u32), f64>,
}

#[derive(Debug)]
struct Latest {
    serial: u32,
    machine: u32,
    tick_hz: Option<f64>,
}

impl Clockworks {
    /// Adds what a host's last look told.
    pub fn add(&mut self, host: &Host, connections: &[Connection]) {
        for connection in connections {
            let Connection { key, serial, machine, .. } = *connection;
            let latest = Latest { serial, machine, tick_hz: connection.tick_hz() };
            let known = self.latest.entry(key).or_insert(Latest { serial: 0, ..latest });
            if known.serial <= serial {
                *known = latest;
            }
        }
        let Some(found) = &host.found else { return };
        for (group, &number) in found.analysis.groups.iter().zip(&found.numbers) {
            let measured_hz = group.rate_hz.value;
            let is_nominal = (measured_hz / group.hz - 1.0).abs() < NOMINAL;
            self.rates.insert((host.address, number), if is_nominal { group.hz } else { measured_hz });
        }
    }

    fn of(&self, key: &FlowKey) -> Clockwork {
        let Some(connection) = self.latest.get(key) else { return Clockwork::default() };
        let machine = Some(connection.machine).filter(|number| *number != 0);
        let of_machine = || self.rates.get(&(key.src, machine?)).copied();
        Clockwork { machine, tick_hz: connection.tick_hz.or_else(of_machine) }
    }
}

impl Flows {
    /// Whether round trips are taken.
    pub fn takes_round_trips(&self) -> bool {
        self.rtt.is_some()
    }

    /// What is new about round trips; `None` where they aren't taken or nothing is.
    pub fn review_round_trips(&mut self, now_ns: u64) -> Option<Event> {
        let mut news = self.rtt.as_mut()?.review(now_ns);
        for sample in &mut news.samples {
            sample.tick_hz =
                self.clockworks.as_ref().and_then(|known| known.latest.get(&sample.key)?.tick_hz);
        }
        let any = !news.samples.is_empty() || !news.anomalies.is_empty() || news.interval.is_some();
        any.then(|| Event::Rtt(Box::new(news)))
    }

    /// Everything known about round trips, with the clocks that a snapshot came to know; `None`
    /// where they aren't taken.
    pub fn round_trips(&mut self, now_ns: u64, clockworks: Option<Clockworks>) -> Option<rtt::Report> {
        self.clockworks = clockworks;
        let known = self.clockworks.as_ref();
        let report =
            self.rtt.as_mut()?.report(now_ns, |key| known.map(|all| all.of(key)).unwrap_or_default());
        Some(report)
    }
}
