//! `cargo xtask bench`: what tmap costs, as ratios and differences within one run.
//!
//! A benchmark is a function from [`Settings`] to a [`Report`]; [`ALL`] lists them. Contestants take
//! turns ([`rounds`]), the first of them is the baseline, and where that drifts no verdict is given.

pub mod addresses;
pub mod child;
pub mod curve;
pub mod engine;
pub mod file;
pub mod kernel;
pub mod machine;
pub mod object;
pub mod packets;
pub mod picture;
pub mod report;
pub mod ring;
pub mod rounds;
pub mod scale;
pub mod sender;
pub mod steps;
pub mod stream;
pub mod think;
pub mod top;
pub mod trace;
pub mod watcher;
pub mod wire;

use anyhow::Result;

pub use report::{Bar, Report, Row};
pub use rounds::{Figure, Series};

/// What the command line says to every benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often the contestants take turns.
    pub rounds: usize,
    /// Less of everything: to see that a benchmark works.
    pub quick: bool,
}

/// One benchmark.
#[derive(Debug)]
pub struct Bench {
    /// As the command line names it.
    pub name: &'static str,
    /// One line on what it measures.
    pub about: &'static str,
    /// Does it.
    pub run: fn(&Settings) -> Result<Report>,
}

/// Every benchmark, in the order in which they run.
pub const ALL: &[Bench] = &[
    Bench {
        name: "kernel",
        about: "nanoseconds per packet over a bare XDP_PASS, for each class of packet; verified instructions",
        run: kernel::run,
    },
    Bench {
        name: "steps",
        about: "the program stopped after each of its steps: one frame again and again, and live on a veth",
        run: steps::run,
    },
    Bench {
        name: "ring",
        about: "nanoseconds per record into the ring and out of it, and losses, by how it is drained",
        run: ring::run,
    },
    Bench {
        name: "live",
        about: "a veth in driver mode, a million flows by Zipf's law: tmap over a program that only counts",
        run: wire::live,
    },
    Bench {
        name: "versus",
        about: "a paced veth watched by tmap and by others: added nanoseconds per packet, CPU time, losses",
        run: wire::versus,
    },
    Bench {
        name: "top",
        about: "the screen, renewed twice and ten times a second, over live: percent of a core, losses",
        run: top::run,
    },
    Bench { name: "sweep", about: "the same at one packet rate after the other", run: wire::sweep },
    Bench {
        name: "engine",
        about: "nanoseconds per record from the rings' slots into the flow table; bytes per flow",
        run: engine::run,
    },
    Bench {
        name: "file",
        about: "the same two million packets from a file through tmap, p0f and tcpdump",
        run: file::fixed,
    },
    Bench {
        name: "random",
        about: "the same as file, with random offsets: two million packets, delays of a LAN",
        run: file::random,
    },
    Bench {
        name: "addresses",
        about: "time and memory for a hundred to 100,000 addresses with ten random-offset connections each",
        run: addresses::run,
    },
    Bench { name: "scale", about: "cost and memory against flows, addresses and cores", run: scale::run },
    Bench {
        name: "think",
        about: "microseconds per connection of analysis, by regime, connections, addresses, spans and machines",
        run: think::run,
    },
    Bench {
        name: "curve",
        about: "microseconds per connection of analysis, by the number of an address's short connections",
        run: curve::run,
    },
];
