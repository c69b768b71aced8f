//! The table of source ports: `cargo xtask eval -- --ports`. Each row is judged with and without them.

use std::ops::Range;

use crate::{
    judge::web::{self, Outcome},
    simulate::web::{Web, grid},
};

/// Prints the rows whose name contains `only`: means over the seeds, with ports and without.
pub fn print(only: &str, seeds: &Range<u64>) {
    println!(
        "{:<36}{:>6}{:>14}{:>16}{:>16}{:>8}{:>20}{:>14}",
        "row", "true", "found", "exact", "right", "oracle", "interval holds", "ms"
    );
    println!("{:<42}{:>14}{:>16}{:>16}{:>8}{:>20}{:>14}", "", "with without", "", "", "", "", "");
    for grid::Row { name, web } in grid::port_rows().into_iter().filter(|row| row.name.contains(only)) {
        let judge = |ports: bool| -> Vec<Outcome> {
            seeds.clone().map(|seed| web::judge_with(&Web { seed, ..web.clone() }, ports)).collect()
        };
        row(&name, &judge(true), &judge(false));
    }
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
        "{name:<36}{:>6.1}{:>14}{:>16}{:>16}{:>8.3}{:>20}{:>14}",
        mean(with, &|o| o.machines as f64),
        both(&|o| f64::from(o.found.unwrap_or(0)), 1),
        both(&|o| is(o.found == Some(o.machines as u32)), 2),
        both(&|o| o.right, 3),
        mean(with, &|o| o.oracle),
        both(&|o| is(o.covers()), 2),
        both(&|o| o.analysis_s * 1e3, 0),
    );
}
