//! `cargo xtask lab`: virtual machines with kernels and clocks of their own, behind one NAT.
//!
//! ```text
//! VMs (Debian's kernels under QEMU) - kernel NAT - router with tmap on both veths - echo server
//! ```
//! The NAT gives each machine a range of source ports, so the port tells whose a connection is.
//! The run records a capture with its truth beside it, or has tmap watch live, or both.

pub mod guest;
pub mod image;
pub mod kernel;
mod record;
mod spec;
mod truth;
pub mod vm;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::findings::Findings;
use crate::namespaces::{Namespaces, Scratch};
use crate::packages::Group;
use crate::sensor::Sensor;
use crate::stage::{INTERFACES, Mapping, Stage};
use crate::{build, server, setup, shell};
use kernel::Kernel;
use spec::Spec;
use truth::Truth;
use vm::{Boot, Vm};

/// The address that all machines share.
const NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SERVERS: [Ipv4Addr; 5] = [
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(203, 0, 113, 2),
    Ipv4Addr::new(203, 0, 113, 3),
    Ipv4Addr::new(203, 0, 113, 4),
    Ipv4Addr::new(203, 0, 113, 5),
];
const PORTS: [u16; 3] = [25, 80, 443];
/// A machine boots in a few seconds; many on few processors take longer.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Beyond the time asked for, the last conversations may take this long to end.
const END_LIMIT: Duration = Duration::from_secs(60);

/// After the set-up: take the settings, say so, talk.
const SCRIPT: &str = "
ip link set eth0 up && ip addr add $address/30 dev eth0 && ip route add default via $gateway
echo $timestamps >/proc/sys/net/ipv4/tcp_timestamps
adjtimex -q -f $frequency
echo \"tmapx: frequency $(adjtimex | sed -n 's/.*freq.*: *//p' | head -n 1)\"
echo 'tmapx: ready now'
guest lab-guest --servers $servers --ports $ports --seconds $seconds
";

/// Settings of the laboratory.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many machines, of a default mix.
    #[arg(long, default_value_t = 3, conflicts_with = "machine",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=spec::MAX_MACHINES as u64))]
    machines: usize,
    /// A machine, as kernel:tcp_timestamps:ppm; once for each.
    #[arg(long, value_name = "6.1:1:+9", allow_hyphen_values = true)]
    machine: Vec<Spec>,
    /// How long each machine talks.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
    /// Record this capture (pcap, nanoseconds), with its truth beside it in FILE.json; then have
    /// tmap read it.
    #[arg(long, value_name = "FILE.pcap")]
    write: Option<PathBuf>,
    /// Have tmap watch while it happens. So it is without --write.
    #[arg(long)]
    live: bool,
    /// The built tmap; without it, tmap is built first.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Runs the verb.
pub fn verb(args: &Args) -> Result<()> {
    let specs = if args.machine.is_empty() { spec::default_mix(args.machines) } else { args.machine.clone() };
    if specs.len() > spec::MAX_MACHINES {
        bail!("{} machines at most, not {}", spec::MAX_MACHINES, specs.len());
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
        // Becoming sudo, rather than waiting for it, leaves ^C to the one that has to clean up.
        let error = command.exec();
        return Err(error).with_context(|| format!("could not start {}", shell::show(&command)));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let scratch = Scratch::new()?;
    let mut namespaces = Namespaces::new()?;
    let lab =
        Lab { args, specs: &specs, kernels: &kernels, tmap: &tmap, scratch: scratch.path(), stop: &stop };
    let outcome = lab.run(&mut namespaces);
    stop.store(true, Ordering::Relaxed);
    outcome
}

/// Everything that a run is told.
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
        let stage = self.build(namespaces)?;
        let ram_disks = self.ram_disks()?;
        let recorder = self.args.write.as_deref().map(|file| record::start(&stage.far, file)).transpose()?;
        let live = self.args.live || self.args.write.is_none();
        let sensor = live.then(|| Sensor::start(self.tmap, &stage.router, &INTERFACES)).transpose()?;
        let vms = self.boot(&stage, &ram_disks)?;
        let truth = self.watch(vms)?;
        // What is on its way arrives.
        std::thread::sleep(Duration::from_millis(300));
        if let Some(recorder) = recorder {
            let summary = recorder.finish()?;
            println!("{summary}");
        }
        if let Some(file) = &self.args.write {
            let json = truth.write(file)?;
            println!("capture: {}\ntruth:   {}", file.display(), json.display());
            let findings = Findings::parse(&record::read(self.tmap, file)?)?;
            print!("\ntmap read, from the capture:\n{}", truth.compare(&findings));
        }
        if let Some((sensor, mode)) = sensor {
            let output = sensor.finish()?;
            let findings = Findings::parse(&output.lines)?;
            print!("\ntmap live, XDP in {mode} mode:\n{}", truth.compare(&findings));
        }
        Ok(())
    }

    /// Sets the stage, with a TAP device for each machine.
    fn build(&self, namespaces: &mut Namespaces) -> Result<Stage> {
        let mapping = |index| Mapping { private: private(index), public: NAT };
        let mappings: Vec<_> = (0..self.specs.len()).map(mapping).collect();
        let stage = Stage::new(namespaces, &SERVERS, &mappings)?;
        for index in 0..self.specs.len() {
            let (tap, gateway) = (tap(index), gateway(index));
            stage.nat.ip(&format!("tuntap add dev {tap} mode tap"))?;
            stage.nat.ip(&format!("addr add {gateway}/30 dev {tap}"))?;
            stage.nat.ip(&format!("link set {tap} up"))?;
        }
        server::start(&stage.far, &SERVERS, &PORTS, self.stop)?;
        Ok(stage)
    }

    /// One RAM disk for each kernel.
    fn ram_disks(&self) -> Result<HashMap<&str, PathBuf>> {
        let own = std::env::current_exe()?;
        let mut made = HashMap::new();
        for (series, kernel) in self.kernels {
            let path = self.scratch.join(format!("{series}.cpio"));
            let parts = self.scratch.join(series);
            image::make(&path, &parts, kernel, &[(own.as_path(), "bin/guest")], SCRIPT)?;
            made.insert(series.as_str(), path);
        }
        Ok(made)
    }

    fn boot(&self, stage: &Stage, ram_disks: &HashMap<&str, PathBuf>) -> Result<Vec<Vm>> {
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
            Vm::boot(stage.nat.command("qemu-system-x86_64"), &boot)
        };
        self.specs.iter().enumerate().map(one).collect()
    }

    /// Waits until the machines have booted, talked and ended, and asks them what they did.
    fn watch(&self, mut vms: Vec<Vm>) -> Result<Truth> {
        let start = Instant::now();
        let talk = Duration::from_secs(self.args.seconds.into());
        let mut announced = false;
        loop {
            let ready = vms.iter().filter(|vm| vm.said("ready").is_some()).count();
            if ready == vms.len() && !announced {
                announced = true;
                let (seconds, booted) = (self.args.seconds, start.elapsed().as_secs_f64());
                println!("{ready} machines booted in {booted:.1} s; they talk for {seconds} s");
            }
            let mut running = 0;
            for (index, vm) in vms.iter_mut().enumerate() {
                if let Some(failure) = vm.said("failed") {
                    bail!("machine {index} failed {failure}:\n{}", vm.last_words());
                }
                match vm.ended()? {
                    None => running += 1,
                    Some(_) if vm.said("opened").is_some_and(|count| count != "0") => {}
                    Some(status) => bail!("machine {index} ended early ({status}):\n{}", vm.last_words()),
                }
            }
            let stopped = self.stop.load(Ordering::Relaxed);
            let late = start.elapsed() > BOOT_LIMIT + talk + END_LIMIT;
            if late || (!announced && start.elapsed() > BOOT_LIMIT) {
                let silent = vms.iter().find(|vm| vm.said("opened").is_none());
                let words = silent.map(Vm::last_words).unwrap_or_default();
                bail!(
                    "after {:.0} s not all machines are done; one says:\n{words}",
                    start.elapsed().as_secs_f64()
                );
            }
            if running == 0 || stopped {
                return Ok(Truth::new(self.args.seconds, self.specs, self.kernels, &vms));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn private(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, index as u8, 2)
}

fn gateway(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, index as u8, 1)
}

fn tap(index: usize) -> String {
    format!("vm{index}")
}
