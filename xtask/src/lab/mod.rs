//! `cargo xtask lab`: virtual machines with kernels and clocks of their own, behind one NAT.
//!
//! ```text
//! VMs (Debian's kernels under QEMU) - kernel NAT - router with tmap on both veths - echo server
//! ```
//! The NAT gives each machine a range of source ports, so the port identifies a connection's machine.
//! A run records a capture with its truth beside it, or lets tmap watch live, or both.

pub(crate) mod guest;
mod network;
mod record;
mod spec;
mod truth;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::builder::RangedU64ValueParser;

use self::network::{NAT, PORTS, SERVERS, gateway, private, tap};
use self::spec::Spec;
use self::truth::Truth;
use crate::setup::{self, Group};
use crate::testbed::findings::Findings;
use crate::testbed::namespaces::Namespaces;
use crate::testbed::scratch::Scratch;
use crate::testbed::sensor::Sensor;
use crate::testbed::topology::{INTERFACES, Mapping, Topology};
use crate::testbed::{echo_server, interrupt};
use crate::vm::kernel::{self, Kernel};
use crate::vm::{Boot, Vm, ram_disk};
use crate::{build, shell};

/// A machine boots in a few seconds. Many machines on few CPUs take longer.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// The last conversations may take this long to end after the requested time.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What a machine runs after its start: set the network and the clock, print that it is ready, talk.
const SCRIPT: &str = "
ip link set eth0 up && ip addr add $address/30 dev eth0 && ip route add default via $gateway
echo $timestamps >/proc/sys/net/ipv4/tcp_timestamps
adjtimex -q -f $frequency
echo \"tmapx: frequency $(adjtimex | sed -n 's/.*freq.*: *//p' | head -n 1)\"
echo 'tmapx: ready now'
guest lab-guest --servers $servers --ports $ports --seconds $seconds
";

/// Arguments of `cargo xtask lab`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of machines, from a default mix of kernels and clocks.
    #[arg(long, default_value_t = 3, conflicts_with = "machine",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=spec::MAX_MACHINES as u64))]
    machines: usize,
    /// A machine as kernel:tcp_timestamps:ppm. Repeat the option for each machine.
    #[arg(long, value_name = "6.1:1:+9", allow_hyphen_values = true)]
    machine: Vec<Spec>,
    /// How long each machine talks, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
    /// Record a capture (pcap, nanoseconds) and its truth (FILE.pcap.json), then let tmap read it.
    #[arg(long, value_name = "FILE.pcap")]
    write: Option<PathBuf>,
    /// Let tmap watch live. This is the default without --write.
    #[arg(long)]
    live: bool,
    /// Use this tmap program instead of building one.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let specs = if args.machine.is_empty() { spec::default_mix(args.machines) } else { args.machine.clone() };
    if specs.len() > spec::MAX_MACHINES {
        bail!("at most {} machines are possible, not {}", spec::MAX_MACHINES, specs.len());
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
        let topology = self.build(namespaces)?;
        let ram_disks = self.ram_disks()?;
        let recorder =
            self.args.write.as_deref().map(|file| record::start(&topology.far, file)).transpose()?;
        let live = self.args.live || self.args.write.is_none();
        let sensor = live.then(|| Sensor::start(self.tmap, &topology.router, &INTERFACES)).transpose()?;
        let vms = self.boot(&topology, &ram_disks)?;
        let truth = self.watch(vms)?;
        // The last segments are still on their way.
        std::thread::sleep(Duration::from_millis(300));
        if let Some(recorder) = recorder {
            let losses = recorder.finish()?;
            println!("{losses}");
        }
        if let Some(file) = &self.args.write {
            let json = truth.write(file)?;
            println!("capture: {}\ntruth:   {}", file.display(), json.display());
            let findings = Findings::parse(&record::read(self.tmap, file)?)?;
            print!("\ntmap read found in the capture:\n{}", truth.compare(&findings));
        }
        if let Some((sensor, mode)) = sensor {
            let output = sensor.finish()?;
            let findings = Findings::parse(&output.lines)?;
            print!("\ntmap live found, with XDP in {mode} mode:\n{}", truth.compare(&findings));
        }
        Ok(())
    }

    /// Makes the network, with a TAP device for each machine.
    fn build(&self, namespaces: &mut Namespaces) -> Result<Topology> {
        let mapping = |index| Mapping { private: private(index), public: NAT };
        let mappings: Vec<_> = (0..self.specs.len()).map(mapping).collect();
        let topology = Topology::new(namespaces, &SERVERS, &mappings)?;
        for index in 0..self.specs.len() {
            let (tap, gateway) = (tap(index), gateway(index));
            topology.nat.ip(&format!("tuntap add dev {tap} mode tap"))?;
            topology.nat.ip(&format!("addr add {gateway}/30 dev {tap}"))?;
            topology.nat.ip(&format!("link set {tap} up"))?;
        }
        echo_server::start(&topology.far, &SERVERS, &PORTS, self.stop)?;
        Ok(topology)
    }

    /// Makes a RAM disk for each kernel.
    fn ram_disks(&self) -> Result<HashMap<&str, PathBuf>> {
        let own = std::env::current_exe()?;
        let mut made = HashMap::new();
        for (series, kernel) in self.kernels {
            let path = self.scratch.join(format!("{series}.cpio"));
            let parts = self.scratch.join(series);
            ram_disk::make(&path, &parts, kernel, &[(own.as_path(), "bin/guest")], SCRIPT)?;
            made.insert(series.as_str(), path);
        }
        Ok(made)
    }

    fn boot(&self, topology: &Topology, ram_disks: &HashMap<&str, PathBuf>) -> Result<Vec<Vm>> {
        let list = |items: &[String]| items.join(",");
        let servers = list(&SERVERS.map(|server| server.to_string()));
        let ports = list(&PORTS.map(|port| port.to_string()));
        let one = |(index, spec): (usize, &Spec)| {
            let settings = [
                format!("address={}", private(index)),
                format!("gateway={}", gateway(index)),
                format!("timestamps={}", spec.timestamps),
                format!("frequency={}", spec.adjtimex()),
                format!("servers={servers}"),
                format!("ports={ports}"),
                format!("seconds={}", self.args.seconds),
            ];
            let boot = Boot {
                image: &self.kernels[&spec.series].image,
                ram_disk: &ram_disks[spec.series.as_str()],
                settings: &settings,
                tap: Some(&tap(index)),
                console: self.scratch.join(format!("console{index}")),
            };
            Vm::boot(topology.nat.command("qemu-system-x86_64"), &boot)
        };
        self.specs.iter().enumerate().map(one).collect()
    }

    /// Waits until the machines have booted, talked and ended, and gathers what they printed.
    fn watch(&self, mut vms: Vec<Vm>) -> Result<Truth> {
        let start = Instant::now();
        let talk = Duration::from_secs(self.args.seconds.into());
        let mut announced = false;
        loop {
            let ready = vms.iter().filter(|vm| vm.printed("ready").is_some()).count();
            if ready == vms.len() && !announced {
                announced = true;
                let (seconds, booted) = (self.args.seconds, start.elapsed().as_secs_f64());
                println!("{ready} machines booted in {booted:.1} s and now talk for {seconds} s");
            }
            let mut running = 0;
            for (index, vm) in vms.iter_mut().enumerate() {
                if let Some(failure) = vm.printed("failed") {
                    bail!("machine {index} failed {failure}:\n{}", vm.last_lines());
                }
                match vm.ended()? {
                    None => running += 1,
                    Some(_) if vm.printed("opened").is_some_and(|count| count != "0") => {}
                    Some(status) => bail!("machine {index} ended early ({status}):\n{}", vm.last_lines()),
                }
            }
            let stopped = self.stop.load(Ordering::Relaxed);
            let late = start.elapsed() > BOOT_LIMIT + talk + END_LIMIT;
            if late || (!announced && start.elapsed() > BOOT_LIMIT) {
                let silent = vms.iter().find(|vm| vm.printed("opened").is_none());
                let lines = silent.map(Vm::last_lines).unwrap_or_default();
                let seconds = start.elapsed().as_secs_f64();
                bail!("after {seconds:.0} s a machine has not ended. Its last lines are:\n{lines}");
            }
            if running == 0 || stopped {
                return Ok(Truth::new(self.args.seconds, self.specs, self.kernels, &vms));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
