//! `tmap rtt`: round trips on interfaces or in captures, with the options of `live` and `read`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, error::ErrorKind};

use super::{
    CommonArgs,
    range::RangeArgs,
    report::ReportArgs,
    sensor::SensorArgs,
    sources, usage,
    values::{at_least_one, positive_time},
};
use crate::{
    config::{Config, ReadConfig},
    engine::rtt::Options,
};

#[derive(Debug, Args)]
pub(super) struct RttArgs {
    /// Captures, in any order; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "interface")]
    files: Vec<PathBuf>,
    /// Capture to read; give -r again for another one
    #[arg(short, long, value_name = "FILE", action = ArgAction::Append)]
    #[arg(conflicts_with_all = ["interface", "files"])]
    read: Vec<PathBuf>,
    /// Interface to watch; a,b or -i again for more; any: all that are up
    #[arg(short, long, value_name = "IFACE", action = ArgAction::Append, value_delimiter = ',')]
    interface: Vec<String>,
    #[command(flatten)]
    sensor: SensorArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Print only intervals and summaries, not every round trip
    #[arg(short, long)]
    summary: bool,
    /// Print the round trips of each whole interval of this length, e.g. 10s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    every: Option<Duration>,
    /// Measure echoes of bare acknowledgements too; they may include idle time
    #[arg(long, hide = true)]
    all_echoes: bool,
    /// Ignore echoes later than this
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_time)]
    max_rtt: Duration,
    /// Length of IPv4 prefixes in the summary
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(0..=32))]
    #[arg(default_value_t = Options::default().prefix_ip4)]
    prefix4: u8,
    /// Length of IPv6 prefixes in the summary
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(0..=128))]
    #[arg(default_value_t = Options::default().prefix_ip6)]
    prefix6: u8,
    /// Limit of connections held for round trips [default: by --memory, 65536 of 2G]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, hide = true)]
    rtt_connections: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

impl RttArgs {
    /// Checks and resolves the arguments.
    pub(super) fn config(self) -> Result<Config, clap::Error> {
        self.common.habits.check("rtt")?;
        if self.interface.is_empty() && self.files.is_empty() && self.read.is_empty() {
            let message = "name captures to read, or an interface to watch with -i";
            return Err(usage("rtt", ErrorKind::MissingRequiredArgument, message));
        }
        let filter = self.common.filter.clone().unwrap_or_default();
        let mut common = self.common.resolve("rtt", &filter, &ReportArgs::default())?;
        common.engine.rtt = Some(self.options(common.engine.idle_timeout_ns));
        if self.interface.is_empty() {
            let files = if self.files.is_empty() { &self.read } else { &self.files };
            let files = sources("rtt", files)?;
            self.sensor.refuse("rtt")?;
            let (from, to) = self.range.resolve("rtt")?;
            return Ok(Config::Read(ReadConfig { common, files, from, to, plot: None, shards: None }));
        }
        self.range.refuse("rtt")?;
        Ok(Config::Live(self.sensor.watch(common, self.interface)))
    }

    fn options(&self, idle_timeout_ns: u64) -> Options {
        let within = self.common.round_trips();
        let ns = |time: Duration| time.as_nanos().try_into().unwrap_or(u64::MAX);
        Options {
            quiet: self.all_echoes,
            expire_ns: ns(self.max_rtt),
            idle_timeout_ns,
            max_connections: self.rtt_connections.unwrap_or(within.max_connections),
            prefix_ip4: self.prefix4,
            prefix_ip6: self.prefix6,
            stream: !self.summary,
            interval_ns: self.every.map(ns),
            ..within
        }
    }
}
