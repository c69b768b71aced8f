//! Captures that are made to do harm, through the command.

use std::process::{Command, Stdio};

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::Value;
use tmap_common::Link;
use tmap_tests::{
    captures::{self, THREE},
    command::{Run, binary, json_lines, of_type, tmap_with_input},
    siege::{Scene, dear::Load, times::Fault},
    simulate::SHARED,
    wire::capture::{Order, Packet, packets, pcap, plain},
};

/// Any seed will do.
const SEED: u64 = 1;

/// What `tmap read` says of packets, and of the address that machines share in it.
fn read(packets: &[Packet]) -> (Run, Value) {
    let run = tmap_with_input(["read", "--json", "-"], &pcap(packets, 1, Order::Little, true));
    let lines = json_lines(&run.out);
    let addresses = of_type(&lines, "address");
    let shared = addresses.into_iter().find(|line| line["address"] == SHARED.to_string());
    let shared = shared.expect("the machines' address").clone();
    (run, shared)
}

/// Machines, low, high and proven.
fn figures(line: &Value) -> [Option<u64>; 4] {
    ["machines", "machines_low", "machines_high", "machines_proven"].map(|name| line[name].as_u64())
}

/// Whether best count, low and proven are the same, and high is so but for one.
fn are_near(&[machines, low, high, proven]: &[Option<u64>; 4], calm: &[Option<u64>; 4]) -> bool {
    let is_near = high.zip(calm[2]).is_some_and(|(high, calm)| high.abs_diff(calm) <= 1);
    [machines, low, proven] == [calm[0], calm[1], calm[3]] && is_near
}

fn are_in_order(&[machines, low, high, proven]: &[Option<u64>; 4]) -> bool {
    let counts: Vec<u64> = [proven, low, machines, high].into_iter().flatten().collect();
    counts.is_sorted()
}

/// Wrong times change nothing, or a doubt or a warning says so.
#[test]
fn wrong_times_are_withstood_or_named() {
    let scene = Scene::capture(&captures::path(THREE)).expect("a capture");
    let sound = packets(&scene.records, Link::Ethernet);
    let (_, calm) = read(&sound);
    let mut broken = Vec::new();
    for fault in Fault::ALL {
        let (run, line) = read(&fault.apply(&sound, &mut Pcg64::seed_from_u64(SEED)));
        let is_warned = run.code == 1 && run.err.contains("left out");
        let is_named = !line["doubt"].is_null() || is_warned;
        let must_stay = matches!(
            fault,
            Fault::OneInFuture | Fault::TwoInFuture | Fault::TwoInFutureInTheMiddle | Fault::Doubled
        );
        let holds = if must_stay {
            are_near(&figures(&line), &figures(&calm)) && !is_warned
        } else {
            is_named || figures(&line) == figures(&calm)
        };
        if !holds || !are_in_order(&figures(&line)) {
            broken.push(format!("{fault:?}: {:?}, {}, {}", figures(&line), line["doubt"], run.err));
        }
    }
    assert!(broken.is_empty(), "{:?} became\n{}", figures(&calm), broken.join("\n"));
}

/// More address space than reading takes, in KiB: threads, their stacks and arenas included.
const LIMIT_KIB: u64 = 1 << 20;

/// Long connections of fast and slow clocks want large tables. One address had 1.1 GB of them.
#[test]
fn clocks_of_widely_different_rates_take_bounded_memory() {
    let load = Load {
        connections: 1_000,
        segments: 128,
        length_s: 400.0,
        span_s: 600.0,
        skew_ppm: 480.0,
        ..Load::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wide.pcap");
    std::fs::write(&path, plain(&load.records(&mut Pcg64::seed_from_u64(SEED)))).expect("a capture");
    let script = format!("ulimit -v {LIMIT_KIB}; exec \"$0\" read --json --search-budget 1 \"$1\"");
    let output =
        Command::new("sh").args(["-c", &script]).arg(binary()).arg(&path).stdin(Stdio::null()).output();
    let output = output.expect("sh runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    let lines = json_lines(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(of_type(&lines, "address")[0]["connections"], load.connections);
}
