//! The same capture through tmap, p0f and tcpdump: packets per second.
//!
//! Two million packets with handshakes, both directions and time stamps. Each does its own work: tmap
//! its whole report, p0f its fingerprints, tcpdump copies packets to `/dev/null`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Figure, Report, Series, Settings,
    child::{self, Taken},
    report::Limit,
    rounds::interleave,
    trace::{self, Offsets, Traffic},
};

/// A program that reads the file is stopped after this time.
const LIMIT: Duration = Duration::from_secs(120);

/// The most rounds with random offsets, which take tmap long.
const MOST_RANDOM_ROUNDS: usize = 5;

/// A program that reads the file.
struct Contestant {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// CPU time of each round.
    cpu: Series,
    /// Whether it was stopped. It then has no further turn.
    is_stopped: bool,
}

/// A file of this process's own, which is deleted in the end.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(env::temp_dir().join(format!("tmap-bench-{}.pcap", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The benchmark of hosts whose offsets are fixed.
///
/// # Errors
/// Where the file can't be written or a program fails.
pub fn fixed(settings: &Settings) -> Result<Report> {
    run("file", Offsets::Fixed, settings)
}

/// The benchmark of hosts whose offsets are random.
///
/// # Errors
/// Where the file can't be written or a program fails.
pub fn random(settings: &Settings) -> Result<Report> {
    let rounds = settings.rounds.min(MOST_RANDOM_ROUNDS);
    run("random", Offsets::Random, &Settings { rounds, ..*settings })
}

fn run(name: &str, offsets: Offsets, settings: &Settings) -> Result<Report> {
    let connections = if settings.quick { 1_000 } else { 20_000 };
    let scratch = Scratch::new();
    let packets = trace::write(&scratch.0, Traffic::of_pairs(connections, offsets))?;
    let mut contestants = contestants(&scratch.0)?;
    let series = interleave(settings.rounds, &mut contestants, seconds)?;
    let columns = ["s", "CPU s", "M packets/s", "times the baseline"];
    let mut report = Report::new(name, &columns, &series[0]);
    for (contestant, own) in contestants.iter().zip(&series) {
        if contestant.is_stopped {
            report.row(contestant.name, &[None; 4]);
            report.note(format!("{} had not ended within {} s", contestant.name, LIMIT.as_secs()));
            continue;
        }
        let rates: Vec<f64> = own.values.iter().map(|s| packets as f64 / s / 1e6).collect();
        let times = series[0].ratio(own);
        let figures = [own.figure(), contestant.cpu.figure(), Figure::of(&rates), times];
        report.row(contestant.name, &figures.map(Some));
    }
    let tmap = contestants.iter().position(|contestant| contestant.name == "tmap read");
    if contestants[0].name == "p0f"
        && let Some(index) = tmap
        && !contestants[index].is_stopped
    {
        report.bar("tmap read, times p0f", Limit::AtLeast(5.0), series[0].ratio(&series[index]));
    }
    report.note(format!("{packets} packets of {connections} connections, in the page cache"));
    Ok(report)
}

/// Who is there; the first one is the baseline.
fn contestants(file: &Path) -> Result<Vec<Contestant>> {
    let tmap = env::current_exe()?.with_file_name("tmap");
    ensure!(tmap.exists(), "{} isn't there; build it: cargo build --release", tmap.display());
    let name = file.to_str().context("the path isn't UTF-8")?;
    let arguments = |words: &[&str]| -> Vec<String> {
        words.iter().chain(&[name]).map(|&word| word.to_owned()).collect()
    };
    let dump = arguments(&["-nn", "-w", "/dev/null", "-r"]);
    let contestant = |name, program, arguments| {
        let cpu = Series::default();
        Contestant { name, program, arguments, cpu, is_stopped: false }
    };
    let all = [
        contestant("p0f", "/usr/sbin/p0f".into(), arguments(&["-r"])),
        contestant("tcpdump", "tcpdump".into(), dump),
        contestant("tmap read", tmap, arguments(&["read"])),
    ];
    Ok(all.into_iter().filter(|c| !c.program.is_absolute() || c.program.exists()).collect())
}

/// How long one takes, in seconds; the limit where it was stopped.
fn seconds(contestant: &mut Contestant) -> Result<f64> {
    let mut command = Command::new(&contestant.program);
    command.args(&contestant.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let taken = if contestant.is_stopped { None } else { child::run(&mut command, LIMIT)? };
    contestant.is_stopped = taken.is_none();
    let limit_s = LIMIT.as_secs_f64();
    let Taken { elapsed_s, cpu_s, .. } =
        taken.unwrap_or(Taken { elapsed_s: limit_s, cpu_s: limit_s, most_mib: 0.0 });
    contestant.cpu.values.push(cpu_s);
    Ok(elapsed_s)
}
