//! Round trips, tunnels and operating systems, against the truth: three tables of `cargo xtask eval`.
//! They hold the same figures on every run. [`web`], [`lengths`], [`offsets`], [`ports`] and [`labels`] are
//! tables of their own.

pub mod labels;
pub mod lengths;
pub mod offsets;
pub mod ports;
pub mod round_trips;
pub mod systems;
pub mod tunnels;
pub mod web;

use round_trips::RoundTrips;
use systems::Verdicts;
use tunnels::Tunnels;

use crate::simulate::transfer;

/// Prints the rows whose name contains `only`, under headings where there are any.
pub fn print(only: &str) {
    let rows = transfer::scenarios().into_iter().filter(|row| row.name.contains(only));
    let rows: Vec<_> = rows.map(|row| (row.name, round_trips::measure(&row))).collect();
    if !rows.is_empty() {
        let heads = ["round trips, ms", "path  p95", "answered  p95", "found  p95"];
        print!("\n{:<22}{:>14}{:>15}{:>14}", heads[0], heads[1], heads[2], heads[3]);
        println!("{:>8}{:>9}{:>7}{:>7}", "samples", "possible", "over", "false");
    }
    for (name, figures) in &rows {
        round_trip(name, figures);
    }
    let rows: Vec<_> = tunnels::measure().into_iter().filter(|(name, _)| name.contains(only)).collect();
    if !rows.is_empty() {
        println!("\n{:<24}{:>8}{:>8}{:>12}{:>8}", "tunnels", "made", "found", "innermost", "named");
    }
    for (name, Tunnels { made, found, innermost, named }) in rows {
        println!("{name:<24}{made:>8}{found:>8}{innermost:>12}{named:>8}");
    }
    let rows: Vec<_> = systems::measure().into_iter().filter(|(name, _)| name.contains(only)).collect();
    if !rows.is_empty() {
        let heads = ["operating systems", "right", "family", "unknown", "wrong"];
        println!("\n{:<36}{:>7}{:>8}{:>9}{:>7}", heads[0], heads[1], heads[2], heads[3], heads[4]);
    }
    for (name, Verdicts { right, family, unknown, wrong }) in rows {
        println!("{name:<36}{right:>7}{family:>8}{unknown:>9}{wrong:>7}");
    }
}

fn round_trip(name: &str, figures: &RoundTrips) {
    let ms = |time_ns: u64| format!("{:.1}", time_ns as f64 / 1e6);
    let both = |times: Option<(u64, u64)>| match times {
        Some((median, p95)) => format!("{:>8}{:>6}", ms(median), ms(p95)),
        None => format!("{:>8}{:>6}", "-", "-"),
    };
    let RoundTrips { path, answered, found, samples, possible, excess_ns, false_samples } = figures;
    let [path, answered, found] = [path, answered, found].map(|times| both(*times));
    let excess = ms(*excess_ns);
    println!("{name:<22}{path} {answered}{found}{samples:>8}{possible:>9}{excess:>7}{false_samples:>7}");
}
