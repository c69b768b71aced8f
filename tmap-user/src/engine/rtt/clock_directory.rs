//! The clock directory: the clocks that the analyst found behind connections, for round trips.
//!
//! With a machine's tick rate, the round trip that its own TCP computes in ticks becomes a time.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::report::SideClock;
use crate::engine::types::FlowKey;

/// The relative deviation up to which a measured rate is replaced by the nominal one.
const NOMINAL: f64 = 1e-3;

/// The clocks behind connections.
#[derive(Debug, Default)]
pub struct ClockDirectory {
    /// The latest connection of each key.
    latest: HashMap<FlowKey, Latest, RandomState>,
    /// The tick rates of machines, in Hz.
    rates: BTreeMap<(Address, u32), f64>,
}

#[derive(Debug)]
struct Latest {
    serial: u32,
    machine: Owner,
    tick_hz: Option<f64>,
}

/// The machine that a connection side is probably of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number; 0 for none.
    pub number: u32,
    /// Whether the connection is surely its own.
    pub is_sure: bool,
}

impl ClockDirectory {
    /// Adds a connection side: its number within its source address, its machine and its tick rate in Hz. Of
    /// several with one key, the one with the highest number counts.
    pub fn add_connection(&mut self, key: FlowKey, serial: u32, machine: Owner, tick_hz: Option<f64>) {
        let latest = Latest { serial, machine, tick_hz };
        let known = self.latest.entry(key).or_insert(Latest { serial: 0, ..latest });
        if known.serial <= serial {
            *known = latest;
        }
    }

    /// Adds a machine: its measured rate and its nominal one, in Hz. The nominal one is used where the
    /// measured one is near it.
    pub fn add_machine(&mut self, address: Address, number: u32, measured_hz: f64, nominal_hz: f64) {
        let is_nominal = (measured_hz / nominal_hz - 1.0).abs() < NOMINAL;
        self.rates.insert((address, number), if is_nominal { nominal_hz } else { measured_hz });
    }

    /// The clock behind a connection side; empty where nothing is known of it. Round trips of a connection
    /// that is only perhaps a machine's are none of this machine's.
    pub fn of(&self, key: &FlowKey) -> SideClock {
        let Some(connection) = self.latest.get(key) else { return SideClock::default() };
        let Owner { number, is_sure } = connection.machine;
        let of_machine = || self.rates.get(&(key.src, number)).copied();
        SideClock {
            machine: Some(number).filter(|number| *number != 0 && is_sure),
            tick_hz: connection.tick_hz.or_else(of_machine),
        }
    }

    /// The tick rate that a connection side itself showed, in Hz; `None` where it showed none.
    pub fn tick_hz(&self, key: &FlowKey) -> Option<f64> {
        self.latest.get(key)?.tick_hz
    }
}
