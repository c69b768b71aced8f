//! The configuration of a run: the command line, checked and resolved.

use std::{io::Write, path::PathBuf, time::Duration};

use jiff::tz::TimeZone;
use tmap_common::Address;

use crate::{
    capture::{
        file::Location,
        xdp::{Promiscuous, XdpMode},
    },
    engine::{Options, Wanted},
    filter::Program,
    picture::{Kind, svg::Theme},
    report::{Format, Reporter, View},
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
    /// The command line, word by word, for pages that are saved.
    pub command: Vec<String>,
}

/// What `tmap top` shows.
#[derive(Clone, Debug)]
pub enum TopSource {
    /// Interfaces.
    Live(LiveConfig),
    /// Captures.
    Files(ReadConfig),
}

impl Config {
    /// The settings of both kinds of run.
    pub fn common(&self) -> &Common {
        match self {
            Self::Live(config) | Self::Top(TopConfig { source: TopSource::Live(config), .. }) => {
                &config.common
            }
            Self::Read(config) | Self::Top(TopConfig { source: TopSource::Files(config), .. }) => {
                &config.common
            }
        }
    }

    /// How many captures the run reads; 0 where it watches interfaces.
    pub fn captures(&self) -> usize {
        match self {
            Self::Read(ReadConfig { files, .. })
            | Self::Top(TopConfig { source: TopSource::Files(ReadConfig { files, .. }), .. }) => files.len(),
            Self::Live(_) | Self::Top(TopConfig { source: TopSource::Live(_), .. }) => 0,
        }
    }

    /// Whether all that the run tells goes to a file, and nothing to standard output.
    pub fn is_for_file(&self) -> bool {
        let page = self.common().page.as_ref().is_some_and(|page| page.path.is_some());
        let Self::Read(ReadConfig { plot: Some(plot), .. }) = self else { return page };
        page || (plot.is_alone && plot.out.is_some())
    }
}

/// Settings of both kinds of run.
#[derive(Clone, Debug)]
pub struct Common {
    /// The filter for segments.
    pub filter: Program,
    /// Whether tunnels are decapsulated.
    pub decap: bool,
    /// The memory that all of it may take, in bytes.
    pub memory_bytes: usize,
    /// Settings of the engine.
    pub engine: Options,
    /// The format of reports.
    pub format: Format,
    /// What summaries list in addition to addresses.
    pub wanted: Wanted,
    /// What summaries show, and in which order.
    pub view: View,
    /// The page that the run makes instead of a report; `None` for a report.
    pub page: Option<PageConfig>,
    /// Whether the process gives up what it doesn't need.
    pub sandbox: bool,
    /// How often statistics are printed.
    pub stats: Option<Duration>,
    /// The time zone of times in text reports.
    pub zone: TimeZone,
}

impl Common {
    /// A reporter as these settings want it.
    pub fn reporter<W: Write>(&self, out: W) -> Reporter<W> {
        Reporter::new(out, self.format, self.zone.clone()).with_view(self.view.clone())
    }
}

/// The settings of a page.
#[derive(Clone, Debug)]
pub struct PageConfig {
    /// The file that it is written to; `None`: standard output.
    pub path: Option<PathBuf>,
    /// The command line, word by word.
    pub command: Vec<String>,
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
    /// A picture to draw.
    pub plot: Option<Picture>,
    /// Number of engine threads; `None`: chosen by the number of cores.
    pub shards: Option<usize>,
}

/// A picture to draw.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What it shows.
    pub kind: Kind,
    /// Its file; `None`: standard output.
    pub out: Option<PathBuf>,
    /// The address that it is about; `None`: all.
    pub address: Option<Address>,
    /// How it looks.
    pub theme: Theme,
    /// Whether it takes the place of the report.
    pub is_alone: bool,
}

impl Picture {
    /// Whether it is written as PNG instead of SVG, by the name of its file.
    pub fn is_png(&self) -> bool {
        let ending = self.out.as_ref().and_then(|path| path.extension());
        ending.is_some_and(|ending| ending.eq_ignore_ascii_case("png"))
    }
}
