//! Many addresses with random offsets: do time and memory grow as their number does?

use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Figure, Report, Series, Settings,
    child::{self, Taken},
    file::Scratch,
    trace::{self, Offsets, Traffic},
};

/// A capture is read for this time at most.
const LIMIT: Duration = Duration::from_secs(1_200);

/// Addresses; a quick run has the first two.
const ADDRESSES: [u64; 4] = [100, 1_000, 10_000, 100_000];

/// Connections of each address, in ten minutes, and the segments of each, both directions.
const CONNECTIONS: u64 = 10;
const DURATION_S: u64 = 600;
const SEGMENTS: u64 = 24;

/// Runs the benchmark.
///
/// # Errors
/// Where a capture can't be written or read.
pub fn run(settings: &Settings) -> Result<Report> {
    let tmap = env::current_exe()?.with_file_name("tmap");
    ensure!(tmap.exists(), "{} isn't there; build it: cargo build --release", tmap.display());
    let columns = ["s", "CPU s", "µs a connection", "MiB", "KiB an address"];
    let mut report = Report::new("addresses", &columns, &Series::default());
    for addresses in ADDRESSES.into_iter().take(if settings.quick { 2 } else { ADDRESSES.len() }) {
        let scratch = Scratch::new();
        trace::write(&scratch.0, traffic(addresses))?;
        let mut command = Command::new(&tmap);
        // Room for all, so that none makes room for others.
        command.args(["read", "--memory", "8G", "--max-addresses", "200000"]);
        let path = scratch.0.to_str().context("the path isn't UTF-8")?;
        command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let name = format!("{addresses} addresses");
        let Some(Taken { elapsed_s, cpu_s, most_mib }) = child::run(&mut command, LIMIT)? else {
            report.row(&name, &[None; 5]);
            report.note(format!("{name}: not ended within {} s", LIMIT.as_secs()));
            continue;
        };
        let connection_us = cpu_s * 1e6 / (addresses * CONNECTIONS) as f64;
        let address_kib = most_mib * 1024.0 / addresses as f64;
        let figures = [elapsed_s, cpu_s, connection_us, most_mib, address_kib];
        report.row(&name, &figures.map(|value| Some(Figure::exact(value))));
    }
    report.note(format!(
        "tmap read; each address has {CONNECTIONS} connections with random offsets in {} minutes, of {} segments \
         each, and is one to three machines; a connection has two sides, each of which is one address's",
        DURATION_S / 60,
        SEGMENTS / 2,
    ));
    Ok(report)
}

/// Traffic between so many addresses, half of which are clients.
fn traffic(addresses: u64) -> Traffic {
    let connections = addresses / 2 * CONNECTIONS;
    Traffic {
        connections,
        connections_per_s: (connections / DURATION_S).max(1),
        segments: SEGMENTS,
        clients: addresses / 2,
        servers: addresses / 2,
        moves_on: 1,
        offsets: Offsets::Random,
    }
}
