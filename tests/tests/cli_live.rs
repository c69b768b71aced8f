//! `tmap live` as a user runs it, on the real kernel: needs root and network namespaces, and says
//! so where it has to skip.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;
use tmap_tests::command::{binary, tmap};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `ip` with these words.
fn ip(words: &str) -> bool {
    let status = Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Two namespaces joined by a veth pair; the sensor watches the second one's end.
struct Stage {
    near: String,
    far: String,
    folder: TempDir,
}

const INTERFACE: &str = "wire";
const SERVER: &str = "192.0.2.2:8080";

impl Stage {
    /// Builds it, or says why not.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            println!("skipped: the live sensor needs root");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("tmapcli{}-{number}{end}", std::process::id());
        let stage = Self { near: name("a"), far: name("b"), folder: TempDir::new().expect("a folder") };
        let Self { near, far, .. } = &stage;
        if !ip(&format!("netns add {near}")) || !ip(&format!("netns add {far}")) {
            println!("skipped: there are no network namespaces here");
            return None;
        }
        for words in [
            format!("-n {near} link add {INTERFACE} type veth peer name {INTERFACE} netns {far}"),
            format!("-n {near} addr add 192.0.2.1/24 dev {INTERFACE}"),
            format!("-n {far} addr add 192.0.2.2/24 dev {INTERFACE}"),
            format!("-n {near} link set {INTERFACE} up"),
            format!("-n {far} link set {INTERFACE} up"),
        ] {
            assert!(ip(&words), "ip {words}");
        }
        Some(stage)
    }

    /// Starts `tmap live` at the far end and waits until it watches.
    fn sensor(&self, arguments: &[&str]) -> Sensor {
        let [out, err] = ["out", "err"].map(|name| self.folder.path().join(name));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.far]).arg(binary()).args(["-i", INTERFACE]).args(arguments);
        command.stdin(Stdio::null()).stdout(File::create(&out).expect("created"));
        let child = command.stderr(File::create(&err).expect("created")).spawn().expect("tmap runs");
        let sensor = Sensor { child, out, err };
        wait_for("the sensor", || sensor.err().contains("^C ends"));
        sensor
    }

    /// Conversations of about a second from the near end to the far one.
    fn converse(&self, conversations: usize) {
        self.converse_with(&vec![SERVER.to_owned(); conversations]);
    }

    /// The same, each with an address of the far end's.
    fn converse_with(&self, servers: &[String]) {
        let listener = self.at(&self.far, || TcpListener::bind("0.0.0.0:8080").expect("bound"));
        let conversations = servers.len();
        let server = thread::spawn(move || {
            let served: Vec<_> = (0..conversations)
                .map(|_| {
                    let (mut stream, _) = listener.accept().expect("a client");
                    thread::spawn(move || {
                        let mut bytes = [0; 64];
                        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                            stream.write_all(b"and now?").expect("sent");
                        }
                    })
                })
                .collect();
            served.into_iter().for_each(|thread| thread.join().expect("served"));
        });
        let streams: Vec<TcpStream> = self.at(&self.near, || {
            servers.iter().map(|server| TcpStream::connect(server).expect("connected")).collect()
        });
        for mut stream in streams {
            for _ in 0..40 {
                stream.write_all(b"what time is it?").expect("sent");
                stream.read_exact(&mut [0; 8]).expect("answered");
                thread::sleep(Duration::from_millis(7));
            }
        }
        server.join().expect("served");
    }

    /// Does something inside a namespace: sockets stay where they were made.
    fn at<T: Send>(&self, namespace: &str, what: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace");
            setns(file, CloneFlags::CLONE_NEWNET).expect("entered");
            what()
        };
        thread::scope(|scope| scope.spawn(enter).join().expect("done"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            ip(&format!("netns del {namespace}"));
        }
    }
}

/// A running `tmap live`.
struct Sensor {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Sensor {
    fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// `ip netns exec` becomes the command, so the child is tmap itself.
    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("sent");
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the end", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("ended")
    }

    /// The JSON lines of one type so far.
    fn lines(&self, kind: &str) -> Vec<serde_json::Value> {
        let parse =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a JSON object a line");
        self.out().lines().map(parse).filter(|line| line["type"] == kind).collect()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // Already gone where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn summaries_on_request_and_at_the_end() {
    let Some(stage) = Stage::new() else { return };
    let mut sensor =
        stage.sensor(&["--json", "--connections", "--stats", "300ms", "tcp", "and", "port", "8080"]);
    stage.converse(3);
    sensor.send(Signal::SIGUSR1);
    wait_for("a summary", || sensor.lines("summary").len() == 1);
    wait_for("statistics", || !sensor.lines("stats").is_empty());
    sensor.send(Signal::SIGINT);
    assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
    let summaries = sensor.lines("summary");
    assert_eq!(summaries.len(), 2);
    let packets = &summaries[1]["packets"];
    let count = |name: &str| packets[name].as_u64().expect("a count");
    let skipped: u64 =
        packets["skipped"].as_object().expect("reasons").values().filter_map(|v| v.as_u64()).sum();
    assert_eq!(count("seen"), skipped + count("suppressed") + count("emitted") + count("ring_full"));
    assert_eq!(summaries[1]["records"], packets["emitted"]);
    assert!(count("emitted") + count("suppressed") >= 3 * 40, "{packets}");
    // Only what comes in is watched: the three clients' sides, in either summary.
    let connections = sensor.lines("connection");
    assert_eq!(connections.len(), 6);
    assert!(connections.iter().all(|line| line["src"] == "192.0.2.1" && line["dport"] == 8080));
    let attached =
        Command::new("ip").args(["-n", &stage.far, "link", "show", INTERFACE]).output().expect("ip runs");
    assert!(!String::from_utf8_lossy(&attached.stdout).contains("xdp"), "detached");
}

/// Addresses are shared out among shards, and together the shards know of all of them.
#[test]
fn several_shards_together_see_everything() {
    let Some(stage) = Stage::new() else { return };
    let servers: Vec<String> = (10..26).map(|host| format!("192.0.2.{host}")).collect();
    for server in &servers {
        assert!(ip(&format!("-n {} addr add {server}/24 dev {INTERFACE}", stage.far)));
    }
    let mut sensor =
        stage.sensor(&["--json", "--connections", "--egress", "--stats", "300ms", "--shards", "3"]);
    stage.converse_with(&servers.iter().map(|server| format!("{server}:8080")).collect::<Vec<_>>());
    wait_for("statistics of all", || {
        sensor.lines("stats").iter().any(|line| line["addresses"] == 1 + servers.len())
    });
    sensor.send(Signal::SIGUSR1);
    wait_for("a summary", || sensor.lines("summary").len() == 1);
    sensor.send(Signal::SIGINT);
    assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
    let summary = &sensor.lines("summary")[1];
    assert_eq!(summary["records"], summary["packets"]["emitted"], "all of them were taken in");
    let mut expected: Vec<&str> = servers.iter().map(String::as_str).chain(["192.0.2.1"]).collect();
    expected.sort_unstable();
    // As two summaries list them, sorted.
    let (mut addresses, connections) = (sensor.lines("address"), sensor.lines("connection"));
    assert_eq!((addresses.len(), connections.len()), (2 * expected.len(), 2 * 2 * servers.len()));
    addresses.truncate(expected.len());
    let mut names: Vec<&str> = addresses.iter().filter_map(|line| line["address"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn an_interface_that_vanishes_ends_the_run_with_a_summary() {
    let Some(stage) = Stage::new() else { return };
    let mut sensor = stage.sensor(&[]);
    stage.converse(1);
    assert!(ip(&format!("-n {} link del {INTERFACE}", stage.near)));
    assert_eq!(sensor.end().code(), Some(1));
    assert!(
        sensor.err().contains("tmap: interface wire is gone; ending with what was seen\n"),
        "{}",
        sensor.err()
    );
    assert!(sensor.out().contains("192.0.2.1"), "{}", sensor.out());
}

#[test]
fn a_run_ends_by_itself_after_its_duration_or_on_sigterm() {
    let Some(stage) = Stage::new() else { return };
    let mut sensor = stage.sensor(&["--duration", "300ms", "--xdp-mode", "generic"]);
    assert!(sensor.err().contains("generic"), "{}", sensor.err());
    assert_eq!(sensor.end().code(), Some(0));
    let mut sensor = stage.sensor(&["--egress"]);
    stage.converse(1);
    sensor.send(Signal::SIGTERM);
    assert_eq!(sensor.end().code(), Some(0));
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert!(sensor.out().contains(address), "both sides with --egress: {}", sensor.out());
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let Some(stage) = Stage::new() else { return };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &stage.far]).arg(binary()).args(["-i", INTERFACE, "--stats", "100ms"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("tmap runs");
    drop(command);
    drop(reader);
    let output = child.wait_with_output().expect("tmap ends");
    assert_eq!(output.status.code(), Some(0));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!err.contains("roken pipe"), "{err}");
}

#[test]
fn an_unknown_interface_is_one_clear_line() {
    let run = tmap(["-i", "no-such-nic"]);
    assert_eq!((run.out.as_str(), run.code), ("", 1));
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.starts_with("tmap: no-such-nic: no such interface"), "{}", run.err);
}
