//! Captures: written by tcpdump, read by tmap.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::namespaces::Namespace;
use crate::stage::LAN;

/// Bytes kept of each frame: all headers, no payload to speak of.
const SNAP_BYTES: &str = "128";
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running tcpdump. Dropping it ends it.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    words: ChildStderr,
}

/// Starts to record TCP on the server's interface, with nanoseconds.
///
/// # Errors
/// When tcpdump does not start, or not in time.
pub fn start(far: &Namespace, file: &Path) -> Result<Recorder> {
    let mut child = far
        .command("tcpdump")
        .args(["-i", LAN, "-s", SNAP_BYTES, "--time-stamp-precision=nano", "-U", "-B", "16384", "-Z", "root"])
        .arg("-w")
        .arg(file)
        .arg("tcp")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("tcpdump cannot be started: install tcpdump")?;
    let words = child.stderr.take().expect("piped");
    let mut recorder = Recorder { child, words };
    let start = Instant::now();
    // The file's header is written when the interface is open.
    while !file.metadata().is_ok_and(|meta| meta.len() > 0) {
        if recorder.child.try_wait()?.is_some() {
            bail!("tcpdump failed: {}", recorder.words()?);
        }
        if start.elapsed() > START_LIMIT {
            bail!("tcpdump wrote no header to {} within {} s", file.display(), START_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(recorder)
}

impl Recorder {
    /// Ends the recording; returns what tcpdump says of its losses.
    ///
    /// # Errors
    /// When tcpdump had ended before, or fails.
    pub fn finish(mut self) -> Result<String> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).context("tcpdump has already ended")?;
        let words = self.words()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("tcpdump failed ({status}): {words}");
        }
        let counts = words.lines().filter(|line| line.contains("packets"));
        Ok(format!("tcpdump: {}", counts.collect::<Vec<_>>().join(", ")))
    }

    /// Everything that tcpdump says until it ends.
    fn words(&mut self) -> Result<String> {
        let mut words = String::new();
        self.words.read_to_string(&mut words)?;
        Ok(words)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is the aim.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `tmap read` says of a capture, line by line.
///
/// # Errors
/// When tmap fails, with its own words.
pub fn read(tmap: &Path, file: &Path) -> Result<Vec<Value>> {
    let mut command = Command::new(tmap);
    command.args(["read", "--json", "--connections"]).arg(file);
    let output = command.output().with_context(|| format!("{} cannot be started", tmap.display()))?;
    if !output.status.success() {
        bail!("tmap read failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    text.lines().map(parse).collect()
}
