//! Overload on the real kernel: user space that stands still, and what becomes of the records meanwhile.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tmap_tests::{
    bench::{
        object::{Draw, Handshakes},
        sender::Sender,
    },
    command::{Running, json_lines},
    net::{namespaces::INTERFACE, root},
};

/// Slots of a CPU's ring unless the user says otherwise (8 MiB of 32 bytes).
const SLOTS: u64 = 262_144;

/// Starts tmap on the far end of the veth.
fn start(sender: &Sender, arguments: &[&str]) -> Running {
    Running::start(
        &sender.wire.far,
        &[&["live", "-i", INTERFACE, "--xdp-mode", "native"], arguments].concat(),
    )
}

/// Does something while all of tmap's user space stands still.
fn stalled<T>(tmap: &Running, meanwhile: impl FnOnce() -> T) -> T {
    tmap.send(Signal::SIGSTOP);
    let result = meanwhile();
    tmap.send(Signal::SIGCONT);
    thread::sleep(Duration::from_millis(300));
    result
}

fn sender() -> Sender {
    root::require();
    Sender::new(Draw::Zipf(1 << 16), Handshakes::Some).expect("the veth and its traffic are there")
}

/// The last JSON line of a type.
fn last(out: &str, kind: &str) -> Value {
    json_lines(out).into_iter().rfind(|line| line["type"] == kind).expect("a line of this type")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn fifty_milliseconds_without_user_space_lose_nothing() {
    let mut sender = sender();
    // Room for all connections, so that nothing is lost behind the rings either.
    let tmap = start(&sender, &["--json", "--max-connections", "100000"]);
    // In bits, so that a slow drain on a busy machine isn't what is tested.
    let mut frame_ns = f64::INFINITY;
    for _ in 0..8 {
        frame_ns = frame_ns.min(sender.send(50_000, None).expect("frames are sent").path_ns);
        thread::sleep(Duration::from_millis(200));
    }
    let frames = (50e6 / frame_ns) as u32;
    let took = stalled(&tmap, || {
        let began = Instant::now();
        sender.send(frames, None).expect("frames are sent");
        began.elapsed()
    });
    let summary = last(&tmap.interrupt(), "summary");
    let packets = &summary["packets"];
    let [seen, emitted, lost] = ["seen", "emitted", "ring_full"].map(|name| number(&packets[name]));
    let records = u64::from(frames) * (emitted + lost) / seen;
    println!("{frames} frames of {frame_ns:.0} ns in {took:?}, {records} of them records");
    // Where that is more than a ring holds, only the rest may be lost (and a little for the estimate).
    let most_lost = if records <= SLOTS { 0 } else { records + records / 100 - SLOTS };
    assert!(lost <= most_lost, "{packets}");
    assert_eq!(summary["records"], packets["emitted"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_lost_is_counted_and_shown_for_each_cpu() {
    let mut sender = sender();
    let tmap = start(&sender, &["--json", "--every-packet", "--stats", "200ms"]);
    let frames = 1_000_000;
    stalled(&tmap, || sender.send(frames, None).expect("frames are sent"));
    sender.send(10_000, None).expect("frames are sent");
    thread::sleep(Duration::from_millis(500));
    let out = tmap.interrupt_with(1);
    let summary = last(&out, "summary");
    let warning = summary["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains(" % of the records were lost, because rings were full; raise"), "{warning}");
    let packets = &summary["packets"];
    let (emitted, lost) = (number(&packets["emitted"]), number(&packets["ring_full"]));
    // ARP may come in between.
    let skipped: u64 = packets["skipped"].as_object().expect("reasons").values().map(number).sum();
    assert_eq!(number(&packets["seen"]), emitted + lost + skipped, "{packets}");
    assert!(number(&packets["seen"]) >= u64::from(frames) + 10_000);
    // A ring's worth was kept, and what came after the stall.
    assert!((SLOTS..=SLOTS + 10_000).contains(&emitted), "{packets}");
    assert_eq!(number(&summary["records"]), emitted, "all that was kept was taken in");
    let stats = last(&out, "stats");
    let by_cpu: Vec<u64> =
        stats["cpus"].as_array().expect("CPUs").iter().map(|cpu| number(&cpu["ring_full"])).collect();
    assert_eq!(by_cpu.iter().sum::<u64>(), lost, "{by_cpu:?}");
    assert_eq!(by_cpu.iter().filter(|lost| **lost > 0).count(), 1, "one CPU received: {by_cpu:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn losses_stand_in_the_text() {
    let mut sender = sender();
    let tmap = start(&sender, &["--every-packet", "--ring-size", "64K", "--stats", "200ms"]);
    stalled(&tmap, || sender.send(100_000, None).expect("frames are sent"));
    thread::sleep(Duration::from_millis(300));
    let out = tmap.interrupt_with(1);
    assert!(out.contains("warning: ") && out.contains(" % of the records were lost"), "{out}");
    assert!(out.lines().any(|line| line.contains("CPU 0:") && line.ends_with(" LOST")), "{out}");
    assert!(out.contains("because a ring buffer was full; raise --ring-size."), "{out}");
}
