//! A page about 1,000 addresses and 100,000 connections stays small, and opens at once.

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use tmap::{
    engine::{
        Event, Holdings, Snapshot,
        snapshot::{
            AddressReport, Boot, ConnectionReport, Doubt, Estimate, MachineReport, OsReport, PhasePoint,
            PortShare, Regime, Side,
        },
    },
    page::{self, Events, Made},
    report::{Capturing, Summary, number::Calendar},
    time::WallClock,
};
use tmap_common::{Address, Counters};

use crate::{browser::Browser, captures::Page};

const S: u64 = 1_000_000_000;
const ADDRESSES: u32 = 1_000;
const CONNECTIONS: u32 = 100;

/// The most bytes of a page.
const MOST_BYTES: usize = 10_000_000;

/// The most time that a browser may take to open it, on a machine that is busy with other tests. Alone, it
/// takes a second.
const MOST_TIME: Duration = Duration::from_secs(8);

fn address(number: u32) -> Address {
    let [_, _, high, low] = number.to_be_bytes();
    Address::from_ip4([10, 7, high, low])
}

fn machine(id: u32, of: u32) -> MachineReport {
    MachineReport {
        id,
        tick_hz: 1000.0,
        tick_probability: 1.0,
        rate_hz: Estimate { value: 1000.01, sigma: 0.001 },
        skew_ppm: Some(Estimate { value: f64::from(id) * 7.0 - 20.0, sigma: 0.4 }),
        offset_ticks: Some(Estimate { value: 1e8 * f64::from(id), sigma: 0.3 }),
        phase_ticks: None,
        is_weighed: false,
        reference_ns: 300 * S,
        boot: Some(Boot {
            engine_s: Estimate { value: -1e5 * f64::from(id), sigma: 2.0 },
            modulus_s: 4_294_967.296,
            or_earlier_s: 0.0,
        }),
        boot_if_fixed: None,
        source_ports: None,
        connections: f64::from(CONNECTIONS / of),
        load_percent: 100.0 / f64::from(of),
        load_low_percent: 100.0 / f64::from(of),
        load_high_percent: 100.0 / f64::from(of),
        ports: vec![PortShare { port: 443, side: Side::Client, share_percent: 100.0, connections: 30.0 }],
        peers: Vec::new(),
        peers_total: 0,
        first_seen_ns: 10 * S,
        last_seen_ns: 590 * S,
        os: OsReport {
            name: "Linux".to_owned(),
            confidence: 0.97,
            signature: Some("4:61+3:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0".to_owned()),
            ..OsReport::default()
        },
    }
}

/// An address with one to eight machines; of every eighth the number stays open.
fn report(number: u32) -> AddressReport {
    let machines = 1 + number % 8;
    let is_open = number % 8 == 7;
    AddressReport {
        regime: Regime::Global,
        evidence: format!("{CONNECTIONS} of {CONNECTIONS} connections share offsets"),
        machines: (!is_open).then_some(machines),
        machines_low: Some(if is_open { 1 } else { machines }),
        machines_high: Some(machines + 1),
        doubt: is_open.then_some(Doubt::JitterTooLarge),
        connections: u64::from(CONNECTIONS),
        segments: 9_000,
        first_seen_ns: 10 * S,
        last_seen_ns: 590 * S,
        machine_list: (1..=machines).map(|id| machine(id, machines)).collect(),
        ..AddressReport::nothing(address(number))
    }
}

fn connection(number: u32, at: u32) -> ConnectionReport {
    let first_seen_ns = 10 * S + u64::from(at) * 5 * S;
    ConnectionReport {
        src: address(number),
        src_port: 30_000 + at as u16,
        dst: Address::from_ip4([203, 0, 113, 9]),
        dst_port: 443,
        machine: Some(1 + at % (1 + number % 8)),
        probability: Some(0.97),
        tunnel: None,
        segments: 90,
        payload_bytes: 40_000,
        side: Side::Client,
        first_seen_ns,
        last_seen_ns: first_seen_ns + 9 * S,
        rate_hz: Some(Estimate { value: 1000.01, sigma: 0.1 }),
        place: Some(PhasePoint {
            at_ns: first_seen_ns,
            tick_hz: 1000.0,
            phase_ticks: Estimate { value: f64::from(at % 97) / 97.0, sigma: 0.02 },
        }),
        counter: None,
        goes_on_from: None,
    }
}

fn summary() -> Summary {
    let all = u64::from(ADDRESSES * CONNECTIONS);
    let connections =
        (0..ADDRESSES).flat_map(|number| (0..CONNECTIONS).map(move |at| connection(number, at)));
    Summary {
        snapshot: Snapshot {
            now_ns: 600 * S,
            addresses: (0..ADDRESSES).map(report).collect(),
            connections: connections.collect(),
            ..Snapshot::default()
        },
        began_ns: 10 * S,
        counters: Counters { seen: 90 * all, emitted: 90 * all, ..Counters::default() },
        capturing: Capturing::BySensor { egress: false },
        holdings: Holdings { records: 90 * all, ..Holdings::default() },
        outages: Vec::new(),
        wall: WallClock { unix_minus_engine_ns: 1_140_000_000_000_000_000 },
        warnings: Vec::new(),
    }
}

#[test]
fn a_thousand_addresses_open_at_once() {
    let (summary, mut events) = (summary(), Events::default());
    let calendar = Calendar { wall: summary.wall, zone: &TimeZone::UTC };
    for report in &summary.snapshot.addresses {
        for (known, machine) in (1..).zip(&report.machine_list) {
            let machine = Box::new(machine.clone());
            let event = Event::NewMachine { address: report.address, known, machine };
            events.push(&event, u64::from(known) * 50 * S, &calendar);
        }
    }
    let began = Instant::now();
    let html = page::html(&summary, &events, &Made::default(), &TimeZone::UTC);
    println!("{} bytes, made in {:?}", html.len(), began.elapsed());
    assert!(html.len() < MOST_BYTES, "{} bytes", html.len());
    let page = Page::with(&html);
    let began = Instant::now();
    let browser = Browser::open(&page.path());
    let ready_ms = browser.number("performance.getEntriesByType('navigation')[0].loadEventEnd");
    println!("open after {ready_ms} ms, {:?} with the browser's own start", began.elapsed());
    assert!(ready_ms < MOST_TIME.as_millis() as f64, "opens in {ready_ms} ms");
    assert_eq!(browser.number("document.querySelectorAll('#list tbody tr').length"), f64::from(ADDRESSES));
    let shown = "[...document.querySelectorAll('#list tbody tr')].filter((row) => !row.hidden).length";
    browser.click("#search");
    let began = Instant::now();
    browser.type_in("10.7.3.19");
    // 10.7.3.19 and 10.7.3.190 to 10.7.3.199.
    assert_eq!(browser.number(shown), 11.0);
    println!("searched in {:?}", began.elapsed());
    // What has no picture says why.
    let pictures = browser.number("document.querySelectorAll('.picture svg').length");
    let excuses = "[...document.querySelectorAll('details .note')].filter((one) => \
         one.textContent.startsWith('Pictures are drawn for')).length";
    let sections = browser.number("document.querySelectorAll('details.address').length");
    let without = browser.number(excuses);
    assert!(pictures > 100.0 && without > 0.0, "{pictures} pictures, {without} addresses without");
    assert_eq!(
        browser.number("document.querySelectorAll('details.address:has(svg)').length"),
        sections - without
    );
}
