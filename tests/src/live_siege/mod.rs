//! A live siege: `cargo xtask siege`. A sensor on a real interface is attacked for as long as one likes. The
//! truth is known.
//!
//! | part | room |
//! |---|---|
//! | five machines behind a NAT, six servers, and their connections | `cast`, `clock`, `connection` |
//! | what is sent at its time: connections, forged segments, a scan | `traffic`, `sender` |
//! | a flood | `flood` |
//! | the sensor, and what it says | `sensor`, [`answer`] |
//! | whether frames add up | [`accounts`] |
//! | which promises were kept | [`promises`] |
//! | a picture | [`picture`] |
//!
//! [`siege`](crate::siege) has attacks as records, for tests that need no kernel.

pub mod accounts;
pub mod answer;
mod cast;
mod clock;
mod connection;
mod flood;
pub mod picture;
mod priority;
pub mod promises;
mod sender;
mod sensor;
mod socket;
mod traffic;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::net::namespaces::Wire;
use accounts::{Accounts, Before};
use answer::Answer;
pub use cast::TRUE_MACHINES;
use sender::Sent;
use sensor::Sensor;
use socket::Handed;
use traffic::Traffic;

/// A millisecond, in nanoseconds.
const MS: u64 = 1_000_000;

/// A second, in nanoseconds.
const S: u64 = 1_000 * MS;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often memory is read.
const READS_MEMORY: Duration = Duration::from_secs(1);

/// Seed of the victims' traffic.
const SEED: u64 = 1;

/// What the siege is to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program under siege.
    pub tmap: PathBuf,
    /// How long it lasts.
    pub time: Duration,
    /// How often the sensor is asked.
    pub every: Duration,
    /// The sensor's `--memory`, in bytes.
    pub memory_bytes: u64,
    /// The sensor's `--xdp-mode`.
    pub xdp_mode: String,
    /// Frames of the flood in a second; `None` for as fast as one thread can.
    pub flood_per_second: Option<u32>,
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When, since the beginning.
    pub at: Duration,
    /// How long the answer took.
    pub wait: Duration,
    /// The answer; `None` where none came in that time.
    pub answer: Option<Answer>,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How long the siege lasted.
    pub time: Duration,
    /// The bound of memory, in bytes.
    pub memory_limit_bytes: u64,
    /// Questions, in order.
    pub asked: Vec<Asked>,
    /// Anonymous memory in bytes, and when it was read, since the beginning.
    pub memory: Vec<(Duration, u64)>,
    /// The last summary.
    pub last: Answer,
    /// How long the end took after SIGTERM, and its exit code.
    pub exit: (Duration, Option<i32>),
    /// All frames.
    pub accounts: Accounts,
    /// Of them, those of the flood.
    pub flood_frames: u64,
    /// Connections of victims that began.
    pub connections: u64,
    /// What a reader must know of the sender: how promptly it sent.
    pub sending: String,
}

/// Ends the siege when it is dropped, also by a panic: threads wait for each other.
struct Halt<'a>(&'a AtomicBool);

impl Drop for Halt<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Besieges a sensor, until the time is over or `stop` is true. Namespaces are gone in the end.
///
/// # Errors
/// Where something can't be started, or the sensor ends by itself.
///
/// # Panics
/// Without root.
pub fn run(settings: &Settings, stop: &AtomicBool) -> Result<Outcome> {
    let wire = Wire::new(1500, false);
    let before = Before::now(&wire)?;
    let memory = settings.memory_bytes.to_string();
    let options = ["--memory", &memory, "--xdp-mode", &settings.xdp_mode].map(str::to_owned);
    let sensor = Sensor::start(&wire.far, &settings.tmap, &options)?;
    let halt = AtomicBool::new(false);
    let begin = Instant::now();
    let (watched, sent, flood) = thread::scope(|scope| {
        let sender = scope.spawn(|| sender::run(&wire.near, Traffic::new(SEED), &halt));
        let flood = scope.spawn(|| flood::run(&wire.near, settings.flood_per_second, &halt));
        let watched = watch(&sensor, settings, begin, (stop, &halt));
        (watched, joined(sender.join()), joined(flood.join()))
    });
    // Why a sender failed says more than that the siege ended.
    let (sent, flood): (Sent, Handed) = (sent?, flood?);
    let (asked, memory) = watched?;
    let time = begin.elapsed();
    Before::settle(&wire)?;
    let (last, status, exit) = sensor.end()?;
    let mut handed = sent.frames;
    handed += flood;
    Ok(Outcome {
        time,
        memory_limit_bytes: settings.memory_bytes,
        asked,
        memory,
        accounts: Accounts::new(&before, &wire, handed, &last.summary)?,
        last,
        exit: (exit, status.code()),
        flood_frames: flood.taken + flood.refused,
        connections: sent.connections,
        sending: sent.describe(),
    })
}

/// What a thread returned; a panic is an error.
fn joined<T>(returned: thread::Result<Result<T>>) -> Result<T> {
    returned.unwrap_or_else(|_| Err(anyhow!("a thread that sends panicked")))
}

/// Questions, and memory.
type Watched = (Vec<Asked>, Vec<(Duration, u64)>);

/// Asks the sensor and reads its memory until the end; then the senders end, too.
fn watch(
    sensor: &Sensor,
    settings: &Settings,
    begin: Instant,
    (stop, halt): (&AtomicBool, &AtomicBool),
) -> Result<Watched> {
    let _halt = Halt(halt);
    let (mut asked, mut memory) = (Vec::new(), Vec::new());
    let is_over = || stop.load(Ordering::Relaxed) || halt.load(Ordering::Relaxed);
    let mut ask_at = settings.every;
    let mut read_at = Duration::ZERO;
    while begin.elapsed() < settings.time && !is_over() {
        let at = begin.elapsed();
        if at >= read_at {
            memory.push((at, sensor.memory_bytes()?));
            read_at += READS_MEMORY;
        }
        if at >= ask_at {
            let answer = sensor.ask(stop)?;
            let wait = answer.as_ref().map_or_else(|| begin.elapsed().saturating_sub(at), |answer| answer.0);
            // Broken off, the siege has no answer to this.
            if answer.is_some() || !stop.load(Ordering::Relaxed) {
                asked.push(Asked { at, wait, answer: answer.map(|answer| answer.1) });
            }
            memory.push((begin.elapsed(), sensor.memory_bytes()?));
            ask_at += settings.every;
            if asked.last().is_some_and(|asked| asked.answer.is_none()) {
                break;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((asked, memory))
}
