//! Attacks on the count, mixed into captures of real machines: the victim's figures stay, and so do those of
//! everybody else. Where many connections are an attacker's, a doubt says so.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_pcg::Pcg64;
use tmap::engine::{
    Engine, Options, PartialSnapshot, Wanted,
    snapshot::{AddressReport, Doubt, Event, Regime, Snapshot},
};
use tmap_common::{Address, Flags, Record};
use tmap_tests::{
    captures::{self, THREE, WITH_UNSTAMPED},
    judge::summary::{beyond, wrong},
    siege::{
        Scene,
        dear::Load,
        flood::{self, connections, syns},
        forged::{self, in_vxlan, other_clock, resets},
        invented::{Probe, busy, pairs, random_phases, scan, slow_clocks, swept},
    },
    simulate::conversation::{Side, conversation},
};

/// What a user wants to know of an address: machines, low, high, proven, and how offsets are chosen.
type Figures = (Option<u32>, Option<u32>, Option<u32>, Option<u32>, Regime);

fn figures(report: &AddressReport) -> Figures {
    let AddressReport { machines, machines_low, machines_high, machines_proven, regime, .. } = *report;
    (machines, machines_low, machines_high, machines_proven, regime)
}

/// Two bounds that are small enough to be reached.
fn usual() -> Options {
    Options { max_addresses: 4_096, max_flows: 4_608, ..Options::default() }
}

/// One attack, and the doubt that names it.
struct Attack {
    name: &'static str,
    make: fn(&Scene, &mut Pcg64) -> Vec<Record>,
    doubt: Option<Doubt>,
}

const fn attack(
    name: &'static str,
    doubt: Option<Doubt>,
    make: fn(&Scene, &mut Pcg64) -> Vec<Record>,
) -> Attack {
    Attack { name, make, doubt }
}

const UNANSWERED: Option<Doubt> = Some(Doubt::Unanswered);
const CONTRADICTED: Option<Doubt> = Some(Doubt::Contradicted);

/// Attacks on the victim's own connections and its address.
const ON_ADDRESS: [Attack; 25] = [
    attack("no attack", None, |_, _| Vec::new()),
    attack("scan by SYN, 20/s", UNANSWERED, |scene, random| scan(scene, 20, Probe::Syn, random)),
    attack("scan by SYN, 40/s", UNANSWERED, |scene, random| scan(scene, 40, Probe::Syn, random)),
    attack("scan by SYN, 100/s", UNANSWERED, |scene, random| scan(scene, 100, Probe::Syn, random)),
    attack("scan by SYN, 400/s", UNANSWERED, |scene, random| scan(scene, 400, Probe::Syn, random)),
    attack("scan by ACK, 20/s", UNANSWERED, |scene, random| scan(scene, 20, Probe::Ack, random)),
    attack("scan by ACK, 40/s", UNANSWERED, |scene, random| scan(scene, 40, Probe::Ack, random)),
    attack("scan by ACK, 400/s", UNANSWERED, |scene, random| scan(scene, 400, Probe::Ack, random)),
    attack("4,096 busy connections", UNANSWERED, |scene, random| busy(scene, 4_096, random)),
    attack("another clock in mid-connection", CONTRADICTED, |scene, random| {
        other_clock(scene, forged::When::Middle, random)
    }),
    attack("another clock at the end", CONTRADICTED, |scene, random| {
        other_clock(scene, forged::When::End, random)
    }),
    attack("another clock in VXLAN, in mid-connection", UNANSWERED, |scene, random| {
        in_vxlan(other_clock(scene, forged::When::Middle, random))
    }),
    attack("another clock in VXLAN, at the end", UNANSWERED, |scene, random| {
        in_vxlan(other_clock(scene, forged::When::End, random))
    }),
    attack("RST, 2/s for each connection", None, resets),
    attack("RST and SYN, five times a connection", None, forged::reopened),
    attack("an ACK before each connection", UNANSWERED, |scene, random| {
        forged::planted(scene, Flags::ACK, random)
    }),
    attack("a SYN-ACK before each connection", UNANSWERED, |scene, random| {
        forged::planted(scene, Flags::SYN | Flags::ACK, random)
    }),
    attack("a SYN before each connection", UNANSWERED, |scene, random| {
        forged::planted(scene, Flags::SYN, random)
    }),
    attack("20 pairs of one offset", UNANSWERED, |scene, random| pairs(scene, 20, random)),
    attack("140 pairs of one offset", UNANSWERED, |scene, random| pairs(scene, 140, random)),
    attack("40 connections whose echoes are swept", UNANSWERED, |scene, random| swept(scene, 40, random)),
    attack("1,000 clocks of 100 Hz", UNANSWERED, |scene, random| slow_clocks(scene, 1_000, random)),
    attack("100 random phases", UNANSWERED, |scene, random| random_phases(scene, 100, random)),
    attack("300 random phases", UNANSWERED, |scene, random| random_phases(scene, 300, random)),
    attack("a scan and forged clocks", CONTRADICTED, |scene, random| {
        let mut all = scan(scene, 100, Probe::Syn, random);
        all.extend(other_clock(scene, forged::When::Middle, random));
        all
    }),
];

/// What an eavesdropper forges, who sees what the victim sends. It may change the count, but not unnamed.
const BY_EAVESDROPPER: [Attack; 3] = [
    attack("two segments ahead", CONTRADICTED, |scene, _| forged::ahead(scene, 100_000)),
    attack("two segments a little ahead", CONTRADICTED, |scene, _| forged::ahead(scene, 1_000)),
    attack("a shifted clock behind each segment", CONTRADICTED, forged::interleaved),
];

/// Attacks on the bounds that all addresses share, and attacks of every kind together.
const ON_BOUNDS: [Attack; 7] = [
    attack("SYNs of 200,000 addresses before", None, |scene, random| {
        syns(scene, 200_000, flood::When::Before, true, random)
    }),
    attack("SYNs of 200,000 addresses", None, |scene, random| {
        syns(scene, 200_000, flood::When::During, true, random)
    }),
    attack("SYNs of 200,000 addresses before, without time stamps", None, |scene, random| {
        syns(scene, 200_000, flood::When::Before, false, random)
    }),
    attack("SYNs of 200,000 addresses, without time stamps", None, |scene, random| {
        syns(scene, 200_000, flood::When::During, false, random)
    }),
    attack("a full table of flows", None, |scene, random| connections(scene, 200, 40, random)),
    attack("a full table of flows, few addresses", None, |scene, random| {
        connections(scene, 2, 4_000, random)
    }),
    attack("everything at once", CONTRADICTED, |scene, random| {
        let mut all = scan(scene, 100, Probe::Ack, random);
        all.extend(other_clock(scene, forged::When::Middle, random));
        all.extend(resets(scene, random));
        all.extend(pairs(scene, 20, random));
        all.extend(random_phases(scene, 100, random));
        all.extend(connections(scene, 200, 40, random));
        all
    }),
];

/// What a file's reader makes of records, with the events for `victim` of new machines.
fn read(records: &[Record], resolution_ns: u64, victim: Address) -> (Snapshot, usize) {
    let mut engine = Engine::new(usual());
    engine.set_resolution_ns(resolution_ns);
    engine.observe_all(records);
    let now_ns = records[records.len() - 1].time_ns;
    let (events, partial) = engine.conclude(now_ns, Wanted::default());
    assert_eq!(beyond(&engine.holdings(), &usual()), Vec::<String>::new());
    (PartialSnapshot::join([partial]), new_machines(&events, victim))
}

/// What a sensor makes of them, which looks once a second.
fn watch(records: &[Record], resolution_ns: u64, victim: Address) -> (Snapshot, usize) {
    let mut engine = Engine::new(usual());
    engine.set_resolution_ns(resolution_ns);
    let mut events = Vec::new();
    for second in records.chunk_by(|a, b| a.time_ns / 1_000_000_000 == b.time_ns / 1_000_000_000) {
        engine.observe_all(second);
        events.extend(engine.review(second[second.len() - 1].time_ns));
    }
    let (last, partial) = engine.conclude(records[records.len() - 1].time_ns, Wanted::default());
    events.extend(last);
    assert_eq!(beyond(&engine.holdings(), &usual()), Vec::<String>::new());
    (PartialSnapshot::join([partial]), new_machines(&events, victim))
}

fn new_machines(events: &[Event], victim: Address) -> usize {
    let is_new = |event: &&Event| matches!(event, Event::NewMachine { address, .. } if *address == victim);
    events.iter().filter(is_new).count()
}

/// What is wrong with a summary under attack; empty where nothing is.
fn changed(calm: &Snapshot, attacked: &Snapshot, victim: Address, doubt: Option<Doubt>) -> Vec<String> {
    let mut changed = wrong(attacked);
    let found: BTreeMap<Address, &AddressReport> =
        attacked.addresses.iter().map(|report| (report.address, report)).collect();
    for report in &calm.addresses {
        let address = report.address;
        let Some(now) = found.get(&address) else {
            changed.push(format!("{address} is missing"));
            continue;
        };
        let expected = if address == victim { doubt } else { report.doubt };
        if (figures(now), now.doubt) != (figures(report), expected) {
            let before = figures(report);
            changed.push(format!(
                "{address}: {:?}, {:?} for {before:?}, {expected:?}",
                figures(now),
                now.doubt
            ));
        }
    }
    changed
}

/// How records become a summary.
type Run = fn(&[Record], u64, Address) -> (Snapshot, usize);

/// Any seed will do.
const SEED: u64 = 5;

/// Until three handshakes of an address were seen, all of its connections are believed. So a sensor that
/// starts under attack may announce a machine too many, and takes it back in its next summary.
const MOST_MISTAKEN: usize = 1;

fn withstand(capture: &str, attacks: &[Attack], run: Run) {
    let scene = Scene::capture(&captures::path(capture)).expect("a capture");
    let (calm, announced) = run(&scene.records, scene.resolution_ns, scene.victim);
    let mut broken = Vec::new();
    for Attack { name, make, doubt } in attacks {
        let records = scene.with(make(&scene, &mut Pcg64::seed_from_u64(SEED)));
        let (attacked, now_announced) = run(&records, scene.resolution_ns, scene.victim);
        let faults = changed(&calm, &attacked, scene.victim, *doubt);
        broken.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
        if now_announced > announced + MOST_MISTAKEN {
            broken.push(format!("{name}: {now_announced} machines were announced, {announced} without it"));
        }
    }
    assert!(broken.is_empty(), "{capture}:\n  {}", broken.join("\n  "));
}

#[test]
fn random_offsets_in_a_file_withstand_attacks_on_an_address() {
    withstand(THREE, &ON_ADDRESS, read);
}

/// A victim whose traffic comes in a tunnel, and a segment of each of its connections outside of it.
#[test]
fn one_segment_outside_copies_no_connection_in_a_tunnel() {
    let scene = Scene::capture(&captures::path(THREE)).expect("a capture");
    let inside = Scene::new(in_vxlan(scene.records.clone()), scene.resolution_ns, scene.victim);
    let forged = forged::acknowledgements(&scene, &mut Pcg64::seed_from_u64(SEED));
    let (calm, _) = read(&inside.records, inside.resolution_ns, inside.victim);
    let (attacked, _) = read(&inside.with(forged), inside.resolution_ns, inside.victim);
    assert_eq!(changed(&calm, &attacked, scene.victim, UNANSWERED), Vec::<String>::new());
}

/// Handshakes that clients never complete, and answers without a question, say nothing of the machines behind
/// a server.
#[test]
fn a_server_withstands_floods_and_forged_answers() {
    let scene = Scene::capture(&captures::path(THREE)).expect("a capture");
    let (calm, _) = read(&scene.records, scene.resolution_ns, scene.victim);
    let servers = calm.addresses.iter().map(|report| report.address).filter(|server| *server != scene.victim);
    let server = servers.min().expect("a server");
    let scene = Scene::new(scene.records, scene.resolution_ns, server);
    let forged = forged::answered_again(&scene, &mut Pcg64::seed_from_u64(SEED));
    assert!(forged.len() > 10);
    let (attacked, _) = read(&scene.with(forged), scene.resolution_ns, server);
    let figures_of = |snapshot: &Snapshot| {
        let mut reports = snapshot.addresses.iter();
        figures(reports.find(|report| report.address == server).expect("the server"))
    };
    assert_eq!(figures_of(&attacked), figures_of(&calm), "a SYN is answered once");
    for per_second in [5, 20, 100, 400] {
        let records = scene.with(flood::half_open(&scene, per_second, &mut Pcg64::seed_from_u64(SEED)));
        for run in [read as Run, watch] {
            let (attacked, _) = run(&records, scene.resolution_ns, server);
            assert_eq!(changed(&calm, &attacked, server, UNANSWERED), Vec::<String>::new(), "{per_second}/s");
        }
    }
}

/// A server that answers goes on a second later. Meanwhile, as many addresses are invented as there may be,
/// again and again.
#[test]
fn a_server_that_answers_keeps_its_place_in_a_flood() {
    let server = Side { address: [203, 0, 113, 99], port: 443, tick_hz: 1_000, ticks: 7_000_000 };
    let mut records = Vec::new();
    for number in 0..20_u8 {
        let client =
            Side { address: [192, 0, 2, number], port: 40_000 + u16::from(number), ticks: 5, ..server };
        let begin_ns = 2_000_000_000 * u64::from(number);
        let all = conversation(client, server, begin_ns, 5);
        // The handshake, and then one exchange a second.
        let (handshake, exchanges) = all.split_at(3);
        records.extend_from_slice(handshake);
        records.extend(exchanges.chunks(2).skip(19).step_by(20).flatten());
    }
    records.sort_by_key(|record| record.time_ns);
    let scene = Scene::new(records, 1, Address::from_ip4(server.address));
    let random = &mut Pcg64::seed_from_u64(SEED);
    let flood = syns(&scene, 200_000, flood::When::During, true, random);
    let mut engine = Engine::new(Options { max_addresses: 512, max_flows: 4_608, ..Options::default() });
    engine.set_resolution_ns(1);
    let records = scene.with(flood);
    engine.observe_all(&records);
    let snapshot = engine.snapshot(records[records.len() - 1].time_ns, Wanted::default());
    let report = snapshot.addresses.iter().find(|report| report.address == scene.victim);
    let told = report.map(|report| (report.connections, report.machines, report.doubt));
    assert_eq!(told, Some((20, Some(1), None)));
}

#[test]
fn what_an_eavesdropper_forges_is_named() {
    let mut unnamed = Vec::new();
    for capture in [THREE, WITH_UNSTAMPED] {
        let scene = Scene::capture(&captures::path(capture)).expect("a capture");
        let (calm, _) = read(&scene.records, scene.resolution_ns, scene.victim);
        for Attack { name, make, doubt } in &BY_EAVESDROPPER {
            let records = scene.with(make(&scene, &mut Pcg64::seed_from_u64(SEED)));
            let (attacked, _) = read(&records, scene.resolution_ns, scene.victim);
            let of_victim = |snapshot: &Snapshot| {
                let mut reports = snapshot.addresses.iter();
                let report = reports.find(|report| report.address == scene.victim).expect("the victim");
                (figures(report), report.doubt)
            };
            let (before, now) = (of_victim(&calm), of_victim(&attacked));
            if now.0 != before.0 && now.1 != *doubt {
                unnamed.push(format!("{capture}, {name}: {now:?} for {before:?}"));
            }
        }
    }
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

#[test]
fn random_offsets_in_a_file_withstand_attacks_on_bounds() {
    withstand(THREE, &ON_BOUNDS, read);
}

#[test]
fn random_offsets_before_a_sensor_withstand_attacks_on_an_address() {
    withstand(THREE, &ON_ADDRESS, watch);
}

#[test]
fn mixed_offsets_in_a_file_withstand_attacks_on_an_address() {
    withstand(WITH_UNSTAMPED, &ON_ADDRESS, read);
}

#[test]
fn mixed_offsets_in_a_file_withstand_attacks_on_bounds() {
    withstand(WITH_UNSTAMPED, &ON_BOUNDS, read);
}

#[test]
fn mixed_offsets_before_a_sensor_withstand_attacks_on_an_address() {
    withstand(WITH_UNSTAMPED, &ON_ADDRESS, watch);
}

#[test]
fn connections_months_apart_are_counted_or_said_to_be_too_far_apart() {
    let load = Load { machines: 3, span_s: 70.0 * 86_400.0, ..Load::default() };
    let (report, _) = dear(&load, &Options::default());
    let AddressReport { machines, machines_low, machines_high, doubt, .. } = report;
    assert!(machines == Some(3) || doubt == Some(Doubt::TooFarApart), "{machines:?}, {doubt:?}");
    assert!(machines_low <= Some(3) && machines_high >= Some(3), "{machines_low:?} to {machines_high:?}");
}

/// Each pair of connections looks like a machine of its own, and a sensor that runs for months meets ever
/// more.
#[test]
fn numbers_of_machines_that_are_gone_are_forgotten() {
    let options = Options { max_connections_per_address: 64, ..Options::default() };
    let [few, many] = [500, 8_000].map(|connections| {
        let pairs = Load { shared: 2, segments: 6, hz: 100.0, has_syns: false, ..Load::default() };
        let (report, memory_bytes) = dear(&Load { connections, span_s: 600.0, ..pairs }, &options);
        let last = report.machine_list.iter().map(|machine| machine.id).max();
        assert!(last > Some(connections as u32 / 10), "numbers were given: {last:?}");
        memory_bytes
    });
    assert!(2 * many < 3 * few, "{few} bytes, and {many} bytes for sixteen times as many connections");
}

#[test]
fn what_is_unrelated_spends_its_budget_and_says_so() {
    let wide = Load {
        connections: 300,
        segments: 128,
        length_s: 400.0,
        span_s: 600.0,
        skew_ppm: 480.0,
        ..Load::default()
    };
    let unrelated = Load { connections: 500, span_s: 60.0, ..Load::default() };
    for (load, search_bytes) in [(wide, 16 << 20), (unrelated, 256 << 20)] {
        let (report, _) =
            dear(&load, &Options { search_look_ups: 1_000_000, search_bytes, ..Options::default() });
        let AddressReport { machines_high, doubt, .. } = report;
        assert!(
            doubt.is_some() && machines_high >= Some(load.connections as u32),
            "{doubt:?}, {machines_high:?}"
        );
    }
}

/// Addresses with more connections spend what one summary may look at by phase.
#[test]
fn an_old_look_is_marked_as_such() {
    let scene = Scene::capture(&captures::path(THREE)).expect("a capture");
    let (first, rest) = scene.records.split_at(4 * scene.records.len() / 5);
    let decoys = connections(&scene, 4, 4_096, &mut Pcg64::seed_from_u64(SEED));
    let mut engine = Engine::new(Options { search_look_ups: 100_000, ..Options::default() });
    engine.set_resolution_ns(scene.resolution_ns);
    let mut of_victim = |records: &[Record]| {
        engine.observe_all(records);
        let snapshot = engine.snapshot(scene.records[scene.records.len() - 1].time_ns, Wanted::default());
        assert_eq!(wrong(&snapshot), Vec::<String>::new());
        snapshot.addresses.into_iter().find(|report| report.address == scene.victim).expect("the victim")
    };
    let alone = of_victim(first);
    let AddressReport { machines, machines_high, doubt, .. } = of_victim(&[rest, &decoys].concat());
    assert!(alone.machines.is_some() && alone.doubt.is_none(), "{:?}", figures(&alone));
    assert_eq!((machines, machines_high, doubt), (alone.machines, None, Some(Doubt::BudgetSpent)));
}

/// What a sensor that looks once a second makes of such connections, and the most memory that it held, in
/// bytes.
fn dear(load: &Load, options: &Options) -> (AddressReport, usize) {
    let records = load.records(&mut Pcg64::seed_from_u64(SEED));
    let mut engine = Engine::new(options.clone());
    engine.set_resolution_ns(1);
    let mut memory_bytes = 0;
    for second in records.chunk_by(|a, b| a.time_ns / 1_000_000_000 == b.time_ns / 1_000_000_000) {
        engine.observe_all(second);
        engine.review(second[second.len() - 1].time_ns);
        memory_bytes = memory_bytes.max(engine.holdings().memory_bytes);
    }
    let snapshot = engine.snapshot(records[records.len() - 1].time_ns, Wanted::default());
    assert_eq!((wrong(&snapshot), beyond(&engine.holdings(), options)), (Vec::new(), Vec::new()));
    let [report] = &snapshot.addresses[..] else { panic!("one address is expected") };
    (report.clone(), memory_bytes)
}
