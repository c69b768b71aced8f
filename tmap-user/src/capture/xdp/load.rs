//! From the embedded object to programs that the kernel has verified.

use std::{
    error::Error,
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, RingBuf},
    programs::{Program, ProgramError},
    util::{KernelVersion, nr_cpus},
};
use rustix::{
    io::Errno,
    system::uname,
    thread::{CapabilitySet, capabilities},
};
use tmap_common::{
    filter::{MAX_TESTS, Test},
    record::Slot,
    ring::MIN_SLOTS,
};

use super::{
    Config,
    ring::{CounterReader, RingGauge, Rings, Shape},
};

/// The oldest kernel that is supported (and tested): the long-term one of Debian 12.
pub const OLDEST_KERNEL: (u8, u8) = (6, 1);

/// Slots per CPU unless the user says otherwise: 8 MiB, 50 ms at 5 million records a second.
const DEFAULT_SLOTS: u32 = 1 << 18;

/// The most memory for all rings together, unless the user says otherwise: many CPUs share the
/// traffic, so each needs less.
const DEFAULT_TOTAL_BYTES: usize = 512 << 20;

/// The most memory for all rings together, in any case (a BPF array can't hold 4 GiB).
const MAX_TOTAL_BYTES: usize = 2 << 30;

/// The object for all other machines.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tmap-ebpf"));

/// The object for machines with weakly ordered stores or a preemptible kernel: tmap-ebpf with the feature
/// `cautious`.
static CAUTIOUS_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tmap-cautious"));

/// The object that this machine needs.
pub(super) fn object(config: &Config) -> &'static [u8] {
    if config.cautious || stores_may_reorder() || is_realtime() { CAUTIOUS_OBJECT } else { OBJECT }
}

/// The object with its maps created, programs not loaded yet.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) rings: Rings,
    pub(super) gauge: RingGauge,
    pub(super) counters: CounterReader,
}

/// Creates the maps of `object` and maps them into memory.
pub(super) fn load(config: &Config, object: &[u8]) -> Result<Loaded> {
    check_kernel()?;
    let cpus = nr_cpus().map_err(|(path, error)| anyhow!("cannot read {path}: {error}"))?;
    let shape = shape(cpus, config.ring_slots)?;
    let mut ebpf = create(config, shape, object).map_err(|error| explain(&error))?;
    let bell = bell(&mut ebpf)?;
    let fd = |name| fd_of(&ebpf, name);
    let (rings, gauge) = Rings::map(fd("RING")?, fd("CPUS")?, bell, shape)?;
    let counters = CounterReader::map(fd("CPUS")?, shape.cpus)?;
    Ok(Loaded { rings, gauge, counters, ebpf })
}

/// How many slots each of `cpus` rings gets.
fn shape(cpus: usize, wanted: Option<u32>) -> Result<Shape> {
    let slots = match wanted {
        Some(slots) => slots.max(MIN_SLOTS).checked_next_power_of_two().unwrap_or(u32::MAX),
        None => {
            let share = DEFAULT_TOTAL_BYTES / (cpus * size_of::<Slot>());
            DEFAULT_SLOTS.min(1 << share.max(MIN_SLOTS as usize).ilog2())
        }
    };
    let bytes = slots as usize * cpus * size_of::<Slot>();
    ensure!(
        bytes <= MAX_TOTAL_BYTES,
        "{slots} ring slots for each of {cpus} CPUs take {} MiB; the limit is {} MiB; lower --ring-size",
        bytes >> 20,
        MAX_TOTAL_BYTES >> 20
    );
    Ok(Shape { cpus, slots })
}

/// Creates the object's maps, with all that is set at load time.
fn create(config: &Config, shape: Shape, object: &[u8]) -> Result<Ebpf> {
    let Config { filter, cautious, .. } = config;
    ensure!(
        filter.len() <= MAX_TESTS,
        "the filter needs {} tests, and the limit is {MAX_TESTS}; shorten it",
        filter.len()
    );
    let mut tests: Vec<u8> = filter.iter().flat_map(Test::to_bytes).collect();
    tests.resize(MAX_TESTS * size_of::<Test>(), 0);
    let cpus = shape.cpus as u32;
    // The suppression cache must have one writer at a time.
    let suppresses = !(config.every_packet || *cautious || is_realtime());
    EbpfLoader::new()
        .override_global("SLOTS", &shape.slots, true)
        // These two are in the cautious object only.
        .override_global("WEAK_ORDER", &u8::from(*cautious || stores_may_reorder()), false)
        .override_global("PREEMPTIBLE", &u8::from(*cautious || is_realtime()), false)
        .override_global("DECAP", &u8::from(config.decap), true)
        .override_global("FILTER_LEN", &(filter.len() as u32), true)
        .override_global("FILTER", &tests[..], true)
        .map_max_entries("RING", cpus * shape.slots)
        .map_max_entries("CPUS", cpus)
        .map_max_entries("SCRATCH", cpus)
        .override_global("ROUND_TRIPS", &u8::from(config.round_trips), true)
        .override_global("SUPPRESS", &u8::from(suppresses), true)
        .override_global("SUPPRESS_SEED", &RandomState::new().build_hasher().finish(), true)
        .load(object)
        .context("the kernel refused tmap's maps")
}

/// Whether another CPU can see this one's stores out of order. x86 and s390 keep them in order.
fn stores_may_reorder() -> bool {
    !cfg!(any(target_arch = "x86", target_arch = "x86_64", target_arch = "s390x"))
}

/// Whether this is a PREEMPT_RT kernel. There, code with bottom halves disabled can be preempted by
/// other such code on the same CPU (from Linux 6.18 on, without `PREEMPT_RT_NEEDS_BH_LOCK`), so the
/// programs count with atomics and give a record up, counted as `ring_full`, rather than write into
/// a ring that another is writing.
fn is_realtime() -> bool {
    fs::read_to_string("/sys/kernel/realtime").is_ok_and(|text| text.trim() == "1")
        || uname().version().to_string_lossy().contains("PREEMPT_RT")
}

fn check_kernel() -> Result<()> {
    let Ok(found) = KernelVersion::current() else { return Ok(()) };
    let (major, minor) = OLDEST_KERNEL;
    ensure!(
        found >= KernelVersion::new(major, minor, 0),
        "this kernel is Linux {found}, but live capture needs {major}.{minor} or later; boot a newer kernel, \
         or read a capture (tmap read FILE)"
    );
    Ok(())
}

/// The doorbell of the rings.
fn bell(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>> {
    let map = ebpf.take_map("BELL").context("the BPF object has no map BELL; rebuild tmap")?;
    RingBuf::try_from(map).context("cannot map the doorbell of the rings")
}

/// The descriptor of one of the object's arrays.
fn fd_of<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(MapData::fd(data).as_fd()),
        _ => Err(anyhow!("the BPF object has no array {name}; rebuild tmap")),
    }
}

/// Loads the programs called `names`, which has the kernel verify them.
pub(super) fn verify(ebpf: &mut Ebpf, names: &[&str]) -> Result<()> {
    for name in names {
        let program =
            ebpf.program_mut(name).with_context(|| format!("the BPF object has no {name}; rebuild tmap"))?;
        let loaded = match program {
            Program::Xdp(program) if program.fd().is_err() => program.load(),
            Program::SchedClassifier(program) if program.fd().is_err() => program.load(),
            _ => Ok(()),
        };
        loaded.map_err(|error| match &error {
            ProgramError::LoadError { io_error, verifier_log } if !is_permission(io_error) => {
                // The reason is in the log's last lines.
                let log = verifier_log.to_string();
                let lines: Vec<_> = log.lines().rev().take(4).collect();
                let tail: Vec<_> = lines.into_iter().rev().collect();
                match no_permission() {
                    Some(error) => error,
                    None => anyhow!(
                        "the kernel's verifier refused {name} ({io_error}); please report this: {}",
                        tail.join(" | ")
                    ),
                }
            }
            _ => explain(&error.into()),
        })?;
    }
    Ok(())
}

/// The `errno` behind an error, wherever in its chain.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

fn is_permission(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::PERM)
}

/// An error in words, with advice where the user can do something.
pub(super) fn explain(error: &anyhow::Error) -> anyhow::Error {
    match errno(error.as_ref()) {
        Some(Errno::PERM) => no_permission().unwrap_or_else(|| {
            anyhow!("no permission to load BPF programs, although no capability is missing: {error:#}")
        }),
        Some(Errno::NOMEM) => {
            anyhow!("not enough memory for the rings; lower --ring-size or raise the cgroup's memory limit")
        }
        _ => anyhow!("cannot load tmap's kernel programs: {error:#}"),
    }
}

/// The error for a process that lacks capabilities.
fn no_permission() -> Option<anyhow::Error> {
    let lacks = missing(capabilities(None).ok()?.effective);
    let (last, others) = lacks.split_last()?;
    let (names, verb) = match others {
        [] => ((*last).to_owned(), "is"),
        others => (format!("{} and {last}", others.join(", ")), "are"),
    };
    Some(anyhow!(
        "no permission to load tmap's programs: {names} {verb} missing; run tmap as root (sudo), or give the \
         file all that it needs: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep $(which tmap)"
    ))
}

/// The names of the capabilities that watching takes and `held` lacks. CAP_SYS_ADMIN includes two of them.
fn missing(held: CapabilitySet) -> Vec<&'static str> {
    let admin = CapabilitySet::SYS_ADMIN;
    let needed = [
        ("CAP_BPF", CapabilitySet::BPF | admin),
        ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
        ("CAP_PERFMON", CapabilitySet::PERFMON | admin),
    ];
    needed.into_iter().filter(|(_, any)| !held.intersects(*any)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let [bpf, net] = [CapabilitySet::BPF, CapabilitySet::NET_ADMIN];
        assert_eq!(missing(bpf | net), ["CAP_PERFMON"]);
        assert_eq!(missing(CapabilitySet::SYS_ADMIN), ["CAP_NET_ADMIN"]);
        assert_eq!(missing(CapabilitySet::empty()), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(CapabilitySet::all()), [""; 0]);
    }

    #[test]
    fn rings_stay_bounded() {
        assert_eq!(shape(2, None).unwrap().slots, DEFAULT_SLOTS);
        let many = shape(1024, None).unwrap();
        assert!(many.slots as usize * 1024 * size_of::<Slot>() <= DEFAULT_TOTAL_BYTES);
        assert!(many.slots >= 1 << 14);
        assert_eq!(shape(4, Some(1000)).unwrap().slots, 1024);
        assert_eq!(shape(4, Some(1)).unwrap().slots, MIN_SLOTS);
        assert!(shape(128, Some(u32::MAX)).is_err());
    }
}
