//! Traffic on a veth in driver mode, and what each frame of it costs the CPU that receives it.
//!
//! The kernel itself makes the traffic (`BPF_F_TEST_XDP_LIVE_FRAMES`), so that the sender costs little
//! and the same for everybody. It is received on the CPU that sends it, in the receiving driver's softirq
//! on top of the sending thread, and goes up the stack until that finds that it isn't for this host.
//! What is measured is that thread's CPU time, and that of the kernel's thread which takes over when
//! softirqs are many: other work on the machine takes time from them, but adds little to it.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::programs::{Xdp, links::FdLink, xdp::XdpMode};
use nix::time::ClockId;

use super::{
    machine::Pinned,
    object::{DRAWS, Draw, Handshakes, Object},
    packets,
};
use crate::{
    net::namespaces::{INTERFACE, Wire},
    test_run,
};

/// The CPU that sends and receives.
const CPU: usize = 0;

/// Every system call that sends takes about this long, however few frames it sends: the kernel waits
/// until no CPU uses the program that was there before. So paced traffic comes in bursts.
const BURST_EVERY: Duration = Duration::from_millis(40);

/// The hosts' clocks.
const TICK_HZ: u32 = 1_000;

/// Frames that are sent before anything is measured: every flow once.
pub const WARM_UP: u32 = DRAWS;

/// A veth, and what sends on it.
pub struct Sender {
    /// The veth: traffic arrives at its far end.
    pub wire: Wire,
    object: Object,
}

/// What a frame cost, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of sending and receiving.
    pub path_ns: f64,
    /// Time that went by, pauses included.
    pub wall_ns: f64,
}

impl Sender {
    /// A veth with such traffic.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(draw: Draw, handshakes: Handshakes) -> Result<Self> {
        let object = Object::load(draw, handshakes, 1)?;
        Ok(Self { wire: Wire::new(1500, false), object })
    }

    /// Attaches the program that counts and passes at the far end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn count_there(&mut self) -> Result<FdLink> {
        attach_there(&self.wire, self.object.program_mut("bench_count")?)
    }

    /// Attaches the program that only passes at the far end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pass_there(&mut self) -> Result<FdLink> {
        attach_there(&self.wire, self.object.program_mut("bench_pass")?)
    }

    /// Sends so many frames, `per_second` of them in a second where that is given, else as fast as it
    /// goes; the hosts' clocks then tick as if it were five million a second.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&mut self, frames: u32, per_second: Option<u32>) -> Result<Cost> {
        self.object.set_frames_per_tick(per_second.unwrap_or(5_000_000) / TICK_HZ)?;
        let bursts = per_second.map_or(1, |rate| {
            let burst = f64::from(rate) * BURST_EVERY.as_secs_f64();
            (f64::from(frames) / burst).round().max(1.0) as u32
        });
        let program = self.object.program("bench_send")?;
        let frame = packets::data();
        self.wire.near.run(|| {
            let _pinned = Pinned::to(CPU)?;
            let index = test_run::interface_index(INTERFACE)?;
            let helper = softirq_thread()?;
            let (began, cpu_ns, helper_ns) = (Instant::now(), thread_ns()?, run_ns(&helper));
            for burst in 0..bursts {
                if let Some(early) = (began + BURST_EVERY * burst).checked_duration_since(Instant::now()) {
                    thread::sleep(early);
                }
                test_run::send(program, &frame, frames / bursts, index)?;
            }
            let sent = f64::from(frames / bursts * bursts);
            let spent_ns = thread_ns()? - cpu_ns + (run_ns(&helper) - helper_ns);
            Ok(Cost { path_ns: spent_ns / sent, wall_ns: began.elapsed().as_nanos() as f64 / sent })
        })
    }
}

/// Attaches a program where traffic arrives, in the driver.
///
/// # Errors
/// What the kernel says.
pub fn attach_there(wire: &Wire, program: &mut Xdp) -> Result<FdLink> {
    let attached = wire.far.run(|| {
        let id = program.attach(INTERFACE, XdpMode::Driver)?;
        anyhow::Ok(FdLink::try_from(program.take_link(id)?)?)
    });
    attached.context("can't attach a program where traffic arrives")
}

/// CPU time of this thread, in nanoseconds.
fn thread_ns() -> Result<f64> {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now()?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// Where the kernel tells of the thread that takes softirqs over on [`CPU`].
fn softirq_thread() -> Result<String> {
    let name = format!("ksoftirqd/{CPU}\n");
    let mut processes =
        fs::read_dir("/proc").context("can't read /proc")?.flatten().map(|entry| entry.path());
    let found = processes.find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name));
    Ok(found.context("no ksoftirqd")?.to_string_lossy().into_owned())
}

/// CPU time of the task under this path of `/proc`, in nanoseconds.
fn run_ns(task: &str) -> f64 {
    let text = fs::read_to_string(Path::new(task).join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// CPU time of all threads of a process, in nanoseconds.
pub fn process_ns(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    tasks.flatten().map(|task| run_ns(&task.path().to_string_lossy())).sum()
}
