//! `tmap rtt` on the real kernel, with a delay that is known because the test makes it: a relay in
//! user space holds every packet between two TUN devices. Needs root and network namespaces, and
//! says so where it has to skip.
//!
//! ```text
//! near [client] wire -- wire [middle: the sensor] relay == 30 ms == relay [far: server]
//! ```

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;
use smoltcp::{
    phy::{Device, Medium, RxToken, TunTapInterface, TxToken},
    time::Instant as StackInstant,
};
use tempfile::TempDir;
use tmap_tests::command::binary;

/// How long the relay holds a packet, each way.
const DELAY: Duration = Duration::from_millis(30);

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const SERVER: &str = "198.51.100.2:8080";
const EXCHANGES: usize = 30;

/// Runs `ip` with these words.
fn ip(words: &str) -> bool {
    let status = Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Three namespaces, removed in the end.
struct Stage {
    near: String,
    middle: String,
    far: String,
}

impl Stage {
    /// Sets it up to the relay's devices, or says why not; `tag` tells this test's from others'.
    fn new(tag: &str) -> Option<Self> {
        if !geteuid().is_root() {
            println!("skipped: the live sensor needs root");
            return None;
        }
        let name = |end| format!("tmaprtt{}{tag}{end}", std::process::id());
        let stage = Self { near: name("a"), middle: name("b"), far: name("c") };
        let Self { near, middle, far } = &stage;
        if ![near, middle, far].iter().all(|namespace| ip(&format!("netns add {namespace}"))) {
            println!("skipped: there are no network namespaces here");
            return None;
        }
        for words in [
            format!("-n {near} link add wire type veth peer name wire netns {middle}"),
            format!("-n {near} addr add 192.0.2.1/24 dev wire"),
            format!("-n {middle} addr add 192.0.2.2/24 dev wire"),
            format!("-n {near} link set wire up"),
            format!("-n {middle} link set wire up"),
            format!("-n {near} route add default via 192.0.2.2"),
            format!("netns exec {middle} sysctl -q -w net.ipv4.ip_forward=1"),
        ] {
            assert!(ip(&words), "ip {words}");
        }
        Some(stage)
    }

    /// A wire in place of the relay.
    fn connect_wire(&self) {
        let words = format!("-n {} link add relay type veth peer name relay netns {}", self.middle, self.far);
        assert!(ip(&words), "ip {words}");
        self.connect_relay();
    }

    /// Gives the relay's devices their addresses.
    fn connect_relay(&self) {
        let Self { middle, far, .. } = self;
        for words in [
            format!("-n {middle} addr add 198.51.100.1/24 dev relay"),
            format!("-n {far} addr add 198.51.100.2/24 dev relay"),
            format!("-n {middle} link set relay up"),
            format!("-n {far} link set relay up"),
            format!("-n {far} route add default via 198.51.100.1"),
        ] {
            assert!(ip(&words), "ip {words}");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.middle, &self.far] {
            ip(&format!("netns del {namespace}"));
        }
    }
}

/// Takes this thread into a namespace.
fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
    setns(file, CloneFlags::CLONE_NEWNET).expect("entered");
}

/// What `make` makes inside a namespace: sockets stay there.
fn at<T: Send>(namespace: &str, make: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace);
            make()
        });
        thread.join().expect("made")
    })
}

/// Packets on their way, with the time at which they may go on.
type Queue = VecDeque<(Instant, Vec<u8>)>;

/// Moves packets between devices in two namespaces until told to stop, each held for [`DELAY`].
/// Says when the devices are there.
fn relay(namespaces: [&str; 2], ready: &Sender<()>, stop: &AtomicBool) {
    // Devices stay in the namespace where they were made.
    let mut ends = namespaces.map(|namespace| {
        enter(namespace);
        TunTapInterface::new("relay", Medium::Ip).expect("a TUN device")
    });
    ready.send(()).expect("awaited");
    let mut queues: [Queue; 2] = Default::default();
    while !stop.load(Ordering::Relaxed) {
        for (end, queue) in ends.iter_mut().zip(&mut queues) {
            while let Some((packet, _)) = end.receive(StackInstant::ZERO) {
                let bytes = packet.consume(|bytes| bytes.to_vec());
                queue.push_back((Instant::now() + DELAY, bytes));
            }
        }
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some((_, bytes)) = queues[from].pop_front_if(|(due, _)| *due <= Instant::now()) {
                let token = ends[to].transmit(StackInstant::ZERO).expect("a device that takes packets");
                token.consume(bytes.len(), |buffer| buffer.copy_from_slice(&bytes));
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// A conversation: the server answers each request at once.
fn converse(stage: &Stage) {
    let listener = at(&stage.far, || TcpListener::bind(SERVER).expect("bound"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 64];
        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            stream.write_all(b"now").expect("sent");
        }
    });
    let mut stream = at(&stage.near, || TcpStream::connect(SERVER).expect("connected"));
    stream.set_nodelay(true).expect("set");
    for _ in 0..EXCHANGES {
        stream.write_all(b"when?").expect("sent");
        stream.read_exact(&mut [0; 3]).expect("answered");
        thread::sleep(Duration::from_millis(9));
    }
    drop(stream);
    server.join().expect("served");
}

/// The lines of `tmap rtt` in the middle, with these options, while `talk` runs.
fn watched(stage: &Stage, options: &[&str], talk: impl FnOnce()) -> Vec<Value> {
    let folder = TempDir::new().expect("a folder");
    let [out, err] = ["out", "err"].map(|name| folder.path().join(name));
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &stage.middle]).arg(binary()).args(["rtt", "--json"]).args(options);
    command.stdin(Stdio::null()).stdout(File::create(&out).expect("created"));
    let mut child = command.stderr(File::create(&err).expect("created")).spawn().expect("tmap runs");
    let began = Instant::now();
    while !fs::read_to_string(&err).is_ok_and(|text| text.contains("^C ends")) {
        assert!(began.elapsed() < PATIENCE, "{}", fs::read_to_string(&err).unwrap_or_default());
        thread::sleep(Duration::from_millis(20));
    }
    talk();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("asked to end");
    let status = child.wait().expect("ended");
    assert!(status.success(), "{}", fs::read_to_string(&err).unwrap_or_default());
    let text = fs::read_to_string(&out).expect("written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_known_delay_is_measured() {
    let Some(stage) = Stage::new("delay") else { return };
    let stop = AtomicBool::new(false);
    let (ready, awaited) = channel();
    let lines = thread::scope(|scope| {
        scope.spawn(|| relay([&stage.middle, &stage.far], &ready, &stop));
        awaited.recv().expect("the relay's devices");
        stage.connect_relay();
        let lines = catch_unwind(AssertUnwindSafe(|| {
            watched(&stage, &["-i", "wire", "--egress"], || converse(&stage))
        }));
        stop.store(true, Ordering::Relaxed);
        lines.unwrap_or_else(|panic| resume_unwind(panic))
    });

    let samples: Vec<&Value> = lines.iter().filter(|line| line["type"] == "rtt").collect();
    let of = |host: &str, field: &str| -> Vec<f64> {
        let own = samples.iter().filter(|sample| sample["host"] == host);
        own.filter_map(|sample| sample[field].as_f64()).collect()
    };
    let mut far_us = of("198.51.100.2", "rtt_us");
    far_us.sort_by(f64::total_cmp);
    println!("far: {far_us:?}");
    let whole_us = 2.0 * DELAY.as_secs_f64() * 1e6;
    assert!(far_us.len() >= EXCHANGES, "handshake and requests: {}", far_us.len());
    assert!(far_us[0] >= whole_us, "no sample may be below the truth: {}", far_us[0]);
    assert!(far_us[far_us.len() / 2] < whole_us + 20_000.0, "median {}", far_us[far_us.len() / 2]);
    // The client stands beside the sensor, and its own TCP measures the whole path all the same.
    let near_us = of("192.0.2.1", "rtt_us");
    let near_ticks = of("192.0.2.1", "host_ticks");
    println!("near: {near_us:?}, its own: {near_ticks:?}");
    assert!(near_us.iter().copied().fold(f64::MAX, f64::min) < 20_000.0);
    assert!(!near_ticks.is_empty() && near_ticks.iter().all(|ticks| *ticks >= 59.0));
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["type"], &summary["one_way"]), (&"rtt_summary".into(), &0.into()));
    for kind in ["back", "leaps", "never_sent", "disordered"] {
        assert_eq!(summary["counts"][kind], 0, "{kind}");
    }
}

/// A router's two interfaces, neither of which sees both directions by itself.
#[test]
fn two_interfaces_see_both_directions_and_one_says_what_is_missing() {
    let Some(stage) = Stage::new("two") else { return };
    stage.connect_wire();
    let both = ["-i", "wire", "-i", "relay", "--every", "100ms"];
    let lines = watched(&stage, &both, || converse(&stage));
    let of_type = |lines: &[Value], name: &str| -> Vec<Value> {
        lines.iter().filter(|line| line["type"] == name).cloned().collect()
    };
    let samples = of_type(&lines, "rtt");
    for host in ["192.0.2.1", "198.51.100.2"] {
        let count = samples.iter().filter(|sample| sample["host"] == host).count();
        assert!(count >= EXCHANGES, "{host}: {count}");
    }
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["connections"], &summary["one_way"]), (&1.into(), &0.into()));
    assert_eq!(summary["counts"]["never_sent"], 0);
    let total = |lines: &[Value]| -> u64 {
        let bars = lines.iter().flat_map(|line| line["histogram"].as_array().expect("a histogram"));
        bars.map(|bar| bar[1].as_u64().expect("a count")).sum()
    };
    let intervals = of_type(&lines, "rtt_interval");
    assert!(intervals.len() >= 2, "{}", intervals.len());
    assert!(total(&intervals) >= EXCHANGES as u64, "intervals have histograms, too");
    let prefixes = of_type(&lines, "rtt_prefix");
    let names: Vec<_> = prefixes.iter().map(|line| line["prefix"].as_str().expect("a prefix")).collect();
    assert_eq!(names, ["192.0.2.0/24", "198.51.100.0/24"]);
    assert_eq!(total(&prefixes), samples.len() as u64);

    let lines = watched(&stage, &["-i", "relay"], || converse(&stage));
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["connections"], &summary["one_way"]), (&1.into(), &1.into()));
    assert_eq!(of_type(&lines, "rtt"), Vec::<Value>::new());
}
