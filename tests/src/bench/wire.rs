//! What watching a veth in driver mode costs per packet, beside others that watch the same traffic:
//! `live` (tmap alone) and `versus`.
//!
//! The kernel itself makes the traffic (`BPF_F_TEST_XDP_LIVE_FRAMES`), so that the sender costs little
//! and the same for everybody: both directions of half a million connections, drawn by Zipf's law, with
//! handshakes. It is received on the CPU that sends it, in the receiving driver's softirq, and goes up
//! the stack until that finds that it isn't for this host. The baseline is an XDP program that counts
//! and passes; it stays attached beside those that watch by packet sockets.

use std::{
    fs,
    io::Read as _,
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{links::FdLink, xdp::XdpMode};
use nix::{sys::signal, unistd::Pid};
use serde_json::Value;

use super::{
    Figure, Report, Series, Settings,
    machine::Pinned,
    object::{Draw, Object},
    packets,
    report::Limit,
    rounds::interleave,
};
use crate::{
    netns::{INTERFACE, Wire},
    root, test_run,
};

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Count,
    Tmap,
    TmapEvery,
    Tcpdump,
    P0f,
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Count => "count and pass",
            Self::Tmap => "tmap",
            Self::TmapEvery => "tmap, every packet",
            Self::Tcpdump => "tcpdump -w /dev/null tcp",
            Self::P0f => "p0f",
        }
    }

    const fn is_tmap(self) -> bool {
        matches!(self, Self::Tmap | Self::TmapEvery)
    }

    fn is_here(self) -> bool {
        let program = match self {
            Self::Tcpdump => "tcpdump",
            Self::P0f => "p0f",
            _ => return true,
        };
        Command::new("which").arg(program).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// The command that watches, to be run where the traffic arrives.
    fn command(self, wire: &Wire) -> Result<Command> {
        let own = std::env::current_exe()?;
        let tmap = own.with_file_name("tmap");
        ensure!(tmap.exists(), "no tmap beside {}; use `cargo xtask bench`", own.display());
        let mut command = match self {
            Self::Count => bail!("nobody to run"),
            Self::Tmap | Self::TmapEvery => {
                let mut command = wire.far.command(tmap);
                command.args(["live", "-i", INTERFACE, "--xdp-mode", "native", "--json"]);
                if self == Self::TmapEvery {
                    command.arg("--every-packet");
                }
                command
            }
            Self::Tcpdump => {
                let mut command = wire.far.command("tcpdump");
                command.args(["-i", INTERFACE, "-p", "-n", "-w", "/dev/null", "tcp"]);
                command
            }
            Self::P0f => {
                let mut command = wire.far.command("p0f");
                command.args(["-i", INTERFACE]);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// One who watches, and what became of it, round by round.
struct Contestant {
    who: Who,
    cpu_ns: Series,
    lost: Series,
    said: String,
    /// What it adds to the first contestant's time per packet, and its ratio to that.
    over: Option<Figure>,
    ratio: Option<Figure>,
}

/// Runs `live`.
///
/// # Errors
/// Where something can't be started or attached.
pub fn live(settings: &Settings) -> Result<Report> {
    let (mut report, contestants) = race("live", settings, &[Who::Count, Who::Tmap, Who::TmapEvery])?;
    let tmap = &contestants[1];
    if let Some(ratio) = tmap.ratio {
        let percent = Figure { median: 100.0 * (ratio.median - 1.0), spread: 100.0 * ratio.spread, ..ratio };
        report.bar("tmap over a program that only counts, %", Limit::AtMost(6.0), percent);
    }
    report.bar_counted("records lost, all rounds", Limit::AtMost(0.0), tmap.lost.values.iter().sum());
    Ok(report)
}

/// Runs `versus`.
///
/// # Errors
/// As [`live`].
pub fn versus(settings: &Settings) -> Result<Report> {
    let all = [Who::Count, Who::Tmap, Who::Tcpdump, Who::P0f];
    let (mut report, contestants) = race("versus", settings, &all)?;
    for peer in &contestants[2..] {
        let (Some(own), Some(theirs)) = (contestants[1].over, peer.over) else { continue };
        let share = |value: f64| value / theirs.median;
        let share = Figure { median: share(own.median), spread: share(own.spread), rounds: own.rounds };
        report.bar(&format!("tmap's added cost, of {}'s", peer.who.name()), Limit::AtMost(0.2), share);
    }
    report.note("not compared: ePPing, pping and huginn-net, which no package of this system brings");
    Ok(report)
}

/// Lets all of them watch the same traffic in turns.
fn race(name: &str, settings: &Settings, all: &[Who]) -> Result<(Report, Vec<Contestant>)> {
    root::require();
    let frames = if settings.quick { 200_000 } else { 2_000_000 };
    let wire = Wire::new(1500, false);
    let mut object = Object::load(Draw::Zipf(1 << 20), 3_000)?;
    let mut contestants: Vec<Contestant> = Vec::new();
    let mut missing = Vec::new();
    for &who in all {
        if who.is_here() {
            let (cpu_ns, lost) = (Series::default(), Series::default());
            let said = String::new();
            contestants.push(Contestant { who, cpu_ns, lost, said, over: None, ratio: None });
        } else {
            missing.push(who.name());
        }
    }
    let series = interleave(settings.rounds, &mut contestants, |one| watch(one, &wire, &mut object, frames))?;
    let columns = ["ns per packet", "over counting", "ratio", "user CPU ns", "lost"];
    let mut report = Report::new(name, &columns, &series[0]);
    for (one, own) in contestants.iter_mut().zip(&series) {
        let (over, ratio) = (own.over(&series[0]), own.ratio(&series[0]));
        let watches = (one.who != Who::Count).then(|| (one.cpu_ns.figure(), one.lost.figure()));
        report.row(
            one.who.name(),
            &[Some(own.figure()), Some(over), Some(ratio), watches.map(|w| w.0), watches.map(|w| w.1)],
        );
        if !one.said.is_empty() {
            report.note(format!("{} said last: {}", one.who.name(), one.said));
        }
        (one.over, one.ratio) = (Some(over), Some(ratio));
    }
    for name in missing {
        report.note(format!("left out, not installed: {name}"));
    }
    Ok((report, contestants))
}

/// One turn: attach or start, send, and ask what was seen. Nanoseconds per packet.
fn watch(one: &mut Contestant, wire: &Wire, object: &mut Object, frames: u32) -> Result<f64> {
    let link = if one.who.is_tmap() {
        None
    } else {
        let program = object.program("bench_count")?;
        let attached = wire.far.run(|| {
            let id = program.attach(INTERFACE, XdpMode::Driver)?;
            anyhow::Ok(FdLink::try_from(program.take_link(id)?)?)
        });
        Some(attached.context("can't attach the counting program")?)
    };
    let mut child = if one.who == Who::Count {
        None
    } else {
        Some(one.who.command(wire)?.spawn().with_context(|| format!("can't start {}", one.who.name()))?)
    };
    // Until it is attached, has its maps and memory, and sleeps.
    thread::sleep(Duration::from_millis(if child.is_some() { 1_500 } else { 100 }));
    let before = child.as_ref().map_or(0, |child| cpu_ticks(child.id()));
    let send = object.fd("bench_send")?;
    let took = wire.near.run(|| {
        let _pinned = Pinned::to(0)?;
        let index = test_run::interface_index(INTERFACE)?;
        // A little first, to fill caches and tables.
        test_run::send(send.as_fd(), &packets::data(), frames / 20, index)?;
        let start = Instant::now();
        test_run::send(send.as_fd(), &packets::data(), frames, index)?;
        anyhow::Ok(start.elapsed())
    })?;
    if let Some(child) = child.take() {
        thread::sleep(Duration::from_millis(300));
        let ticks = cpu_ticks(child.id()) - before;
        one.cpu_ns.values.push(ticks as f64 * 1e7 / f64::from(frames));
        let (lost, said) = finish(child, one.who)?;
        one.lost.values.push(lost);
        one.said = said;
    }
    drop(link);
    Ok(took.as_nanos() as f64 / f64::from(frames))
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// Ends a process by SIGINT; how many packets it lost, and its own words on it.
fn finish(mut child: Child, who: Who) -> Result<(f64, String)> {
    signal::kill(Pid::from_raw(child.id() as i32), signal::Signal::SIGINT)?;
    let (mut out, mut err) = (String::new(), String::new());
    let mut stderr = child.stderr.take().context("stderr is piped")?;
    let reader = thread::spawn(move || stderr.read_to_string(&mut err).map(|_| err));
    child.stdout.take().context("stdout is piped")?.read_to_string(&mut out)?;
    let err = reader.join().unwrap_or_else(|_| Ok(String::new()))?;
    child.wait()?;
    match who {
        Who::Tmap | Who::TmapEvery => {
            let summary = out.lines().rev().find(|line| line.contains("\"type\":\"summary\""));
            let summary: Value =
                serde_json::from_str(summary.with_context(|| format!("no summary: {err}"))?)?;
            let packets = &summary["packets"];
            let count = |name: &str| packets[name].as_u64().unwrap_or(0);
            let said = format!(
                "seen {}, emitted {}, suppressed {}, ring full {}",
                count("seen"),
                count("emitted"),
                count("suppressed"),
                count("ring_full")
            );
            Ok((count("ring_full") as f64, said))
        }
        _ => {
            let dropped = err.lines().find_map(|line| line.strip_suffix(" packets dropped by kernel"));
            let lines: Vec<&str> = err.lines().chain(out.lines()).filter(|line| !line.is_empty()).collect();
            let said = lines[lines.len().saturating_sub(3)..].join("; ");
            Ok((dropped.and_then(|word| word.parse().ok()).unwrap_or(f64::NAN), said))
        }
    }
}
