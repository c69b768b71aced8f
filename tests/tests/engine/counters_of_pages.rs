//! Whose counters are whose, where offsets are drawn by pair: what pages tell of it, and what they don't.

use std::collections::{BTreeMap, HashMap};

use tmap::engine::{
    Engine, Options, Snapshot, Wanted,
    snapshot::{ConnectionReport, MachineReport},
};
use tmap_common::{Address, Record, Segment};
use tmap_tests::simulate::{
    ConnectionKey, SHARED, Truth,
    web::{Web, grid},
};

/// A connection that is surely a machine's has at least this probability.
const SURE: f64 = 0.95;

/// Machines by pair across a WAN, so many of them with so many connections each.
fn browsers(machines: usize, connections: usize, seed: u64) -> Web {
    let row = grid::rows().into_iter().find(|row| row.name == "clients 4x30 pair WAN").expect("a row");
    Web { stacks: vec![row.web.stacks[0]; machines], connections, seed, ..row.web }
}

fn shown(records: &[Record]) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    engine.observe_all(records);
    let now_ns = records.last().expect("traffic").time_ns;
    engine.snapshot(now_ns, Wanted { connections: true, ..Wanted::default() })
}

/// The share of a shared address's connections that are given to the right machine, and of those that are
/// surely a machine's: how many there are, and how many of them are right.
fn right(snapshot: &Snapshot, truth: &Truth) -> (f64, usize, usize) {
    let of_shared = |src: Address| src == Address::from_ip4(SHARED.octets());
    let told: Vec<_> = snapshot.connections.iter().filter(|connection| of_shared(connection.src)).collect();
    let key = |c: &&ConnectionReport| truth.machine_of[&(c.src_port, c.dst, c.dst_port)];
    // Each machine that is told is the one that most of its connections are.
    let mut shares: BTreeMap<u32, BTreeMap<usize, usize>> = BTreeMap::new();
    for connection in &told {
        if let Some(machine) = connection.machine {
            *shares.entry(machine).or_default().entry(key(connection)).or_default() += 1;
        }
    }
    let names: BTreeMap<u32, usize> = shares
        .into_iter()
        .filter_map(|(machine, of)| Some((machine, of.into_iter().max_by_key(|(_, n)| *n)?.0)))
        .collect();
    let is_right =
        |c: &&ConnectionReport| c.machine.is_some_and(|machine| names.get(&machine) == Some(&key(c)));
    let is_sure = |c: &&&ConnectionReport| c.probability.is_some_and(|p| p >= SURE);
    let sure: Vec<_> = told.iter().filter(is_sure).collect();
    let all_right = told.iter().filter(|c| is_right(c)).count();
    (all_right as f64 / told.len() as f64, sure.len(), sure.iter().filter(|c| is_right(c)).count())
}

/// How far the skews that are told are off, in standard errors. A machine's skew is that of the clock that
/// most of its connections have.
fn skews_off(snapshot: &Snapshot, truth: &Truth) -> Vec<f64> {
    let report =
        snapshot.addresses.iter().find(|report| report.address == Address::from_ip4(SHARED.octets()));
    let off = |machine: &MachineReport| {
        let skew = machine.skew_ppm?;
        let mut of: BTreeMap<usize, usize> = BTreeMap::new();
        for c in snapshot.connections.iter().filter(|c| c.machine == Some(machine.id)) {
            if let Some(true_one) = truth.machine_of.get(&(c.src_port, c.dst, c.dst_port)) {
                *of.entry(*true_one).or_default() += 1;
            }
        }
        let true_one = of.into_iter().max_by_key(|(_, n)| *n)?.0;
        Some((skew.value - truth.clocks[true_one].skew_ppm) / skew.sigma)
    };
    report.into_iter().flat_map(|report| &report.machine_list).filter_map(off).collect()
}

/// None of these connections was given to a machine before.
#[test]
fn counters_of_one_page_are_one_machine_s_across_a_wan() {
    let (mut sum, mut sure, mut surely_right, mut skews) = (0.0, 0, 0, Vec::new());
    for (machines, seed) in [(2, 1), (3, 2), (4, 3), (4, 4), (6, 5), (8, 6)] {
        let simulation = browsers(machines, 40, seed).run().simulation;
        let snapshot = shown(&simulation.records);
        let (share, all, right) = right(&snapshot, &simulation.truth);
        let off = skews_off(&snapshot, &simulation.truth);
        eprintln!("{machines}: {share:.3}, {right} of {all} sure ones, skews off by {off:.1?} errors");
        skews.extend(off);
        (sum, sure, surely_right) = (sum + share, sure + all, surely_right + right);
    }
    assert!(sum / 6.0 > 0.9, "{sum}");
    assert!(sure > 300 && surely_right as f64 > 0.95 * sure as f64, "{surely_right} of {sure}");
    let wrong = skews.iter().filter(|off| off.abs() > 3.0).count();
    assert!(skews.len() > 20 && wrong <= 1, "{wrong} of {}", skews.len());
}

/// A pause between two pages, in nanoseconds.
const PAUSE_NS: u64 = 500_000_000;

/// The times at which all machines open their pages, in nanoseconds, one after the other.
const EVERY_NS: u64 = 7_300_000_000;

fn connection_of(segment: &Segment) -> ConnectionKey {
    if segment.src == Address::from_ip4(SHARED.octets()) {
        (segment.src_port, segment.dst, segment.dst_port)
    } else {
        (segment.dst_port, segment.src, segment.src_port)
    }
}

/// Connections of machines whose pages, or one of so many, begin at the same moments. Clocks of 1 kHz go with
/// them.
fn at_the_same_moments(web: &Web, one_of: u64) -> (Vec<Record>, Truth) {
    let simulation = web.run().simulation;
    let (mut records, truth) = (simulation.records, simulation.truth);
    let mut pages: HashMap<usize, (u64, u64, u64)> = HashMap::new();
    let mut later_ms: HashMap<ConnectionKey, i64> = HashMap::new();
    for record in &mut records {
        let key = connection_of(&record.segment);
        let Some(&machine) = truth.machine_of.get(&key) else { continue };
        let by_ms = *later_ms.entry(key).or_insert_with(|| {
            let (number, began_ns, last_ns) =
                pages.entry(machine).or_insert((0, record.time_ns, record.time_ns));
            if record.time_ns - *last_ns > PAUSE_NS {
                (*number, *began_ns) = (*number + 1, record.time_ns);
            }
            *last_ns = record.time_ns;
            let at_ns = *number * EVERY_NS + 1_000_000_000;
            if number.is_multiple_of(one_of) { (at_ns as i64 - *began_ns as i64) / 1_000_000 } else { 0 }
        });
        record.time_ns = record.time_ns.wrapping_add_signed(by_ms * 1_000_000);
        record.segment.tsval = record.segment.tsval.wrapping_add(by_ms as u32);
        if record.segment.tsecr != 0 {
            record.segment.tsecr = record.segment.tsecr.wrapping_add(by_ms as u32);
        }
    }
    records.sort_by_key(|record| record.time_ns);
    (records, truth)
}

/// Pages then tell nothing: no connection is surely a machine's that is another one's.
#[test]
fn pages_at_the_same_moments_tell_no_owner() {
    for one_of in [1, 2, 3] {
        let (mut sure, mut surely_right) = (0, 0);
        for (machines, seed) in [(2, 1), (2, 2), (3, 3), (4, 4), (4, 5), (8, 6)] {
            let (records, truth) = at_the_same_moments(&browsers(machines, 40, seed), one_of);
            let (share, all, right) = right(&shown(&records), &truth);
            eprintln!("one of {one_of}, {machines}: {share:.3}, {right} of {all} sure ones");
            (sure, surely_right) = (sure + all, surely_right + right);
        }
        assert!(surely_right as f64 >= 0.9 * sure as f64, "one of {one_of}: {surely_right} of {sure}");
    }
}
