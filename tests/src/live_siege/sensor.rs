//! The sensor under siege: `tmap live`, asked by signals.

use std::{
    fs::{self, File},
    io::BufReader,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{
    PATIENCE,
    answer::{self, Answer},
    priority,
};
use crate::net::namespaces::{INTERFACE, Namespace};

/// How it begins, in its own words.
const WATCHES: &str = "^C ends";

/// Room in the pipe from it, in bytes.
const PIPE_BYTES: i32 = 1 << 20;

/// How often it is seen whether it has begun, or ended.
const POLL: Duration = Duration::from_millis(5);

/// How long one waits at a time while the siege may be broken off.
const NAP: Duration = Duration::from_millis(100);

/// A `tmap live` that watches. Dropping it kills it.
pub(super) struct Sensor {
    child: Child,
    /// Each summary, and when it was complete.
    answers: Receiver<(Instant, Answer)>,
    folder: TempDir,
}

impl Sensor {
    /// Starts it in a namespace and waits until it watches.
    ///
    /// # Errors
    /// Where it doesn't get that far.
    pub(super) fn start(namespace: &Namespace, tmap: &Path, options: &[String]) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut command = namespace.command(tmap);
        command.args(["live", "--json", "-i", INTERFACE]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(folder.path().join("err"))?);
        // In a group of its own: ^C is for the siege, which then ends the sensor.
        let mut child = command.process_group(0).spawn().context("tmap doesn't start")?;
        let out = child.stdout.take().context("standard output is piped")?;
        fcntl(&out, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).context("can't widen a pipe")?;
        let (give, answers) = channel();
        thread::spawn(move || {
            // What is measured is tmap: the flood must not keep this from reading.
            priority::raise();
            let lines = BufReader::with_capacity(1 << 18, out);
            answer::read(lines, |answer| drop(give.send((Instant::now(), answer))));
        });
        let mut sensor = Self { child, answers, folder };
        let began = Instant::now();
        while !sensor.said().contains(WATCHES) {
            if sensor.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                bail!("tmap doesn't watch: {}", sensor.said());
            }
            thread::sleep(POLL);
        }
        Ok(sensor)
    }

    /// What it said on standard error so far.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap_or_default()
    }

    /// Its anonymous memory, in bytes.
    ///
    /// # Errors
    /// Where it is gone.
    pub(super) fn memory_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(1_024 * kib.with_context(|| format!("tmap is gone: {}", self.said()))?)
    }

    /// Asks for a summary; returns how long that took. `None` where none came within [`PATIENCE`], or the
    /// siege was broken off.
    ///
    /// # Errors
    /// Where tmap is gone.
    pub(super) fn ask(&self, stop: &AtomicBool) -> Result<Option<(Duration, Answer)>> {
        let asked = Instant::now();
        self.send(Signal::SIGUSR1)?;
        while asked.elapsed() < PATIENCE && !stop.load(Ordering::Relaxed) {
            match self.answers.recv_timeout(NAP) {
                Ok((at, answer)) => return Ok(Some((at.saturating_duration_since(asked), answer))),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("tmap ended by itself: {}", self.said()),
            }
        }
        Ok(None)
    }

    /// Ends it by SIGTERM; returns its last summary, its status, and how long that took.
    ///
    /// # Errors
    /// Where it doesn't end, or without a summary.
    pub(super) fn end(mut self) -> Result<(Answer, ExitStatus, Duration)> {
        let asked = Instant::now();
        self.send(Signal::SIGTERM)?;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if asked.elapsed() > PATIENCE {
                bail!("tmap doesn't end: {}", self.said());
            }
            thread::sleep(POLL);
        };
        let took = asked.elapsed();
        // Until its output has been read to the end.
        let last = std::iter::from_fn(|| self.answers.recv_timeout(PATIENCE).ok()).last();
        let (_, answer) = last.with_context(|| format!("tmap gave no summary: {}", self.said()))?;
        Ok((answer, status, took))
    }

    fn send(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).context("tmap is gone")
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // Already gone where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
