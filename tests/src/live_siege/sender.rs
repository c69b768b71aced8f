//! The thread that sends the traffic of victims, each frame at its time.
//!
//! It sleeps until a frame is due, stamps it, and sends it. As it stamps by the time that it is then, it need
//! not be on time; it must only not be interrupted in between. So it has real-time priority, and a CPU
//! without the flood where there are several.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tmap::report::number::grouped;
use tmap_common::Link;

use super::{
    Halt, priority,
    socket::{FrameSocket, Handed},
    traffic::Traffic,
};
use crate::{bench::machine::Pinned, net::namespaces::Namespace, wire::frame::frame};

/// The longest sleep, so that the end of the siege is noticed.
const NAP: Duration = Duration::from_millis(20);

/// From its stamp to the end of sending, a frame should take no longer than this: a tenth of a tick.
const PROMPT: Duration = Duration::from_micros(100);

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) frames: Handed,
    /// Connections of victims that began.
    pub(super) connections: u64,
    /// Whether the thread had real-time priority.
    pub(super) has_priority: bool,
    /// How long the slowest frame took from its stamp to the end of sending.
    pub(super) slowest: Duration,
    /// How many took longer than [`PROMPT`].
    pub(super) slow: u64,
}

impl Sent {
    /// How promptly it was sent, in words.
    pub(super) fn describe(&self) -> String {
        format!(
            "{} frames of victims and their attackers; from stamp to the end of sending, {} took longer than \
             {} µs, {:.2} ms at most; {} real-time priority",
            grouped(self.frames.taken + self.frames.refused),
            grouped(self.slow),
            PROMPT.as_micros(),
            1e3 * self.slowest.as_secs_f64(),
            if self.has_priority { "with" } else { "without" },
        )
    }
}

/// Sends until the siege ends.
///
/// # Errors
/// What the kernel says.
pub(super) fn run(namespace: &Namespace, mut traffic: Traffic, halt: &AtomicBool) -> Result<Sent> {
    let _halt = Halt(halt);
    namespace.enter();
    let _pinned = Pinned::to(thread::available_parallelism()?.get() - 1)?;
    let socket = FrameSocket::open()?;
    let mut sent = Sent { has_priority: priority::raise(), ..Sent::default() };
    let begin = Instant::now();
    while !halt.load(Ordering::Relaxed) {
        let due = begin + Duration::from_nanos(traffic.due_ns());
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early.min(NAP));
            if early > NAP {
                continue;
            }
        }
        let now = Instant::now();
        if let Some(segment) = traffic.next(now.duration_since(begin).as_nanos() as u64) {
            // Unless the sensor is in the driver, it has seen the frame when the call returns.
            sent.frames += socket.send(&frame(&segment, Link::Ethernet))?;
            let took = now.elapsed();
            sent.slowest = sent.slowest.max(took);
            sent.slow += u64::from(took > PROMPT);
        }
    }
    sent.connections = traffic.opened();
    Ok(sent)
}
