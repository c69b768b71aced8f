//! The table of source ports: `cargo xtask eval -- --ports`. Each row is judged with and without them.

use std::ops::Range;

use tmap::engine::Options;

use crate::{
    judge::web::{self, Outcome},
    simulate::web::{Web, grid},
};

/// Prints the rows whose name contains `only`: means over the seeds, with ports and without.
pub fn print(only: &str, seeds: &Range<u64>) {
    println!(
        "{:<36}{:>6}{:>14}{:>16}{:>16}{:>16}{:>16}{:>26}{:>14}",
        "row", "true", "found", "exact", "countable", "right", "oracle", "interval holds", "ms"
    );
    println!("{:<42}{:>14}", "", "with without");
    for grid::Row { name, web } in grid::port_rows().into_iter().filter(|row| row.name.contains(only)) {
        let judge = |ports: bool| -> Vec<Outcome> {
            let options = || Options { ports, ..Options::default() };
            seeds.clone().map(|seed| web::judge_with(&Web { seed, ..web.clone() }, options())).collect()
        };
        row(&name, &judge(true), &judge(false));
    }
}

/// How often the interval holds the truth, and the median of its ends.
fn interval(outcomes: &[Outcome]) -> String {
    let median = |of: &dyn Fn(&Outcome) -> u32| {
        let mut values: Vec<u32> = outcomes.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let holds = outcomes.iter().filter(|outcome| outcome.covers()).count() as f64 / outcomes.len() as f64;
    let high = match median(&|o| o.interval.1.unwrap_or(u32::MAX)) {
        u32::MAX => "?".to_owned(),
        high => high.to_string(),
    };
    format!("{holds:.2} {}-{high}", median(&|o| o.interval.0))
}

fn row(name: &str, with: &[Outcome], without: &[Outcome]) {
    let mean = |outcomes: &[Outcome], of: &dyn Fn(&Outcome) -> f64| {
        outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64
    };
    let both = |of: &dyn Fn(&Outcome) -> f64, digits: usize| {
        format!("{:.digits$}   {:.digits$}", mean(with, of), mean(without, of))
    };
    let is = |holds: bool| f64::from(u8::from(holds));
    println!(
        "{name:<36}{:>6.1}{:>14}{:>16}{:>16}{:>16}{:>16}{:>26}{:>14}",
        mean(with, &|o| o.machines as f64),
        both(&|o| f64::from(o.found.unwrap_or(0)), 1),
        both(&|o| is(o.found == Some(o.machines as u32)), 2),
        format!(
            "{:.2}   {:.2}",
            mean(with, &|o| is(o.port_countable == Some(true))),
            mean(with, &|o| is(o.countable == Some(true)))
        ),
        both(&|o| o.right, 3),
        format!("{:.3}   {:.3}", mean(with, &|o| o.port_oracle), mean(with, &|o| o.oracle)),
        format!("{}  {}", interval(with), interval(without)),
        both(&|o| o.analysis_s * 1e3, 0),
    );
}
