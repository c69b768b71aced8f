//! `tmap report`: one HTML page about captures or interfaces, with the options of `live` and `read`.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use clap::{ArgAction, Args, error::ErrorKind};

use super::{
    CommonArgs, range::RangeArgs, report::ReportArgs, sensor::SensorArgs, sources, spoken, usage,
    values::shards,
};
use crate::{
    config::{Common, Config, LiveConfig, PageConfig, ReadConfig},
    engine::Wanted,
};

#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// Captures, in any order; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "interface")]
    files: Vec<PathBuf>,
    /// Capture to read; give -r again for another one
    #[arg(short, long, value_name = "FILE", action = ArgAction::Append)]
    #[arg(conflicts_with_all = ["interface", "files"])]
    read: Vec<PathBuf>,
    /// Write the page to this file; - is standard output
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Interface to watch; a,b or -i again for more; any: all that are up
    #[arg(short, long, value_name = "IFACE", action = ArgAction::Append, value_delimiter = ',')]
    interface: Vec<String>,
    #[command(flatten)]
    sensor: SensorArgs,
    /// Measure round trips on interfaces too; in captures they are measured anyway
    #[arg(long)]
    rtt: bool,
    #[command(flatten)]
    range: RangeArgs,
    /// Engine threads, which share addresses and limits [default: chosen by the number of cores]
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true, hide = true)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

impl PageArgs {
    /// Checks and resolves the arguments; `words` is the command line as the user wrote it.
    pub(super) fn config(self, words: &[OsString]) -> Result<Config, clap::Error> {
        self.common.habits.check("report")?;
        let no_sources = self.interface.is_empty() && self.files.is_empty() && self.read.is_empty();
        if no_sources {
            let message = "name captures to read, or an interface to watch with -i";
            return Err(usage("report", ErrorKind::MissingRequiredArgument, message));
        }
        let message = "the report is a page; --json and --stats are for `tmap live` and `tmap read`";
        self.common.refuse_lines("report", message)?;
        let mut common = self.common(words)?;
        if self.interface.is_empty() {
            self.sensor.refuse("report")?;
            let (from, to) = self.range.resolve("report")?;
            common.engine.rtt = Some(self.common.round_trips().for_pictures());
            let files = if self.files.is_empty() { &self.read } else { &self.files };
            return Ok(Config::Read(ReadConfig {
                common,
                files: sources("report", files)?,
                from,
                to,
                plot: None,
                shards: self.shards,
            }));
        }
        self.range.refuse("report")?;
        common.engine.rtt = self.rtt.then(|| self.common.round_trips().for_pictures());
        Ok(Config::Live(LiveConfig { shards: self.shards, ..self.sensor.watch(common, self.interface) }))
    }

    /// The settings of both kinds of run, with those of the page.
    fn common(&self, words: &[OsString]) -> Result<Common, clap::Error> {
        let filter = self.common.filter.clone().unwrap_or_default();
        let mut common = self.common.resolve("report", &filter, &ReportArgs::default())?;
        common.wanted = Wanted { connections: true, siblings: true };
        let path = match self.output.as_deref() {
            Some(path) if path != Path::new("-") => Some(path.to_owned()),
            // Nobody reads HTML on a terminal.
            None if io::stdout().is_terminal() => {
                let message = "name the file of the page: -o report.html";
                return Err(usage("report", ErrorKind::MissingRequiredArgument, message));
            }
            _ => None,
        };
        common.page = Some(PageConfig { path, command: spoken(words) });
        Ok(common)
    }
}
