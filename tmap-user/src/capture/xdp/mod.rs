//! The live sensor: loads the kernel programs, attaches them, and hands out their records.
//!
//! [`Sensor`] is the control half: it holds the attachments and reads the counters. [`Rings`] is
//! the drain half, for the thread that feeds the engine. Everything is attached by `bpf_link`
//! where the kernel has one, so it goes with the process, however that ends.
//!
//! Accounting is exact. With no packet in flight,
//! `seen = skipped + suppressed + emitted + ring_full`, and after a drain `emitted = received`.

mod anomalies;
mod attach;
mod carried;
mod holder;
mod interface;
mod load;
mod netlink;
mod news;
pub mod offload;
mod outage;
mod promiscuous;
mod relays;
mod ring;
mod selection;
mod watch;

use std::{fmt, time::Instant};

use anyhow::{Result, ensure};
use aya::Ebpf;
use tmap_common::{Counters, filter::Test};

pub use self::{
    load::OLDEST_KERNEL,
    news::News,
    outage::Outage,
    promiscuous::Promiscuous,
    ring::{Rings, Waker},
};

/// What to watch, and how.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Names of the interfaces, each once; `any` for all that are up, each frame once.
    pub interfaces: Vec<String>,
    /// Whether interfaces may be missing at the start.
    pub wait: bool,
    /// Where received frames are seen.
    pub xdp_mode: XdpMode,
    /// Which interfaces are set to promiscuous mode.
    pub promiscuous: Promiscuous,
    /// Whether outgoing segments are watched too.
    pub egress: bool,
    /// Use the older way to attach TC programs (a clsact filter) even where the kernel has
    /// TCX. Kernels before 6.6 always do.
    pub clsact: bool,
    /// Decapsulate tunnels.
    pub decap: bool,
    /// The filter, compiled; empty to accept everything.
    pub filter: Vec<Test>,
    /// Slots (32 bytes) per CPU's ring; `None` chooses by the number of CPUs. Rounded up to a power
    /// of two.
    pub ring_slots: Option<u32>,
    /// Write the record of every segment to the ring, also of those that can't change any estimate
    /// ([`tmap_common::suppress`]).
    pub every_packet: bool,
    /// Have records tell TSecr, for round trips, rather than payload bytes.
    pub round_trips: bool,
    /// For tests: take the precautions of weakly ordered CPUs (arm64) and preemptible kernels (PREEMPT_RT)
    /// on any machine. Where they are needed, they are always taken.
    pub cautious: bool,
}

/// The place where received frames are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum XdpMode {
    /// By XDP in the driver, or in the kernel's generic receive path if the driver cannot, or by TC beside
    /// another XDP program. On a veth by TC, because XDP in its driver slows bulk TCP down.
    #[default]
    Auto,
    /// By XDP in the driver.
    Native,
    /// By XDP in the kernel's generic receive path: any interface, slower.
    Generic,
    /// By TC, after XDP and beside any other program.
    Tc,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        })
    }
}

/// An attachment of a program to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// The hook.
    pub hook: Hook,
    /// Why it is not native XDP, if that was the first choice.
    pub reason: Option<String>,
}

/// A hook in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the generic receive path.
    XdpGeneric,
    /// The receiving side behind XDP, by a TCX link (Linux 6.6 and later).
    IngressTcx,
    /// The receiving side behind XDP, by a filter on the clsact qdisc. SIGKILL leaves it behind:
    /// `tc filter del dev IFACE ingress` removes it.
    IngressClsact,
    /// The sending side, by a TCX link (Linux 6.6 and later).
    EgressTcx,
    /// The sending side, by a filter on the clsact qdisc. SIGKILL leaves it behind:
    /// `tc filter del dev IFACE egress` removes it.
    EgressClsact,
}

impl Hook {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "XDP in native mode",
            Self::XdpGeneric => "XDP in generic mode",
            Self::IngressTcx => "ingress by TCX",
            Self::IngressClsact => "ingress by clsact",
            Self::EgressTcx => "egress by TCX",
            Self::EgressClsact => "egress by clsact",
        }
    }
}

/// A change of a watched interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The interface's name.
    pub interface: String,
    /// What happened.
    pub kind: ChangeKind,
    /// What happened, in words.
    pub text: String,
}

/// What happened to a watched interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is not there yet.
    Waiting,
    /// It is gone.
    Gone,
    /// It is there, and watched from now on.
    Back,
    /// It went down.
    Down,
    /// It came up.
    Up,
    /// It has another name.
    Renamed,
    /// It is in another network namespace.
    Moved,
    /// It has another MTU.
    Mtu,
    /// Somebody detached a program, which was attached again.
    Detached,
    /// Somebody attached an XDP program beside.
    Beside,
    /// `any` leaves it out from now on: other interfaces show its frames.
    LeftOut,
    /// It is there and can't be watched.
    Failed,
    /// Interfaces can't be checked; those that are watched stay so.
    Unchecked,
    /// It was set to promiscuous mode, or can't be.
    Promiscuous,
}

impl ChangeKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Gone => "gone",
            Self::Back => "back",
            Self::Down => "down",
            Self::Up => "up",
            Self::Renamed => "renamed",
            Self::Moved => "moved",
            Self::Mtu => "mtu",
            Self::Detached => "detached",
            Self::Beside => "beside",
            Self::LeftOut => "left_out",
            Self::Failed | Self::Unchecked => "failed",
            Self::Promiscuous => "promiscuous",
        }
    }

    /// Whether frames were missed, or may have been.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Gone | Self::Detached | Self::Beside | Self::Failed | Self::Unchecked)
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.interface, self.hook.name())?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

/// What the sensor counted since it was opened.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// One entry per possible CPU.
    pub cpus: Vec<CpuStatistics>,
    /// Slots in each CPU's ring.
    pub ring_slots: u32,
    /// Records that the drain half took out of the rings.
    pub received: u64,
}

/// One CPU's part.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuStatistics {
    /// What happened to the frames that this CPU saw.
    pub counters: Counters,
    /// Slots waiting in its ring.
    pub ring_fill: u64,
}

impl Statistics {
    /// The counters, summed over CPUs.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for cpu in &self.cpus {
            total.add(&cpu.counters);
        }
        total
    }
}

/// The control half of the live sensor. Dropping it detaches everything; a clsact filter only from
/// within the network namespace in which it was opened.
pub struct Sensor {
    /// Before the programs: fields are dropped in their order.
    watch: watch::Watch,
    /// What was down before everything was detached.
    outages: Vec<Outage>,
    /// What was said when the sensor was opened, until it is asked for.
    opening: Vec<Change>,
    config: Config,
    ebpf: Ebpf,
    anomalies: anomalies::Anomalies,
    counters: ring::CounterReader,
    gauge: ring::RingGauge,
}

impl Sensor {
    /// Loads what `config` needs and attaches it.
    ///
    /// # Errors
    /// One line that says what to do: no such interface, no permission, kernel too old, a mode that the
    /// driver or another program makes impossible. Then nothing stays attached.
    pub fn open(config: &Config) -> Result<(Self, Rings)> {
        ensure!(!config.interfaces.is_empty(), "no interface to watch; name one with -i");
        watch::check(config)?;
        let (mut sensor, rings) = Self::load_programs(config, load::object(config), &[])?;
        (sensor.watch, sensor.opening) = watch::Watch::open(&mut sensor.ebpf, config)?;
        Ok((sensor, rings))
    }

    /// Loads all programs and attaches none: for tests and benchmarks that feed them frames
    /// (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    /// The errors of [`Sensor::open`] that do not concern interfaces.
    pub fn load(config: &Config) -> Result<(Self, Rings)> {
        Self::load_programs(config, load::object(config), &attach::PROGRAMS)
    }

    /// Loads the programs called `names` of another object, which has the maps of tmap's own, and attaches
    /// none: for benchmarks of parts of the programs.
    ///
    /// # Errors
    /// The errors of [`Sensor::load`].
    #[doc(hidden)]
    pub fn load_programs(config: &Config, object: &[u8], names: &[&str]) -> Result<(Self, Rings)> {
        let load::Loaded { mut ebpf, rings, gauge, counters } = load::load(config, object)?;
        // The log's map must stay open while programs are loaded: they refer to it.
        let anomalies = anomalies::Anomalies::open(&mut ebpf)?;
        load::verify(&mut ebpf, names)?;
        let (watch, outages, opening) = (watch::Watch::default(), Vec::new(), Vec::new());
        let config = config.clone();
        Ok((Self { watch, outages, opening, config, ebpf, anomalies, counters, gauge }, rings))
    }

    /// All attachments.
    pub fn attachments(&self) -> &[Attachment] {
        self.watch.attachments()
    }

    /// Detaches everything; counters and rings stay readable.
    pub fn detach(&mut self) {
        self.outages = self.outages(Instant::now());
        self.watch = watch::Watch::default();
    }

    /// What changed since the last call; attaches again what is back or was detached. The first call after
    /// the sensor was opened tells what was noticed then.
    pub fn check(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.opening);
        changes.extend(self.watch.check(&mut self.ebpf, &self.config, now));
        changes
    }

    /// Whether the last check left something to the next one, so that it took no longer. Such a check is due
    /// soon.
    pub fn is_unfinished(&self) -> bool {
        self.watch.is_unfinished()
    }

    /// The names of the interfaces that are watched now.
    pub fn watched(&self) -> Vec<&str> {
        self.watch.names(true)
    }

    /// The names of the interfaces that should be watched and aren't.
    pub fn unwatched(&self) -> Vec<&str> {
        self.watch.names(false)
    }

    /// The interfaces that were down at times while they were watched, until `now`.
    pub fn outages(&self, now: Instant) -> Vec<Outage> {
        self.outages.iter().cloned().chain(self.watch.outages(now)).collect()
    }

    /// The current counters. Frames in flight show as seen and not yet accounted for.
    pub fn statistics(&self) -> Statistics {
        let shape = self.gauge.shape();
        let received = self.gauge.received();
        let cpu = |cpu| CpuStatistics { counters: self.counters.read(cpu), ring_fill: self.gauge.fill(cpu) };
        Statistics { cpus: (0..shape.cpus).map(cpu).collect(), ring_slots: shape.slots, received }
    }

    /// Lines about the first malformed frames of each kind since the last call.
    pub fn anomalies(&mut self) -> Vec<String> {
        self.anomalies.take()
    }

    /// The loaded object, for tests and benchmarks.
    pub fn ebpf(&self) -> &Ebpf {
        &self.ebpf
    }

    /// The loaded object, for tests and benchmarks that attach its programs themselves.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}
