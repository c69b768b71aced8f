//! One table: what the engine finds, against the truth. `cargo xtask eval`.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use tmap_tests::{
    evaluate::{self, Outcome},
    simulate::{Law, Offsets, Scenario},
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
}

/// Where laboratory captures are, if anywhere: beside the repository.
const CAPTURES: &str = "../shared/captures/lab";

/// Name and scenario of each row.
fn grid() -> Vec<(String, Scenario)> {
    let lan = Scenario::default();
    let mut rows = Vec::new();
    for machines in [1, 2, 4, 8, 16, 32] {
        rows.push((format!("LAN {machines}"), Scenario { machines, ..lan.clone() }));
    }
    for law in [Law::Pareto, Law::Bursts, Law::Congestion, Law::Stalls] {
        for machines in [1, 4] {
            let jitter_s = 200e-6;
            let scenario = Scenario { machines, law, jitter_s, loss: 0.01, connections: 40, ..lan.clone() };
            rows.push((format!("{law:?} {machines}"), scenario));
        }
    }
    for machines in [1, 2, 4, 8] {
        rows.push((format!("WAN {machines}"), Scenario { machines, jitter_s: 1e-3, ..lan.clone() }));
    }
    for machines in [2, 4, 8] {
        rows.push((format!("NTP {machines}"), Scenario { machines, skew_spread_ppm: 0.2, ..lan.clone() }));
    }
    let long = Scenario { duration_s: 3600.0, wander_ppm: 0.1, connections: 60, ..lan.clone() };
    rows.push(("wander 1 h 4".to_owned(), Scenario { machines: 4, ..long }));
    for tick_hz in [100.0, 250.0] {
        let scenario = Scenario { tick_hz, jitter_s: 1e-3, machines: 4, ..lan.clone() };
        rows.push((format!("{tick_hz} Hz 4"), scenario));
    }
    let pool = Scenario {
        machines: 87,
        connections: 300,
        offsets: Offsets::PerPair,
        peers: 1,
        pooled: true,
        jitter_s: 1e-3,
        ..lan.clone()
    };
    rows.push(("per pair 87".to_owned(), pool));
    for machines in [1, 4] {
        let scenario = Scenario { machines, offsets: Offsets::PerPair, connections: 60, ..lan.clone() };
        rows.push((format!("per pair {machines}"), scenario));
    }
    for machines in [1, 4, 16] {
        rows.push((
            format!("global {machines}"),
            Scenario { machines, offsets: Offsets::Global, ..lan.clone() },
        ));
    }
    rows
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    println!(
        "{:<14}{:>6}{:>7}{:>7}{:>7}{:>7}{:>7}{:>8}{:>9}{:>8}{:>10}{:>8}",
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
        "interval",
        "us/rec"
    );
    for (name, scenario) in grid().into_iter().filter(|(name, _)| name.contains(&args.only)) {
        let outcomes: Vec<Outcome> =
            (0..args.seeds).map(|seed| evaluate::simulated(&Scenario { seed, ..scenario.clone() })).collect();
        row(&name, &outcomes);
    }
    let folder = Path::new(CAPTURES);
    if args.no_captures || !folder.is_dir() {
        println!(
            "captures left out: {}",
            if args.no_captures { "as asked" } else { "there is no ../shared" }
        );
        return Ok(());
    }
    let mut files: Vec<_> = folder.read_dir()?.filter_map(|f| Some(f.ok()?.path())).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().replace(".pcap.gz", "");
        if name.contains(&args.only) {
            row(&name, &[evaluate::laboratory(&file)?]);
        }
    }
    Ok(())
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
        "{:<14}{:>6.1}{:>7.1}{:>7.2}{:>7.3}{:>7.3}{:>7.3}{:>8}{:>9}{:>8}{:>10}{:>8.1}",
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
        format!("{:.2}<={}", share(&Outcome::covers), highs[highs.len() / 2]),
        mean(&|o| o.seconds * 1e6 / o.records.max(1) as f64),
    );
}
