//! The same programs for machines where programs of one CPU may interrupt each other (PREEMPT_RT) or another
//! CPU sees stores in any order (arm64). Which of the two, the loader says. By themselves, because asking
//! costs the others 1 to 2 ns a packet.
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

/// Whether the loader says what the machine needs; else it needs nothing.
const CAUTIOUS: bool = true;
