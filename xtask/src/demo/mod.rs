//! `cargo xtask run` without a NIC: machines whose clocks are known, and what tmap makes of them.
//!
//! ```text
//! hosts (smoltcp on TUN) - kernel NAT - router with tmap on both veths - kernel TCP server
//! ```
//! Namespaces of one kernel share its clock, so every host has a TCP stack of its own. Everything
//! between is the kernel's: NAT, forwarding, the server, and tmap's XDP program on the router,
//! where each direction arrives on a veth.

mod clock;
mod compare;
mod host;
mod table;
mod world;

use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::findings::Findings;
use crate::namespaces::{Namespace, Namespaces};
use crate::packages::Group;
use crate::sensor::Sensor;
use crate::stage::{INTERFACES, Stage};
use crate::{build, server, setup, shell};
use host::Opened;
use world::{HOSTS, PORTS, SERVERS, device, private};

/// How long the hosts talk if nobody says otherwise, in seconds.
const DEFAULT_SECONDS: u32 = 17;

/// Settings of the demonstration.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How long the hosts talk.
    #[arg(long, default_value_t = DEFAULT_SECONDS, value_parser = clap::value_parser!(u32).range(3..=3600))]
    seconds: u32,
    /// Fail unless every count of machines that tmap states is right.
    #[arg(long)]
    check: bool,
    /// The built tmap; without it, tmap is built first.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Runs the demonstration with settings of the user's.
pub fn verb(args: &Args) -> Result<()> {
    let tmap = match &args.tmap {
        Some(path) => path.clone(),
        None => build::tmap(true)?,
    };
    setup::ensure(&[Group::Netns])?;
    if !shell::is_root() {
        return again_as_root(args, &tmap);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    // Whatever happens below, the hosts are told to stop and the namespaces go.
    let mut namespaces = Namespaces::new()?;
    let outcome = play(&mut namespaces, args, &tmap, &stop);
    stop.store(true, Ordering::Relaxed);
    outcome
}

/// Runs the demonstration with the tmap program at `binary`.
pub fn run(binary: &Path) -> Result<()> {
    verb(&Args { seconds: DEFAULT_SECONDS, check: false, tmap: Some(binary.to_owned()) })
}

fn again_as_root(args: &Args, tmap: &Path) -> Result<()> {
    println!("Network namespaces and XDP need root, so sudo may ask for your password.");
    let mut command = shell::as_root(std::env::current_exe()?)?;
    command.arg("demo").arg("--tmap").arg(tmap).args(["--seconds", &args.seconds.to_string()]);
    command.args(args.check.then_some("--check"));
    // Becoming sudo, rather than waiting for it, leaves ^C to the one that has to clean up.
    let error = command.exec();
    Err(error).with_context(|| format!("could not start {}", shell::show(&command)))
}

fn play(namespaces: &mut Namespaces, args: &Args, tmap: &Path, stop: &Arc<AtomicBool>) -> Result<()> {
    let stage = build(namespaces)?;
    server::start(&stage.far, &SERVERS, &PORTS, stop)?;
    let (mut sensor, mode) = Sensor::start(tmap, &stage.router, &INTERFACES)?;
    table::print_scene(mode, args.seconds);

    let start_ns = clock::monotonic_ns();
    let end_ns = start_ns + i64::from(args.seconds) * 1_000_000_000;
    let run = host::Run { stop: Arc::clone(stop), start_ns, end_ns };
    let opened: Vec<Arc<Opened>> = HOSTS.iter().map(|_| Arc::default()).collect();
    let hosts = start_hosts(&stage.nat, &run, &opened);
    watch(&run, &mut sensor, &opened);
    for host in hosts {
        host.join().expect("a host's thread does not panic")?;
    }
    // The last segments are in the rings by now; the sensor drains them before it ends.
    std::thread::sleep(Duration::from_millis(200));
    let output = sensor.finish()?;
    let truth = compare::truths(start_ns, &opened.iter().map(|opened| counts(opened)).collect::<Vec<_>>());
    let findings = Findings::parse(&output.lines)?;
    let verdicts = compare::compare(&truth, &findings);
    table::print(&verdicts, &output.words);
    if args.check { compare::check(&verdicts) } else { Ok(()) }
}

/// Sets the stage, with a TUN device for each host.
fn build(namespaces: &mut Namespaces) -> Result<Stage> {
    let stage = Stage::new(namespaces, &SERVERS, &world::mappings())?;
    for index in 0..HOSTS.len() {
        let (name, address) = (device(index), private(index));
        stage.nat.ip(&format!("tuntap add dev {name} mode tun"))?;
        stage.nat.ip(&format!("link set {name} up"))?;
        stage.nat.ip(&format!("route add {address}/32 dev {name}"))?;
    }
    // One clock for all connections: then the server's row in the table has a boot time.
    stage.far.sysctl("net/ipv4/tcp_timestamps", "2")?;
    Ok(stage)
}

fn start_hosts(nat: &Namespace, run: &host::Run, opened: &[Arc<Opened>]) -> Vec<JoinHandle<Result<()>>> {
    let start = |(index, opened): (usize, &Arc<Opened>)| {
        let (nat, run, opened) = (nat.clone(), run.clone(), Arc::clone(opened));
        std::thread::spawn(move || {
            let played = host::play(index, &nat, &run, opened);
            if played.is_err() {
                run.stop.store(true, Ordering::Relaxed);
            }
            played
        })
    };
    opened.iter().enumerate().map(start).collect()
}

fn counts(opened: &Opened) -> [u64; SERVERS.len()] {
    std::array::from_fn(|server| opened[server].load(Ordering::Relaxed))
}

/// Shows how it goes until the hosts wind up, or until someone or something ends it.
fn watch(run: &host::Run, sensor: &mut Sensor, opened: &[Arc<Opened>]) {
    let terminal = std::io::stdout().is_terminal();
    while clock::monotonic_ns() < run.end_ns && !run.stop.load(Ordering::Relaxed) {
        if !sensor.is_running() {
            // `finish` will say why.
            run.stop.store(true, Ordering::Relaxed);
        }
        if terminal {
            let seconds = (clock::monotonic_ns() - run.start_ns) / 1_000_000_000;
            let connections: u64 = opened.iter().flat_map(|opened| counts(opened)).sum();
            let machines = sensor.count_events("new_machine");
            print!("\r  {seconds:>3} s  {connections} connections opened, {machines} machines announced");
            // A progress line that can't be written is no loss.
            let _ = std::io::stdout().flush();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    if terminal {
        print!("\r\x1b[K");
    }
}
