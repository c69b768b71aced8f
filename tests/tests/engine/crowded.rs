//! More connections at once than there is room for: some are watched well, rather than all in turns.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{Engine, Options, Snapshot, Wanted};
use tmap_common::Record;
use tmap_tests::{judge::summary::wrong, simulate::conversation::acknowledgement};

const S: u64 = 1_000_000_000;

/// Room for so many connections.
const ROOM: usize = 64;

/// A flow of segments half a second apart: whose it is, and from when to when, in seconds.
#[derive(Clone, Copy)]
struct Flow {
    machine: usize,
    address: u8,
    port: u16,
    from_s: f64,
    to_s: f64,
}

/// The machines' skews, in ppm.
const SKEWS: [f64; 3] = [-30.0, 5.0, 45.0];

/// What these flows send: 1 kHz clocks with fixed offsets, half a millisecond of jitter.
fn traffic(flows: &[Flow]) -> Vec<Record> {
    let mut rng = Pcg64::seed_from_u64(11);
    let mut records = Vec::new();
    for flow in flows {
        let mut sent_s = flow.from_s + rng.random::<f64>();
        while sent_s < flow.to_s {
            let ticks =
                sent_s * 1000.0 * (1.0 + SKEWS[flow.machine] * 1e-6) + 1e8 * (1 + flow.machine) as f64;
            let delay_s = 0.000_3 - 0.000_5 * (1.0 - rng.random::<f64>()).ln();
            let ends = (([198, 51, 100, flow.address], flow.port), ([203, 0, 113, 9], 443));
            records.push(acknowledgement(((sent_s + delay_s) * 1e9) as u64, ends, ticks as u32, 1));
            sent_s += 0.4 + 0.2 * rng.random::<f64>();
        }
    }
    records.sort_by_key(|record| record.time_ns);
    records
}

/// What an engine of these bounds knows in the end.
fn watch(options: Options, records: &[Record]) -> Snapshot {
    let mut engine = Engine::new(options);
    engine.set_resolution_ns(1);
    let mut now_ns = S;
    for record in records {
        while record.time_ns > now_ns {
            engine.review(now_ns);
            now_ns += S;
        }
        engine.observe(record);
    }
    engine.snapshot(now_ns, Wanted { connections: true, ..Wanted::default() })
}

/// So many flows that begin at once, of three machines.
fn at_once(count: u16, address: impl Fn(u16) -> u8) -> Vec<Flow> {
    (0..count)
        .map(|number| Flow {
            machine: usize::from(number % 3),
            address: address(number),
            port: 10_000 + number,
            from_s: 0.0,
            to_s: 240.0,
        })
        .collect()
}

/// Segments of the connections that are known, the fewest first.
fn segments(snapshot: &Snapshot) -> Vec<u64> {
    let mut all: Vec<u64> = snapshot.connections.iter().map(|connection| connection.segments).collect();
    all.sort_unstable();
    all
}

#[test]
fn an_address_with_too_many_connections_shows_its_machines() {
    let records = traffic(&at_once(10 * ROOM as u16, |_| 1));
    let snapshot = watch(Options { max_connections_per_address: ROOM, ..Options::default() }, &records);
    assert_eq!(snapshot.addresses[0].machines, Some(3));
    let segments = segments(&snapshot);
    // 480 segments each; some took the place of one that had shown too little.
    assert!(segments.len() == ROOM && segments[ROOM / 8] > 400, "{segments:?}");
    let kept: u64 = segments.iter().sum();
    assert!(snapshot.losses.records_refused > records.len() as u64 * 8 / 10, "{:?}", snapshot.losses);
    assert!(kept + snapshot.losses.records_refused <= records.len() as u64);
}

#[test]
fn a_table_with_too_many_connections_shows_the_machines_of_some() {
    let records = traffic(&at_once(10 * ROOM as u16, |number| (number % 20) as u8));
    let snapshot = watch(Options { max_flows: ROOM, ..Options::default() }, &records);
    let segments = segments(&snapshot);
    assert!(segments.len() == ROOM && segments[ROOM / 8] > 400, "{segments:?}");
    assert!(snapshot.losses.records_refused > records.len() as u64 * 8 / 10, "{:?}", snapshot.losses);
}

/// What fell silent, and what never said much, gives way to what comes.
#[test]
fn idle_connections_give_way() {
    let mut flows = at_once(ROOM as u16, |_| 1);
    flows.iter_mut().for_each(|flow| flow.to_s = 60.0);
    // Each shows a single segment, as scans do.
    flows.extend((0..2_000).map(|number| {
        let from_s = 30.0 + 0.05 * f64::from(number);
        Flow { machine: 1, address: 1, port: 20_000 + number, from_s, to_s: from_s + 1.0 }
    }));
    let late = (0..ROOM as u16 / 2).map(|number| Flow {
        machine: 2,
        address: 1,
        port: 30_000 + number,
        from_s: 140.0,
        to_s: 200.0,
    });
    flows.extend(late);
    let snapshot =
        watch(Options { max_connections_per_address: ROOM, ..Options::default() }, &traffic(&flows));
    let late = snapshot.connections.iter().filter(|connection| connection.src_port >= 30_000);
    let late: Vec<u64> = late.map(|connection| connection.segments).collect();
    assert!(late.len() == ROOM / 2 && late.iter().all(|&segments| segments > 100), "{late:?}");
}

/// Its serials begin anew, and what was known of it before is another life's.
#[test]
fn an_address_that_comes_back_is_told_by_what_it_shows_since() {
    let options = Options { max_addresses: 1, ..Options::default() };
    let flows = |address: u8, count: u16, begin_s: f64| -> Vec<Flow> {
        let flow = |number: u16| {
            let from_s = begin_s + f64::from(number);
            Flow { machine: 0, address, port: 1_000 + number, from_s, to_s: from_s + 5.0 }
        };
        (0..count).map(flow).collect()
    };
    let mut engine = Engine::new(options);
    engine.set_resolution_ns(1);
    engine.observe_all(&traffic(&flows(1, 20, 1.0)));
    assert_eq!(engine.snapshot(40 * S, Wanted::default()).addresses[0].connections, 20);
    // Nobody asks while another address has its place.
    engine.observe_all(&traffic(&flows(2, 3, 50.0)));
    engine.observe_all(&traffic(&flows(1, 6, 100.0)));
    let snapshot = engine.snapshot(120 * S, Wanted::default());
    let [report] = &snapshot.addresses[..] else { panic!("{} addresses", snapshot.addresses.len()) };
    let of_machines: Vec<f64> = report.machine_list.iter().map(|machine| machine.connections).collect();
    assert_eq!((report.connections, report.connections_forgotten, &of_machines[..]), (6, 0, &[6.0][..]));
    assert_eq!(wrong(&snapshot), Vec::<String>::new());
}
