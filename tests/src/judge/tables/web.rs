//! The table of short connections: `cargo xtask eval -- --short`.

use std::ops::Range;

use crate::{
    judge::web::{self, Outcome},
    simulate::web::{Web, grid},
};

/// Prints the rows whose name contains `only`: means over the seeds, for boot times the median of each
/// run's largest error.
pub fn print(only: &str, seeds: &Range<u64>) {
    print!(
        "{:<44}{:>6}{:>7}{:>7}{:>10}{:>7}{:>7}{:>8}",
        "row", "true", "found", "exact", "countable", "answer", "right", "oracle"
    );
    print!("{:>9}{:>10}{:>7}{:>7}", "offsets", "interval", "split", "proven");
    println!(
        "{:>9}{:>8}{:>7}{:>13}{:>7}{:>9}",
        "boot s", "boot σ", "false", "peers told", "split", "µs/side"
    );
    for grid::Row { name, web } in grid::rows().into_iter().filter(|row| row.name.contains(only)) {
        let outcomes: Vec<Outcome> =
            seeds.clone().map(|seed| web::judge(&Web { seed, ..web.clone() })).collect();
        row(&name, &outcomes);
    }
}

fn row(name: &str, outcomes: &[Outcome]) {
    let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
    let share = |of: &dyn Fn(&Outcome) -> bool| mean(&|outcome| f64::from(u8::from(of(outcome))));
    let sum = |of: &dyn Fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let median = |of: &dyn Fn(&Outcome) -> Option<f64>| {
        let mut values: Vec<f64> = outcomes.iter().filter_map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).map_or("-".to_owned(), |value| format!("{value:.2}"))
    };
    let mut highs: Vec<u32> = outcomes.iter().map(|o| o.interval.1.unwrap_or(u32::MAX)).collect();
    highs.sort_unstable();
    let high = highs.get(highs.len() / 2).filter(|high| **high < u32::MAX);
    let high = high.map_or("?".to_owned(), u32::to_string);
    print!(
        "{name:<44}{:>6.1}{:>7.1}{:>7.2}{:>10}{:>7.2}{:>7.3}{:>8.3}",
        mean(&|o| o.machines as f64),
        mean(&|o| f64::from(o.found.unwrap_or(0))),
        share(&|o| o.found == Some(o.machines as u32)),
        countable(outcomes),
        share(&|o| o.found.is_some()),
        mean(&|o| o.right),
        mean(&|o| o.oracle),
    );
    print!(
        "{:>9.1}{:>10}{:>7.2}{:>7.2}",
        mean(&|o| o.by_offset as f64),
        format!("{:.2}<={high}", share(&Outcome::covers)),
        share(&Outcome::is_split),
        share(&Outcome::is_falsely_proven),
    );
    println!(
        "{:>9}{:>8}{:>7}{:>13}{:>7}{:>9.1}",
        median(&|o| o.boot_error_s),
        median(&|o| o.boot_error_sigmas),
        sum(&|o| o.false_boots),
        format!("{}/{}", sum(&|o| o.peers_answered), sum(&|o| o.peers)),
        sum(&|o| o.peers_split),
        mean(&|o| o.analysis_s * 1e6 / o.sides.max(1) as f64),
    );
}

/// In how many of the runs an oracle could count the machines; a dash where it doesn't know.
fn countable(outcomes: &[Outcome]) -> String {
    let known: Vec<bool> = outcomes.iter().filter_map(|outcome| outcome.countable).collect();
    let countable = known.iter().filter(|is| **is).count();
    match known.len() {
        0 => "-".to_owned(),
        runs => format!("{:.2}", countable as f64 / runs as f64),
    }
}
