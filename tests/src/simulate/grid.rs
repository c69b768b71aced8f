//! What the evaluation simulates: one name and one scenario per row.
//!
//! Not the full product of everything that can vary, but a quiet LAN and one thing changed at a time.

use crate::simulate::{Law, Offsets, Scenario};

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is special about it, and how many machines there are.
    pub name: String,
    /// What is simulated, on any seed.
    pub scenario: Scenario,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    [machines(), delays(), rates(), observation(), clocks(), regimes()].concat()
}

/// A few rows that take seconds, one of each kind.
pub fn small() -> Vec<Row> {
    let few = Scenario { connections: 12, duration_s: 120.0, segments: (5.0, 100.0), ..Scenario::default() };
    vec![
        row("LAN", Scenario { machines: 1, ..few.clone() }),
        row("LAN", Scenario { machines: 3, ..few.clone() }),
        row("LAN", Scenario { machines: 6, connections: 20, duration_s: 300.0, ..few.clone() }),
        row("stalls", Scenario { machines: 2, law: Law::Stalls, loss: 0.01, ..few.clone() }),
        row("WAN", Scenario { machines: 3, jitter_s: 1e-3, connections: 20, ..few.clone() }),
        row("NTP", Scenario { machines: 2, skew_spread_ppm: 0.2, ..few.clone() }),
        row("too few", Scenario { machines: 3, connections: 1, ..few.clone() }),
        row("ms stamps", Scenario { machines: 2, resolution_ns: 1_000_000, ..few.clone() }),
        row("100 Hz", Scenario { machines: 2, tick_hz: 100.0, ..few.clone() }),
        row("global", Scenario { machines: 4, offsets: Offsets::Global, ..few.clone() }),
        row(
            "global 250 Hz",
            Scenario { machines: 2, offsets: Offsets::Global, tick_hz: 250.0, ..few.clone() },
        ),
        row("per pair", Scenario { machines: 3, offsets: Offsets::PerPair, peers: 2, ..few.clone() }),
        row("pool", Scenario { connections: 60, ..pool(12) }),
    ]
}

fn row(kind: &str, scenario: Scenario) -> Row {
    Row { name: format!("{kind} {}", scenario.machines), scenario }
}

/// One row for each number of machines.
fn each(kind: &str, machines: &[usize], scenario: &Scenario) -> Vec<Row> {
    machines.iter().map(|&machines| row(kind, Scenario { machines, ..scenario.clone() })).collect()
}

/// Back ends of a balancer, seen by one client, across a WAN.
fn pool(machines: usize) -> Scenario {
    Scenario {
        machines,
        connections: 300,
        offsets: Offsets::PerPair,
        peers: 1,
        pooled: true,
        jitter_s: 1e-3,
        ..Scenario::default()
    }
}

fn machines() -> Vec<Row> {
    each("LAN", &[1, 2, 4, 8, 16, 32], &Scenario::default())
}

/// Jitter's law and size, and loss.
fn delays() -> Vec<Row> {
    let lan = Scenario::default();
    let mut rows = Vec::new();
    for law in [Law::Pareto, Law::Bursts, Law::Congestion, Law::Stalls] {
        let scenario = Scenario { law, jitter_s: 200e-6, loss: 0.01, connections: 40, ..lan.clone() };
        rows.extend(each(&format!("{law:?}"), &[1, 4], &scenario));
    }
    rows.extend(each("loss 5 %", &[4], &Scenario { loss: 0.05, ..lan.clone() }));
    rows.extend(each("jitter 200 us", &[4], &Scenario { jitter_s: 200e-6, ..lan.clone() }));
    rows.extend(each("WAN", &[1, 2, 4, 8], &Scenario { jitter_s: 1e-3, ..lan }));
    rows
}

fn rates() -> Vec<Row> {
    let wan = Scenario { jitter_s: 1e-3, ..Scenario::default() };
    let at = |tick_hz: f64| each(&format!("{tick_hz} Hz"), &[4], &Scenario { tick_hz, ..wan.clone() });
    [at(100.0), at(250.0)].concat()
}

/// How long one looks, and how much there is to see.
fn observation() -> Vec<Row> {
    let lan = Scenario::default();
    [
        each("2 min", &[4], &Scenario { duration_s: 120.0, ..lan.clone() }),
        each("1 h", &[4], &Scenario { duration_s: 3600.0, ..lan.clone() }),
        each("5 conns each", &[4], &Scenario { connections: 5, ..lan.clone() }),
        each("60 conns each", &[4, 8], &Scenario { connections: 60, ..lan.clone() }),
        each("short conns", &[4], &Scenario { segments: (5.0, 25.0), ..lan }),
    ]
    .concat()
}

/// How alike the clocks are, and how even.
fn clocks() -> Vec<Row> {
    let lan = Scenario::default();
    let wander = Scenario { duration_s: 3600.0, wander_ppm: 0.1, connections: 60, ..lan.clone() };
    [
        each("NTP", &[2, 4, 8], &Scenario { skew_spread_ppm: 0.2, ..lan.clone() }),
        each("spread 2 ppm", &[4, 8], &Scenario { skew_spread_ppm: 2.0, ..lan.clone() }),
        each("spread 50 ppm", &[8], &Scenario { skew_spread_ppm: 50.0, ..lan }),
        each("wander 1 h", &[1, 4], &wander),
    ]
    .concat()
}

fn regimes() -> Vec<Row> {
    let pairs = Scenario { offsets: Offsets::PerPair, connections: 60, ..Scenario::default() };
    let global = Scenario { offsets: Offsets::Global, ..Scenario::default() };
    let slow = Scenario { tick_hz: 100.0, jitter_s: 1e-3, ..global.clone() };
    [
        each("pool", &[87], &pool(87)),
        each("per pair", &[1, 4], &pairs),
        each("global", &[1, 4, 16, 32], &global),
        each("global 100 Hz", &[4], &slow),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_rows_share_a_name() {
        for rows in [rows(), small()] {
            let names: HashSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names.len(), rows.len());
        }
    }
}
