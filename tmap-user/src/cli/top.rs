//! The options of `tmap top`.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, error::ErrorKind};

use super::{
    CommonArgs,
    range::RangeArgs,
    report::ReportArgs,
    sensor::SensorArgs,
    sources, spoken, usage,
    values::{positive_time, shards, speed},
};
use crate::{
    config::{Common, Config, LiveConfig, ReadConfig, TopConfig, TopSource},
    engine::rtt,
};

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Interface to watch; a,b or -i again for more; any: all that are up
    #[arg(short, long = "interface", value_name = "IFACE", action = ArgAction::Append)]
    #[arg(value_delimiter = ',')]
    interface: Vec<String>,
    /// Captures to show or, with -i, a filter
    #[arg(value_name = "FILE|FILTER")]
    words: Vec<String>,
    /// Show a capture as fast as it was recorded
    #[arg(long, conflicts_with = "speed")]
    realtime: bool,
    /// Show a capture so many times faster than it was recorded
    #[arg(long, value_name = "FACTOR", value_parser = speed, allow_negative_numbers = true)]
    speed: Option<f64>,
    /// Measure round-trip times, too
    #[arg(long)]
    rtt: bool,
    /// Renew figures this often
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = positive_time)]
    refresh: Duration,
    /// Use the mouse: a click chooses, the wheel scrolls (and marking text takes Shift)
    #[arg(long)]
    mouse: bool,
    #[command(flatten)]
    sensor: SensorArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Engine threads, which share addresses and limits
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true, hide = true)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

/// The length of the intervals whose round trips the screen shows over time, in nanoseconds.
const ROUND_TRIPS_EVERY_NS: u64 = 1_000_000_000;

/// No screen is drawn more often than this.
const LEAST_REFRESH: Duration = Duration::from_millis(100);

impl TopArgs {
    /// Checks and resolves the arguments; `words` is the command line as the user wrote it.
    pub(super) fn config(self, words: &[OsString]) -> Result<Config, clap::Error> {
        self.common.habits.check("top")?;
        let message = "a screen has no JSON and no statistics lines; use `tmap live` or `tmap read`";
        self.common.refuse_lines("top", message)?;
        let is_live = !self.interface.is_empty();
        if !is_live && self.words.is_empty() {
            let message = "name an interface to watch (-i eth0), or captures to show";
            return Err(usage("top", ErrorKind::MissingRequiredArgument, message));
        }
        if is_live && (self.realtime || self.speed.is_some()) {
            let message = "--speed and --realtime are for captures";
            return Err(usage("top", ErrorKind::ArgumentConflict, message));
        }
        let (refresh, mouse) = (self.refresh.max(LEAST_REFRESH), self.mouse);
        let speed = self.speed.or_else(|| self.realtime.then_some(1.0));
        let source = if is_live { self.live()? } else { self.files()? };
        let colour = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Config::Top(TopConfig { source, refresh, mouse, colour, speed, command: spoken(words) }))
    }

    fn common(&self, filter: &str) -> Result<Common, clap::Error> {
        let mut common = self.common.resolve("top", filter, &ReportArgs::default())?;
        common.engine.rtt = self.rtt.then(|| rtt::Options {
            interval_ns: Some(ROUND_TRIPS_EVERY_NS),
            ..self.common.round_trips().for_pictures()
        });
        Ok(common)
    }

    fn live(self) -> Result<TopSource, clap::Error> {
        self.range.refuse("top")?;
        let filter = match (&self.common.filter, self.words.is_empty()) {
            (Some(_), false) => {
                let message = "give the filter once: as words, or by --filter";
                return Err(usage("top", ErrorKind::ArgumentConflict, message));
            }
            (Some(filter), true) => filter.clone(),
            (None, _) => self.words.join(" "),
        };
        let common = self.common(&filter)?;
        Ok(TopSource::Live(LiveConfig { shards: self.shards, ..self.sensor.watch(common, self.interface) }))
    }

    fn files(self) -> Result<TopSource, clap::Error> {
        self.sensor.refuse("top")?;
        let (from, to) = self.range.resolve("top")?;
        let common = self.common(self.common.filter.as_deref().unwrap_or_default())?;
        let files: Vec<PathBuf> = self.words.iter().map(PathBuf::from).collect();
        Ok(TopSource::Files(ReadConfig {
            common,
            files: sources("top", &files)?,
            from,
            to,
            plot: None,
            shards: self.shards,
        }))
    }
}
