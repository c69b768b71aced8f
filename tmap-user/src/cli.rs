//! The command line: raw arguments, checked and turned into a [`Config`].

mod habits;
mod help;
mod page;
mod plot;
mod range;
mod report;
mod rtt;
mod sensor;
mod top;
mod values;

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use jiff::tz::TimeZone;

use crate::{
    capture::file::Location,
    config::{Common, Config, LiveConfig, Picture, ReadConfig},
    engine::{
        Options,
        os::{
            database::{Database, Malformed},
            likeness::Switches,
        },
        rtt::Options as RttOptions,
    },
    filter::Program,
    picture::{Kind, svg::Theme},
    printable,
    report::Format,
    without_error_codes,
};
use habits::{is_file, is_interface, with_implied_command};
use report::ReportArgs;
use values::{Evidence, at_least_one, evidence, memory, not_negative, picture, positive_time, shards, size};

const ABOUT: &str = "Counts the machines behind an IP address by their TCP timestamp clocks";

/// The words that are commands.
const COMMANDS: [&str; 7] = ["live", "read", "top", "report", "rtt", "plot", "help"];

/// Options of what is printed, and the commands that print no lines and refuse them.
const LINES: [&str; 2] = ["json", "stats"];
const WITHOUT_LINES: [&str; 3] = ["plot", "report", "top"];

#[derive(Debug, Parser)]
#[command(name = "tmap", version, about = ABOUT, arg_required_else_help = true)]
#[command(after_help = help::EXAMPLES, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch interfaces until ^C; `tmap -i eth0` is short for `tmap live -i eth0`
    #[command(after_help = help::LIVE)]
    Live(LiveArgs),
    /// Read captures: pcap or pcapng, compressed or not; `tmap FILE` does, too
    #[command(after_help = help::READ)]
    Read(ReadArgs),
    /// Make one HTML page: pictures, machines, evidence; of captures or interfaces (-i)
    #[command(after_help = help::REPORT, mut_args(without_lines))]
    Report(page::PageArgs),
    /// Measure round-trip times, on interfaces (-i) or in captures
    #[command(after_help = help::RTT)]
    Rtt(rtt::RttArgs),
    /// Draw captures: clocks, ports, round trips, load, machines' lives
    #[command(after_help = help::PLOT, mut_args(without_lines))]
    Plot(plot::PlotArgs),
    /// Watch interfaces (-i) or read captures on a screen: machines, pictures, events
    #[command(after_help = help::TOP, mut_args(without_lines))]
    Top(top::TopArgs),
}

#[derive(Debug, Args)]
struct LiveArgs {
    /// Interface to watch; a,b or -i again for more; any: all that are up
    #[arg(short, long = "interface", value_name = "IFACE", action = ArgAction::Append)]
    #[arg(value_delimiter = ',')]
    interface: Vec<String>,
    /// Use only segments that match, e.g. src net 10.0.0.0/8 and not port 22
    #[arg(value_name = "FILTER", conflicts_with = "filter")]
    words: Vec<String>,
    #[command(flatten)]
    sensor: sensor::SensorArgs,
    /// Print a sign of life and what changed this often, e.g. 10s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    every: Option<Duration>,
    /// For debugging: do not suppress repeats in the kernel
    #[arg(long, hide = true)]
    every_packet: bool,
    /// Engine threads, which share addresses and limits [default: cores / 4, at most 8]
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true, hide = true)]
    shards: Option<usize>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ReadArgs {
    /// Captures, in any order; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "read")]
    files: Vec<PathBuf>,
    /// Capture to read, as with tcpdump: the words after it are then a filter
    #[arg(short, long, value_name = "FILE", action = ArgAction::Append, hide = true)]
    read: Vec<PathBuf>,
    #[command(flatten)]
    range: range::RangeArgs,
    /// Draw phase against time into this file, as SVG or PNG
    #[arg(long, value_name = "FILE.svg", value_parser = picture)]
    plot: Option<PathBuf>,
    /// Engine threads, which share addresses and limits [default: 2 per core, at most 8]
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true, hide = true)]
    shards: Option<usize>,
    #[command(flatten)]
    report: ReportArgs,
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
    /// Print frame counters, losses and memory this often, e.g. 1s
    #[arg(long, value_name = "INTERVAL", value_parser = positive_time)]
    stats: Option<Duration>,
    /// Do not decapsulate tunnels (VXLAN, GRE, MPLS, PPPoE and others)
    #[arg(long)]
    no_decap: bool,
    /// OS signatures in p0f's format, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    p0f: Option<PathBuf>,
    /// Keep all rights of the user who started tmap, on systems where it can't work without them
    #[arg(long, hide = true)]
    no_sandbox: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    habits: HabitArgs,
}

/// Options of tcpdump that have no meaning here, or another name.
#[derive(Debug, Args)]
struct HabitArgs {
    /// Names are never looked up, so this changes nothing
    #[arg(short = 'n', action = ArgAction::Count, hide = true)]
    numeric: u8,
    /// Not available: tmap writes no captures
    #[arg(short = 'w', value_name = "FILE", hide = true)]
    write: Option<PathBuf>,
    /// Not available: tmap doesn't end after a number of packets
    #[arg(short = 'c', value_name = "N", hide = true)]
    count: Option<String>,
}

/// The unit of `--search-budget`, in look-ups.
const LOOK_UPS: u64 = 1_000_000;

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits and tolerances, for experts")]
struct EngineArgs {
    /// Tolerance for the rates of a machine, beyond standard errors
    #[arg(long, value_name = "PPM", value_parser = not_negative, allow_negative_numbers = true, hide = true)]
    #[arg(default_value_t = Options::default().rate_delta_ppm)]
    rate_delta: f64,
    /// Tolerance for the offsets of a machine, beyond standard errors
    #[arg(long, value_name = "SECONDS", value_parser = not_negative, allow_negative_numbers = true, hide = true)]
    #[arg(default_value_t = Options::default().offset_delta_s)]
    offset_delta: f64,
    /// Memory to use, from which the limits of flows, history and addresses follow
    #[arg(long, value_name = "BYTES", default_value = "2G", value_parser = memory)]
    #[arg(allow_negative_numbers = true, hide = true)]
    memory: usize,
    /// Limit of open flows [default: by --memory, 1048576 of 2G]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, hide = true)]
    max_flows: Option<usize>,
    /// Limit of memory for history, at which flows drop every other point [default: a quarter of --memory]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    #[arg(allow_negative_numbers = true, hide = true)]
    history_memory: Option<usize>,
    /// Limit of source addresses [default: by --memory, 65536 of 2G]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, hide = true)]
    max_addresses: Option<usize>,
    /// Limit of finished connections kept per address
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, hide = true)]
    #[arg(default_value_t = Options::default().max_connections_per_address)]
    max_connections: usize,
    /// Time without segments after which a connection is finished
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = positive_time, hide = true)]
    idle_timeout: Duration,
    /// Work of one search for machines with random offsets, in million look-ups
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, hide = true)]
    #[arg(default_value_t = (Options::default().search_look_ups / LOOK_UPS) as usize)]
    search_budget: usize,
    /// Do not tell machines apart by these: syn, scale, mss, ttl, ports, pages (comma-separated)
    #[arg(long, value_name = "EVIDENCE", value_delimiter = ',', value_parser = evidence, hide = true)]
    without: Vec<Evidence>,
}

/// Parses the command line.
///
/// # Errors
/// What clap makes of a mistake, of `--help` and of `--version`: its `exit` prints it and ends the
/// process with the right code.
pub fn config(arguments: impl IntoIterator<Item = OsString>) -> Result<Config, clap::Error> {
    let mut arguments = with_implied_command(arguments.into_iter().collect());
    let mut command = Cli::command();
    if let Some(all) =
        arguments.iter_mut().take_while(|word| *word != "--").find(|word| *word == "--help-all")
    {
        *all = "--help".into();
        command = with_expert_options(command);
    }
    let matches =
        command.try_get_matches_from(&arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match matches.map_err(|error| with_hint(error, arguments.get(1)))?.command {
        Command::Live(args) => args.config(),
        Command::Read(args) => args.config(),
        Command::Report(args) => args.config(&arguments),
        Command::Rtt(args) => args.config(),
        Command::Plot(args) => args.config(),
        Command::Top(args) => args.config(&arguments),
    }
}

/// Hides the options of [`LINES`] from the help of a command.
fn without_lines(option: clap::Arg) -> clap::Arg {
    if LINES.contains(&option.get_id().as_str()) { option.hide(true) } else { option }
}

/// Shows the options for experts in help, too, and the hint at them no more.
fn with_expert_options(mut command: clap::Command) -> clap::Command {
    let verbs: Vec<&str> =
        COMMANDS.into_iter().filter(|name| command.find_subcommand(name).is_some()).collect();
    for name in verbs {
        command = command.mut_subcommand(name, |verb| {
            let text = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let text =
                text.lines().filter(|line| !line.contains("--help-all")).collect::<Vec<_>>().join("\n");
            verb.after_help(text.trim_end().to_owned()).mut_args(|option| {
                let id = option.get_id().as_str();
                // Others have -r of their own.
                let is_habit = ["numeric", "write", "count"].contains(&id)
                    || id == "read" && !["report", "rtt"].contains(&name);
                let is_of_lines = WITHOUT_LINES.contains(&name) && LINES.contains(&id);
                option.hide(is_habit || is_of_lines)
            })
        });
    }
    command
}

impl LiveArgs {
    fn config(mut self) -> Result<Config, clap::Error> {
        self.common.habits.check("live")?;
        if self.interface.is_empty() {
            // `tmap live eth0 port 80`.
            if self.words.first().is_none_or(|first| !is_interface(first)) {
                let message = "name an interface to watch, such as -i eth0";
                return Err(usage("live", ErrorKind::MissingRequiredArgument, message));
            }
            self.interface.push(self.words.remove(0));
        }
        let filter = self.common.filter.clone().unwrap_or_else(|| self.words.join(" "));
        let common = self.common.resolve("live", &filter, &self.report)?;
        Ok(Config::Live(LiveConfig {
            every: self.every,
            every_packet: self.every_packet,
            shards: self.shards,
            ..self.sensor.watch(common, self.interface)
        }))
    }
}

impl ReadArgs {
    fn config(self) -> Result<Config, clap::Error> {
        self.common.habits.check("read")?;
        let (mut files, mut filter) = (self.files, self.common.filter.clone().unwrap_or_default());
        if !self.read.is_empty() {
            // As with tcpdump, unless the words are files.
            let words: Vec<String> = files.iter().map(|word| word.display().to_string()).collect();
            if words.iter().all(|word| is_file(word)) {
                files.splice(0..0, self.read);
            } else if self.common.filter.is_some() {
                let message = format!("'{}' is neither a file nor part of --filter", words.join(" "));
                return Err(usage("read", ErrorKind::ArgumentConflict, &message));
            } else {
                filter = words.join(" ");
                files = self.read;
            }
        }
        let (from, to) = self.range.resolve("read")?;
        Ok(Config::Read(ReadConfig {
            common: self.common.resolve("read", &filter, &self.report)?,
            files: sources("read", &files)?,
            from,
            to,
            plot: self.plot.map(|path| Picture {
                kind: Kind::Phases,
                out: Some(path),
                address: None,
                theme: Theme::Light,
                is_alone: false,
            }),
            shards: self.shards,
        }))
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

/// What to do where a command gets another one's option.
fn of_another(verb: &str, option: &str) -> Option<String> {
    match (verb, option) {
        ("rtt", _) if report::is_option(option) => {
            Some(format!("{option} is for `tmap live` and `tmap read`, which report on machines"))
        }
        ("read", "--every") => {
            Some("--every is for `tmap live` and `tmap rtt`; read has one summary".to_owned())
        }
        ("plot", "-i") => {
            Some("plot draws captures; watch an interface with `tmap top -i` or `tmap report -i`".to_owned())
        }
        _ => None,
    }
}

/// Adds what was probably meant where a command line begins with an interface or a file, or where a command
/// gets an option of another one.
fn with_hint(error: clap::Error, first: Option<&OsString>) -> clap::Error {
    if let (Some(verb), Some(ContextValue::String(option))) =
        (first.and_then(|first| first.to_str()), error.get(ContextKind::InvalidArg))
        && error.kind() == ErrorKind::UnknownArgument
        && let Some(message) = of_another(verb, option)
    {
        return usage(verb, ErrorKind::UnknownArgument, &message);
    }
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

/// The command line, word by word, as a page tells it.
fn spoken(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

impl CommonArgs {
    /// Refuses the options of [`LINES`] for a command that prints no lines.
    fn refuse_lines(&self, verb: &str, message: &str) -> Result<(), clap::Error> {
        let is_asked = self.json || self.stats.is_some();
        if is_asked { Err(usage(verb, ErrorKind::ArgumentConflict, message)) } else { Ok(()) }
    }

    /// The settings of round trips, by memory.
    fn round_trips(&self) -> RttOptions {
        Options::round_trips_within(self.engine.memory)
    }

    #[allow(clippy::needless_update, reason = "the engine may gain settings that have no option here")]
    fn resolve(&self, verb: &str, filter: &str, report: &ReportArgs) -> Result<Common, clap::Error> {
        let engine = &self.engine;
        let within = Options::within(engine.memory);
        Ok(Common {
            decap: !self.no_decap,
            filter: Program::new(filter)
                .map_err(|error| usage(verb, ErrorKind::ValueValidation, &error.to_string()))?,
            memory_bytes: engine.memory,
            engine: Options {
                rate_delta_ppm: engine.rate_delta,
                offset_delta_s: engine.offset_delta,
                max_flows: engine.max_flows.unwrap_or(within.max_flows),
                max_history_bytes: engine.history_memory.unwrap_or(within.max_history_bytes),
                max_addresses: engine.max_addresses.unwrap_or(within.max_addresses),
                max_connections_per_address: engine.max_connections,
                idle_timeout_ns: engine.idle_timeout.as_nanos().try_into().unwrap_or(u64::MAX),
                search_look_ups: engine.search_budget as u64 * LOOK_UPS,
                evidence: engine.without.iter().fold(Switches::ALL, |all, without| match without {
                    Evidence::Feature(feature) => all.without(*feature),
                    Evidence::Ports | Evidence::Pages => all,
                }),
                ports: !engine.without.contains(&Evidence::Ports),
                pages: !engine.without.contains(&Evidence::Pages),
                signatures: self.p0f.as_deref().map(|path| signatures(verb, path)).transpose()?,
                ..within
            },
            format: if self.json { Format::Json } else { Format::Text },
            wanted: report.wanted(),
            view: report.view(verb),
            page: None,
            sandbox: !self.no_sandbox,
            stats: self.stats,
            zone: zone(),
        })
    }
}

/// The system's time zone; UTC where `TZ` names a file that isn't small and ordinary, which would be read to
/// its end.
fn zone() -> TimeZone {
    const MOST_BYTES: u64 = 1 << 20;
    let named = std::env::var("TZ").unwrap_or_default();
    let path = Path::new(named.strip_prefix(':').unwrap_or(&named));
    let is_readable = |about: fs::Metadata| about.is_file() && about.len() <= MOST_BYTES;
    if path.is_absolute() && !fs::metadata(path).is_ok_and(is_readable) {
        TimeZone::UTC
    } else {
        TimeZone::system()
    }
}

impl HabitArgs {
    /// Says what to do instead of what tmap can't. It comes before other checks: `tmap -c 5 FILE` seems to
    /// name no interface.
    fn check(&self, verb: &str) -> Result<(), clap::Error> {
        let message = match self {
            Self { write: Some(file), .. } => format!(
                "tmap writes no captures (-w); capture with tcpdump -w {0}, then tmap read {0}",
                file.display()
            ),
            Self { count: Some(_), .. } if verb == "read" => {
                "tmap has no -c; --from and --to choose packets by time".to_owned()
            }
            Self { count: Some(_), .. } => {
                "tmap has no -c; it ends after a time, such as --duration 10s".to_owned()
            }
            _ => return Ok(()),
        };
        Err(usage(verb, ErrorKind::UnknownArgument, &message))
    }
}

/// The most bytes of a signature file; that of p0f 3.09 has 32 KiB.
const MOST_SIGNATURE_BYTES: u64 = 16 << 20;

/// Reads a signature database.
fn signatures(verb: &str, path: &Path) -> Result<Arc<Database>, clap::Error> {
    let failed = |error: &dyn std::fmt::Display| {
        let message = format!("--p0f {}: {error}", printable(&path.display().to_string()));
        usage(verb, ErrorKind::ValueValidation, &message)
    };
    let mut text = String::new();
    // A device has no end.
    let read =
        fs::File::open(path).and_then(|file| file.take(MOST_SIGNATURE_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => failed(&"is no signature file in p0f's format (such as p0f.fp)"),
        _ => failed(&without_error_codes(&error.to_string())),
    })?;
    if text.len() as u64 > MOST_SIGNATURE_BYTES {
        let mib = MOST_SIGNATURE_BYTES >> 20;
        return Err(failed(&format!("is larger than {mib} MiB, so it is no signature file")));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Config, clap::Error> {
        config(line.split(' ').map(OsString::from))
    }

    fn live(line: &str) -> LiveConfig {
        match parsed(line).unwrap_or_else(|error| panic!("{error}")) {
            Config::Live(live) => live,
            _ => panic!("{line} doesn't watch"),
        }
    }

    fn read(line: &str) -> ReadConfig {
        match parsed(line).unwrap_or_else(|error| panic!("{error}")) {
            Config::Read(read) => read,
            _ => panic!("{line} doesn't read"),
        }
    }

    #[test]
    fn tcpdumps_words_read_a_file() {
        let config = read("tmap -n -r /nowhere/a.pcap src net 10.0.0.0/8");
        assert_eq!(config.files, [Location::new(Path::new("/nowhere/a.pcap"))]);
        assert_eq!(config.common.filter, Program::new("src net 10.0.0.0/8").unwrap());
        assert_eq!(read("tmap -r /dev/null /dev/zero").files.len(), 2, "files, and no filter");
        assert_eq!(live("tmap live lo port 80").interfaces, ["lo"]);
    }

    /// The help pages as they are on a terminal of 80 columns.
    fn help(line: &str) -> String {
        let error = parsed(line).expect_err(line);
        assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        error.to_string()
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in [
            "tmap --help",
            "tmap live --help",
            "tmap read -h",
            "tmap report --help",
            "tmap rtt --help",
            "tmap top --help",
            "tmap plot -h",
            "tmap plot --help",
        ] {
            for line in [line.to_owned(), line.replace("--help", "--help-all")] {
                let text = help(&line);
                let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
                assert!(long.is_empty(), "{line}: {long:#?}");
                assert!(text.contains("Examples:"), "{line}: {text}");
            }
        }
    }

    #[test]
    fn expert_options_are_shown_on_demand() {
        let (usual, all) = (help("tmap read --help"), help("tmap read --help-all"));
        for option in ["--max-flows", "--rate-delta", "--history-memory", "--shards"] {
            assert!(!usual.contains(&format!("{option} <")), "{usual}");
            assert!(all.contains(&format!("{option} <")), "{all}");
        }
        assert!(usual.contains("--help-all") && !all.contains("--help-all"), "{all}");
        assert!(!all.contains("Not available"), "{all}");
        let rtt = help("tmap rtt --help-all");
        assert!(rtt.contains("-r, --read") && rtt.contains("--rtt-connections <"), "{rtt}");
        assert!(help("tmap --help-all").contains("Usage: tmap"));
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
        let idle_timeout_ns = live("tmap -i e").common.engine.idle_timeout_ns;
        assert_eq!(idle_timeout_ns, Options::default().idle_timeout_ns);
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, says) in [
            ("tmap report -o a.html", "name captures to read, or an interface to watch with -i"),
            ("tmap report --json a.pcap -o a.html", "--json and --stats are for `tmap live`"),
            ("tmap report -w b.pcap a.pcap", "capture with tcpdump -w b.pcap"),
            ("tmap top", "name an interface to watch (-i eth0), or captures to show"),
            ("tmap top --json -i e", "a screen has no JSON"),
            ("tmap top --realtime -i e", "--speed and --realtime are for captures"),
            ("tmap top --speed 0 a.pcap", "expected a number above 0"),
            ("tmap top a.pcap --egress", "--egress is for interfaces; leave it out, or name an interface"),
            ("tmap top a.pcap --xdp-mode auto", "--xdp-mode is for interfaces"),
            ("tmap rtt a.pcap --xdp-mode native", "--xdp-mode is for interfaces"),
            ("tmap rtt -r a.pcap --wait", "--wait is for interfaces"),
            ("tmap report a.pcap -o a.html --promisc", "--promisc is for interfaces"),
            ("tmap report -r a.pcap -o a.html --no-promisc", "--no-promisc is for interfaces"),
            ("tmap top a.pcap --duration 1s --ring-size 64K", "--duration is for interfaces"),
            ("tmap top -i e --from 03:00", "--from is for captures; leave it out, or name captures"),
            ("tmap rtt -i e --to 03:00", "--to is for captures"),
            ("tmap report -i e -o a.html --from 03:00", "--from is for captures"),
            ("tmap rtt", "name captures to read, or an interface to watch with -i"),
            ("tmap rtt --top 3 a.pcap", "--top is for `tmap live` and `tmap read`"),
            ("tmap read --every 10s a.pcap", "--every is for `tmap live` and `tmap rtt`"),
            ("tmap plot phases -i e", "watch an interface with `tmap top -i` or `tmap report -i`"),
            ("tmap rtt -v a.pcap", "-v is for `tmap live` and `tmap read`"),
            ("tmap -i e prot 80", "Usage: tmap live"),
            ("tmap -i e --ring-size 64BBiB", "expected a size such as 65536, 64K, 4M, 2G or 1T"),
            ("tmap -i e --stats soon", "expected a time such as 500ms, 1s or 5m"),
            ("tmap read - -", "standard input (-) can be read only once"),
            ("tmap read --without all a", "expected syn, scale, mss, ttl, ports or pages"),
            ("tmap nosuch0", "to watch an interface: tmap -i nosuch0"),
            ("tmap /nowhere/a.pcap", "to read a capture: tmap read /nowhere/a.pcap"),
            ("tmap raed a.pcap", "similar subcommand exists: 'read'"),
            ("tmap -i e --max-flows -1", "expected a whole number from 1 to 1000000000"),
            ("tmap -i e --max-flows 9999999999999999999", "expected a whole number from 1 to 1000000000"),
            ("tmap read --shards -1 a", "expected a number from 1 to "),
            ("tmap read --shards 2560 a", "expected a number from 1 to "),
            ("tmap -i e -w a.pcap", "capture with tcpdump -w a.pcap, then tmap read a.pcap"),
            ("tmap -i e -c 5", "--duration 10s"),
            ("tmap read -c 5 a", "--from and --to"),
            ("tmap live nosuch0", "name an interface to watch, such as -i eth0"),
            ("tmap read --from noon a", "expected a time such as"),
            ("tmap read --from 2026-11-22 --to 2026-11-21 a", "--from is later than --to"),
            ("tmap plot phases --from 2026-11-22 --to 2026-11-21T03:00:00Z a", "swap the two"),
            ("tmap read --connection a a", "expected an address and a port"),
            (
                "tmap read --plot a.pdf a.pcap",
                "tmap draws SVG and PNG; name a file that ends in .svg or .png",
            ),
            ("tmap plot a.pcap", "[possible values: offsets, phases, ports, rtt, load, timeline]"),
            ("tmap plot phases", "FILE"),
            ("tmap plot phases --json a.pcap", "--json and --stats are for `tmap read`"),
            ("tmap plot phases --address here a.pcap", "invalid IP address"),
        ] {
            let error = parsed(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
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
            "tmap live port 80",
            "tmap read -r a.pcap port 80 --filter tcp",
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
            "tmap nosuch0",
            "tmap report",
            "tmap report -i eth0 a.pcap -o a.html",
            "tmap report --egress a.pcap -o a.html",
            "tmap report - - -o a.html",
            "tmap rtt",
            "tmap rtt -i eth0 a.pcap",
            "tmap rtt -r a.pcap b.pcap",
            "tmap rtt --egress a.pcap",
            "tmap rtt --connections a.pcap",
            "tmap rtt --top 3 a.pcap",
            "tmap rtt --prefix4 33 a.pcap",
        ] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
