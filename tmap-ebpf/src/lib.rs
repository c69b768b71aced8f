//! What tmap's kernel programs are made of: modules that the shipped programs (`main.rs`) and those of the
//! benchmarks (`tests/ebpf-bench`) share.
//!
//! ```text
//! frame -> parse -> filter -> (suppress) -> ring        every outcome has its counter
//!
//! programs -> pipeline -> slow_path -> { frame, filter, suppress, ring } -> { state, scratch, ... }
//! ```
//!
//! Modules import only from modules further right. Each BPF subprogram stands beside the function that it
//! wraps. A subprogram is a global function of the object (`extern "C"`, not mangled, not inlined). The
//! verifier checks it once, and knows nothing of its arguments; it would check a function of Rust's own, or
//! inlined code, again for every path that leads to it. Arguments are numbers, the program's context, and
//! addresses of plain words. Packets are found again through the context.
//!
//! Invariants:
//! - The return value never depends on the packet: XDP always passes, TC always says "go on".
//! - Packet bytes are only read.
//! - Nothing that two CPUs write shares a cache line.
//! - All producers of a CPU run with bottom halves disabled: XDP and TC ingress in the softirq of reception,
//!   TC egress under `rcu_read_lock_bh`. So a CPU's ring and counters have one writer at a time, except on
//!   PREEMPT_RT ([`CAUTIOUS`]).
#![no_std]
#![feature(asm_experimental_arch)]

mod atomic;
mod filter;
pub mod frame;
mod opaque;
pub mod pipeline;
mod ring;
mod scratch;
mod slow_path;
mod state;
pub mod stop;
mod suppress;

/// Whether this is the object for machines where programs of one CPU may interrupt each other (PREEMPT_RT)
/// or another CPU sees stores in any order (arm64). The loader then says which of the two the machine needs.
///
/// It is an object of its own because asking costs 1 to 2 ns a packet, which the other machines don't pay.
pub const CAUTIOUS: bool = cfg!(feature = "cautious");
