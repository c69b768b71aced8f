//! The configuration of a run: the command line, checked and resolved.

use std::{path::PathBuf, time::Duration};

use jiff::tz::TimeZone;

use crate::{
    capture::{
        file::Location,
        xdp::{Promiscuous, XdpMode},
    },
    engine::{Options, Wanted},
    filter::Program,
    report::{Format, View},
    time::When,
};

/// One run.
#[derive(Clone, Debug)]
pub enum Config {
    /// Watch interfaces.
    Live(LiveConfig),
    /// Read captures.
    Read(ReadConfig),
    /// Show either on a screen.
    Top(TopConfig),
}

/// The settings of `tmap top`.
#[derive(Clone, Debug)]
pub struct TopConfig {
    /// What is shown.
    pub source: TopSource,
    /// How often figures are renewed.
    pub refresh: Duration,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// Whether there are colours.
    pub colour: bool,
    /// How many times faster than it was recorded a capture is shown; `None`: as fast as it can be read.
    pub speed: Option<f64>,
}

/// What `tmap top` shows.
#[derive(Clone, Debug)]
pub enum TopSource {
    /// Interfaces.
    Live(LiveConfig),
    /// Captures.
    Files(ReadConfig),
}

/// Settings of both kinds of run.
#[derive(Clone, Debug)]
pub struct Common {
    /// The filter for segments.
    pub filter: Program,
    /// Whether tunnels are decapsulated.
    pub decap: bool,
    /// Settings of the engine.
    pub engine: Options,
    /// The format of reports.
    pub format: Format,
    /// What summaries list in addition to addresses.
    pub wanted: Wanted,
    /// What summaries show, and in which order.
    pub view: View,
    /// How often statistics are printed.
    pub stats: Option<Duration>,
    /// The time zone of times in text reports.
    pub zone: TimeZone,
}

/// The settings of `tmap live`.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// Settings of both kinds of run.
    pub common: Common,
    /// Names of the interfaces to watch, or `any`.
    pub interfaces: Vec<String>,
    /// Whether to wait for interfaces that are not there.
    pub wait: bool,
    /// Which interfaces are set to promiscuous mode.
    pub promiscuous: Promiscuous,
    /// The hook that sees received frames.
    pub xdp_mode: XdpMode,
    /// Whether outgoing segments are watched too.
    pub egress: bool,
    /// How often a sign of life is printed.
    pub every: Option<Duration>,
    /// How long to run; `None`: until a signal.
    pub duration: Option<Duration>,
    /// Ring size per CPU in bytes; `None`: chosen by the number of CPUs.
    pub ring_bytes: Option<usize>,
    /// Whether the kernel passes repeats on instead of suppressing them.
    pub every_packet: bool,
    /// Number of engine threads; `None`: chosen by the number of cores.
    pub shards: Option<usize>,
}

/// The settings of `tmap read`.
#[derive(Clone, Debug)]
pub struct ReadConfig {
    /// Settings of both kinds of run.
    pub common: Common,
    /// The captures, in any order.
    pub files: Vec<Location>,
    /// Packets before this time are ignored.
    pub from: Option<When>,
    /// Packets after this time are ignored.
    pub to: Option<When>,
    /// The file for a picture of the clocks.
    pub plot: Option<PathBuf>,
    /// Number of engine threads; `None`: chosen by the number of cores.
    pub shards: Option<usize>,
}
