//! `cargo xtask demo`, and `cargo xtask run` without arguments: simulated machines with known clocks, and
//! what tmap finds.
//!
//! ```text
//! machines (smoltcp on TUN) - kernel NAT - router with tmap on both veths - kernel TCP server
//! ```
//! Namespaces of one kernel share its clock, so each machine has a TCP stack of its own. Everything else
//! is the kernel's: NAT, forwarding, the server, and tmap's XDP program on the router, where each
//! direction arrives on a veth of its own.

mod clock;
mod compare;
mod machine;
mod next_step;
mod owners;
mod scenario;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use self::machine::{Opened, Run};
use self::owners::Owners;
use self::scenario::{MACHINES, PORTS, SERVERS, device, private};
use crate::setup::{self, Group};
use crate::testbed::findings::Findings;
use crate::testbed::namespaces::{Namespace, Namespaces};
use crate::testbed::nat::Nat;
use crate::testbed::sensor::Sensor;
use crate::testbed::topology::{INTERFACES, Topology};
use crate::testbed::{echo_server, interrupt};
use crate::{build, shell};

/// The default time for which the machines talk, in seconds.
const DEFAULT_SECONDS: u32 = 17;

/// Arguments of `cargo xtask demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How long the machines talk, in seconds.
    #[arg(long, default_value_t = DEFAULT_SECONDS, value_parser = clap::value_parser!(u32).range(3..=3600))]
    seconds: u32,
    /// Exit with an error if a number of machines that tmap reports is wrong.
    #[arg(long)]
    check: bool,
    /// Use this tmap program instead of building one.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let tmap = match &args.tmap {
        Some(path) => path.clone(),
        None => build::tmap(true)?,
    };
    setup::ensure(&[Group::Netns])?;
    if !shell::is_root() {
        return again_as_root(args, &tmap);
    }
    let stop = interrupt::stop_flag()?;
    // Even after an error below, the machines stop and the namespaces are removed.
    let mut namespaces = Namespaces::new()?;
    let outcome = play(&mut namespaces, args, &tmap, &stop);
    stop.store(true, Ordering::Relaxed);
    outcome?;
    next_step::print(&tmap);
    Ok(())
}

/// Runs the demonstration with the tmap program at `binary` and default arguments.
pub(crate) fn run(binary: &Path) -> Result<()> {
    verb(&Args { seconds: DEFAULT_SECONDS, check: false, tmap: Some(binary.to_owned()) })
}

fn again_as_root(args: &Args, tmap: &Path) -> Result<()> {
    println!("Network namespaces and XDP need root, so sudo may ask for your password.");
    let mut command = shell::as_root(std::env::current_exe()?)?;
    command.arg("demo").arg("--tmap").arg(tmap).args(["--seconds", &args.seconds.to_string()]);
    command.args(args.check.then_some("--check"));
    // sudo replaces this process, so that ^C reaches the process that must clean up.
    shell::replace_with(&mut command)
}

fn play(namespaces: &mut Namespaces, args: &Args, tmap: &Path, stop: &Arc<AtomicBool>) -> Result<()> {
    let topology = build(namespaces)?;
    echo_server::start(&topology.far, &SERVERS.map(IpAddr::from), &PORTS, stop)?;
    let (mut sensor, mode) = Sensor::start(tmap, &topology.router, &INTERFACES)?;
    table::print_introduction(mode, args.seconds);

    let start_ns = clock::monotonic_ns();
    let end_ns = start_ns + i64::from(args.seconds) * 1_000_000_000;
    let owners = Arc::new(Owners::default());
    let run = Run { stop: Arc::clone(stop), start_ns, end_ns, owners };
    let opened: Vec<Arc<Opened>> = MACHINES.iter().map(|_| Arc::default()).collect();
    let machines = start_machines(&topology.nat, &run, &opened);
    watch(&run, &mut sensor, &opened);
    for machine in machines {
        machine.join().expect("a machine's thread does not panic")?;
    }
    // The last segments need this long to reach the rings. The sensor drains the rings before it ends.
    std::thread::sleep(Duration::from_millis(200));
    let output = sensor.finish()?;
    let truth = compare::truths(start_ns, &opened.iter().map(|opened| counts(opened)).collect::<Vec<_>>());
    let findings = Findings::parse(&output.lines)?;
    let results = compare::compare(&truth, &findings, &run.owners);
    table::print(&results, &output.messages);
    if args.check { compare::check(&results) } else { Ok(()) }
}

/// Makes the network, with a TUN device for each machine.
fn build(namespaces: &mut Namespaces) -> Result<Topology> {
    let topology = Topology::new(namespaces, &SERVERS.map(IpAddr::from), &scenario::mappings(), Nat::Kept)?;
    for index in 0..MACHINES.len() {
        let (name, address) = (device(index), private(index));
        topology.nat.ip(&format!("tuntap add dev {name} mode tun"))?;
        topology.nat.ip(&format!("link set {name} up"))?;
        topology.nat.ip(&format!("route add {address}/32 dev {name}"))?;
    }
    // With one offset for all connections, the server's row in the table has a boot time.
    topology.far.sysctl("net/ipv4/tcp_timestamps", "2")?;
    Ok(topology)
}

fn start_machines(nat: &Namespace, run: &Run, opened: &[Arc<Opened>]) -> Vec<JoinHandle<Result<()>>> {
    let start = |(index, opened): (usize, &Arc<Opened>)| {
        let (nat, run, opened) = (nat.clone(), run.clone(), Arc::clone(opened));
        std::thread::spawn(move || {
            let ended = machine::run(index, &nat, &run, opened);
            if ended.is_err() {
                run.stop.store(true, Ordering::Relaxed);
            }
            ended
        })
    };
    opened.iter().enumerate().map(start).collect()
}

fn counts(opened: &Opened) -> [u64; SERVERS.len()] {
    std::array::from_fn(|server| opened[server].load(Ordering::Relaxed))
}

/// Shows the progress until the time is over, the user stops the run, or tmap ends.
fn watch(run: &Run, sensor: &mut Sensor, opened: &[Arc<Opened>]) {
    let terminal = std::io::stdout().is_terminal();
    while clock::monotonic_ns() < run.end_ns && !run.stop.load(Ordering::Relaxed) {
        if !sensor.is_running() {
            // `Sensor::finish` returns the reason.
            run.stop.store(true, Ordering::Relaxed);
        }
        if terminal {
            let seconds = (clock::monotonic_ns() - run.start_ns) / 1_000_000_000;
            let connections: u64 = opened.iter().flat_map(|opened| counts(opened)).sum();
            let machines = sensor.count_events("new_machine");
            print!("\r  {seconds:>3} s  {connections} connections opened, {machines} machines found");
            // The run goes on if the terminal takes no output.
            let _ = std::io::stdout().flush();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    if terminal {
        print!("\r\x1b[K");
    }
}
