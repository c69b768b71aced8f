//! What a run is to do: the command line, checked and resolved.

use std::{path::PathBuf, time::Duration};

use jiff::tz::TimeZone;

use crate::{
    capture::{file::Source, xdp::XdpMode},
    engine::{Options, Wanted},
    filter::Program,
    report::Format,
};

/// One run.
#[derive(Clone, Debug)]
pub enum Config {
    /// Watch interfaces.
    Live(LiveConfig),
    /// Read captures.
    Read(ReadConfig),
}

/// What both kinds of run share.
#[derive(Clone, Debug)]
pub struct Common {
    /// Which segments are wanted.
    pub filter: Program,
    /// Whether to look into tunnels.
    pub decap: bool,
    /// Settings of the engine.
    pub engine: Options,
    /// How to report.
    pub format: Format,
    /// What summaries list beside the addresses.
    pub wanted: Wanted,
    /// How often to show statistics.
    pub stats: Option<Duration>,
    /// The time zone of times told to people.
    pub zone: TimeZone,
}

/// `tmap live`.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// What both kinds share.
    pub common: Common,
    /// Names of interfaces.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub xdp_mode: XdpMode,
    /// Whether outgoing segments are read as well.
    pub egress: bool,
    /// When to stop by itself.
    pub duration: Option<Duration>,
    /// Ring size per CPU in bytes, where the user set one.
    pub ring_bytes: Option<usize>,
    /// Whether segments that can't change any result are handed on, too.
    pub every_packet: bool,
    /// Threads that have the engine; as many as are useful where the user doesn't say.
    pub shards: Option<usize>,
}

/// `tmap read`.
#[derive(Clone, Debug)]
pub struct ReadConfig {
    /// What both kinds share.
    pub common: Common,
    /// The captures, in the order of time.
    pub files: Vec<Source>,
    /// Where to draw the clocks, if anywhere.
    pub plot: Option<PathBuf>,
    /// Threads that have the engine; as many as are useful where the user doesn't say.
    pub shards: Option<usize>,
}
