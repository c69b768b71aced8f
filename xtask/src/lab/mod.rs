//! `cargo xtask lab`: virtual machines with kernels and clocks of their own, behind one NAT.
//!
//! ```text
//! VMs (Debian's kernels) - bridge - kernel NAT - router with tmap on both veths - echo server
//! ```
//! A run records the bridge and the server's interface. Both captures together tell the machine of each
//! connection, so the NAT need not: it keeps ports where they are free, as most gateways do, or does what
//! `--nat` says.

mod compare;
mod files;
mod frames;
pub(crate) mod guest;
mod join;
mod machines;
mod network;
mod notes;
mod record;
mod spec;
mod traffic;
mod truth;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::RangedU64ValueParser;

use self::files::Files;
use self::machines::Machines;
use self::network::{Family, INSIDE, PORTS, tap};
use self::spec::Spec;
use self::traffic::Traffic;
use self::truth::Truth;
use crate::setup::{self, Group};
use crate::testbed::findings::Findings;
use crate::testbed::namespaces::Namespaces;
use crate::testbed::nat::Nat;
use crate::testbed::scratch::Scratch;
use crate::testbed::sensor::Sensor;
use crate::testbed::topology::{INTERFACES, LAN, Topology};
use crate::testbed::{echo_server, interrupt};
use crate::vm::kernel::{self, Kernel};
use crate::{build, shell};

/// Arguments of `cargo xtask lab`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of machines, from a default mix of kernels and clocks.
    #[arg(long, default_value_t = 3, conflicts_with = "machine",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=spec::MAX_MACHINES as u64))]
    machines: usize,
    /// A machine as kernel:tcp_timestamps:ppm, perhaps with :traffic. Repeat the option for each machine.
    ///
    /// The kernel is a series of Debian's cloud kernels, 6.1 or 6.12, with jiffies of 1/250 s; or uml,
    /// user-mode Linux, with jiffies of 1/100 s. tcp_timestamps is 0 (none), 1 (random offsets) or 2 (one
    /// offset).
    #[arg(long, value_name = "6.1:1:+9", allow_hyphen_values = true)]
    machine: Vec<Spec>,
    /// How long each machine talks, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
    /// What the NAT does with source ports.
    #[arg(long, value_enum, default_value_t = Nat::Kept)]
    nat: Nat,
    /// What the machines talk.
    #[arg(long, value_enum, default_value_t = Traffic::Mixed)]
    traffic: Traffic,
    /// The mean time between two bursts of a machine, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = pause)]
    pause: f64,
    /// Talk IPv6 instead of IPv4.
    #[arg(long)]
    ip6: bool,
    /// Talk IPv4: with --ip6, both.
    #[arg(long)]
    ip4: bool,
    /// Keep the captures behind and before the NAT (pcap, nanoseconds) and the truth, then let tmap read.
    ///
    /// The files are FILE.pcap, FILE.inside.pcap, FILE.truth.csv (the machine of each connection) and
    /// FILE.truth.json (what the machines are, and when their clocks were zero).
    #[arg(long, value_name = "FILE.pcap", value_parser = files::capture)]
    write: Option<PathBuf>,
    /// Let tmap watch live. This is the default without --write.
    #[arg(long)]
    live: bool,
    /// Use this tmap program instead of building one.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Reads a pause on the command line.
fn pause(text: &str) -> Result<f64> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => bail!("write a pause from 0.1 to 600 seconds"),
    }
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let specs = if args.machine.is_empty() { spec::default_mix(args.machines) } else { args.machine.clone() };
    if specs.len() > spec::MAX_MACHINES {
        bail!("at most {} machines are possible, not {}: leave some out", spec::MAX_MACHINES, specs.len());
    }
    let tmap = match &args.tmap {
        Some(path) => path.clone(),
        None => build::tmap(true)?,
    };
    setup::ensure(&[Group::Netns, Group::Lab, Group::Test])?;
    let mut kernels = HashMap::new();
    for spec in &specs {
        if !kernels.contains_key(&spec.series) {
            kernels.insert(spec.series.clone(), kernel::get(&spec.series)?);
        }
    }
    if !shell::is_root() {
        println!("Network namespaces and XDP need root, so sudo may ask for your password.");
        let mut command = shell::as_root(std::env::current_exe()?)?;
        command.args(std::env::args_os().skip(1));
        command.args(args.tmap.is_none().then_some("--tmap")).args(args.tmap.is_none().then_some(&tmap));
        // sudo replaces this process, so that ^C reaches the process that must clean up.
        return shell::replace_with(&mut command);
    }
    let stop = interrupt::stop_flag()?;
    let scratch = Scratch::new()?;
    let mut namespaces = Namespaces::new()?;
    let lab =
        Lab { args, specs: &specs, kernels: &kernels, tmap: &tmap, scratch: scratch.path(), stop: &stop };
    let outcome = lab.run(&mut namespaces);
    stop.store(true, Ordering::Relaxed);
    outcome
}

/// Everything that a run depends on.
struct Lab<'a> {
    args: &'a Args,
    specs: &'a [Spec],
    kernels: &'a HashMap<String, Kernel>,
    tmap: &'a Path,
    scratch: &'a Path,
    stop: &'a Arc<AtomicBool>,
}

impl Lab<'_> {
    fn run(&self, namespaces: &mut Namespaces) -> Result<()> {
        let families = self.families();
        let topology = self.build(namespaces, &families)?;
        let kept = self.args.write.clone();
        let files = Files::beside(&kept.clone().unwrap_or_else(|| self.scratch.join("run.pcap")));
        let recorders = [
            record::start(&topology.nat, INSIDE, &files.inside)?,
            record::start(&topology.far, LAN, &files.outside)?,
        ];
        let live = self.args.live || kept.is_none();
        let sensor = live.then(|| Sensor::start(self.tmap, &topology.router, &INTERFACES)).transpose()?;
        let machines = self.machines(&families);
        let mut vms = machines.boot(&topology.nat)?;
        machines.watch(&mut vms)?;
        // The last segments are still on their way.
        std::thread::sleep(Duration::from_millis(300));
        for recorder in recorders {
            println!("{}", recorder.finish()?);
        }
        let truth = Truth::new(self.args.nat, &machines, &vms, &files)?;
        println!("{}", truth.joined.summary());
        if let Some(file) = &kept {
            truth.write(&files)?;
            println!("capture: {}\ninside:  {}", file.display(), files.inside.display());
            println!("truth:   {}\n         {}", files.list.display(), files.description.display());
            let findings = Findings::parse(&record::read(self.tmap, file)?)?;
            print!("\ntmap read found in the capture:\n{}", compare::tables(&truth, &findings));
        }
        if let Some((sensor, mode)) = sensor {
            let output = sensor.finish()?;
            let findings = Findings::parse(&output.lines)?;
            print!("\ntmap live found, with XDP in {mode} mode:\n{}", compare::tables(&truth, &findings));
        }
        Ok(())
    }

    /// The versions of IP that the machines talk.
    fn families(&self) -> Vec<Family> {
        match (self.args.ip4, self.args.ip6) {
            (_, false) => vec![Family::Ip4],
            (false, true) => vec![Family::Ip6],
            (true, true) => vec![Family::Ip4, Family::Ip6],
        }
    }

    fn machines<'a>(&'a self, families: &'a [Family]) -> Machines<'a> {
        let Args { traffic, pause, seconds, .. } = *self.args;
        let Self { specs, kernels, scratch, stop, .. } = *self;
        Machines { specs, kernels, families, traffic, pause, seconds, scratch, stop }
    }

    /// Makes the network, with a TAP device for each machine, on one bridge.
    fn build(&self, namespaces: &mut Namespaces, families: &[Family]) -> Result<Topology> {
        let servers = network::servers(families);
        let mappings = network::mappings(families, self.specs.len());
        let topology = Topology::new(namespaces, &servers, &mappings, self.args.nat)?;
        topology.nat.ip(&format!("link add {INSIDE} type bridge"))?;
        for family in families {
            let (gateway, prefix) = (family.gateway(), family.prefix());
            topology.nat.ip(&format!("addr add {gateway}/{prefix} dev {INSIDE}"))?;
        }
        topology.nat.ip(&format!("link set {INSIDE} up"))?;
        for index in 0..self.specs.len() {
            let tap = tap(index);
            topology.nat.ip(&format!("tuntap add dev {tap} mode tap"))?;
            topology.nat.ip(&format!("link set {tap} master {INSIDE} up"))?;
        }
        echo_server::start(&topology.far, &servers, &PORTS, self.stop)?;
        Ok(topology)
    }
}
