//! The command line: raw arguments, checked and turned into a [`Config`].

mod rtt;
mod sensor;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{
    ArgAction, Args, CommandFactory, Parser, Subcommand,
    error::{ContextKind, ErrorKind},
};
use jiff::{SignedDuration, tz::TimeZone};

use crate::{
    capture::{file::Location, xdp::XdpMode},
    config::{Common, Config, LiveConfig, ReadConfig},
    engine::{
        Options, Wanted,
        os::{
            database::{Database, Malformed},
            likeness::{FEATURES, Feature, Switches},
        },
    },
    filter::Program,
    report::{End, Format, Sort, View},
};

const ABOUT: &str = "Counts the machines behind an IP address by their TCP timestamp clocks";

const EXAMPLES: &str = "\
Examples:
  tmap -i eth0                                   watch eth0; ^C ends with a summary
  tmap -i eth0 -i eth1 src net 10.0.0.0/8        watch two interfaces, one side only
  tmap -i eth0 --stats 1s --json                 print JSON lines, counters every second
  tmap read capture.pcap.gz                      read a capture, compressed or not
  tmap rtt -i eth0 --egress                      print round-trip times as they are seen
  tmap read --filter 'port 80 or 443' a.pcapng b.pcapng
  tmap read --plot phases.svg a.pcapng           draw the clocks behind each address
  ssh router tcpdump -w - tcp | tmap read -      read standard input

Watching an interface needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
The signal SIGUSR1 prints a summary at once.
Exit code: 0 success; 1 failed, or finished with a warning (such as a truncated capture);
2 a mistake on the command line.";

const NOTES: &str = "\
Filters use pcap-filter's words: src dst, host net (A/len, A mask M), port portrange, ip ip6 tcp
proto, and or not (&& || !), parentheses. `and` and `or` have equal rank, from left to right.

How to read the report: every machine has a clock that counts ticks, and its TCP timestamps show
the count (TSval).
  clock     the measured tick rate; skew is its deviation from the nominal rate, measured with
            this sensor's own clock
  offset    a number that the system adds to the count: fixed per machine, or random per pair of
            addresses or per connection; tmap counts machines by offset or, where it is random,
            by phase and skew
  TSval     the clock's count at the time given, where offsets are fixed
  phase     the position within a tick at the time given, where offsets are random
  up since  when the count was zero. On most systems that is the boot. It may be earlier by any
            multiple of the time that the counter takes to wrap
  (50.0 %)  the machine's share of the connections of its address (its load)
± is one standard error; `90 % sure: 4 to 6` is a 90 % interval. A clock shows only in connections
of at least 2 s and 5 segments. The average uptime of an address is the mean, over its machines
with a known boot time, of the summary's time minus boot; a machine that rebooted counts once.";

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
    /// Read captures: pcap or pcapng, plain or compressed with gzip or zstd
    #[command(after_help = NOTES)]
    Read(ReadArgs),
    /// Measure round-trip times by TCP timestamps, on interfaces (-i) or in captures
    #[command(after_help = rtt::NOTES)]
    Rtt(rtt::RttArgs),
}

#[derive(Debug, Args)]
struct LiveArgs {
    /// Interface to watch; a,b or -i again for more; any: all that are up
    #[arg(short, long = "interface", value_name = "IFACE", required = true, action = ArgAction::Append)]
    #[arg(value_delimiter = ',')]
    interface: Vec<String>,
    /// Use only segments that match, e.g. src net 10.0.0.0/8 and not port 22
    #[arg(value_name = "FILTER", conflicts_with = "filter")]
    words: Vec<String>,
    /// Hook: native or generic XDP, tc (beside other programs), or auto
    #[arg(long, value_enum, default_value_t, value_name = "MODE", hide_possible_values = true)]
    xdp_mode: XdpMode,
    /// Watch outgoing segments too (XDP sees only incoming ones)
    #[arg(long)]
    egress: bool,
    #[command(flatten)]
    sensor: sensor::SensorArgs,
    /// Print a sign of life this often, e.g. 60s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    every: Option<Duration>,
    /// Stop after this time, e.g. 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    duration: Option<Duration>,
    /// Size of the ring buffer per CPU, e.g. 8M; rounded up to a power of two, at least 2K
    #[arg(long, value_name = "BYTES", value_parser = size, allow_negative_numbers = true)]
    ring_size: Option<usize>,
    /// For debugging: do not suppress repeats in the kernel
    #[arg(long)]
    every_packet: bool,
    /// Engine threads, which share addresses and limits [default: cores / 4, at most 8]
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ReadArgs {
    /// Captures in order of time; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Draw phase against time into this file, as SVG
    #[arg(long, value_name = "FILE.svg", value_parser = picture)]
    plot: Option<PathBuf>,
    /// Engine threads, which share addresses and limits [default: 2 per core, at most 8]
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Use only segments that match; quote the filter as one argument
    #[arg(short, long, value_name = "FILTER")]
    filter: Option<String>,
    /// Print JSON lines, and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// Do not decapsulate tunnels (VXLAN, GRE, MPLS, PPPoE and others)
    #[arg(long)]
    no_decap: bool,
    /// Tell everything about each machine: evidence, handshake, peers, exact rate
    #[arg(short, long)]
    verbose: bool,
    /// List the addresses in this order: machines, connections, address, seen, uptime
    #[arg(long, value_enum, value_name = "ORDER", hide_possible_values = true)]
    sort: Option<Sort>,
    /// List at most so many addresses [default: 40; with --json: all]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    top: Option<usize>,
    /// Leave out addresses with fewer machines
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_machines: u32,
    /// List every connection with its machine, first time and length
    #[arg(long)]
    connections: bool,
    /// List the connections from this end only, e.g. 198.51.100.1:53042
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    connection: Option<End>,
    /// List machines seen behind several addresses
    #[arg(long)]
    siblings: bool,
    /// Print frame counters, losses and memory this often, e.g. 1s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    stats: Option<Duration>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Estimation and limits")]
struct EngineArgs {
    /// Tolerance for the rates of a machine, beyond standard errors
    #[arg(long, value_name = "PPM", value_parser = not_negative, allow_negative_numbers = true)]
    #[arg(default_value_t = Options::default().rate_delta_ppm)]
    rate_delta: f64,
    /// Tolerance for the offsets of a machine, beyond standard errors
    #[arg(long, value_name = "SECONDS", value_parser = not_negative, allow_negative_numbers = true)]
    #[arg(default_value_t = Options::default().offset_delta_s)]
    offset_delta: f64,
    /// Limit of open flows
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    #[arg(default_value_t = Options::default().max_flows)]
    max_flows: usize,
    /// Limit of memory for history, at which flows drop every other point
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = size, allow_negative_numbers = true)]
    history_memory: usize,
    /// Limit of source addresses
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    #[arg(default_value_t = Options::default().max_addresses)]
    max_addresses: usize,
    /// Limit of finished connections kept per address
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    #[arg(default_value_t = Options::default().max_connections_per_address)]
    max_connections: usize,
    /// Time without segments after which a connection is finished
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = positive_time)]
    idle_timeout: Duration,
    /// Do not tell machines apart by these: syn, scale, mss, ttl (comma-separated)
    #[arg(long, value_name = "EVIDENCE", value_delimiter = ',', value_parser = feature)]
    without: Vec<Feature>,
    /// OS signatures in p0f's format, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    p0f: Option<PathBuf>,
}

/// A feature that the user may switch off. Rates and steadiness are always used: no line holds clocks of
/// two rates.
fn feature(name: &str) -> Result<Feature, String> {
    let optional = |f: &&Feature| !matches!(f, Feature::RateClass | Feature::Steadiness);
    let known = FEATURES.iter().filter(optional).find(|feature| feature.name() == name);
    known.copied().ok_or_else(|| "expected syn, scale, mss or ttl".to_owned())
}

/// Parses the command line.
///
/// # Errors
/// What clap makes of a mistake, of `--help` and of `--version`: its `exit` prints it and ends the
/// process with the right code.
pub fn config(arguments: impl IntoIterator<Item = OsString>) -> Result<Config, clap::Error> {
    let arguments = with_implied_live(arguments.into_iter().collect());
    let cli = Cli::try_parse_from(&arguments).map_err(|error| with_hint(error, arguments.get(1)))?;
    match cli.command {
        Command::Live(args) => {
            let filter = args.common.filter.clone().unwrap_or_else(|| args.words.join(" "));
            let (wait, promiscuous) = args.sensor.resolve();
            Ok(Config::Live(LiveConfig {
                common: args.common.resolve("live", &filter)?,
                interfaces: unique(args.interface),
                xdp_mode: args.xdp_mode,
                egress: args.egress,
                wait,
                promiscuous,
                every: args.every,
                duration: args.duration,
                ring_bytes: args.ring_size,
                every_packet: args.every_packet,
                shards: args.shards,
            }))
        }
        Command::Read(args) => {
            let filter = args.common.filter.clone().unwrap_or_default();
            Ok(Config::Read(ReadConfig {
                common: args.common.resolve("read", &filter)?,
                files: sources("read", &args.files)?,
                plot: args.plot,
                shards: args.shards,
            }))
        }
        Command::Rtt(args) => args.config(),
    }
}

/// The sources of captures; standard input can be read once.
fn sources(verb: &str, files: &[PathBuf]) -> Result<Vec<Location>, clap::Error> {
    let files: Vec<Location> = files.iter().map(|name| Location::new(name)).collect();
    if files.iter().filter(|&source| *source == Location::Stdin).count() > 1 {
        return Err(usage(verb, ErrorKind::ValueValidation, "standard input (-) can be read only once"));
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

/// Adds what was probably meant where a command line begins with an interface or a file.
fn with_hint(error: clap::Error, first: Option<&OsString>) -> clap::Error {
    // Clap has a better hint for a misspelt command.
    let is_misspelt = error.get(ContextKind::SuggestedSubcommand).is_some();
    let Some(first) = first.filter(|_| error.kind() == ErrorKind::InvalidSubcommand && !is_misspelt) else {
        return error;
    };
    let path = Path::new(first);
    let name = path.display();
    let hint = if path.exists() || path.extension().is_some() || path.components().count() > 1 {
        format!("to read a capture: tmap read {name}")
    } else {
        format!("to watch an interface: tmap -i {name}")
    };
    Cli::command().error(ErrorKind::InvalidSubcommand, format!("'{name}' is no command; {hint}"))
}

/// Drops repeated names: attaching twice to one interface would fail with a less clear error.
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
    fn resolve(&self, verb: &str, filter: &str) -> Result<Common, clap::Error> {
        let engine = &self.engine;
        Ok(Common {
            decap: !self.no_decap,
            filter: Program::new(filter)
                .map_err(|error| usage(verb, ErrorKind::ValueValidation, &error.to_string()))?,
            engine: Options {
                rate_delta_ppm: engine.rate_delta,
                offset_delta_s: engine.offset_delta,
                max_flows: engine.max_flows,
                max_history_bytes: engine.history_memory,
                max_addresses: engine.max_addresses,
                max_connections_per_address: engine.max_connections,
                idle_timeout_ns: engine.idle_timeout.as_nanos().try_into().unwrap_or(u64::MAX),
                evidence: engine.without.iter().fold(Switches::ALL, |all, &feature| all.without(feature)),
                signatures: engine.p0f.as_deref().map(|path| signatures(verb, path)).transpose()?,
                ..Options::default()
            },
            format: if self.json { Format::Json } else { Format::Text },
            wanted: Wanted {
                connections: self.connections || self.connection.is_some(),
                siblings: self.siblings,
            },
            view: self.view(verb),
            stats: self.stats,
            zone: TimeZone::system(),
        })
    }
}

impl CommonArgs {
    fn view(&self, verb: &str) -> View {
        View {
            sort: self.sort,
            top: self.top,
            min_machines: self.min_machines,
            verbose: self.verbose,
            // Nobody waits for the events of a file: the summary has them all.
            hides_events: verb == "read",
            colour: anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
            end: self.connection,
        }
    }
}

/// Reads a signature database.
fn signatures(verb: &str, path: &Path) -> Result<Arc<Database>, clap::Error> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("--p0f {}: {error}", path.display());
        usage(verb, ErrorKind::ValueValidation, &message)
    };
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => failed(&"is no signature file in p0f's format (such as p0f.fp)"),
        _ => failed(&error),
    })?;
    text.parse().map(Arc::new).map_err(|error: Malformed| failed(&error))
}

/// A mistake in the arguments of `verb`, with the usage of that verb.
fn usage(verb: &str, kind: ErrorKind, message: &str) -> clap::Error {
    let mut command = Cli::command();
    // Only then does a subcommand know its full name.
    command.build();
    match command.find_subcommand_mut(verb) {
        Some(verb) => verb.error(kind, message),
        None => command.error(kind, message),
    }
}

/// More threads than this only take memory.
const MOST_SHARDS: usize = 256;

/// 1 to [`MOST_SHARDS`].
fn shards(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=MOST_SHARDS).contains(count));
    count.ok_or_else(|| format!("expected a number from 1 to {MOST_SHARDS}"))
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
        .ok_or_else(|| "expected a time such as 500ms, 1s or 5m".to_owned())
}

/// `65536`, `64K`, `4M`, `2G`, `1T`. A prefix is a power of 1024 with or without `i` and `B`, as in most
/// tools that size memory; bytesize itself takes `64K` for 64,000.
fn size(text: &str) -> Result<usize, String> {
    let bare = text.strip_suffix('B').unwrap_or(text);
    let bare = bare.strip_suffix('i').unwrap_or(bare);
    let is_prefixed = bare.ends_with(|c: char| "KMGT".contains(c.to_ascii_uppercase()));
    let parsed = if is_prefixed { format!("{bare}iB").parse() } else { text.parse::<ByteSize>() };
    parsed
        .ok()
        .and_then(|size| usize::try_from(size.as_u64()).ok())
        .filter(|bytes| (1..usize::MAX).contains(bytes))
        .ok_or_else(|| "expected a size such as 65536, 64K, 4M or 2G".to_owned())
}

/// The file of a picture. Only SVG is written, so another ending would mislead.
fn picture(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    let is_other = path.extension().is_some_and(|ending| !ending.eq_ignore_ascii_case("svg"));
    if is_other { Err("tmap draws SVG only; name a file that ends in .svg".to_owned()) } else { Ok(path) }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "expected a number of 0 or more, such as 0.5".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let value = text.parse().ok().filter(|value| *value > 0);
    value.ok_or_else(|| "expected a whole number of 1 or more".to_owned())
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
        assert_eq!(live("tmap -i eth0,wan -i any").interfaces, ["eth0", "wan", "any"]);
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
    fn mistakes_are_explained() {
        for (line, says) in [
            ("tmap rtt", "name captures to read, or an interface to watch with -i"),
            ("tmap -i e prot 80", "Usage: tmap live"),
            ("tmap -i e --ring-size 64BBiB", "expected a size such as 65536, 64K, 4M or 2G"),
            ("tmap -i e --stats soon", "expected a time such as 500ms, 1s or 5m"),
            ("tmap read - -", "standard input (-) can be read only once"),
            ("tmap read --without all a", "expected syn, scale, mss or ttl"),
            ("tmap eth0", "to watch an interface: tmap -i eth0"),
            ("tmap /nowhere/a.pcap", "to read a capture: tmap read /nowhere/a.pcap"),
            ("tmap raed a.pcap", "similar subcommand exists: 'read'"),
            ("tmap -i e --max-flows -1", "expected a whole number of 1 or more"),
            ("tmap read --shards -1 a", "expected a number from 1 to 256"),
            ("tmap read --plot a.png a.pcap", "tmap draws SVG only"),
        ] {
            let error = parsed(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_and_nothing_else() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KB", 65_536),
            ("64KiB", 65_536),
            ("64Ki", 65_536),
            ("512B", 512),
            ("4M", 4 << 20),
            ("1.5M", 3 << 19),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "0", "-1", "64BBiB", "64KK", "64 apples", "1e30T", "99999999999999999999"] {
            assert!(size(text).is_err_and(|says| says.contains("64K")), "{text}");
        }
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
