//! Captures: tcpdump writes them, tmap reads them.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::testbed::namespaces::Namespace;

/// Bytes recorded of each frame: all headers and little payload.
const SNAP_BYTES: &str = "128";
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running tcpdump. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Recorder {
    child: Child,
    messages: ChildStderr,
}

/// Starts to record TCP on an interface, with nanosecond timestamps.
///
/// # Errors
/// When tcpdump does not start in time.
pub(super) fn start(namespace: &Namespace, interface: &str, file: &Path) -> Result<Recorder> {
    // What an earlier run has written would pass for the header of this one.
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("could not replace {}", file.display()))?;
    }
    let mut child = namespace
        .command("tcpdump")
        .args([
            "-i",
            interface,
            "-s",
            SNAP_BYTES,
            "--time-stamp-precision=nano",
            "-U",
            "-B",
            "16384",
            "-Z",
            "root",
        ])
        .arg("-w")
        .arg(file)
        .arg("tcp")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not start tcpdump: install tcpdump")?;
    let messages = child.stderr.take().expect("piped");
    let mut recorder = Recorder { child, messages };
    let start = Instant::now();
    // tcpdump writes the file's header after it has opened the interface.
    while !file.metadata().is_ok_and(|meta| meta.len() > 0) {
        if recorder.child.try_wait()?.is_some() {
            bail!("tcpdump failed: {}", recorder.read_messages()?);
        }
        if start.elapsed() > START_LIMIT {
            bail!("tcpdump did not start to write {} within {} s", file.display(), START_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(recorder)
}

impl Recorder {
    /// Ends the recording. Returns tcpdump's report of captured and lost packets.
    ///
    /// # Errors
    /// When tcpdump has ended before, or fails.
    pub(super) fn finish(mut self) -> Result<String> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).context("tcpdump has already ended")?;
        let messages = self.read_messages()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("tcpdump failed ({status}): {messages}");
        }
        let counts = messages.lines().filter(|line| line.contains("packets"));
        Ok(format!("tcpdump: {}", counts.collect::<Vec<_>>().join(", ")))
    }

    /// Everything that tcpdump prints to standard error until it ends.
    fn read_messages(&mut self) -> Result<String> {
        let mut text = String::new();
        self.messages.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail only if tcpdump has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The output of `tmap read` for a capture: one JSON value for each line.
///
/// # Errors
/// When tmap fails; the error has its messages.
pub(super) fn read(tmap: &Path, file: &Path) -> Result<Vec<Value>> {
    let mut command = Command::new(tmap);
    command.args(["read", "--json", "--connections"]).arg(file);
    let output = command.output().with_context(|| format!("could not start {}", tmap.display()))?;
    if !output.status.success() {
        bail!("tmap read failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line: &str| {
        serde_json::from_str(line).with_context(|| format!("tmap printed a line that is not JSON: {line}"))
    };
    text.lines().map(parse).collect()
}
