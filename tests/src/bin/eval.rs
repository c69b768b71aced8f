//! One table: what the engine finds, against the truth. `cargo xtask eval`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use tmap_tests::{
    evaluate::{self, Outcome},
    grid, peers, segments,
    simulate::{SHARED, Scenario},
};

/// Evaluates the engine on simulated traffic and on captures whose truth is known.
#[derive(Parser)]
#[command(name = "eval")]
struct Args {
    /// Seeds per row. The same seeds give the same table, but for the time.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Leave the captures out.
    #[arg(long)]
    no_captures: bool,
    /// Compare with p0f instead, on the same captures.
    #[arg(long)]
    peers: bool,
    /// Only the tables of round trips, tunnels and operating systems.
    #[arg(long, conflicts_with = "peers")]
    segments: bool,
}

/// Where captures are, if anywhere: beside the repository. In `lab`, all machines are behind one
/// address and the truth is in the source ports; those in `real` are of one client each.
const CAPTURES: &str = "../shared/captures";

fn main() -> Result<()> {
    let args = &Args::parse();
    if args.peers {
        return compare(args);
    }
    if args.segments {
        segments::print(&args.only);
        return Ok(());
    }
    heading();
    for grid::Row { name, scenario } in grid::rows().into_iter().filter(|row| row.name.contains(&args.only)) {
        let outcomes: Vec<Outcome> =
            (0..args.seeds).map(|seed| evaluate::simulated(&Scenario { seed, ..scenario.clone() })).collect();
        row(&name, &outcomes);
    }
    for (name, path) in captures("lab", args)? {
        row(&name, &[evaluate::laboratory(&path)?]);
    }
    for (name, path) in captures("real", args)? {
        if let Some((_, outcome)) = evaluate::single_client(&path)? {
            row(&name, &[outcome]);
        }
    }
    segments::print(&args.only);
    Ok(())
}

/// Names and paths of the captures in a folder, where there are any.
fn captures(folder: &str, args: &Args) -> Result<Vec<(String, PathBuf)>> {
    let folder = Path::new(CAPTURES).join(folder);
    if args.no_captures || !folder.is_dir() {
        let why = if args.no_captures { "as asked" } else { "they aren't here" };
        println!("captures of {} left out: {why}", folder.display());
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = folder.read_dir()?.filter_map(|f| Some(f.ok()?.path())).collect();
    files.sort();
    let stem = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split_once('.').map_or(name.clone(), |(stem, _)| stem.to_owned())
    };
    let named = files.into_iter().map(|path| (stem(&path), path));
    Ok(named.filter(|(name, _)| name.contains(&args.only)).collect())
}

fn heading() {
    println!(
        "{:<17}{:>6}{:>7}{:>7}{:>7}{:>7}{:>7}{:>8}{:>9}{:>8}{:>8}{:>10}{:>8}",
        "scenario",
        "true",
        "found",
        "exact",
        "ARI",
        "prec",
        "recall",
        "/oracle",
        "skew ppm",
        "boot s",
        "boot σ",
        "interval",
        "us/rec"
    );
}

/// Prints the means over seeds; for skew and boot time the median of each run's largest error.
fn row(name: &str, outcomes: &[Outcome]) {
    let count = outcomes.len() as f64;
    let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / count;
    let share = |of: &dyn Fn(&Outcome) -> bool| mean(&|o| f64::from(u8::from(of(o))));
    let median = |of: &dyn Fn(&Outcome) -> Option<f64>| {
        let mut values: Vec<f64> = outcomes.iter().filter_map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).map_or("-".to_owned(), |v| format!("{v:.3}"))
    };
    let of_oracle = median(&|o| Some(o.agreement.accuracy / o.oracle?));
    let mut highs: Vec<String> =
        outcomes.iter().map(|o| o.interval.1.map_or("?".to_owned(), |h| h.to_string())).collect();
    highs.sort();
    println!(
        "{:<17}{:>6.1}{:>7.1}{:>7.2}{:>7.3}{:>7.3}{:>7.3}{:>8}{:>9}{:>8}{:>8}{:>10}{:>8.1}",
        name,
        mean(&|o| o.machines as f64),
        mean(&|o| f64::from(o.found.unwrap_or(0))),
        share(&|o| o.found == Some(o.machines as u32)),
        mean(&|o| o.agreement.adjusted_rand),
        mean(&|o| o.agreement.precision),
        mean(&|o| o.agreement.recall),
        of_oracle,
        median(&|o| o.skew_error_ppm),
        median(&|o| o.boot_error_s),
        median(&|o| o.boot_error_sigmas),
        format!("{:.2}<={}", share(&Outcome::covers), highs[highs.len() / 2]),
        mean(&|o| o.seconds * 1e6 / o.records.max(1) as f64),
    );
}

/// The same captures through p0f and through tmap.
fn compare(args: &Args) -> Result<()> {
    println!(
        "{:<28}{:>5}{:>7}  | p0f:{:>6}{:>9}{:>9}{:>9}{:>7}",
        "one address, behind it", "true", "tmap", "SYNs", "sharing", "changes", "uptimes", "boots"
    );
    let folder = tempfile::tempdir()?;
    for (name, scenario) in peers::scenarios().into_iter().filter(|(name, _)| name.contains(&args.only)) {
        let path = folder.path().join("made.pcap");
        std::fs::write(&path, peers::capture(&scenario))?;
        compared(&name, &evaluate::simulated(&scenario), peers::p0f(&path, SHARED.into())?);
    }
    for (name, path) in captures("lab", args)? {
        compared(&name, &evaluate::laboratory(&path)?, peers::p0f(&path, SHARED.into())?);
    }
    for (name, path) in captures("real", args)? {
        if let Some((client, outcome)) = evaluate::single_client(&path)? {
            compared(&name, &outcome, peers::p0f(&path, client.into())?);
        }
    }
    Ok(())
}

fn compared(name: &str, outcome: &Outcome, p0f: peers::Findings) {
    println!(
        "{:<28}{:>5}{:>7}  | {:>10}{:>9}{:>9}{:>9}{:>7}",
        name,
        outcome.machines,
        outcome.found.map_or("?".to_owned(), |found| found.to_string()),
        p0f.syns,
        p0f.sharing,
        p0f.changes,
        p0f.uptimes,
        p0f.boots,
    );
}
