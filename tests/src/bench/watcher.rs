//! Programs that watch an interface: how each is started, ended, and asked what it saw.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{sys::signal, unistd::Pid};
use serde_json::Value;

use super::sender::process_ns;
use crate::net::namespaces::{INTERFACE, Wire};

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody but the program that counts: the baseline.
    Count,
    /// tmap as it comes.
    Tmap,
    /// tmap that leaves nothing out.
    TmapEvery,
    /// tcpdump, which writes what it sees to nowhere.
    Tcpdump,
    /// p0f, with room for all connections.
    P0f,
    /// huginn-net's TCP half, as `cargo xtask bench` builds it from its crate.
    Huginn,
    /// ePPing, the eBPF one, of xdp-project/bpf-examples: where somebody built it and put it on the PATH
    /// as `epping`.
    Epping,
    /// pping, the one with libtins, of pollere/pping: where it is on the PATH.
    Pping,
}

/// What a watcher said in the end.
#[derive(Clone, Debug, Default)]
pub struct Saw {
    /// Packets that it took in; `None` where it doesn't tell.
    pub taken: Option<f64>,
    /// Its own words.
    pub said: String,
}

impl Who {
    /// As tables name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count and pass",
            Self::Tmap => "tmap",
            Self::TmapEvery => "tmap, every packet",
            Self::Tcpdump => "tcpdump -w /dev/null",
            Self::P0f => "p0f",
            Self::Huginn => "huginn-net-tcp",
            Self::Epping => "ePPing",
            Self::Pping => "pping",
        }
    }

    /// Whether it is tmap.
    const fn is_tmap(self) -> bool {
        matches!(self, Self::Tmap | Self::TmapEvery)
    }

    /// Whether it attaches to the driver itself; others watch beside the program that counts.
    pub const fn is_in_driver(self) -> bool {
        self.is_tmap() || matches!(self, Self::Epping)
    }

    /// Whether it can be started here.
    pub fn is_here(self) -> bool {
        let named = |program| {
            let status = Command::new("which").arg(program).stdout(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        match self {
            Self::Tcpdump => named("tcpdump"),
            Self::P0f => named("p0f"),
            Self::Huginn => beside("../peers/huginn/target/release/huginn").is_ok(),
            Self::Epping => named("epping"),
            Self::Pping => named("pping"),
            _ => true,
        }
    }

    /// The command that watches, to be run where the traffic arrives.
    fn command(self, wire: &Wire) -> Result<Command> {
        let (program, arguments): (String, &[&str]) = match self {
            Self::Count => bail!("nobody to run"),
            Self::Tmap => (beside("tmap")?, &["live", "--xdp-mode", "native", "--json", "-i", INTERFACE]),
            Self::TmapEvery => (
                beside("tmap")?,
                &["live", "--every-packet", "--xdp-mode", "native", "--json", "-i", INTERFACE],
            ),
            Self::Tcpdump => ("tcpdump".into(), &["-p", "-n", "-w", "/dev/null", "-i", INTERFACE, "tcp"]),
            Self::P0f => ("p0f".into(), &["-m", "20000,20000", "-i", INTERFACE]),
            Self::Huginn => (beside("../peers/huginn/target/release/huginn")?, &[INTERFACE]),
            // With --include-local, as both directions come in here; it spares it a look at the routes.
            Self::Epping => (
                "epping".into(),
                &["--tcp", "--include-local", "--ingress-hook", "xdp", "--interface", INTERFACE],
            ),
            Self::Pping => ("pping".into(), &["--machine", "--interface", INTERFACE]),
        };
        let mut command = wire.far.command(program);
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// A program that lies beside this one.
///
/// # Errors
/// Where there is none.
pub fn beside(name: &str) -> Result<String> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "no {}; use `cargo xtask bench`", path.display());
    Ok(path.to_string_lossy().into_owned())
}

/// A watcher at work.
pub struct Watcher {
    who: Who,
    child: Child,
    /// What it says meanwhile has to be read, or it would wait.
    readers: [thread::JoinHandle<String>; 2],
}

impl Watcher {
    /// Starts it and waits until it has its maps and memory, and sleeps.
    ///
    /// # Errors
    /// Where it doesn't start.
    pub fn start(who: Who, wire: &Wire) -> Result<Self> {
        let mut child = who.command(wire)?.spawn().with_context(|| format!("can't start {}", who.name()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let readers = [read(stdout), read(stderr)];
        thread::sleep(Duration::from_millis(1_200));
        Ok(Self { who, child, readers })
    }

    /// CPU time that it has used, in nanoseconds.
    pub fn cpu_ns(&self) -> f64 {
        process_ns(self.child.id())
    }

    /// Ends it by SIGINT and asks what it saw.
    ///
    /// # Errors
    /// Where it says nothing of the kind.
    pub fn finish(mut self) -> Result<Saw> {
        signal::kill(Pid::from_raw(self.child.id() as i32), signal::Signal::SIGINT)?;
        let [out, err] = self.readers.map(|reader| reader.join().unwrap_or_default());
        self.child.wait()?;
        if self.who.is_tmap() {
            return tmap_saw(&out).with_context(|| format!("tmap gave no summary: {err}"));
        }
        let count = |mark: &str| {
            let line = out.lines().chain(err.lines()).find(|line| line.contains(mark))?;
            line.split_whitespace().find_map(|word| word.parse::<f64>().ok())
        };
        let taken = match self.who {
            // What it has captured by then lacks what waits in the last block of its buffer.
            Who::Tcpdump => count("received by filter").zip(count("dropped by kernel")).map(|(a, b)| a - b),
            _ => count("Processed"),
        };
        let lines: Vec<&str> = err.lines().chain(out.lines()).filter(|line| !line.is_empty()).collect();
        Ok(Saw { taken, said: lines[lines.len().saturating_sub(3)..].join("; ") })
    }
}

/// Reads all that comes, on a thread of its own; keeps the end of it.
fn read(mut from: impl std::io::Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut all, mut some) = (Vec::new(), [0; 1 << 16]);
        while let Ok(count @ 1..) = from.read(&mut some) {
            all.extend_from_slice(&some[..count]);
            if all.len() > 1 << 26 {
                all.drain(..1 << 25);
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

/// tmap's own summary.
fn tmap_saw(out: &str) -> Result<Saw> {
    let line = out.lines().rev().find(|line| line.contains("\"type\":\"summary\"")).context("no summary")?;
    let summary: Value = serde_json::from_str(line)?;
    let count = |name: &str| summary["packets"][name].as_u64().unwrap_or(0);
    let said = format!(
        "seen {}, emitted {}, suppressed {}, ring full {}",
        count("seen"),
        count("emitted"),
        count("suppressed"),
        count("ring_full")
    );
    Ok(Saw { taken: Some((count("seen") - count("ring_full")) as f64), said })
}
