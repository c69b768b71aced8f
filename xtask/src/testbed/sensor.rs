//! tmap itself, as a child process inside the router's namespace.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::namespaces::Namespace;

/// Loading and verifying takes well under a second; a loaded machine gets ten.
const ATTACH_LIMIT: Duration = Duration::from_secs(10);
const SUMMARY_LIMIT: Duration = Duration::from_secs(15);

/// A running sensor. Dropping it ends the process.
#[derive(Debug)]
pub struct Sensor {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    words: Option<JoinHandle<String>>,
}

/// What a sensor left when it ended.
#[derive(Debug)]
pub struct Output {
    /// Its standard output, line by line.
    pub lines: Vec<Value>,
    /// Its standard error.
    pub words: String,
}

impl Sensor {
    /// Starts `tmap live` on the interfaces and waits until the kernel says that they have a
    /// program; returns with it the mode that the kernel names.
    ///
    /// # Errors
    /// When tmap ends early (with its own words) or attaches nothing in time.
    pub fn start(tmap: &Path, router: &Namespace, interfaces: &[&str]) -> Result<(Self, &'static str)> {
        let mut command = router.command(tmap);
        command.args(["live", "--json", "--connections"]);
        for interface in interfaces {
            command.args(["-i", interface]);
        }
        // A group of its own: ^C reaches us alone, and we ask it for its summary.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", tmap.display()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let sink = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                sink.lock().expect("no holder panics").push(value);
            }
        });
        let words = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is still worth showing.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut sensor = Self { child, lines, reader: Some(reader), words: Some(words) };
        let mode = sensor.wait_attached(router, interfaces)?;
        Ok((sensor, mode))
    }

    fn wait_attached(&mut self, router: &Namespace, interfaces: &[&str]) -> Result<&'static str> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("tmap ended before it was attached ({status}):\n{}", self.last_words());
            }
            let modes: Vec<_> =
                interfaces.iter().map(|interface| xdp_mode(router, interface)).collect::<Result<_>>()?;
            if let Some(Some(mode)) = modes.iter().min_by_key(|mode| mode.is_some()) {
                return Ok(mode);
            }
            if start.elapsed() > ATTACH_LIMIT {
                let limit = ATTACH_LIMIT.as_secs();
                bail!("tmap attached nothing to {} within {limit} s", interfaces.join(" and "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Events of this kind so far.
    pub fn count_events(&self, kind: &str) -> usize {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().filter(|line| line["event"] == kind).count()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks for the final summary, as ^C does, and returns everything that was printed.
    ///
    /// # Errors
    /// When it fails (with its own words), or does not end in time.
    pub fn finish(mut self) -> Result<Output> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).context("tmap has already ended")?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > SUMMARY_LIMIT {
                bail!("tmap did not end within {} s of SIGINT", SUMMARY_LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let words = self.last_words();
        if let Some(reader) = self.reader.take() {
            // It ends with the pipe; a panic there would have lost lines only.
            let _ = reader.join();
        }
        if !status.success() {
            bail!("tmap failed ({status}):\n{words}");
        }
        let lines = std::mem::take(&mut *self.lines.lock().expect("no holder panics"));
        Ok(Output { lines, words })
    }

    fn last_words(&mut self) -> String {
        self.words.take().and_then(|words| words.join().ok()).unwrap_or_default()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is the aim.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the kernel runs the XDP program of an interface; `None` without one. The numbers are
/// `XDP_ATTACHED_DRV` and its neighbours in `linux/if_link.h`.
fn xdp_mode(router: &Namespace, interface: &str) -> Result<Option<&'static str>> {
    let links: Value = serde_json::from_str(&router.ip(&format!("-j link show dev {interface}"))?)
        .context("`ip -j link` printed no JSON")?;
    Ok(match links[0]["xdp"]["mode"].as_u64() {
        Some(1) => Some("native"),
        Some(2) => Some("generic"),
        Some(3) => Some("hardware"),
        Some(4) => Some("mixed"),
        _ => None,
    })
}
