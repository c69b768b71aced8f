//! The command line: raw arguments, and their way to a [`Config`].

mod rtt;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use jiff::{SignedDuration, tz::TimeZone};

use crate::{
    capture::{file::Source, xdp::XdpMode},
    config::{Common, Config, LiveConfig, ReadConfig},
    engine::{
        Options, Wanted,
        os::{
            database::{Database, Malformed},
            likeness::{FEATURES, Feature, Switches},
        },
    },
    filter::Program,
    report::Format,
};

const ABOUT: &str = "Counts the machines behind an address by their TCP timestamp clocks";

const EXAMPLES: &str = "\
Examples:
  tmap -i eth0                                   watch eth0 until ^C, then the summary
  tmap -i eth0 -i eth1 src net 10.0.0.0/8        two interfaces, one side of the traffic
  tmap -i eth0 --stats 1s --json                 JSON lines, the sensor's health every second
  tmap read capture.pcap.gz                      a capture, packed or not
  tmap rtt -i eth0 --egress                      round-trip times, as they are seen
  tmap read --filter 'port 80 or 443' a.pcapng b.pcapng
  tmap read --plot phases.svg a.pcapng           a picture of the clocks behind each address
  ssh router tcpdump -w - tcp | tmap read -      standard input

SIGUSR1 asks for a summary at once. Exit code: 0 all well; 1 failed, or finished with a
warning (a capture cut short, an interface gone); 2 a mistake on the command line.";

const NOTES: &str = "\
Filters are pcap-filter's words: src dst, host net (A/len, A mask M), port portrange, ip ip6 tcp,
and or not (&& || !), parentheses. `and` and `or` have equal rank, from left to right.

How to read the report: `a` is the measured tick rate and `b` the clock's value at the time given,
in ticks; skew is against this sensor's own clock; ± is one standard error. `up since` is when the
clock was at zero: on most systems that is the boot, and it may be earlier by any multiple of the
time that the counter takes to wrap. The average uptime of an address is the mean, over its
machines with a known boot time, of the summary's time minus boot. A load is a machine's share of
the address's connections.";

#[derive(Debug, Parser)]
#[command(name = "tmap", version, about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch network interfaces until ^C (`tmap -i eth0` is short for `tmap live -i eth0`)
    #[command(after_help = NOTES)]
    Live(LiveArgs),
    /// Read capture files: pcap and pcapng, plain or packed with gzip or zstd
    #[command(after_help = NOTES)]
    Read(ReadArgs),
    /// Take round-trip times from time stamps, on interfaces (-i) or captures
    #[command(after_help = rtt::NOTES)]
    Rtt(rtt::RttArgs),
}

#[derive(Debug, Args)]
struct LiveArgs {
    /// Interface to watch; may be given several times
    #[arg(short, long = "interface", value_name = "IFACE", required = true, action = ArgAction::Append)]
    interface: Vec<String>,
    /// Which segments to look at, e.g. src net 10.0.0.0/8 and not port 22 (quote parentheses and !)
    #[arg(value_name = "FILTER", conflicts_with = "filter")]
    words: Vec<String>,
    /// Where to attach: auto tries the driver (native) and falls back to generic
    #[arg(long, value_enum, default_value_t, value_name = "MODE", hide_possible_values = true)]
    xdp_mode: XdpMode,
    /// Read this host's outgoing segments too
    #[arg(long)]
    egress: bool,
    /// Stop after this long, e.g. 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    duration: Option<Duration>,
    /// Ring buffer per CPU, in bytes; K and M are understood
    #[arg(long, value_name = "BYTES", value_parser = size)]
    ring_size: Option<usize>,
    /// Hand every segment on, also those that can't change any result
    #[arg(long)]
    every_packet: bool,
    /// Engines at once, each with a share of the addresses and of the bounds below, for links on which
    /// one can't keep up [default: one for every four cores, 8 at the most]
    #[arg(long, value_name = "N", value_parser = shards)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ReadArgs {
    /// Captures in the order of time; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Draw phase against time, connections and machines, into this file (SVG)
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Threads beside the reader, each with a share of the addresses and of the bounds below
    /// [default: two per core, 8 at the most]
    #[arg(long, value_name = "N", value_parser = shards)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Which segments to look at, as one argument
    #[arg(short, long, value_name = "FILTER")]
    filter: Option<String>,
    /// JSON lines on standard output, and nothing else there
    #[arg(long)]
    json: bool,
    /// Keep to the outside of tunnels (VXLAN, Geneve, GTP-U, GRE, IP in IP, MPLS, PPPoE)
    #[arg(long)]
    no_decap: bool,
    /// List every connection in summaries (with --json)
    #[arg(long, requires = "json")]
    connections: bool,
    /// List machines that appear behind several addresses
    #[arg(long)]
    siblings: bool,
    /// Show the sensor's health this often, e.g. 1s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    stats: Option<Duration>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Estimation and bounds")]
struct EngineArgs {
    /// How far rates of one machine may differ beyond their standard errors, in ppm
    #[arg(long, value_name = "PPM", default_value_t = Options::default().rate_delta_ppm, value_parser = not_negative)]
    rate_delta: f64,
    /// How far offsets of one machine may differ beyond their standard errors, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().offset_delta_s, value_parser = not_negative)]
    offset_delta: f64,
    /// The most open flows held at once
    #[arg(long, value_name = "N", default_value_t = Options::default().max_flows, value_parser = at_least_one)]
    max_flows: usize,
    /// The most memory for flows' histories, e.g. 512M; flows thin out where it is used up
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = size)]
    history_memory: usize,
    /// The most source addresses held at once
    #[arg(long, value_name = "N", default_value_t = Options::default().max_addresses, value_parser = at_least_one)]
    max_addresses: usize,
    /// The most finished connections remembered per address
    #[arg(long, value_name = "N", default_value_t = Options::default().max_connections_per_address, value_parser = at_least_one)]
    max_connections: usize,
    /// A connection that is silent for this long is finished
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = positive_time)]
    idle_timeout: Duration,
    /// Leave evidence out when machines with random offsets are told apart by more than their clocks:
    /// syn, scale, mss, ttl (several with commas)
    #[arg(long, value_name = "EVIDENCE", value_delimiter = ',', value_parser = feature)]
    without: Vec<Feature>,
    /// Signatures of operating systems, in p0f's format, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    p0f: Option<PathBuf>,
}

/// A feature that may be left out. Rates and steadiness can't: no line holds clocks of two rates.
fn feature(name: &str) -> Result<Feature, String> {
    let optional = |f: &&Feature| !matches!(f, Feature::RateClass | Feature::Steadiness);
    let known = FEATURES.iter().filter(optional).find(|feature| feature.name() == name);
    known.copied().ok_or_else(|| "known are syn, scale, mss and ttl".to_owned())
}

/// Parses the command line.
///
/// # Errors
/// What clap makes of a mistake, of `--help` and of `--version`: its `exit` prints it and ends the
/// process with the right code.
pub fn config(arguments: impl IntoIterator<Item = OsString>) -> Result<Config, clap::Error> {
    let cli = Cli::try_parse_from(with_implied_live(arguments.into_iter().collect()))?;
    match cli.command {
        Command::Live(args) => {
            let filter = args.common.filter.clone().unwrap_or_else(|| args.words.join(" "));
            Ok(Config::Live(LiveConfig {
                common: args.common.resolve(&filter)?,
                interfaces: unique(args.interface),
                xdp_mode: args.xdp_mode,
                egress: args.egress,
                duration: args.duration,
                ring_bytes: args.ring_size,
                every_packet: args.every_packet,
                shards: args.shards,
            }))
        }
        Command::Read(args) => {
            let filter = args.common.filter.clone().unwrap_or_default();
            Ok(Config::Read(ReadConfig {
                common: args.common.resolve(&filter)?,
                files: sources(&args.files)?,
                plot: args.plot,
                shards: args.shards,
            }))
        }
        Command::Rtt(args) => args.config(),
    }
}

/// Where captures are read from.
fn sources(files: &[PathBuf]) -> Result<Vec<Source>, clap::Error> {
    let files: Vec<Source> = files.iter().map(|name| Source::new(name)).collect();
    if files.iter().filter(|&source| *source == Source::Stdin).count() > 1 {
        return Err(usage(ErrorKind::ValueValidation, "standard input (-) can be read only once"));
    }
    Ok(files)
}

/// `tmap -i eth0` means `tmap live -i eth0`.
fn with_implied_live(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let implied = arguments.get(1).and_then(|first| first.to_str()).is_some_and(|first| {
        first.starts_with('-') && !matches!(first, "-" | "-h" | "--help" | "-V" | "--version")
    });
    if implied {
        arguments.insert(1, "live".into());
    }
    arguments
}

/// Attaching twice to one interface would fail in a less clear way.
fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(names.len());
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

impl CommonArgs {
    #[allow(clippy::needless_update, reason = "the engine may gain settings that have no option here")]
    fn resolve(&self, filter: &str) -> Result<Common, clap::Error> {
        let engine = &self.engine;
        Ok(Common {
            decap: !self.no_decap,
            filter: Program::new(filter)
                .map_err(|error| usage(ErrorKind::ValueValidation, &error.to_string()))?,
            engine: Options {
                rate_delta_ppm: engine.rate_delta,
                offset_delta_s: engine.offset_delta,
                max_flows: engine.max_flows,
                max_history_bytes: engine.history_memory,
                max_addresses: engine.max_addresses,
                max_connections_per_address: engine.max_connections,
                idle_timeout_ns: engine.idle_timeout.as_nanos().try_into().unwrap_or(u64::MAX),
                evidence: engine.without.iter().fold(Switches::ALL, |all, &feature| all.without(feature)),
                signatures: engine.p0f.as_deref().map(signatures).transpose()?,
                ..Options::default()
            },
            format: if self.json { Format::Json } else { Format::Text },
            wanted: Wanted { connections: self.connections, siblings: self.siblings },
            stats: self.stats,
            zone: TimeZone::system(),
        })
    }
}

/// Reads a signature database.
fn signatures(path: &Path) -> Result<Arc<Database>, clap::Error> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("--p0f {}: {error}", path.display());
        usage(ErrorKind::ValueValidation, &message)
    };
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    text.parse().map(Arc::new).map_err(|error: Malformed| failed(&error))
}

fn usage(kind: ErrorKind, message: &str) -> clap::Error {
    Cli::command().error(kind, message)
}

/// More threads than this only take memory.
const MOST_SHARDS: usize = 256;

/// 1 to [`MOST_SHARDS`].
fn shards(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=MOST_SHARDS).contains(count));
    count.ok_or_else(|| format!("a number from 1 to {MOST_SHARDS}"))
}

/// `500ms`, `1s`, `2m`, `1h 30m`; a bare number is seconds.
fn positive_time(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => SignedDuration::try_from_secs_f64(seconds).ok(),
        Err(_) => text.parse::<SignedDuration>().ok(),
    };
    parsed
        .and_then(|time| Duration::try_from(time).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time such as 500ms, 1s or 5m".to_owned())
}

/// `65536`, `64K`, `4M`.
fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.trim_end_matches(['i', 'B']).to_ascii_uppercase() {
        upper if upper.ends_with('K') => (upper.trim_end_matches('K').to_owned(), 1 << 10),
        upper if upper.ends_with('M') => (upper.trim_end_matches('M').to_owned(), 1 << 20),
        upper if upper.ends_with('G') => (upper.trim_end_matches('G').to_owned(), 1 << 30),
        upper => (upper, 1),
    };
    let value: Option<usize> = digits.parse().ok();
    value
        .and_then(|value| value.checked_mul(unit))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size such as 65536, 64K or 4M".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "a number that isn't negative".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let value = text.parse().ok().filter(|value| *value > 0);
    value.ok_or_else(|| "a number, at least 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Config, clap::Error> {
        config(line.split(' ').map(OsString::from))
    }

    fn live(line: &str) -> LiveConfig {
        match parsed(line).unwrap_or_else(|error| panic!("{error}")) {
            Config::Live(live) => live,
            Config::Read(_) => panic!("{line} reads"),
        }
    }

    #[test]
    fn definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bare_interface_implies_live() {
        let config = live("tmap -i eth0 --json src net 10.0.0.0/8 --interface eth1 -i eth0");
        assert_eq!(config.interfaces, ["eth0", "eth1"]);
        assert_eq!(config.common.format, Format::Json);
        assert_eq!(config.common.filter, Program::new("src net 10.0.0.0/8").unwrap());
        assert_eq!(live("tmap live -i eth0").interfaces, ["eth0"]);
    }

    #[test]
    fn values_are_read_with_their_units() {
        let config =
            live("tmap -i e --stats 500ms --duration 2m --ring-size 64K --idle-timeout 10 --rate-delta 0.5");
        assert_eq!(config.common.stats, Some(Duration::from_millis(500)));
        assert_eq!(config.duration, Some(Duration::from_secs(120)));
        assert_eq!(config.ring_bytes, Some(65_536));
        assert_eq!(config.common.engine.idle_timeout_ns, 10_000_000_000);
        assert_eq!(config.common.engine.rate_delta_ppm, 0.5);
    }

    #[test]
    fn defaults_are_the_engines() {
        let engine = live("tmap -i e").common.engine;
        assert_eq!(format!("{engine:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn round_trips_are_taken_where_asked_for() {
        assert!(live("tmap -i eth0").common.engine.rtt.is_none());
        let config = live("tmap rtt -i eth0 -i eth1 --egress --max-rtt 2s --idle-timeout 60 --every 5s -s");
        let rtt = config.common.engine.rtt.expect("asked for");
        assert_eq!((rtt.expire_ns, rtt.idle_timeout_ns), (2_000_000_000, 60_000_000_000));
        assert_eq!((rtt.interval_ns, rtt.stream), (Some(5_000_000_000), false));
        for line in ["tmap rtt a.pcap b.pcap", "tmap rtt -r a.pcap -r b.pcap"] {
            let Ok(Config::Read(read)) = parsed(line) else { panic!("{line}") };
            assert_eq!((read.files.len(), read.common.engine.rtt.is_some()), (2, true), "{line}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "tmap live",
            "tmap read",
            "tmap -i e --stats 0s",
            "tmap -i e --stats -1s",
            "tmap -i e --duration soon",
            "tmap -i e --ring-size 0",
            "tmap -i e --rate-delta -1",
            "tmap -i e --rate-delta nan",
            "tmap -i e --max-flows 0",
            "tmap -i e --xdp-mode fast",
            "tmap -i e --connections",
            "tmap -i e prot 80",
            "tmap -i e port 80 --filter port",
            "tmap read - -",
            "tmap eth0",
            "tmap rtt",
            "tmap rtt -i eth0 a.pcap",
            "tmap rtt -r a.pcap b.pcap",
            "tmap rtt --egress a.pcap",
            "tmap rtt --prefix4 33 a.pcap",
        ] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
