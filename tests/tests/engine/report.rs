//! Reports, word for word, from a snapshot whose every figure is given.
//!
//! After a change of words, write the golden files anew and read the difference before you commit it:
//! `SNAPSHOTS=overwrite cargo test -p tmap-tests --test engine report`.

use jiff::tz::TimeZone;
use snapbox::{assert_data_eq, file};
use tmap::{
    engine::{
        Event, Holdings, Snapshot,
        snapshot::{
            AddressReport, Boot, ConnectionReport, Doubt, Estimate, Losses, MachineReport, OsReport,
            PeerShare, PhasePoint, PortShare, Regime, Side, Step, Unassigned, Unstamped, UnstampedTotals,
        },
    },
    report::{
        Capturing, Format, Outage, Reporter, Sink, Sort, Stats, Summary, View, sensor::Heartbeat,
        stats::CpuStats,
    },
    time::WallClock,
};
use tmap_common::{
    Address, Counters, Skip,
    tunnel::{Kind, Tunnel},
};

const S: u64 = 1_000_000_000;
/// The sensor's clock was zero on 16 February 2006, 10:40 UTC.
pub(super) const WALL: WallClock = WallClock { unix_minus_engine_ns: 1_140_000_000_000_000_000 };

fn estimate(value: f64, sigma: f64) -> Estimate {
    Estimate { value, sigma }
}

fn address(last: u8) -> Address {
    Address::from_ip4([198, 51, 100, last])
}

fn port(port: u16, side: Side, share_percent: f64) -> PortShare {
    PortShare { port, side, share_percent, connections: share_percent / 10.0 }
}

/// A machine of 100 Hz whose boot time is known.
fn settled() -> MachineReport {
    MachineReport {
        id: 1,
        tick_hz: 100.0,
        tick_probability: 1.0,
        rate_hz: estimate(100.001_25, 0.000_31),
        skew_ppm: Some(estimate(12.5, 3.1)),
        offset_ticks: Some(estimate(559_871_915.42, 0.31)),
        phase_ticks: Some(estimate(0.42, 0.31)),
        is_weighed: true,
        reference_ns: 500 * S,
        boot: Some(Boot {
            engine_s: estimate(-5_598_219.2, 17.0),
            modulus_s: 42_949_672.96,
            or_earlier_s: 0.0,
        }),
        boot_if_fixed: None,
        source_ports: None,
        connections: 15.0,
        load_percent: 62.5,
        load_low_percent: 62.5,
        load_high_percent: 62.5,
        ports: vec![port(25, Side::Server, 100.0)],
        peers: vec![PeerShare { address: Address::from_ip4([192, 0, 2, 9]), connections: 15.0 }],
        peers_total: 1,
        first_seen_ns: 10 * S,
        last_seen_ns: 590 * S,
        os: OsReport {
            name: "Solaris".to_owned(),
            confidence: 0.93,
            alternatives: Vec::new(),
            signature: None,
            hops: Some(0),
            jiffies: 0.0,
            offsets: [1.0, 0.0, 0.0],
        },
    }
}

/// A machine of 1000 Hz of which only phase and skew are known.
fn random() -> MachineReport {
    MachineReport {
        id: 2,
        tick_hz: 1000.0,
        rate_hz: estimate(999.9, 2.0),
        skew_ppm: Some(estimate(-100.0, 2000.0)),
        offset_ticks: None,
        phase_ticks: Some(estimate(0.3121, 0.012)),
        is_weighed: true,
        boot: None,
        connections: 9.4,
        load_percent: 37.5,
        load_low_percent: 25.0,
        load_high_percent: 50.0,
        ports: vec![
            port(8080, Side::Server, 20.0),
            port(443, Side::Client, 60.0),
            port(80, Side::Client, 20.0),
        ],
        os: OsReport {
            name: "Linux".to_owned(),
            confidence: 0.85,
            alternatives: vec![("Linux 2026 or later".to_owned(), 0.45), ("FreeBSD".to_owned(), 0.125)],
            signature: Some("4:61+3:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0".to_owned()),
            hops: Some(3),
            jiffies: 0.0,
            offsets: [0.05, 0.0, 0.95],
        },
        ..settled()
    }
}

fn report(last: u8) -> AddressReport {
    AddressReport {
        doubt: Some(Doubt::TooFewSegments),
        connections: 1,
        segments: 12,
        first_seen_ns: 10 * S,
        last_seen_ns: 590 * S,
        ..AddressReport::nothing(address(last))
    }
}

/// Connections without a clock, to a server whose system its handshakes show.
fn unassigned() -> Unassigned {
    Unassigned {
        connections: 72,
        segments: 600,
        without_rate: 60,
        unanswered: 0,
        longest_s: 0.2,
        most_tsvals: 2,
        os: OsReport { alternatives: Vec::new(), hops: Some(1), ..random().os },
        ports: vec![port(80, Side::Client, 100.0)],
    }
}

fn vxlan() -> Tunnel {
    let end = |last| Address::from_ip4([10, 9, 0, last]);
    Tunnel { kind: Kind::VXLAN, id: 42, is_over_ip: true, src: end(1), dst: end(2) }
}

fn nowhere() -> Address {
    Address::from_ip6([0; 16])
}

fn holdings() -> Holdings {
    Holdings { records: 1_000_000, flows: 20, addresses: 4, memory_bytes: 4_096, ..Holdings::default() }
}

fn connection() -> ConnectionReport {
    ConnectionReport {
        src: address(2),
        src_port: 25,
        dst: Address::from_ip4([192, 0, 2, 9]),
        dst_port: 40_000,
        machine: Some(1),
        probability: Some(0.97),
        tunnel: Some(vxlan()),
        segments: 321,
        payload_bytes: 403_456,
        side: Side::Server,
        first_seen_ns: 490 * S,
        last_seen_ns: 513 * S,
        rate_hz: None,
        place: Some(PhasePoint {
            at_ns: 500 * S,
            tick_hz: 1000.0,
            phase_ticks: Estimate { value: 0.25, sigma: 0.02 },
        }),
        counter: None,
        goes_on_from: Some(Step { time_ns: 488 * S, port: 40_004 }),
    }
}

pub(super) fn summary() -> Summary {
    let mixed = AddressReport {
        unstamped: Some(Unstamped {
            connections: 1234,
            signature: Some("4:127+1:0:1460:mss*44,8:mss,nop,ws,nop,nop,sok:df,id+:0".to_owned()),
        }),
        regime: Regime::Mixed,
        evidence: "15 of 24 connections share offsets".to_owned(),
        machines: Some(3),
        machines_low: Some(2),
        machines_high: Some(5),
        machines_proven: Some(2),
        doubt: None,
        connections: 1_024,
        connections_forgotten: 7,
        connections_forgotten_told: 5,
        connections_seen_twice: 2,
        zero_tsvals: 3,
        tsval_jumps: 1,
        tunnels: vec![
            vxlan(),
            Tunnel { kind: Kind::MPLS, id: 1000, is_over_ip: false, src: nowhere(), dst: nowhere() },
        ],
        machine_list: vec![settled(), random()],
        ..report(2)
    };
    let pool = AddressReport {
        regime: Regime::PerPair,
        machines_low: Some(2),
        machines_high: Some(40),
        machines_proven: Some(2),
        doubt: Some(Doubt::OffsetsRandom),
        connections: 40,
        ..report(3)
    };
    let coarse = AddressReport { doubt: Some(Doubt::CaptureTooCoarse), connections: 7, ..report(4) };
    let short = AddressReport { connections: 72, unassigned: Some(unassigned()), ..report(1) };
    let mut counters = Counters { seen: 1_234_567, emitted: 1_000_000, ring_full: 7, ..Counters::default() };
    counters.suppressed = 200_000;
    counters.skipped[Skip::NotTcp as usize] = 34_000;
    counters.skipped[Skip::NoTimestamps as usize] = 560;
    Summary {
        snapshot: Snapshot {
            now_ns: 600 * S,
            addresses: vec![short, mixed, pool, coarse],
            connections: vec![connection()],
            losses: Losses { flows_evicted: 12, connections_forgotten: 40, ..Losses::default() },
            unstamped: UnstampedTotals { records: 2000, connections: 1300, addresses_only: 17, forgotten: 0 },
            ..Snapshot::default()
        },
        began_ns: 10 * S,
        counters,
        capturing: Capturing::BySensor { egress: false },
        holdings: holdings(),
        outages: vec![Outage { interface: "eth1".to_owned(), times: 2, down_s: 12.5, is_down: true }],
        wall: WALL,
        warnings: vec!["interface eth0 is gone; ending with what was seen".to_owned()],
    }
}

fn stats() -> Stats {
    let summary = summary();
    let before = Counters { seen: 1_000_000, emitted: 900_000, ..Counters::default() };
    let cpu = |cpu, ring_full| CpuStats { cpu, ring_fill_percent: 12.34, ring_full, seen: 600_000 };
    Stats {
        now_ns: 600 * S,
        interval_s: 2.0,
        counters: summary.counters,
        before,
        cpus: vec![cpu(0, 0), cpu(1, 7), CpuStats { cpu: 2, ..CpuStats::default() }],
        holdings: summary.holdings,
    }
}

/// Everything there is to report, in one format.
fn everything(format: Format, view: View) -> String {
    let zone = TimeZone::get("Europe/Warsaw").expect("a time zone");
    let mut out = Vec::new();
    let mut reporter = Reporter::new(&mut out, format, zone).with_view(view);
    let events = [
        Event::NewMachine { address: address(2), known: 1, machine: Box::new(settled()) },
        Event::NewMachine { address: address(2), known: 2, machine: Box::new(random()) },
        Event::OffsetsRandom { address: address(3), connections: 12 },
        Event::Reboot { address: address(2), before: 1, after: 3, at_s: estimate(540.0, 0.4) },
        Event::ClockMoved { address: address(2), before: 3, after: 4, by_s: estimate(-35.214, 0.002) },
        Event::ClockMoved { address: address(2), before: 4, after: 5, by_s: estimate(0.15, 0.003) },
    ];
    for event in &events {
        reporter.event(event, 590 * S, WALL).expect("written");
    }
    reporter.stats(&stats(), WALL).expect("written");
    reporter.summary(&summary()).expect("written");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn for_people() {
    assert_data_eq!(everything(Format::Text, View::default()), file!["../golden/report.txt"].raw());
}

#[test]
fn for_people_who_want_it_all() {
    let view = View { verbose: true, ..View::default() };
    assert_data_eq!(everything(Format::Text, view), file!["../golden/report-verbose.txt"].raw());
}

#[test]
fn colours_change_no_word() {
    let plain = everything(Format::Text, View::default());
    let coloured = everything(Format::Text, View { colour: true, ..View::default() });
    assert!(coloured.contains("\u{1b}["), "{coloured}");
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn text_fits_a_terminal() {
    for verbose in [false, true] {
        let text = everything(Format::Text, View { verbose, ..View::default() });
        // Events and statistics are lines to be searched, and warnings name files.
        let summary = text.split_once("\n\n").expect("an empty line before the summary").1;
        let long: Vec<&str> = summary
            .lines()
            .filter(|line| !line.starts_with("warning"))
            // Both ends of a connection take up to 45 columns.
            .filter(|line| line.chars().count() > if line.contains(" > ") { 100 } else { 80 })
            .collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}

/// What a reporter says with `--every`: at first, and one minute later, when this changed.
fn watched(view: View, change: impl Fn(&mut Vec<AddressReport>)) -> (String, String) {
    let mut out = Vec::new();
    let mut reporter = Reporter::new(&mut out, Format::Text, TimeZone::UTC).with_view(view);
    let beat = Heartbeat { interval_s: 60.0, watched: vec!["eth0".to_owned()], ..Heartbeat::default() };
    let mut snapshot = summary().snapshot;
    reporter.heartbeat(&beat, Some(&snapshot), WALL).expect("written");
    let beat = Heartbeat { now_ns: 60 * S, ..beat };
    change(&mut snapshot.addresses);
    reporter.heartbeat(&beat, Some(&snapshot), WALL).expect("written");
    let text = String::from_utf8(out).expect("UTF-8");
    let second = text.rfind("2006-").expect("the second line of life");
    (text[..second].to_owned(), text[second..].to_owned())
}

#[test]
fn a_watcher_sees_first_what_changed() {
    let (first, second) = watched(View::default(), |addresses| {
        let [short, mixed, pool, coarse] = &mut addresses[..] else { panic!("four addresses") };
        short.connections += 3;
        coarse.last_seen_ns += S;
        (pool.machines, pool.machines_low, pool.machines_high) = (Some(3), Some(3), Some(3));
        mixed.last_seen_ns += S;
        addresses.push(report(9));
    });
    assert_data_eq!(format!("{first}{second}"), file!["../golden/watch.txt"].raw());
    let order: Vec<&str> = second.lines().skip(2).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(order, ["198.51.100.9", "198.51.100.3", "198.51.100.1", "198.51.100.2", "198.51.100.4"]);
    let table = second.lines().skip(1);
    assert!(table.into_iter().all(|line| line.chars().count() <= 80), "{second}");
}

#[test]
fn a_watcher_may_choose() {
    let view = View { top: Some(1), sort: Some(Sort::Connections), ..View::default() };
    let (_, second) = watched(view, |addresses| addresses.push(report(9)));
    let listed: Vec<&str> = second.lines().skip(2).collect();
    assert!(listed[0].starts_with("198.51.100.2 ") && listed[0].ends_with("silent"), "{second}");
    assert_eq!(listed[1..], ["... and 4 more addresses, 1 with news (--top 5 lists all)"]);
    let view = View { min_machines: 2, ..View::default() };
    assert!(!watched(view, |_| ()).1.contains("198.51.100.4"));
}

#[test]
fn events_are_lines_and_a_new_machine_is_told_in_full_on_request() {
    let text = |verbose| {
        let mut out = Vec::new();
        let view = View { verbose, ..View::default() };
        let mut reporter = Reporter::new(&mut out, Format::Text, TimeZone::UTC).with_view(view);
        let event = Event::NewMachine { address: address(2), known: 1, machine: Box::new(settled()) };
        reporter.event(&event, 590 * S, WALL).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let short = text(false);
    assert_eq!(short, "2006-02-15 10:49:50 UTC  New machine #1 behind 198.51.100.2: Solaris\n");
    let long = text(true);
    assert!(long.contains("port 25 (1 so far)") && long.contains("ppm"), "{long}");
}

#[test]
fn for_programs() {
    assert_data_eq!(everything(Format::Json, View::default()), file!["../golden/report.jsonl": Text].raw());
}

#[test]
fn open_flows_are_not_counted_again_as_finished_connections() {
    let mut summary = summary();
    let mut text = |open, all| {
        summary.snapshot.losses =
            Losses { flows_evicted: open, connections_forgotten: all, ..Losses::default() };
        let mut out = Vec::new();
        Reporter::new(&mut out, Format::Text, TimeZone::UTC).summary(&summary).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let open = "Evicted 56 open flows (limits --max-flows, --max-connections)";
    let only_open = text(56, 56);
    assert!(only_open.contains(open) && !only_open.contains("finished connection"), "{only_open}");
    let both = text(56, 60);
    assert!(both.contains(open) && both.contains("Evicted 4 finished connections"), "{both}");
}

#[test]
fn what_is_proven_is_for_those_who_want_it_all() {
    let text = |low, verbose| {
        let mut summary = summary();
        summary.snapshot.addresses =
            vec![AddressReport { machines_low: Some(low), machines_proven: Some(2), ..report(2) }];
        let mut out = Vec::new();
        let view = View { verbose, ..View::default() };
        let mut reporter = Reporter::new(&mut out, Format::Text, TimeZone::UTC).with_view(view);
        reporter.summary(&summary).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    assert!(text(1, true).contains("(at least 2 proven)"), "{}", text(1, true));
    assert!(!text(1, false).contains("proven"), "{}", text(1, false));
    // The count says as much.
    assert!(!text(2, true).contains("proven"), "{}", text(2, true));
}

#[test]
fn long_lists_are_bounded_for_people_and_whole_for_programs() {
    let mut summary = summary();
    summary.snapshot.connections.clear();
    let machine = |id| MachineReport { id, ..settled() };
    let one = AddressReport { doubt: None, machines: Some(1), machine_list: vec![settled()], ..report(1) };
    summary.snapshot.addresses =
        (0..200).map(|last| AddressReport { address: address(last), ..one.clone() }).collect();
    summary.snapshot.addresses[7].machine_list = (1..=100).map(machine).collect();
    summary.snapshot.addresses[7].machines = Some(100);
    let write = |format, view| {
        let mut out = Vec::new();
        Reporter::new(&mut out, format, TimeZone::UTC).with_view(view).summary(&summary).expect("written");
        String::from_utf8(out).expect("UTF-8")
    };
    let text = write(Format::Text, View::default());
    assert!(text.lines().count() < 70, "{} lines", text.lines().count());
    let first = text.lines().find(|line| line.starts_with("198.")).expect("an address");
    assert!(first.starts_with("198.51.100.7     100 "), "most machines first: {first}");
    assert!(text.contains("... and 160 more addresses (--top 200 lists all)"), "{text}");
    let long = write(Format::Text, View { verbose: true, top: Some(1000), ..View::default() });
    assert!(long.contains("... and 36 more machines (use --json)"), "{long}");
    assert_eq!(long.matches(": 1 machine, ").count(), 199);
    assert_eq!(write(Format::Json, View::default()).matches("{\"type\":\"address\"").count(), 200);
}

#[test]
fn addresses_are_sorted_and_chosen() {
    let mut summary = summary();
    summary.snapshot.connections.clear();
    let one = |last: u8, machines: u32, connections: u64, seen_s: u64, boot_s: Option<f64>| AddressReport {
        doubt: None,
        machines: Some(machines),
        connections,
        last_seen_ns: seen_s * S,
        machine_list: vec![MachineReport {
            boot: settled().boot.and_then(|boot| {
                boot_s.map(|value| Boot { engine_s: Estimate { value, ..boot.engine_s }, ..boot })
            }),
            ..settled()
        }],
        ..report(last)
    };
    summary.snapshot.addresses =
        vec![one(1, 1, 50, 10, Some(-100.0)), one(2, 3, 20, 30, None), one(3, 2, 10, 20, Some(-5000.0))];
    let listed = |view: View, format| {
        let mut out = Vec::new();
        Reporter::new(&mut out, format, TimeZone::UTC).with_view(view).summary(&summary).expect("written");
        let text = String::from_utf8(out).expect("UTF-8");
        let lines = text.lines().filter_map(|line| match format {
            Format::Text => line.strip_prefix("198.51.100."),
            Format::Json => line.strip_prefix("{\"type\":\"address\",\"address\":\"198.51.100."),
        });
        lines.map(|rest| rest[..1].to_owned()).collect::<String>()
    };
    let sorted = |sort| listed(View { sort: Some(sort), ..View::default() }, Format::Text);
    assert_eq!(listed(View::default(), Format::Text), "231");
    assert_eq!(sorted(Sort::Connections), "123");
    assert_eq!(sorted(Sort::Address), "123");
    assert_eq!(sorted(Sort::Seen), "231");
    assert_eq!(sorted(Sort::Uptime), "312");
    assert_eq!(listed(View { min_machines: 2, ..View::default() }, Format::Text), "23");
    assert_eq!(listed(View { top: Some(1), ..View::default() }, Format::Text), "2");
    assert_eq!(listed(View::default(), Format::Json), "123");
    assert_eq!(listed(View { min_machines: 2, ..View::default() }, Format::Json), "23");
    assert_eq!(listed(View { top: Some(1), ..View::default() }, Format::Json), "2");
}
