//! tmap as a child process in the router's namespace.

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

use super::namespaces::Namespace;

/// tmap attaches in well under a second; this leaves time for a busy computer.
const ATTACH_LIMIT: Duration = Duration::from_secs(10);
const SUMMARY_LIMIT: Duration = Duration::from_secs(15);

/// A running sensor. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Sensor {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    messages: Option<JoinHandle<String>>,
}

/// Everything that a sensor printed.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its standard output: one JSON value for each line.
    pub lines: Vec<Value>,
    /// Its standard error.
    pub messages: String,
}

impl Sensor {
    /// Starts `tmap live` on the interfaces and waits until the kernel reports a program on each. Also
    /// returns the mode of those programs, as the kernel reports it.
    ///
    /// # Errors
    /// When tmap ends early (the error has its messages) or does not attach in time.
    pub(crate) fn start(
        tmap: &Path,
        router: &Namespace,
        interfaces: &[&str],
    ) -> Result<(Self, &'static str)> {
        let mut command = router.command(tmap);
        // On a veth tmap would take TCX by itself, and we couldn't see from here when it is attached.
        command.args(["live", "--json", "--connections", "--xdp-mode", "native"]);
        for interface in interfaces {
            command.args(["-i", interface]);
        }
        // tmap gets a process group of its own, so that ^C reaches only us. We then ask for its summary.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {}", tmap.display()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let sink = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                sink.lock().expect("no holder panics").push(value);
            }
        });
        let messages = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // After a read error, what came before it is still useful.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut sensor = Self { child, lines, reader: Some(reader), messages: Some(messages) };
        let mode = sensor.wait_attached(router, interfaces)?;
        Ok((sensor, mode))
    }

    fn wait_attached(&mut self, router: &Namespace, interfaces: &[&str]) -> Result<&'static str> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("tmap ended before it attached ({status}):\n{}", self.take_messages());
            }
            let modes: Vec<_> =
                interfaces.iter().map(|interface| xdp_mode(router, interface)).collect::<Result<_>>()?;
            if let Some(Some(mode)) = modes.iter().min_by_key(|mode| mode.is_some()) {
                return Ok(mode);
            }
            if start.elapsed() > ATTACH_LIMIT {
                let limit = ATTACH_LIMIT.as_secs();
                bail!("tmap did not attach to {} within {limit} s", interfaces.join(" and "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The number of events of this kind so far.
    pub(crate) fn count_events(&self, kind: &str) -> usize {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().filter(|line| line["event"] == kind).count()
    }

    /// Whether tmap still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends tmap with SIGINT, as ^C does, and returns everything that it printed.
    ///
    /// # Errors
    /// When tmap fails (the error has its messages) or does not end in time.
    pub(crate) fn finish(mut self) -> Result<Output> {
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
        let messages = self.take_messages();
        if let Some(reader) = self.reader.take() {
            // The thread ends with the pipe. If it panicked, only lines are lost.
            let _ = reader.join();
        }
        if !status.success() {
            bail!("tmap failed ({status}):\n{messages}");
        }
        let lines = std::mem::take(&mut *self.lines.lock().expect("no holder panics"));
        Ok(Output { lines, messages })
    }

    fn take_messages(&mut self) -> String {
        self.messages.take().and_then(|messages| messages.join().ok()).unwrap_or_default()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // Both fail only if tmap has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The mode of the XDP program on an interface; `None` without a program. The numbers are
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
