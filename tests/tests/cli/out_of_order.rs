//! Captures whose packets are a little out of order, as two interfaces make them: they are read as the same
//! packets in order.

use std::{fs, io::Write as _};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tmap_common::Link;
use tmap_tests::{
    command::{json_lines, of_type, tmap},
    simulate::conversation::mail_cluster,
    wire::capture::{Order, Packet, packets, pcap, plain},
};

use super::{
    interrupt::{Running, SOON},
    no_packets::{mail, seen},
    rtt::requests,
};

/// How long dumpcap may hold what came from an interface.
const HOLD_NS: u64 = 250_000_000;

/// The packets as they are written where each direction has an interface, whose packets are handed over
/// together, so long after the first of them.
fn out_of_order(packets: &[Packet], hold_ns: [u64; 2]) -> Vec<Packet> {
    let mut handed_over_ns = [0; 2];
    let mut written: Vec<(u64, &Packet)> = packets
        .iter()
        .map(|packet| {
            // The source address: Ethernet 14, then 12 of IP.
            let side = usize::from(packet.bytes[26..30] == [198, 51, 100, 1]);
            if packet.time_ns > handed_over_ns[side] {
                handed_over_ns[side] = packet.time_ns + hold_ns[side];
            }
            (handed_over_ns[side], packet)
        })
        .collect();
    written.sort_by_key(|(written_ns, _)| *written_ns);
    written.into_iter().map(|(_, packet)| packet.clone()).collect()
}

/// What tmap tells of a capture in JSON, but for its own memory.
fn told(command: &str, packets: &[Packet]) -> Vec<Value> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("capture");
    fs::write(&path, pcap(packets, 1, Order::Little, true)).expect("written");
    let run = tmap([command.as_ref(), "--json".as_ref(), path.as_os_str()]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let mut lines = json_lines(&run.out);
    for line in &mut lines {
        line.as_object_mut().expect("an object").remove("memory_bytes");
        let text = line.to_string().replace(path.to_str().expect("a plain path"), "");
        *line = serde_json::from_str(&text).expect("JSON");
    }
    lines
}

fn is_told_as_in_order(command: &str, packets: &[Packet]) {
    let mut in_order = packets.to_vec();
    in_order.sort_by_key(|packet| packet.time_ns);
    let expected = told(command, &in_order);
    for hold_ns in [[HOLD_NS; 2], [HOLD_NS, 0], [0, HOLD_NS]] {
        let written = out_of_order(&in_order, hold_ns);
        assert!(!written.is_sorted_by_key(|packet| packet.time_ns));
        assert_eq!(told(command, &written), expected, "{hold_ns:?}");
    }
}

#[test]
fn two_interfaces_in_one_file_make_no_difference() {
    is_told_as_in_order("read", &packets(&mail_cluster(), Link::Ethernet));
}

#[test]
fn round_trips_over_two_interfaces_are_those_in_order() {
    is_told_as_in_order("rtt", &requests(40_000, 20).packets);
}

/// Merged captures may be out of order each.
#[test]
fn captures_out_of_order_are_merged_in_order() {
    let all = mail();
    let folder = TempDir::new().expect("a folder");
    let halves = [0, 1].map(|half| {
        let packets: Vec<Packet> =
            out_of_order(&all, [HOLD_NS; 2]).into_iter().skip(half).step_by(2).collect();
        let path = folder.path().join(half.to_string());
        fs::write(&path, pcap(&packets, 1, Order::Little, true)).expect("written");
        path
    });
    let whole = folder.path().join("whole");
    fs::write(&whole, plain(&mail_cluster())).expect("written");
    let [merged, expected] = [&halves[..], &[whole][..]]
        .map(|paths| tmap(["read".as_ref()].into_iter().chain(paths.iter().map(|path| path.as_os_str()))));
    assert_eq!((merged.code, merged.out), (0, expected.out), "{}", merged.err);
}

/// A summary while a pipe is silent tells all that came, also the last second of it.
#[test]
fn a_summary_on_request_has_all_that_came() {
    const PACKETS: usize = 12;
    let begun = &mail()[..PACKETS];
    assert!(begun[PACKETS - 1].time_ns - begun[0].time_ns < 1_000_000_000);
    let expected = of_type(&told("read", begun), "summary")[0]["coverage"].clone();
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("q");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let mut running = Running::start_in(folder, ["read", "--json", "q"].iter());
    let mut pipe = fs::OpenOptions::new().write(true).open(path).expect("somebody reads");
    pipe.write_all(&pcap(begun, 1, Order::Little, true)).expect("taken");
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.send(Signal::SIGUSR1);
    tmap_tests::command::wait_for("a summary", || seen(&running).1 == 1);
    let lines = json_lines(&running.file("out"));
    assert_eq!(of_type(&lines, "summary")[0]["coverage"], expected);
    running.send(Signal::SIGINT);
    assert_eq!(running.end(SOON), 0);
}
