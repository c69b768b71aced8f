//! What holds of every summary, whatever the traffic: the order of counts, coverage that adds up, and bounds.

use tmap::engine::{
    Holdings, Options,
    coverage::{Coverage, Part},
    snapshot::{AddressReport, MachineReport, Snapshot},
};

/// Whether each count that is there is at most the next one.
fn are_in_order(report: &AddressReport) -> bool {
    let AddressReport { machines, machines_low, machines_high, machines_proven, .. } = *report;
    let at_most = |a: Option<u32>, b: Option<u32>| a.zip(b).is_none_or(|(a, b)| a <= b);
    at_most(machines_proven, machines_low)
        && at_most(machines_low, machines)
        && at_most(machines, machines_high)
        && at_most(machines_low, machines_high)
        && at_most(machines_proven, machines_high)
}

/// Whether a machine's load is a share, and within its ends.
fn is_within_its_ends(machine: &MachineReport) -> bool {
    let MachineReport { load_percent, load_low_percent, load_high_percent, .. } = *machine;
    [0.0, load_low_percent, load_percent, load_high_percent, 100.0].is_sorted_by(|a, b| *a <= *b + 1e-9)
}

/// What is wrong with a summary; empty where nothing is.
pub fn wrong(snapshot: &Snapshot) -> Vec<String> {
    let mut wrong = Vec::new();
    for report in &snapshot.addresses {
        if !are_in_order(report) {
            let AddressReport { machines, machines_low, machines_high, machines_proven, .. } = report;
            wrong.push(format!(
                "low {machines_low:?}, best {machines:?}, high {machines_high:?}, proven {machines_proven:?}"
            ));
        }
        for machine in report.machine_list.iter().filter(|machine| !is_within_its_ends(machine)) {
            let MachineReport { load_percent, load_low_percent, load_high_percent, .. } = machine;
            wrong.push(format!("a load of {load_percent}, {load_low_percent} to {load_high_percent}"));
        }
        let of_machines: f64 = report.machine_list.iter().map(|machine| machine.connections).sum();
        let unassigned = report.unassigned.as_ref().map_or(0, |rest| rest.connections);
        if of_machines + unassigned as f64 > report.connections as f64 + 1e-6 {
            wrong.push(format!(
                "{of_machines} of machines and {unassigned} of none, of {} connections",
                report.connections
            ));
        }
        if report.unassigned.as_ref().is_some_and(|rest| rest.without_rate > rest.connections) {
            wrong.push(format!("more without a rate than there are: {:?}", report.unassigned));
        }
    }
    let coverage = Coverage::of(&snapshot.addresses);
    let Part { told, all } = coverage.connections;
    let left_out: u64 = coverage.left_out.values().sum();
    if told + left_out != all {
        wrong.push(format!("{told} told and {left_out} left out of {all}: {:?}", coverage.left_out));
    }
    let parts = [coverage.addresses, coverage.connections, coverage.segments];
    if parts.iter().any(|part| part.told > part.all) {
        wrong.push(format!("more told than there are: {coverage:?}"));
    }
    wrong
}

/// What an engine holds beyond its bounds; empty where it keeps to them.
pub fn beyond(holdings: &Holdings, options: &Options) -> Vec<String> {
    let held = [
        ("flows", holdings.flows, options.max_flows),
        ("connections", holdings.connections, options.max_flows),
        ("addresses", holdings.addresses, options.max_addresses),
        (
            "connections of all addresses",
            holdings.connections,
            holdings.addresses.saturating_mul(options.max_connections_per_address),
        ),
    ];
    let beyond = held.iter().filter(|(_, held, most)| held > most);
    beyond.map(|(what, held, most)| format!("{held} {what}, and at most {most} may be")).collect()
}
