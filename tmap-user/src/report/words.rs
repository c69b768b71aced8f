//! What the engine found, in words: the phrases that all text reports share.

use tmap_common::Tunnel;

use super::number::{Calendar, count, grouped, hertz, more_of, signed, span};
use crate::engine::{
    clock::boot::JIFFIES_AHEAD_S,
    snapshot::{
        AddressReport, Boot, Doubt, Estimate, MachinePorts, MachineReport, OsReport, PortShare, Regime, Rule,
        RuleSeen, Side, Snapshot, SourcePorts, Unassigned,
    },
};

/// A skew less certain than this tells nothing: real clocks are off by up to about 100 ppm.
const WORST_SKEW_PPM: f64 = 100.0;

/// The most alternatives to an operating system that are printed.
const MAX_ALTERNATIVES: usize = 3;

/// The most ports of a machine in one line.
const MAX_PORTS: usize = 4;

/// A number of connections this close to a whole one is exact.
const WHOLE: f64 = 0.005;

/// `5 machines (90 % sure: 4 to 6)`, `at least 2 machines`, `machines unknown (1 to 33)`.
pub(crate) fn machines(report: &AddressReport) -> String {
    let mut notes = Vec::new();
    let (best, confidence) = match (report.machines, report.machines_low, report.machines_high) {
        // That one connection is one machine's says nothing of others.
        (Some(machines), Some(low), None) if machines == low => {
            (format!("at least {}", count(u64::from(low), "machine")), "")
        }
        (Some(machines), ..) => (count(u64::from(machines), "machine"), "90 % sure: "),
        (None, Some(low), None) => (format!("at least {}", count(u64::from(low), "machine")), ""),
        // Without a best estimate, low and high are bounds and no interval.
        (None, ..) => ("machines unknown".to_owned(), ""),
    };
    match (report.machines_low, report.machines_high) {
        (Some(low), Some(high)) if low != high => notes.push(format!("{confidence}{low} to {high}")),
        (Some(low), None) if report.machines.is_some_and(|machines| machines > low) => {
            notes.push(format!("{confidence}{low} or more"));
        }
        (None, Some(high)) => notes.push(format!("{confidence}at most {high}")),
        _ => {}
    }
    if let Some(proven) = report.machines_proven
        && proven > 1
        && report.machines_low != Some(proven)
    {
        notes.push(format!("at least {proven} proven"));
    }
    if notes.is_empty() { best } else { format!("{best} ({})", notes.join("; ")) }
}

/// The count in a table: `5 (4-6)`, `5 (4+)`, `2+`, `1-33`, `?`.
pub(crate) fn machines_in_short(report: &AddressReport) -> String {
    match (report.machines, report.machines_low, report.machines_high) {
        (Some(best), Some(low), Some(high)) if low != high => format!("{best} ({low}-{high})"),
        (Some(best), Some(low), None) if best == low => format!("{low}+"),
        (Some(best), Some(low), None) => format!("{best} ({low}+)"),
        (Some(best), ..) => best.to_string(),
        (None, Some(low), Some(high)) if low == high => low.to_string(),
        (None, Some(low), Some(high)) => format!("{low}-{high}"),
        (None, Some(low), None) => format!("{low}+"),
        (None, None, _) => "?".to_owned(),
    }
}

/// A regime in plain words.
pub(crate) fn regime(regime: Regime) -> &'static str {
    match regime {
        Regime::Global => "are fixed, one per machine",
        Regime::PerPair => "are random per pair of addresses",
        Regime::PerConnection => "are random per connection",
        Regime::Mixed => "are fixed for some machines and random for others",
        Regime::Undetermined => "cannot be judged yet",
    }
}

/// A regime in a word.
pub(crate) fn regime_in_short(regime: Regime) -> &'static str {
    match regime {
        Regime::Global => "fixed",
        Regime::PerPair => "by pair",
        Regime::PerConnection => "random",
        Regime::Mixed => "mixed",
        Regime::Undetermined => "?",
    }
}

/// An end of a connection in a word.
pub(crate) fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// What [`Doubt::Unanswered`] says, and where connections in tunnels are left out, too.
const UNANSWERED: &str = "completed no handshake (scans, forged, or answered on another path)";
const UNANSWERED_OUTSIDE: &str =
    "completed no handshake outside of tunnels (scans, forged, or answered on another path)";

/// What limits the answer, in plain words.
pub(crate) fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::TooFewSegments => "the tick rates of most connections stay open",
        Doubt::TooFewConnections => "too few connections to tell clocks with random offsets apart",
        Doubt::CaptureTooCoarse => "the capture times are too coarse to tell clocks apart",
        Doubt::InStep => {
            "segments arrive in step with the tick (LTE, polling), so clocks cannot be told apart"
        }
        Doubt::JitterTooLarge => {
            "network delays vary too much, or segments are too few, to tell clocks apart"
        }
        Doubt::Unsteady => "these clocks have no constant rate (as on old Apple systems)",
        Doubt::TooFarApart => "connections are too far apart in time to follow clocks with random offsets",
        Doubt::ZeroTsvals => "every TSval is 0, which shows no clock",
        Doubt::OffsetsRandom => "offsets are random, so machines are not counted yet",
        Doubt::BudgetSpent => {
            "the search for machines spent its budget, so some may be missing (--search-budget, --memory)"
        }
        Doubt::Unanswered => "connections without a handshake are left out",
        Doubt::Unrelated => {
            "the clocks of most connections are unrelated (or forged), so machines cannot be counted"
        }
        Doubt::Contradicted => {
            "many connections show two clocks each (forged segments, or a middlebox), so the count may be wrong"
        }
        Doubt::ComeAndGo => "machines came and went, or their clocks changed, so the count may be wrong",
        Doubt::BusiestHours => {
            "clocks with random offsets can't be followed for so long: these are the machines of the busiest hours"
        }
        Doubt::Interrupted => "not analysed to the end, so machines may be missing",
    }
}

/// Connections of an address that were opened without timestamps.
pub(crate) fn unstamped(report: &AddressReport) -> Option<String> {
    let unstamped = report.unstamped.as_ref()?;
    let (connections, others) = match report.connections {
        0 => (count(unstamped.connections, "connection"), ""),
        _ => (more_of(unstamped.connections, "connection"), "more "),
    };
    let Some(machines) = &report.unstamped_machines else {
        return Some(format!(
            "{connections} without timestamps: at least one {others}machine may be hidden here"
        ));
    };
    let low = grouped(machines.low.into());
    let range = match machines.high {
        Some(high) if high == machines.low => low,
        Some(high) => format!("{low} to {}", grouped(high.into())),
        None => format!("at least {low}"),
    };
    let addresses = match machines.ports.hosts_at_once {
        0 | 1 => String::new(),
        addresses => format!(", with {} addresses at once", grouped(addresses)),
    };
    let what = if machines.high.unwrap_or(machines.low) == 1 { "machine" } else { "machines" };
    Some(format!(
        "{connections} without timestamps: by source ports alone, {range} {others}{what}{addresses}"
    ))
}

/// How hosts of this rule choose ports.
pub(crate) fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::LinuxWalk => "Linux's walks",
        Rule::OldLinuxWalk => "walks of Linux before 2022",
        Rule::LinuxHint => "walks of Linux up to 5.11",
        Rule::Counter => "one counter (Apple's or a NAT's)",
    }
}

/// `source ports: Linux's walks (231 of 299 SYNs that could go on do, 0.3 would by chance)`; `None` where
/// they follow no rule that links them.
pub(crate) fn source_ports(seen: &SourcePorts) -> Option<String> {
    let of_rule = |of: &RuleSeen| {
        let RuleSeen { could, linked, by_chance, .. } = of;
        let name = rule(of.rule);
        format!("{name} ({linked} of {could} SYNs that could go on do, {by_chance:.1} would by chance)")
    };
    // A counter links nothing: the machines' own lines name it.
    let rules: Vec<String> = seen.rules.iter().filter(|of| of.rule.is_per_service()).map(of_rule).collect();
    if rules.is_empty() {
        return None;
    }
    let hosts = match seen.hosts_at_once {
        0 | 1 => String::new(),
        hosts => format!("; {hosts} hosts at once"),
    };
    Some(format!("source ports: {}{hosts}", rules.join(", ")))
}

/// The source ports of a machine, with all its SYNs, also the first to a service, which go on from none.
/// `boundary_s` is the time of its boundary modulo ten seconds, with half of the 90 % interval's length.
pub(crate) fn machine_ports(ports: &MachinePorts, boundary_s: Option<(f64, f64)>) -> String {
    let MachinePorts { openings, linked, .. } = ports;
    let boundary = boundary_s.map_or_else(String::new, |(at_s, within_s)| {
        format!("; walks begin anew {at_s:.2} s (± {within_s:.2}) after every tenth second of UTC")
    });
    format!("source ports: {}, {linked} of its {openings} SYNs go on{boundary}", rule(ports.rule))
}

/// `in tunnels: vxlan 42 from A to B`; `None` without any.
pub(crate) fn tunnels(tunnels: &[Tunnel]) -> Option<String> {
    let names: Vec<String> = tunnels.iter().map(tunnel).collect();
    (!names.is_empty()).then(|| format!("in tunnels: {}", names.join(", ")))
}

/// A limit that took so much away that clocks may be missing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// A tenth of all connections, or more, had no room.
    Connections,
    /// The histories of a tenth of all connections, or more, had too little.
    History,
}

impl Shortage {
    /// The limit that mattered most; `None` where none did.
    pub(crate) fn of(snapshot: &Snapshot) -> Option<Self> {
        let connections: u64 = snapshot.addresses.iter().map(|report| report.connections).sum();
        let losses = &snapshot.losses;
        if losses.records_refused > 0 || 10 * losses.flows_evicted > connections {
            return Some(Self::Connections);
        }
        (10 * losses.flows_thinned > connections).then_some(Self::History)
    }
}

/// What became of connections of an address beside the count: those that are held no more, and those that
/// were seen twice.
pub(crate) fn connection_remarks(report: &AddressReport) -> Vec<String> {
    let mut remarks = Vec::new();
    let told = |connections: u64| count(connections, "connection");
    let forgotten = report.connections_forgotten;
    if forgotten > 0 {
        let are = if forgotten == 1 { "is" } else { "are" };
        let of_none = forgotten.saturating_sub(report.connections_forgotten_told);
        let whose = match of_none {
            0 => String::new(),
            _ if of_none == forgotten => " (nothing tells whose)".to_owned(),
            _ => format!(" (nothing tells whose {} of them)", grouped(of_none)),
        };
        remarks
            .push(format!("{} made room for others and {are} no evidence any more{whose}", told(forgotten)));
    }
    let twice = report.connections_seen_twice;
    if twice > 0 {
        let verb = if twice == 1 { "was seen twice and counts" } else { "were seen twice and count" };
        remarks.push(format!("{} {verb} once (in a tunnel, or on both sides of a NAT)", told(twice)));
    }
    remarks
}

/// Whether machines were counted, but not told apart.
fn is_only_counted(report: &AddressReport) -> bool {
    report.doubt.is_none() && report.machine_list.is_empty() && report.machines.is_some_and(|count| count > 1)
}

/// What limits the answer at this address, with its figures; `None` where nothing does.
pub(crate) fn doubt_here(report: &AddressReport, shortage: Option<Shortage>) -> Option<String> {
    const NO_ROOM: &str = "connections were cut off or ignored for lack of room (see the limits below)";
    match (report.doubt, shortage) {
        // Connections that would have been long enough may be among those.
        (Some(Doubt::TooFewSegments), Some(Shortage::Connections)) => return Some(NO_ROOM.to_owned()),
        (Some(Doubt::TooFewSegments), Some(Shortage::History)) => {
            return Some("too little memory for the history of connections (--history-memory)".to_owned());
        }
        (None, Some(Shortage::Connections)) => return Some(format!("perhaps more machines: {NO_ROOM}")),
        (None, None) if is_only_counted(report) => {
            return Some(
                "counted by the offsets that each peer sees; which of them are one machine's stays open"
                    .to_owned(),
            );
        }
        _ => {}
    }
    let what = report.doubt?;
    if let (Doubt::Unanswered, Some(rest)) = (what, &report.unassigned) {
        let is_tunnelled = report.tunnels.iter().any(|tunnel| tunnel.is_over_ip);
        let which = if is_tunnelled { UNANSWERED_OUTSIDE } else { UNANSWERED };
        let are = if rest.unanswered == 1 { "is" } else { "are" };
        return Some(format!("{} {which} and {are} left out", count(rest.unanswered, "connection")));
    }
    let unassigned = report.unassigned.as_ref().filter(|_| what == Doubt::TooFewSegments);
    let Some(Unassigned { connections, longest_s, most_tsvals, .. }) = unassigned else {
        return Some(doubt(what).to_owned());
    };
    let all = count(report.connections, "connection");
    if !report.machine_list.is_empty() {
        let shown = report.connections.saturating_sub(*connections);
        let verb = if shown == 1 { "shows" } else { "show" };
        return Some(format!(
            "only {} of {all} {verb} a clock; the others cannot be told apart",
            grouped(shown)
        ));
    }
    let (each, at_most) = if *connections == 1 { ("", "") } else { (" each", "at most ") };
    let shown = match most_tsvals {
        0 => "no segment that shows a clock (only SYN-ACKs and RSTs)".to_owned(),
        1 => format!("1 TSval{each}"),
        most => format!("{at_most}{} TSvals in {}", grouped(*most), span(*longest_s)),
    };
    Some(match connections {
        1 => format!("its connection has {shown}: its tick rate stays open"),
        _ => format!("{all} with {shown}: their tick rates stay open"),
    })
}

/// The fewest connections with random offsets of which phases can tell anything.
const FEWEST_RANDOM: u64 = 4;

/// What would make the answer better, as a noun: `3 more connections`; `None` where nothing would, or where
/// nothing is missing.
pub(crate) fn help(report: &AddressReport) -> Option<String> {
    let more = |connections: u64| format!("{} with it", more_of(connections, "connection"));
    let has_few = report.connections < FEWEST_RANDOM;
    let text = match report.doubt {
        Some(Doubt::TooFewSegments) => match report.unassigned.as_ref()?.most_tsvals {
            0 | 1 => "a connection of 3 segments or more".to_owned(),
            _ if has_few => "a few more connections, or one of a second or longer".to_owned(),
            _ => "a connection of a second or longer".to_owned(),
        },
        Some(Doubt::TooFewConnections) if has_few => more(FEWEST_RANDOM - report.connections),
        Some(Doubt::TooFewConnections) => "more connections, or longer ones".to_owned(),
        Some(Doubt::CaptureTooCoarse) => "a capture whose times have microseconds".to_owned(),
        Some(Doubt::InStep) => "a sensor beyond the link that keeps step".to_owned(),
        Some(Doubt::JitterTooLarge) => "longer connections, or a sensor nearer to it".to_owned(),
        Some(Doubt::TooFarApart) => "more connections in the same time".to_owned(),
        Some(Doubt::BudgetSpent) => {
            "a larger --search-budget or --memory, or a filter for fewer connections".to_owned()
        }
        Some(Doubt::ComeAndGo) => {
            "a shorter time, in which the same machines are there (--from, --to)".to_owned()
        }
        Some(Doubt::BusiestHours) => "a look at other hours (--from, --to)".to_owned(),
        Some(Doubt::Interrupted) => "to let the analysis end".to_owned(),
        Some(
            Doubt::Unsteady
            | Doubt::ZeroTsvals
            | Doubt::OffsetsRandom
            | Doubt::Unanswered
            | Doubt::Unrelated
            | Doubt::Contradicted,
        ) => return None,
        None if is_only_counted(report) => "longer connections, or a sensor nearer to it".to_owned(),
        None if report.machines.is_some() && report.machines_high.is_none() => {
            "more connections: further machines may be idle".to_owned()
        }
        None => return None,
    };
    Some(text)
}

/// A rate is told without its probability from this one on.
const CERTAIN: f64 = 0.995;

/// A machine's clock: `clock 1000 Hz (96 %)`, `clock 1000 Hz, -1.3 ± 1.4 ppm`.
pub(crate) fn clock(machine: &MachineReport) -> String {
    if machine.tick_hz <= 0.0 {
        return format!("clock without a constant rate, near {:.0} Hz", machine.rate_hz.value);
    }
    match sound_skew(machine) {
        Some(skew) => format!("clock {}, {} ppm", tick(machine), signed(skew)),
        None => format!("clock {}", tick(machine)),
    }
}

/// A machine's tick rate: `1000 Hz`, `1000 Hz (96 %)`, `not constant, near 990 Hz`.
pub(crate) fn tick(machine: &MachineReport) -> String {
    if machine.tick_hz <= 0.0 {
        return format!("not constant, near {:.0} Hz", machine.rate_hz.value);
    }
    let rate = hertz(machine.tick_hz);
    match machine.tick_probability {
        probability if probability < CERTAIN => format!("{rate} ({:.0} %)", 100.0 * probability),
        _ => rate,
    }
}

/// A machine's skew in ppm; `None` where it tells nothing.
pub(crate) fn sound_skew(machine: &MachineReport) -> Option<Estimate> {
    machine.skew_ppm.filter(|skew| skew.sigma < WORST_SKEW_PPM)
}

/// `Linux (99 %)`, or `system unknown, perhaps FreeBSD (40 %)`.
pub(crate) fn system_in_short(os: &OsReport) -> String {
    let guess = |name: &str, probability: f64| format!("{name} ({:.0} %)", 100.0 * probability);
    if os.confidence > 0.0 {
        return guess(&os.name, os.confidence);
    }
    let families = families(&os.alternatives);
    match families.iter().max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((name, probability)) => format!("system unknown, perhaps {}", guess(name, *probability)),
        None => "system unknown".to_owned(),
    }
}

/// Systems by family, which is the first word of their names, with the family's probability. One that is
/// alone in its family keeps its name.
fn families(systems: &[(String, f64)]) -> Vec<(&str, f64)> {
    let mut families: Vec<(&str, f64)> = Vec::new();
    for (name, probability) in systems {
        let family = name.split(' ').next().unwrap_or(name);
        match families.iter_mut().find(|(known, _)| known.split(' ').next() == Some(family)) {
            Some(known) => *known = (family, known.1 + probability),
            None => families.push((name, *probability)),
        }
    }
    families
}

/// `1 hop away`, `on this link`.
pub(crate) fn hops(os: &OsReport) -> Option<String> {
    Some(match os.hops? {
        0 => "on this link".to_owned(),
        hops => format!("{} away", count(u64::from(hops), "hop")),
    })
}

/// `Linux 2026 or later (92 %), 3 hops away`, `unknown, perhaps FreeBSD (40 %) or Solaris (30 %)`,
/// `Linux (99 %): 2026 or later (47 %) or 4.20 to early 2026 (47 %)`.
pub(crate) fn system(os: &OsReport) -> String {
    let guess = |name: &str, probability: f64| format!("{name} ({:.0} %)", 100.0 * probability);
    let mut text = if os.confidence > 0.0 { guess(&os.name, os.confidence) } else { os.name.clone() };
    let others = &os.alternatives[..os.alternatives.len().min(MAX_ALTERNATIVES)];
    // `Linux (99 %): 2026 or later (47 %)`: the versions of a family need not repeat its name.
    let version = |name: &str| name.strip_prefix(&format!("{} ", os.name)).map(str::to_owned);
    let versions: Option<Vec<String>> = others.iter().map(|(name, _)| version(name)).collect();
    // `Linux or Android (99 %): Android (59 %)`: its members.
    let is_member = |name: &str| os.name.split(" or ").any(|member| name.starts_with(member));
    let are_within = versions.is_some() || others.iter().all(|(name, _)| is_member(name));
    let link = if are_within { ": " } else { ", perhaps " };
    let names = versions.unwrap_or_else(|| others.iter().map(|(name, _)| name.clone()).collect());
    let others: Vec<String> =
        names.iter().zip(others).map(|(name, (_, probability))| guess(name, *probability)).collect();
    match &others[..] {
        [] => {}
        [only] => text.push_str(&format!("{link}{only}")),
        [first @ .., last] => text.push_str(&format!("{link}{} or {last}", first.join(", "))),
    }
    if let Some(hops) = hops(os) {
        text.push_str(&format!(", {hops}"));
    }
    text
}

/// `vxlan 42 from 10.9.0.1 to 10.9.0.2`, `mpls 1000`, `ip from ...`.
pub(crate) fn tunnel(tunnel: &Tunnel) -> String {
    let id = if tunnel.id == 0 { String::new() } else { format!(" {}", tunnel.id) };
    let ends =
        if tunnel.is_over_ip { format!(" from {} to {}", tunnel.src, tunnel.dst) } else { String::new() };
    format!("{}{id}{ends}", tunnel.kind.name())
}

/// `2006-02-16 21:26:20 CET ± 2 s, or any multiple of 497 days earlier`.
pub(crate) fn up_since(boot: Boot, calendar: &Calendar<'_>) -> String {
    let is = if boot.is_of_jiffies() { "is not" } else { "is" };
    let jiffies = earlier(boot).map(|by| format!(" (or {by} earlier, if it {is} Linux before 4.13)"));
    let jiffies = jiffies.unwrap_or_default();
    format!("{}{jiffies}, or any multiple of {} earlier", boot_time(boot, calendar), span(boot.modulus_s))
}

/// By how much it may have been earlier, if it may: `5 min`, or `49.7 days less 5 min`.
fn earlier(boot: Boot) -> Option<String> {
    if boot.is_of_jiffies() {
        return Some(format!("{} less {}", span(boot.modulus_s), span(JIFFIES_AHEAD_S)));
    }
    (boot.or_earlier_s > 0.0).then(|| span(boot.or_earlier_s))
}

/// `2006-02-16 21:26:20 CET ± 2 s (modulo 497 days)`, `... ± 2 s or 5 min earlier (modulo 497 days)`.
pub(crate) fn up_since_in_short(boot: Boot, calendar: &Calendar<'_>) -> String {
    let or = earlier(boot).map_or_else(String::new, |by| format!(" or {by} earlier"));
    format!("{}{or} (modulo {})", boot_time(boot, calendar), span(boot.modulus_s))
}

/// `2006-02-16 21:26:20 CET ± 2 s`.
pub(crate) fn boot_time(boot: Boot, calendar: &Calendar<'_>) -> String {
    // The time is printed to the second, so it can't be better than that.
    let sigma_s = boot.engine_s.sigma.max(1.0);
    let when = calendar.local(boot.engine_s.value, sigma_s);
    let error = if sigma_s.is_finite() { format!(" ± {}", span(sigma_s)) } else { String::new() };
    format!("{when}{error}")
}

/// Connections that may be shares of connections: `15 connections`, `about 9 connections`.
pub(crate) fn weighted(connections: f64) -> String {
    let whole = count(connections.round() as u64, "connection");
    match connections {
        exact if (exact - exact.round()).abs() < WHOLE => whole,
        few if few < 0.5 => "less than half a connection".to_owned(),
        _ => format!("about {whole}"),
    }
}

/// A machine's connections, of how many that are assigned: `70 of 270 connections (26 %)`, `about 70 of 270
/// connections (26 %, 20 to 45 %)`.
pub(crate) fn share(machine: &MachineReport) -> String {
    let own = weighted(machine.connections);
    let all = (100.0 * machine.connections / machine.load_percent.max(f64::MIN_POSITIVE)).round();
    match own.strip_suffix(" connections").or_else(|| own.strip_suffix(" connection")) {
        Some(own) if machine.load_percent < 99.995 => {
            let ends = load_ends(machine).map_or_else(String::new, |ends| format!(", {ends}"));
            format!("{own} of {} ({:.0} %{ends})", count(all as u64, "connection"), machine.load_percent)
        }
        _ if machine.load_percent < 99.995 => format!("{own} ({:.1} %)", machine.load_percent),
        _ => own,
    }
}

/// A machine's share of the connections: `26 %`, `26 % (20 to 45 %)`.
pub(crate) fn load(machine: &MachineReport) -> String {
    let ends = load_ends(machine).map_or_else(String::new, |ends| format!(" ({ends})"));
    format!("{:.0} %{ends}", machine.load_percent)
}

/// The ends of its share, where whole percents tell them apart: `20 to 45 %`.
fn load_ends(machine: &MachineReport) -> Option<String> {
    let [low, high] = [machine.load_low_percent, machine.load_high_percent].map(|end| format!("{end:.0}"));
    (low != high).then(|| format!("{low} to {high} %"))
}

/// `port 25` or `ports 80 (60 %), 8080 (10 %), client of port 443 (30 %)`.
pub(crate) fn ports(shares: &[PortShare]) -> String {
    listed(shares, |share, is_only| match is_only {
        true => share.port.to_string(),
        false => format!("{} ({:.0} %)", share.port, share.share_percent),
    })
}

/// `port 25` or `ports 80, 8080 and 3 more, client of port 443`.
pub(crate) fn ports_in_short(shares: &[PortShare]) -> String {
    let shown = &shares[..shares.len().min(MAX_PORTS)];
    let text = listed(shown, |share, _| share.port.to_string());
    match shares.len() - shown.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn listed(shares: &[PortShare], word: impl Fn(&PortShare, bool) -> String) -> String {
    let mut texts = Vec::new();
    for (side, role) in [(Side::Server, ""), (Side::Client, "client of ")] {
        let own = shares.iter().filter(|share| share.side == side);
        let words: Vec<String> = own.map(|share| word(share, shares.len() == 1)).collect();
        match words.len() {
            0 => {}
            1 => texts.push(format!("{role}port {}", words[0])),
            _ => texts.push(format!("{role}ports {}", words.join(", "))),
        }
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_an_unknown_system_are_one_family() {
        let system = |name: &str, probability| (name.to_owned(), probability);
        let text = |alternatives: Vec<(String, f64)>| {
            system_in_short(&OsReport { alternatives, ..OsReport::default() })
        };
        let linux = [system("Linux 2026 or later", 0.3), system("Linux 4.20 to early 2026", 0.3)];
        let apple = system("macOS or iOS, recent", 0.35);
        let all = vec![apple.clone(), linux[0].clone(), linux[1].clone()];
        assert_eq!(text(all), "system unknown, perhaps Linux (60 %)");
        assert_eq!(
            text(vec![apple, linux[0].clone()]),
            "system unknown, perhaps macOS or iOS, recent (35 %)"
        );
        assert_eq!(text(Vec::new()), "system unknown");
    }

    #[test]
    fn what_a_family_may_be_follows_its_name() {
        let text = |name: &str, alternatives: &[(&str, f64)]| {
            let alternatives =
                alternatives.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
            system(&OsReport { name: name.to_owned(), confidence: 0.97, alternatives, ..OsReport::default() })
        };
        let linux = ("Linux 2026 or later", 0.4);
        let both = text("Linux or Android", &[("Android", 0.55), linux]);
        assert_eq!(both, "Linux or Android (97 %): Android (55 %) or Linux 2026 or later (40 %)");
        assert_eq!(text("Linux", &[linux]), "Linux (97 %): 2026 or later (40 %)");
        assert_eq!(text("Linux", &[("FreeBSD", 0.1)]), "Linux (97 %), perhaps FreeBSD (10 %)");
    }
}
