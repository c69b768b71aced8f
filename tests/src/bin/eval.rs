//! One table: what the engine finds, against the truth. `cargo xtask eval`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use tmap_tests::{
    captures,
    judge::{
        self,
        evaluate::{self, Outcome},
        p0f, tables, truth_list, tshark,
    },
    simulate::{SHARED, Scenario, device, grid},
};

/// Evaluates the engine on simulated traffic and on captures whose truth is known.
#[derive(Parser)]
#[command(name = "eval")]
struct Args {
    /// Seeds per row. All figures but the time are equal on every run.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Captures of `cargo xtask lab`: all machines are behind 198.51.100.1. The list NAME.truth.csv tells
    /// them apart; in old captures without one, source ports do.
    #[arg(long, value_name = "FOLDER", default_value = captures::FOLDER)]
    lab: PathBuf,
    /// Captures of one client each.
    #[arg(long, value_name = "FOLDER")]
    clients: Option<PathBuf>,
    /// Leave the captures out.
    #[arg(long, conflicts_with_all = ["lab", "clients"])]
    no_captures: bool,
    /// Compare with p0f instead, on the same captures.
    #[arg(long)]
    peers: bool,
    /// Only the tables of round trips, tunnels and operating systems.
    #[arg(long, conflicts_with = "peers")]
    segments: bool,
    /// Only the field suite: single devices, `--seeds` of each kind from `--from` on. Fails where more than
    /// one in a thousand is told to be several machines.
    #[arg(long, conflicts_with_all = ["peers", "segments"])]
    field: bool,
    /// Only short connections, as the web has them: clients, balancers, crawlers, mail and more.
    #[arg(long, conflicts_with_all = ["peers", "segments", "field"])]
    short: bool,
    /// Only the table of lengths: three machines whose connections last 1 ms to 30 s, 3 to 200 of each.
    #[arg(long, conflicts_with_all = ["peers", "segments", "field", "short"])]
    lengths: bool,
    /// Only the table of source ports: machines whose ports follow Linux's rule, with this evidence and
    /// without.
    #[arg(long, conflicts_with_all = ["peers", "segments", "field", "short", "lengths"])]
    ports: bool,
    /// Only this: the offsets that a capture shows, computed without tmap, beside what tmap says of each
    /// address, for all captures of a folder.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["peers", "segments", "field", "short", "lengths"])]
    offsets: Option<PathBuf>,
    /// The tick rate by which offsets are computed, in Hz, instead of each address's own.
    #[arg(long, value_name = "HZ", requires = "offsets")]
    rate: Option<f64>,
    /// Only this: captures NAME.pcap (perhaps .gz, .pcapng) with a list NAME.truth.csv of sport, dst, dport,
    /// isn, machine. Machines are the clients', or the servers' where the name begins with "lb".
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["peers", "segments", "field", "short", "lengths", "offsets"]
    )]
    truth: Option<PathBuf>,
    /// The first seed, of the field suite, of short connections and of the table of lengths.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Compare what tmap reads in each capture of a folder with what tshark and p0f read. Nothing else.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["peers", "segments", "lab", "clients"])]
    readers: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eval: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(folder) = &args.readers {
        return readers(folder);
    }
    if let Some(folder) = &args.offsets {
        return tables::offsets::print(&named(folder, &args.only)?, args.rate);
    }
    if let Some(folder) = &args.truth {
        return tables::labels::print(&named(folder, &args.only)?);
    }
    if args.peers {
        return compare(args);
    }
    if args.field {
        return field(args);
    }
    if args.short {
        tables::web::print(&args.only, &(args.from..args.from + args.seeds));
        return Ok(());
    }
    if args.ports {
        tables::ports::print(&args.only, &(args.from..args.from + args.seeds));
        return Ok(());
    }
    if args.lengths {
        tables::lengths::print(&args.only, &(args.from..args.from + args.seeds));
        return Ok(());
    }

    if args.segments {
        tables::print(&args.only);
        return Ok(());
    }
    heading();
    for grid::Row { name, scenario } in grid::rows().into_iter().filter(|row| row.name.contains(&args.only)) {
        let outcomes: Vec<Outcome> = (args.from..args.from + args.seeds)
            .map(|seed| evaluate::simulated(&Scenario { seed, ..scenario.clone() }))
            .collect();
        row(&name, &outcomes);
    }
    for (name, path) in lab(args)? {
        row(&name, &[evaluate::laboratory(&path)?]);
    }
    for (name, path) in clients(args)? {
        if let Some((_, outcome)) = evaluate::single_client(&path)? {
            row(&name, &[outcome]);
        }
    }
    tables::print(&args.only);
    Ok(())
}

/// The largest share of single devices that may be told to be several machines.
const MOST_SPLIT: f64 = 1e-3;

fn field(args: &Args) -> Result<()> {
    println!(
        "{:<16}{:>9}{:>8}{:>8}{:>8}{:>8}{:>11}  seeds",
        "device", "devices", "one", "split", "boots", "wrong", "longest s"
    );
    let (mut devices, mut split) = (0, 0);
    for (name, kind) in device::KINDS.into_iter().filter(|(name, _)| name.contains(&args.only)) {
        let found = judge::field::judge(kind, args.from..args.from + args.seeds);
        println!(
            "{name:<16}{:>9}{:>8}{:>8}{:>8}{:>8}{:>11.2}  proven {:?}, split {:?}, boots {:?}",
            found.devices,
            found.one,
            found.split.len(),
            found.boots,
            found.wrong_boots.len(),
            found.longest_s,
            found.falsely_proven,
            found.split,
            found.wrong_boots
        );
        devices += found.devices;
        split += found.split.len();
    }
    pairs(args);
    let share = split as f64 / devices.max(1) as f64;
    anyhow::ensure!(share <= MOST_SPLIT, "{split} of {devices} devices were told to be several machines");
    Ok(())
}

/// What is said of pairs of equal devices.
fn pairs(args: &Args) {
    println!("\n{:<16}{:>9}{:>8}{:>8}{:>8}{:>8}", "pair of", "pairs", "two", "one", "more", "held");
    for (name, kind) in device::KINDS.into_iter().filter(|(name, _)| name.contains(&args.only)) {
        let found = judge::field::judge_pairs(kind, args.from..args.from + args.seeds);
        let judge::field::Pairs { pairs, two, one, more, held } = found;
        println!("{name:<16}{pairs:>9}{two:>8}{one:>8}{more:>8}{held:>8}");
    }
}

/// The laboratory's captures, by name.
fn lab(args: &Args) -> Result<Vec<(String, PathBuf)>> {
    if args.no_captures { Ok(Vec::new()) } else { named(&args.lab, &args.only) }
}

/// The captures of one client each, by name.
fn clients(args: &Args) -> Result<Vec<(String, PathBuf)>> {
    args.clients.as_deref().map_or(Ok(Vec::new()), |folder| named(folder, &args.only))
}

/// Names and paths of the captures in a folder whose names contain `only`.
fn named(folder: &Path, only: &str) -> Result<Vec<(String, PathBuf)>> {
    let read = fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = read.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    // `cargo xtask lab` writes a second capture and a description beside each one.
    files.retain(|path| {
        let path = path.to_string_lossy();
        path.contains(".pcap") && !path.ends_with(".json") && !path.contains(".inside.")
    });
    files.sort();
    let named = files.into_iter().map(|path| (truth_list::stem(&path), path));
    Ok(named.filter(|(name, _)| name.contains(only)).collect())
}

/// Compares with other readers of captures, and stops at the first difference.
fn readers(folder: &Path) -> Result<()> {
    println!("{:<28}{:>9}{:>13}{:>11}", "capture", "stamped", "round trips", "handshakes");
    for (name, path) in named(folder, "")? {
        let stamped = tshark::compare_stamps(&path)?;
        let samples = tshark::compare_round_trips(&path)?.samples;
        println!("{name:<28}{stamped:>9}{samples:>13}{:>11}", p0f::compare_signatures(&path)?);
    }
    Ok(())
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
        "µs/rec"
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

/// Prints what p0f and tmap make of each capture.
fn compare(args: &Args) -> Result<()> {
    println!(
        "{:<28}{:>5}{:>7}  | p0f:{:>6}{:>9}{:>9}{:>9}{:>7}",
        "one address, behind it", "true", "tmap", "SYNs", "sharing", "changes", "uptimes", "boots"
    );
    let folder = tempfile::tempdir()?;
    for (name, scenario) in p0f::scenarios().into_iter().filter(|(name, _)| name.contains(&args.only)) {
        let path = folder.path().join("made.pcap");
        fs::write(&path, scenario.capture())?;
        compared(&name, &evaluate::simulated(&scenario), p0f::p0f(&path, SHARED.into())?);
    }
    for (name, path) in lab(args)? {
        compared(&name, &evaluate::laboratory(&path)?, p0f::p0f(&path, SHARED.into())?);
    }
    for (name, path) in clients(args)? {
        if let Some((client, outcome)) = evaluate::single_client(&path)? {
            compared(&name, &outcome, p0f::p0f(&path, client.into())?);
        }
    }
    Ok(())
}

fn compared(name: &str, outcome: &Outcome, theirs: p0f::Findings) {
    println!(
        "{:<28}{:>5}{:>7}  | {:>10}{:>9}{:>9}{:>9}{:>7}",
        name,
        outcome.machines,
        outcome.found.map_or("?".to_owned(), |found| found.to_string()),
        theirs.syns,
        theirs.sharing,
        theirs.changes,
        theirs.uptimes,
        theirs.boots,
    );
}
