//! What fuzzing looks for, with inputs that need no fuzzer: each target's seeds, whole and damaged.
//! `cargo xtask fuzz` goes on from there.

use tmap_tests::fuzz::{TARGETS, inputs};

/// Runs a target with its seeds and so many inputs made of them.
fn run(name: &str, count: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    for input in inputs(target, count) {
        (target.run)(&input);
    }
}

#[test]
fn captures_of_any_bytes() {
    run("capture", 2_000);
}

#[test]
fn filters_of_any_text() {
    run("filter", 20_000);
}

#[test]
fn frames_of_any_bytes() {
    run("frame", 100_000);
}

#[test]
fn records_of_machines_and_an_attacker() {
    run("records", 500);
}

#[test]
fn signatures_of_any_text() {
    run("signatures", 2_000);
}
