//! A live siege of the `tmap` beside this program: `cargo xtask siege`.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tmap_tests::{
    bench::{machine::Machine, watcher::beside},
    live_siege::{self, Settings, picture, promises::Table},
};

/// Besieges tmap on a wire of its own, and says which promises it kept.
#[derive(Parser)]
#[command(name = "siege")]
struct Args {
    /// How long, in seconds. ^C ends it earlier.
    #[arg(long, default_value_t = 1_800, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The sensor's --memory, in MiB.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    mebibytes: u64,
    /// The sensor's --xdp-mode.
    #[arg(long, default_value = "auto")]
    xdp_mode: String,
    /// Frames of the flood in a second [default: as many as one thread can].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    flood: Option<u32>,
    /// Where to draw what happened, as SVG.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let folder = args.picture.as_deref().and_then(|path| path.parent());
    if folder.is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        // Before the siege, or a mistake in its name would cost the picture.
        bail!("there is no folder for {:?}", args.picture.unwrap_or_default());
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let settings = Settings {
        tmap: beside("tmap")?.into(),
        time: Duration::from_secs(args.seconds),
        every: Duration::from_secs(20),
        memory_bytes: args.mebibytes << 20,
        xdp_mode: args.xdp_mode,
        flood_per_second: args.flood,
    };
    let Machine { kernel, cpu, cpus, load } = Machine::this()?;
    println!("# a siege on Linux {kernel}, {cpus} x {cpu}, load {load}");
    let outcome = live_siege::run(&settings, &stop)?;
    let table = Table::new(&outcome);
    print!("{table}");
    if let Some(path) = args.picture {
        fs::write(&path, picture::svg(&outcome))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(if table.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
