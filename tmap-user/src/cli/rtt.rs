//! `tmap rtt`: live on interfaces or on captures, with the same options as `live` and `read`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, error::ErrorKind};

use super::{CommonArgs, at_least_one, positive_time, size, sources, unique, usage};
use crate::{
    capture::xdp::XdpMode,
    config::{Config, LiveConfig, ReadConfig},
    engine::rtt::Options,
};

pub const NOTES: &str = "\
A round trip is the time from the first segment with a TSval to the first that echoes it: from
this sensor to the host that answers, and back. With the sensor in the middle of a path, add the
round trips of both sides. Both directions must be seen: on a router give both interfaces, on a
host add --egress; a filter that names one side (src, dst) hides the other.

`host` is what the answering host's own TCP computes: longer, since it includes the other half of
the path, the peer's application and held-back acknowledgements. It takes the host's tick rate,
which is known after some seconds of its traffic.

Jitter is the mean difference between one round trip and the next of a connection. The summary
lists what no clock makes (TSvals that go back or leap, echoes of values never sent) with the likely
cause.";

#[derive(Debug, Args)]
pub struct RttArgs {
    /// Captures in the order of time; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "interface", required_unless_present_any = ["interface", "read"])]
    files: Vec<PathBuf>,
    /// A capture; may be given several times
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["interface", "files"], action = ArgAction::Append)]
    read: Vec<PathBuf>,
    /// Interface to watch; may be given several times
    #[arg(short, long, value_name = "IFACE", action = ArgAction::Append)]
    interface: Vec<String>,
    /// Where to attach: auto tries the driver (native) and falls back to generic
    #[arg(long, value_enum, default_value_t, value_name = "MODE", hide_possible_values = true)]
    xdp_mode: XdpMode,
    /// Read this host's outgoing segments too
    #[arg(long, conflicts_with_all = ["files", "read"])]
    egress: bool,
    /// Stop after this long, e.g. 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = positive_time, conflicts_with_all = ["files", "read"])]
    duration: Option<Duration>,
    /// Ring buffer per CPU, in bytes; K and M are understood
    #[arg(long, value_name = "BYTES", value_parser = size, conflicts_with_all = ["files", "read"])]
    ring_size: Option<usize>,
    /// Print no single round trips, only intervals and summaries
    #[arg(short, long)]
    summary: bool,
    /// Sum up this often, e.g. 10s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    every: Option<Duration>,
    /// Take echoes of bare acknowledgements too: more samples, which include the time until the
    /// other side had something to say
    #[arg(long)]
    all_echoes: bool,
    /// An echo later than this is no round trip
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_time)]
    max_rtt: Duration,
    /// Length of the IPv4 prefixes to sum up by
    #[arg(long, value_name = "BITS", default_value_t = Options::default().prefix_ip4, value_parser = clap::value_parser!(u8).range(0..=32))]
    prefix4: u8,
    /// Length of the IPv6 prefixes to sum up by
    #[arg(long, value_name = "BITS", default_value_t = Options::default().prefix_ip6, value_parser = clap::value_parser!(u8).range(0..=128))]
    prefix6: u8,
    /// The most connections held for round trips
    #[arg(long, value_name = "N", default_value_t = Options::default().max_connections, value_parser = at_least_one)]
    rtt_connections: usize,
    #[command(flatten)]
    common: CommonArgs,
}

impl RttArgs {
    /// What is to be run.
    pub fn config(self) -> Result<Config, clap::Error> {
        let filter = self.common.filter.clone().unwrap_or_default();
        let mut common = self.common.resolve(&filter)?;
        common.engine.rtt = Some(self.options(common.engine.idle_timeout_ns));
        if self.interface.is_empty() {
            let files = if self.files.is_empty() { &self.read } else { &self.files };
            return Ok(Config::Read(ReadConfig { common, files: sources(files)?, plot: None, shards: None }));
        }
        if self.common.siblings {
            return Err(usage(ErrorKind::ArgumentConflict, "--siblings belongs to live and read"));
        }
        Ok(Config::Live(LiveConfig {
            common,
            interfaces: unique(self.interface),
            xdp_mode: self.xdp_mode,
            egress: self.egress,
            duration: self.duration,
            ring_bytes: self.ring_size,
            every_packet: false,
            shards: None,
        }))
    }

    fn options(&self, idle_timeout_ns: u64) -> Options {
        let ns = |time: Duration| time.as_nanos().try_into().unwrap_or(u64::MAX);
        Options {
            quiet: self.all_echoes,
            expire_ns: ns(self.max_rtt),
            idle_timeout_ns,
            max_connections: self.rtt_connections,
            prefix_ip4: self.prefix4,
            prefix_ip6: self.prefix6,
            stream: !self.summary,
            interval_ns: self.every.map(ns),
            ..Options::default()
        }
    }
}
