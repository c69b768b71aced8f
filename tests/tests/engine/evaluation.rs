//! The evaluation's small rows against a golden copy: what is found, and how well, stays as it was.
//!
//! After a change for the better, write the copy anew and read the difference before you commit it:
//! `SNAPSHOTS=overwrite cargo test -p tmap-tests --test engine evaluation`.

use std::fmt::Write as _;

use tmap_tests::{
    judge::evaluate::{self, Outcome},
    simulate::{Scenario, grid},
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/eval.txt");

/// Seeds per row.
const SEEDS: u64 = 2;

/// Columns after the name and before the figures: compared exactly.
const COUNTS: usize = 5;

/// How far a figure may be off: other processors and libraries round logarithms differently, and now
/// and then a connection that could belong to either of two machines changes sides.
const MAX_OFF: f64 = 0.03;

fn line(name: &str, seed: u64, outcome: &Outcome) -> String {
    let whole = |value: Option<u32>| value.map_or("-".to_owned(), |v| v.to_string());
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let agreement = &outcome.agreement;
    let mut text = format!("{:<20}", name.replace(' ', "_"));
    for count in [
        seed.to_string(),
        outcome.machines.to_string(),
        whole(outcome.found),
        outcome.interval.0.to_string(),
        whole(outcome.interval.1),
    ] {
        let _ = write!(text, "{count:>6}");
    }
    for value in [
        Some(agreement.adjusted_rand),
        Some(agreement.precision),
        Some(agreement.recall),
        outcome.oracle.map(|oracle| agreement.accuracy / oracle),
        outcome.skew_error_ppm,
        outcome.boot_error_s,
        outcome.boot_error_sigmas,
    ] {
        let _ = write!(text, "{:>9}", figure(value));
    }
    text
}

fn table() -> Vec<String> {
    let heading = format!(
        "{:<20}{:>6}{:>6}{:>6}{:>6}{:>6}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "scenario",
        "seed",
        "true",
        "found",
        "low",
        "high",
        "ARI",
        "prec",
        "recall",
        "/oracle",
        "skew_ppm",
        "boot_s",
        "boot_sig"
    );
    let rows = grid::small().into_iter().flat_map(|row| {
        (0..SEEDS).map(move |seed| {
            line(&row.name, seed, &evaluate::simulated(&Scenario { seed, ..row.scenario.clone() }))
        })
    });
    std::iter::once(heading).chain(rows).collect()
}

/// Whether two lines say the same: names and counts to the letter, figures nearly.
fn agree(now: &str, golden: &str) -> bool {
    let (now, golden): (Vec<&str>, Vec<&str>) =
        (now.split_whitespace().collect(), golden.split_whitespace().collect());
    let near = |(a, b): (&&str, &&str)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= MAX_OFF * a.abs().max(b.abs()).max(1.0),
        _ => a == b,
    };
    now.len() == golden.len()
        && now[..=COUNTS] == golden[..=COUNTS]
        && now[COUNTS + 1..].iter().zip(&golden[COUNTS + 1..]).all(near)
}

#[test]
fn the_simulated_rows_are_as_they_were() {
    let now = table();
    if std::env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite") {
        std::fs::write(GOLDEN, now.join("\n") + "\n").expect("the golden copy is written");
        return;
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden copy is there");
    let golden: Vec<&str> = golden.lines().collect();
    assert_eq!(now.len(), golden.len(), "rows:\n{}", now.join("\n"));
    let differing = now.iter().zip(&golden).filter(|(now, golden)| !agree(now, golden));
    let report: Vec<String> = differing.map(|(now, golden)| format!("was  {golden}\nis   {now}")).collect();
    assert!(report.is_empty(), "{}\n{}", now[0], report.join("\n"));
}

#[test]
fn counts_are_compared_exactly_and_figures_nearly() {
    let golden = "LAN_3 0 3 3 3 4 0.900 0.900 0.900 1.000 0.100 -";
    assert!(agree("LAN_3 0 3 3 3 4 0.910 0.890 0.900 1.010 0.120 -", golden));
    assert!(!agree("LAN_3 0 3 3 3 5 0.900 0.900 0.900 1.000 0.100 -", golden));
    assert!(!agree("LAN_3 0 3 3 3 4 0.800 0.900 0.900 1.000 0.100 -", golden));
    assert!(!agree("LAN_3 0 3 3 3 4 0.900 0.900 0.900 1.000 0.100 0.1", golden));
}
