//! tmap's kernel side: programs that turn passing segments into records and change nothing.
//!
//! ```text
//! frame -> parse -> filter -> (suppress) -> ring        every way out has its counter
//! ```
//!
//! Invariants:
//! - The verdict never depends on the packet: XDP always passes, TC always says "go on".
//! - Packet bytes are only read.
//! - Nothing that two CPUs write shares a cache line.
//! - All producers of a CPU run with bottom halves disabled: XDP in the driver's softirq, TC egress
//!   under `rcu_read_lock_bh`. So a CPU's ring and counters have one writer at a time, except on
//!   PREEMPT_RT, for which there is `cautious.rs`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod calls;
mod counters;
mod filter;
mod frame;
mod pipeline;
mod programs;
mod ring;
mod scratch;
mod suppress;

/// See `cautious.rs`.
const CAUTIOUS: bool = false;
