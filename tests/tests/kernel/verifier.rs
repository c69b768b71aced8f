//! The verifier's budget: how many instructions it walks before it accepts each program.
//!
//! The kernel gives up at a million. We stay far below, because the count differs from one kernel
//! to the next and grows with every layer that the parser learns.

use aya::programs::{Program, ProgramInfo};
use tmap::capture::xdp::{Config, Sensor};
use tmap_common::filter::{MAX_TESTS, Test};
use tmap_tests::net::root;

/// The most instructions verified, without a filter and tunnels.
const MAX_VERIFIED: u32 = 9_000;

/// The most instructions verified when tunnels are looked into, as they are unless `--no-decap`.
const MAX_VERIFIED_DECAP: u32 = 10_500;

/// The most instructions verified, with tunnels and the longest filter.
const MAX_VERIFIED_FILTERING: u32 = 22_000;

/// Loads all programs and returns the verified instructions of each.
fn verified(filter: &[Test], cautious: bool, decap: bool) -> Vec<(String, u32)> {
    root::require();
    let config =
        Config { filter: filter.to_vec(), cautious, decap, ring_slots: Some(64), ..Config::default() };
    let (sensor, _rings) = Sensor::load(&config).expect("the programs load");
    let count = |(name, program): (&str, &Program)| {
        let info: ProgramInfo = program.info().expect("the kernel tells of it");
        let count = info.verified_instruction_count().expect("since Linux 5.16");
        (name.to_owned(), count)
    };
    let mut counts: Vec<_> = sensor.ebpf().programs().map(count).collect();
    counts.sort();
    assert_eq!(counts.len(), 6);
    counts
}

fn check(what: &str, counts: &[(String, u32)], limit: u32) {
    for (name, count) in counts {
        println!("{name:12} {count:6} instructions verified {what} (at most {limit})");
    }
    for (name, count) in counts {
        assert!(*count <= limit, "{name}: {count} instructions verified, more than {limit}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn within_the_budget() {
    check("without a filter", &verified(&[], false, false), MAX_VERIFIED);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn within_the_budget_with_barriers_and_atomics() {
    check("for weakly ordered or preemptible machines", &verified(&[], true, false), MAX_VERIFIED);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn within_the_budget_with_tunnels() {
    check("with tunnels", &verified(&[], false, true), MAX_VERIFIED_DECAP);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn within_the_budget_with_the_longest_filter() {
    let last = MAX_TESTS as u8 - 1;
    let jump = |index: u8| index.min(last);
    let test = |index: u8| Test {
        field: index % 4,
        on_yes: if index == last { tmap_common::filter::ACCEPT } else { jump(index + 1) },
        on_no: if index == last { tmap_common::filter::REJECT } else { jump(index + 2) },
        ..Test::ANY
    };
    let filter: Vec<Test> = (0..=last).map(test).collect();
    check("with tunnels and the longest filter", &verified(&filter, false, true), MAX_VERIFIED_FILTERING);
}
