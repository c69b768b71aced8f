//! Analysis that is interrupted: what it says of that, and that it finds later what it would have found.

use std::{thread, time::Duration};

use tmap::engine::{Engine, Event, Options, PartialSnapshot, Snapshot, Wanted, snapshot::Doubt};
use tmap_common::{Address, Record, Segment};
use tmap_tests::simulate::{Offsets, Scenario};

/// Addresses of which every second one has random offsets.
const ADDRESSES: u8 = 6;

const END_NS: u64 = 200_000_000_000;

fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for address in 0..ADDRESSES {
        let offsets = if address % 2 == 0 { Offsets::PerConnection } else { Offsets::Global };
        let scenario = Scenario {
            machines: 3,
            connections: 12 + usize::from(address),
            offsets,
            duration_s: 180.0,
            seed: u64::from(address),
            ..Scenario::default()
        };
        records.extend(scenario.run().records.iter().map(|record| Record {
            segment: Segment { src: Address::from_ip4([198, 51, 100, address]), ..record.segment },
            ..*record
        }));
    }
    records.sort_by_key(|record| record.time_ns);
    records
}

/// An engine that has seen all records, and its options.
fn fed() -> (Engine, Options) {
    let options = Options::default();
    let mut engine = Engine::new(options.clone());
    engine.observe_all(&records());
    (engine, options)
}

fn conclude(engine: &mut Engine) -> (Vec<Event>, Snapshot) {
    let (mut events, partial) = engine.conclude(END_NS, Wanted { connections: true, siblings: true });
    events.sort_by_key(Event::address);
    (events, PartialSnapshot::join([partial]))
}

fn in_words(events: &[Event], snapshot: &Snapshot) -> String {
    format!("{events:#?}\n{snapshot:#?}")
}

/// Addresses with more random offsets in all than a summary on the way looks at.
#[test]
fn the_last_summary_looks_at_all_addresses() {
    const MANY: u16 = 4_200;
    let scenario = Scenario {
        machines: 1,
        connections: 4,
        peers: 1,
        offsets: Offsets::PerConnection,
        duration_s: 180.0,
        segments: (4.0, 4.0),
        length_s: Some(1.0),
        ..Scenario::default()
    };
    let traffic = scenario.run().records;
    let mut engine = Engine::new(Options::default());
    for address in 0..MANY {
        let [high, low] = address.to_be_bytes();
        let src = Address::from_ip4([198, 51, high, low]);
        let of_address =
            traffic.iter().map(|record| Record { segment: Segment { src, ..record.segment }, ..*record });
        engine.observe_all(&of_address.collect::<Vec<_>>());
    }
    let (_, snapshot) = conclude(&mut engine);
    assert_eq!(snapshot.addresses.len(), usize::from(MANY));
    let left = snapshot.addresses.iter().filter(|report| report.doubt == Some(Doubt::OffsetsRandom)).count();
    assert_eq!(left, 0, "not looked at by phase");
}

#[test]
fn an_interrupted_analysis_finds_later_what_it_would_have_found() {
    let (events, snapshot) = conclude(&mut fed().0);
    let whole = in_words(&events, &snapshot);
    assert_eq!(snapshot.interrupted(), 0);
    let (mut engine, options) = fed();
    let mut all = Vec::new();
    for (level, open) in [(2, ADDRESSES), (1, ADDRESSES / 2), (1, ADDRESSES / 2), (0, 0)] {
        options.hurry.over();
        match level {
            2 => options.hurry.end_passes(),
            1 => options.hurry.end_searches(),
            _ => {}
        }
        let (events, snapshot) = conclude(&mut engine);
        all.extend(events);
        assert_eq!(snapshot.interrupted(), usize::from(open), "level {level}");
        let open = snapshot.addresses.iter().filter(|report| report.doubt == Some(Doubt::Interrupted));
        assert!(open.clone().all(|report| report.machines_high.is_none() && report.connections > 0));
        if level == 0 {
            all.sort_by_key(Event::address);
            assert_eq!(in_words(&all, &snapshot), whole);
        }
    }
}

/// Hurry may come at any moment of a search.
#[test]
fn a_search_that_is_cut_anywhere_changes_nothing_for_the_next_one() {
    let (events, snapshot) = conclude(&mut fed().0);
    let whole = in_words(&events, &snapshot);
    for wait_ms in [1, 5, 10, 20, 40, 80, 160] {
        let (mut engine, options) = fed();
        let hurry = options.hurry.clone();
        let (mut all, _) = thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(wait_ms));
                hurry.end_searches();
            });
            conclude(&mut engine)
        });
        options.hurry.over();
        let (events, snapshot) = conclude(&mut engine);
        all.extend(events);
        all.sort_by_key(Event::address);
        assert_eq!(in_words(&all, &snapshot), whole, "after {wait_ms} ms");
    }
}

#[test]
fn a_search_that_spends_its_budget_says_so() {
    let mut engine = Engine::new(Options { search_look_ups: 1_000, ..Options::default() });
    engine.observe_all(&records());
    let (_, snapshot) = conclude(&mut engine);
    let random = snapshot.addresses.iter().step_by(2);
    let doubts: Vec<Option<Doubt>> = random.map(|report| report.doubt).collect();
    assert_eq!(doubts, vec![Some(Doubt::BudgetSpent); usize::from(ADDRESSES / 2)]);
    assert!(snapshot.addresses.iter().skip(1).step_by(2).all(|report| report.doubt.is_none()));
}
