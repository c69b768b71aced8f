//! The page in three sentences: what stands behind the addresses, where most of it is, and how sure that is.
//!
//! They are for a reader who knows nothing of clocks. Every figure has its uncertainty, or says that it is a
//! bound.

use crate::{
    engine::{
        Snapshot,
        coverage::Coverage,
        snapshot::{AddressReport, Doubt},
    },
    report::{
        Capturing, Summary, coverage,
        number::{Calendar, count, grouped, span},
        view, words,
    },
};

/// The three sentences.
pub(super) fn in_short(summary: &Summary, calendar: &Calendar<'_>) -> [String; 3] {
    let snapshot = &summary.snapshot;
    if snapshot.addresses.is_empty() {
        return nothing(summary);
    }
    [found(snapshot), most(snapshot, calendar), sureness(summary)]
}

/// Where nothing has timestamps.
fn nothing(summary: &Summary) -> [String; 3] {
    let seen = summary.counters.seen;
    let what = match seen {
        0 => "No packets were seen, so nothing can be said of any machine.".to_owned(),
        _ => format!("{} seen, but none shows the clock of a machine.", was(seen, "packet")),
    };
    let why = match summary.warnings.first() {
        Some(warning) => format!("The first warning was: {warning}."),
        None if seen == 0 => "There was no warning.".to_owned(),
        None => "Only TCP segments with timestamps (RFC 7323) show one.".to_owned(),
    };
    [what, why, "This does not mean that there are no machines.".to_owned()]
}

/// `Behind 30 addresses, tmap tells at least 45 machines apart.`
fn found(snapshot: &Snapshot) -> String {
    if let [only] = &snapshot.addresses[..] {
        let behind = format!("Behind {}", only.address);
        return match (only.machines, only.machines_low, only.machines_high) {
            (None, Some(low), Some(high)) if high > low => {
                format!("{behind}, tmap cannot count the machines: {low} to {high} are possible.")
            }
            (None, None, _) => format!("{behind}, the number of machines stays open."),
            _ => format!("{behind}, tmap found {}.", words::machines(only)),
        };
    }
    let at_least: u64 =
        snapshot.addresses.iter().map(|report| u64::from(report.machines_low.unwrap_or(0))).sum();
    let shared = snapshot.addresses.iter().filter(|report| report.machines_low.unwrap_or(0) > 1).count();
    let addresses = count(snapshot.addresses.len() as u64, "address");
    let shared = match shared {
        0 => "no address is known to be shared by several".to_owned(),
        1 => "one address is shared by several".to_owned(),
        some => format!("{} of the addresses are shared by several", grouped(some as u64)),
    };
    let twice = match snapshot.siblings.is_empty() {
        true => "",
        false => " (one machine may stand behind several)",
    };
    format!(
        "Behind {addresses}, tmap found at least {}, counted address by address{twice}; {shared}.",
        count(at_least, "machine")
    )
}

/// Where most machines are, or what is known of the machines of a single address.
fn most(snapshot: &Snapshot, calendar: &Calendar<'_>) -> String {
    let by_machines = |report: &&AddressReport| (view::machines(report), report.connections);
    let Some(top) = snapshot.addresses.iter().max_by_key(by_machines) else { return String::new() };
    let seen_s = top.last_seen_ns.saturating_sub(top.first_seen_ns) as f64 / 1e9;
    let sent = format!("{} within {}", count(top.connections, "connection"), span(seen_s));
    let busiest = top.machine_list.iter().max_by(|a, b| a.connections.total_cmp(&b.connections));
    let machine = match busiest {
        Some(machine) if top.machine_list.len() > 1 => format!(
            "; the busiest, machine {}, had {} of them and runs {}",
            machine.id,
            words::load(machine),
            system(machine)
        ),
        Some(machine) => match machine.boot {
            Some(boot) => {
                format!("; it runs {}, up since {}", system(machine), words::boot_time(boot, calendar))
            }
            None => format!("; it runs {}", system(machine)),
        },
        None => String::new(),
    };
    if snapshot.addresses.len() == 1 {
        return format!("It opened or answered {sent}{machine}.");
    }
    if view::machines(top) == 0 {
        return format!("The busiest address, {}, had {sent}.", top.address);
    }
    format!("The address with the most is {}: {}, with {sent}{machine}.", top.address, words::machines(top))
}

/// `Linux (99 %)`, `an unknown system`.
fn system(machine: &crate::engine::snapshot::MachineReport) -> String {
    let text = words::system_in_short(&machine.os);
    match text.strip_prefix("system unknown") {
        Some(rest) => format!("an unknown system{rest}"),
        None => text,
    }
}

/// How sure that is: the share of connections that it rests on, and what limits it most.
fn sureness(summary: &Summary) -> String {
    let snapshot = &summary.snapshot;
    let Coverage { connections, .. } = Coverage::of(&snapshot.addresses);
    let rests =
        format!("This rests on {} of the connections with timestamps", coverage::percent(connections));
    let lost = summary.counters.ring_full;
    let open = snapshot.addresses.iter().filter(|report| report.machines.is_none()).count() as u64;
    let mut limits = Vec::new();
    if lost > 0 {
        limits.push(format!("{} lost", was(lost, "record")));
    }
    if let Capturing::Before { dropped: dropped @ 1.., .. } = summary.capturing {
        limits.push(format!("{} dropped while capturing", was(dropped, "packet")));
    }
    let is_cut = words::Shortage::of(snapshot).is_some();
    if is_cut {
        limits.push("memory limits cut connections off".to_owned());
    }
    if open > 0 {
        let why = most_frequent_doubt(&snapshot.addresses).map(words::doubt).unwrap_or("little was seen");
        limits.push(match (open, snapshot.addresses.len()) {
            (_, 1) => format!("the count stays open: {why}"),
            (1, _) => format!("the count of 1 address stays open: {why}"),
            (open, _) => {
                format!("the counts of {} stay open, mostly so: {why}", count(open, "address"))
            }
        });
    }
    let unstamped = snapshot.unstamped.connections;
    if unstamped > 0 {
        limits.push(format!("{} opened without timestamps, whose machines are not counted", were(unstamped)));
    }
    match &limits[..] {
        [] => format!("{rests}{}.", losses_unless_told(summary.capturing)),
        limits => format!("{rests}; {}.", limits.join("; ")),
    }
}

/// Where no loss is known: whether that means that there was none.
fn losses_unless_told(capturing: Capturing) -> &'static str {
    match capturing {
        Capturing::BySensor { .. } => ", and nothing was lost on the way",
        Capturing::Before { is_whole: true, .. } => {
            ", and no packet was dropped while capturing, as interface statistics tell"
        }
        Capturing::Before { is_whole: false, .. } => {
            "; whether packets were lost while capturing is not told"
        }
    }
}

/// `1 record was`, `12 records were`.
fn was(number: u64, one: &str) -> String {
    format!("{} {}", count(number, one), if number == 1 { "was" } else { "were" })
}

fn were(connections: u64) -> String {
    was(connections, "connection")
}

/// What limits the count at most of the addresses where it stays open.
fn most_frequent_doubt(addresses: &[AddressReport]) -> Option<Doubt> {
    let doubts: Vec<Doubt> =
        addresses.iter().filter(|report| report.machines.is_none()).filter_map(|r| r.doubt).collect();
    let frequency = |doubt: &Doubt| doubts.iter().filter(|other| *other == doubt).count();
    doubts.iter().rev().max_by_key(|doubt| frequency(doubt)).copied()
}
