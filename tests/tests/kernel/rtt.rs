//! `tmap rtt` on the real kernel, with a delay that is known because the test makes it: a relay in
//! user space holds every packet between two TUN devices.
//!
//! ```text
//! near [client] wire -- wire [middle: the sensor] relay == 30 ms == relay [far: server]
//! ```

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::linux::net::TcpStreamExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use smoltcp::{
    phy::{Device, Medium, RxToken, TunTapInterface, TxToken},
    time::Instant as StackInstant,
};
use tmap_tests::{
    command::{Running, json_lines, of_type},
    net::namespaces::Namespace,
};

/// How long the relay holds a packet, each way.
const DELAY: Duration = Duration::from_millis(30);

const SERVER: &str = "198.51.100.2:8080";
const EXCHANGES: usize = 30;

/// Three namespaces in a row.
struct Stage {
    near: Namespace,
    middle: Namespace,
    far: Namespace,
}

impl Stage {
    /// Sets it up, but for what joins the middle and the far end.
    fn new() -> Self {
        let [near, middle, far] = [(); 3].map(|()| Namespace::new());
        near.join("wire", &middle);
        near.ip("addr add 192.0.2.1/24 dev wire");
        middle.ip("addr add 192.0.2.2/24 dev wire");
        near.ip("link set wire up");
        middle.ip("link set wire up");
        near.ip("route add default via 192.0.2.2");
        middle.sysctl("net.ipv4.ip_forward", "1");
        Self { near, middle, far }
    }

    /// A wire in place of the relay.
    fn connect_wire(&self) {
        self.middle.join("relay", &self.far);
        self.connect_relay();
    }

    /// Gives the relay's devices their addresses.
    fn connect_relay(&self) {
        for (end, host) in [(&self.middle, 1), (&self.far, 2)] {
            end.ip(&format!("addr add 198.51.100.{host}/24 dev relay"));
            end.ip("link set relay up");
        }
        self.far.ip("route add default via 198.51.100.1");
    }
}

/// Packets on their way, with the time at which they may go on.
type Queue = VecDeque<(Instant, Vec<u8>)>;

/// Moves packets between devices in two namespaces until told to stop, each held for [`DELAY`].
/// Says when the devices are there.
fn relay(namespaces: [&Namespace; 2], ready: &Sender<()>, stop: &AtomicBool) {
    // Devices stay in the namespace where they were made.
    let mut ends = namespaces.map(|namespace| {
        namespace.enter();
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
    let listener = stage.far.run(|| TcpListener::bind(SERVER).expect("bound"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 64];
        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            stream.write_all(b"now").expect("sent");
        }
    });
    let mut stream = stage.near.run(|| TcpStream::connect(SERVER).expect("connected"));
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
    let tmap = Running::start(&stage.middle, &[&["rtt", "--json"], options].concat());
    talk();
    json_lines(&tmap.interrupt())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_known_delay_is_measured() {
    let stage = Stage::new();
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

    let samples = of_type(&lines, "rtt");
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
#[ignore = "needs root: cargo xtask test"]
fn two_interfaces_see_both_directions_and_one_says_what_is_missing() {
    let stage = Stage::new();
    stage.connect_wire();
    let both = ["-i", "wire", "-i", "relay", "--every", "100ms"];
    let lines = watched(&stage, &both, || converse(&stage));
    let samples = of_type(&lines, "rtt");
    for host in ["192.0.2.1", "198.51.100.2"] {
        let count = samples.iter().filter(|sample| sample["host"] == host).count();
        assert!(count >= EXCHANGES, "{host}: {count}");
    }
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["connections"], &summary["one_way"]), (&1.into(), &0.into()));
    assert_eq!(summary["counts"]["never_sent"], 0);
    let total = |lines: &[&Value]| -> u64 {
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
    assert_eq!(of_type(&lines, "rtt"), Vec::<&Value>::new());
}

/// A NAT router's two interfaces see each direction under other addresses.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_interfaces_of_a_nat_router_are_joined_and_one_with_egress_needs_no_joining() {
    let stage = Stage::new();
    stage.connect_wire();
    for rule in [
        "add table ip nat",
        "add chain ip nat out { type nat hook postrouting priority 100; }",
        "add rule ip nat out oifname relay masquerade",
    ] {
        let status = stage.middle.command("nft").arg(rule).status();
        assert!(status.is_ok_and(|status| status.success()), "nft {rule}");
    }
    for (options, translated) in [(["-i", "wire,relay"], 1), (["--egress", "-irelay"], 0)] {
        let lines = watched(&stage, &options, || converse(&stage));
        let summary = lines.last().expect("a summary");
        assert_eq!((&summary["connections"], &summary["one_way"]), (&1.into(), &0.into()), "{options:?}");
        assert_eq!(summary["counts"]["translated"], translated, "{options:?}");
        assert_eq!(of_type(&lines, "rtt_anomaly"), Vec::<&Value>::new());
        let client = if translated == 1 { "192.0.2.1" } else { "198.51.100.1" };
        for host in [client, "198.51.100.2"] {
            let samples = of_type(&lines, "rtt");
            let count = samples.iter().filter(|sample| sample["host"] == host).count();
            assert!(count >= EXCHANGES, "{options:?} {host}: {count}");
        }
    }
}

/// How long the client thinks before it asks again: most of the time within the tick of 1 ms in which its
/// kernel acknowledged the last answer.
const THOUGHT: Duration = Duration::from_micros(300);

/// How long the server thinks: so each answer comes in a tick of its own.
const HOLD: Duration = Duration::from_millis(2);

const QUESTIONS: usize = 500;

/// Asks and answers. All data is acknowledged at once, and so the client's acknowledgement has the TSval of
/// its next question. Returns how long the client waited beyond what the server thought, in microseconds.
fn ask(stage: &Stage) -> Vec<f64> {
    let listener = stage.far.run(|| TcpListener::bind(SERVER).expect("bound"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("set");
        let (mut held, mut bytes) = (Vec::new(), [0; 64]);
        stream.set_quickack(true).expect("set");
        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            let asked = Instant::now();
            thread::sleep(HOLD);
            held.push(asked.elapsed());
            stream.write_all(b"now").expect("sent");
            stream.set_quickack(true).expect("set");
        }
        held
    });
    let mut stream = stage.near.run(|| TcpStream::connect(SERVER).expect("connected"));
    stream.set_nodelay(true).expect("set");
    let waited: Vec<Duration> = (0..QUESTIONS)
        .map(|_| {
            let asked = Instant::now();
            stream.write_all(b"when?").expect("sent");
            stream.set_quickack(true).expect("set");
            stream.read_exact(&mut [0; 3]).expect("answered");
            let waited = asked.elapsed();
            let again = Instant::now() + THOUGHT;
            while Instant::now() < again {
                std::hint::spin_loop();
            }
            waited
        })
        .collect();
    drop(stream);
    let held = server.join().expect("served");
    let beyond = |(waited, held): (Duration, Duration)| waited.saturating_sub(held).as_secs_f64() * 1e6;
    waited.into_iter().zip(held).map(beyond).collect()
}

/// The client's own watch is the judge: beside the round trip it measures how long both programs took to
/// wake.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bare_acknowledgement_in_the_same_tick_does_not_start_the_time() {
    let stage = Stage::new();
    stage.connect_wire();
    let mut waited_us = Vec::new();
    let lines = watched(&stage, &["-i", "wire", "-i", "relay"], || waited_us = ask(&stage));
    let samples = of_type(&lines, "rtt");
    let server = samples.iter().filter(|sample| sample["host"] == "198.51.100.2");
    let mut found_us: Vec<f64> = server.filter_map(|sample| sample["rtt_us"].as_f64()).collect();
    assert!(found_us.len() >= QUESTIONS * 9 / 10, "{} samples", found_us.len());
    let median = |times_us: &mut Vec<f64>| {
        times_us.sort_by(f64::total_cmp);
        times_us[times_us.len() / 2]
    };
    let [found, waited] = [median(&mut found_us), median(&mut waited_us)];
    println!("{} samples, median {found} µs; the client waited {waited} µs", found_us.len());
    assert!(found <= waited, "median {found} µs, and the client waited {waited} µs");
}
