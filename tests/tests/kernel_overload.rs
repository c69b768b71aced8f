//! Overload on the real kernel: user space that stands still, and what becomes of the records meanwhile.

use std::{
    io::Read as _,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tmap_tests::{
    bench::{
        object::{Draw, Handshakes},
        sender::Sender,
    },
    command::binary,
    netns::INTERFACE,
    root,
};

/// Slots of a CPU's ring unless the user says otherwise (8 MiB of 32 bytes).
const SLOTS: f64 = 262_144.0;

/// tmap on the far end of the veth.
struct Tmap {
    child: Child,
    out: thread::JoinHandle<String>,
}

impl Tmap {
    fn start(sender: &Sender, arguments: &[&str]) -> Self {
        let mut command = sender.wire.far.command(binary());
        command.args(["live", "-i", INTERFACE, "--xdp-mode", "native"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tmap runs");
        let mut stdout = child.stdout.take().expect("piped");
        let out = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("UTF-8");
            text
        });
        thread::sleep(Duration::from_millis(800));
        Self { child, out }
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("tmap is there");
    }

    /// Does something while all of tmap's user space stands still.
    fn stalled<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        self.send(Signal::SIGSTOP);
        let result = meanwhile();
        self.send(Signal::SIGCONT);
        thread::sleep(Duration::from_millis(300));
        result
    }

    /// What it said, ended.
    fn end(mut self) -> String {
        self.send(Signal::SIGINT);
        let status = self.child.wait().expect("tmap ends");
        assert_eq!(status.code(), Some(0));
        self.out.join().expect("its output was read")
    }
}

fn sender() -> Sender {
    root::require();
    Sender::new(Draw::Zipf(1 << 16), Handshakes::Some).expect("the veth and its traffic are there")
}

fn lines(out: &str, kind: &str) -> Vec<Value> {
    let all = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    all.filter(|line| line["type"] == kind).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn fifty_milliseconds_without_user_space_lose_nothing() {
    let mut sender = sender();
    let tmap = Tmap::start(&sender, &["--json"]);
    // In bits, so that a slow drain on a busy machine isn't what is tested.
    let mut frame_ns = f64::INFINITY;
    for _ in 0..8 {
        frame_ns = frame_ns.min(sender.send(50_000, None).expect("frames are sent").path_ns);
        thread::sleep(Duration::from_millis(200));
    }
    let frames = (50e6 / frame_ns) as u32;
    let took = tmap.stalled(|| {
        let began = Instant::now();
        sender.send(frames, None).expect("frames are sent");
        began.elapsed()
    });
    let summary = lines(&tmap.end(), "summary").pop().expect("a summary");
    let packets = &summary["packets"];
    let share = number(&packets["emitted"]) as f64 / number(&packets["seen"]) as f64;
    println!("{frames} frames of {frame_ns:.0} ns in {took:?}, {:.0} % of them records", 100.0 * share);
    if f64::from(frames) * share > SLOTS {
        println!("this machine is faster than rings are made for: no verdict");
        return;
    }
    assert_eq!(number(&packets["ring_full"]), 0, "{packets}");
    assert_eq!(summary["records"], packets["emitted"]);
}

#[test]
fn what_is_lost_is_counted_and_shown_for_each_cpu() {
    let mut sender = sender();
    let tmap = Tmap::start(&sender, &["--json", "--every-packet", "--stats", "200ms"]);
    let frames = 1_000_000;
    tmap.stalled(|| sender.send(frames, None).expect("frames are sent"));
    sender.send(10_000, None).expect("frames are sent");
    thread::sleep(Duration::from_millis(500));
    let out = tmap.end();
    let summary = lines(&out, "summary").pop().expect("a summary");
    let packets = &summary["packets"];
    let (emitted, lost) = (number(&packets["emitted"]), number(&packets["ring_full"]));
    // ARP may come in between.
    let skipped: u64 = packets["skipped"].as_object().expect("reasons").values().map(number).sum();
    assert_eq!(number(&packets["seen"]), emitted + lost + skipped, "{packets}");
    assert!(number(&packets["seen"]) >= u64::from(frames) + 10_000);
    // A ring's worth was kept, and what came after the stall.
    assert!(emitted as f64 >= SLOTS && emitted as f64 <= SLOTS + 10_000.0, "{packets}");
    assert_eq!(number(&summary["records"]), emitted, "all that was kept was taken in");
    let last = lines(&out, "stats").pop().expect("statistics");
    let by_cpu: Vec<u64> =
        last["cpus"].as_array().expect("CPUs").iter().map(|cpu| number(&cpu["ring_full"])).collect();
    assert_eq!(by_cpu.iter().sum::<u64>(), lost, "{by_cpu:?}");
    assert_eq!(by_cpu.iter().filter(|lost| **lost > 0).count(), 1, "one CPU received: {by_cpu:?}");
}

#[test]
fn losses_stand_in_the_text() {
    let mut sender = sender();
    let tmap = Tmap::start(&sender, &["--every-packet", "--ring-size", "64K", "--stats", "200ms"]);
    tmap.stalled(|| sender.send(100_000, None).expect("frames are sent"));
    thread::sleep(Duration::from_millis(300));
    let out = tmap.end();
    assert!(out.lines().any(|line| line.contains("CPU 0:") && line.ends_with(" LOST")), "{out}");
    assert!(out.contains("because a ring buffer was full; raise --ring-size."), "{out}");
}
