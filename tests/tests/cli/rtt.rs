//! `tmap rtt` on captures: round trips, the hosts' own measure, anomalies; and against tshark.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;
use tmap_common::{Address, Flags, Link, Segment};
use tmap_tests::{
    captures,
    command::{json_lines, of_type, tmap},
    judge::tshark,
    simulate::conversation::{START_NS, acknowledgement},
    wire::{
        capture::{self, Order, Packet},
        frame::{LINUX_SYN, frame},
    },
};

const MS: u64 = 1_000_000;
const CLIENT: [u8; 4] = [192, 0, 2, 10];
const SERVER: [u8; 4] = [198, 51, 100, 1];

/// A conversation in the making, with sequence numbers, as tshark wants them.
pub(super) struct Talk {
    pub(super) packets: Vec<Packet>,
    /// Next sequence number and latest TSval of the client and the server.
    sequence: [u32; 2],
    tsval: [u32; 2],
    /// A clock of 1 kHz each, and what it showed when the traffic began.
    offset: [u32; 2],
    port: u16,
}

impl Talk {
    fn new(port: u16, offset: [u32; 2]) -> Self {
        Self { packets: Vec::new(), sequence: [1_000, 9_000], tsval: [0; 2], offset, port }
    }

    /// `side` (0: the client) sends `bytes` so long after the start; the stamp is `stamped_ms` older.
    /// Returns its TSval.
    fn send(&mut self, side: usize, at_us: u64, flags: Flags, bytes: u32, tsecr: u32) -> u32 {
        let tsval = self.offset[side].wrapping_add((at_us / 1_000) as u32);
        let ends = [(CLIENT, self.port), (SERVER, 443)];
        let ((src, src_port), (dst, dst_port)) = (ends[side], ends[1 - side]);
        let segment = Segment {
            src: Address::from_ip4(src),
            dst: Address::from_ip4(dst),
            src_port,
            dst_port,
            flags,
            hop_limit: 60,
            tsval,
            tsecr,
            syn: flags.intersects(Flags::SYN).then_some(LINUX_SYN),
            ..Segment::default()
        };
        let mut packet = frame(&segment, Link::Ethernet);
        packet.extend(vec![b'.'; bytes as usize]);
        let total = (packet.len() - 14) as u16;
        packet[16..18].copy_from_slice(&total.to_be_bytes());
        packet[38..42].copy_from_slice(&self.sequence[side].to_be_bytes());
        if flags.intersects(Flags::ACK) {
            packet[42..46].copy_from_slice(&self.sequence[1 - side].to_be_bytes());
        }
        self.packets.push(Packet { time_ns: START_NS + at_us * 1_000, bytes: packet });
        self.sequence[side] += bytes + u32::from(flags.intersects(Flags::SYN | Flags::FIN));
        self.tsval[side] = tsval;
        tsval
    }

    fn handshake(&mut self, at_us: u64, rtt_us: u64) {
        let syn = self.send(0, at_us, Flags::SYN, 0, 0);
        let syn_ack = self.send(1, at_us + rtt_us, Flags::SYN | Flags::ACK, 0, syn);
        self.send(0, at_us + rtt_us + 80, Flags::ACK, 0, syn_ack);
    }
}

const DATA: Flags = Flags(0x18);

/// A client beside the sensor asks a server 30 ms away ten times a second.
pub(super) fn requests(port: u16, seconds: u64) -> Talk {
    let mut talk = Talk::new(port, [1_900_000, 7_000_000]);
    talk.handshake(0, 30_000);
    for round in 1..seconds * 10 {
        // The clocks' phases wander, as those of real requests do.
        let at_us = round * 100_000 + round * 7_919 % 9_973;
        let asked = talk.send(0, at_us, DATA, 200, talk.tsval[1]);
        let answer = talk.send(1, at_us + 30_000, DATA, 900, asked);
        talk.send(0, at_us + 30_050, Flags::ACK, 0, answer);
    }
    talk
}

fn write(folder: &TempDir, name: &str, packets: &[Packet]) -> PathBuf {
    let path = folder.path().join(name);
    let mut sorted = packets.to_vec();
    sorted.sort_by_key(|packet| packet.time_ns);
    fs::write(&path, capture::pcap(&sorted, 1, Order::Little, true)).expect("written");
    path
}

/// The lines of `tmap rtt --json`.
fn lines(path: &Path, more: &[&str]) -> Vec<Value> {
    let path = path.to_str().expect("a plain path");
    let run = tmap(["rtt", "--json", path].iter().chain(more));
    assert_eq!(run.code, 0, "{}", run.err);
    json_lines(&run.out)
}

#[test]
fn round_trips_and_what_the_hosts_compute() {
    let folder = TempDir::new().expect("a folder");
    let lines = lines(&write(&folder, "capture", &requests(40_000, 20).packets), &["--every", "5s"]);
    let samples = of_type(&lines, "rtt");
    let server: Vec<_> = samples.iter().filter(|sample| sample["host"] == "198.51.100.1").collect();
    assert_eq!(server.len(), 200, "handshake and 199 requests");
    assert!(server.iter().all(|sample| sample["rtt_us"] == 30_000.0));
    let client: Vec<_> = samples.iter().filter(|sample| sample["host"] == "192.0.2.10").collect();
    assert!(client.iter().skip(1).all(|sample| sample["rtt_us"] == 50.0), "{client:?}");
    let connections = of_type(&lines, "rtt_connection");
    let server = connections.iter().find(|line| line["port"] == 443).expect("the server's side");
    assert_eq!((&server["rtt"]["samples"], &server["rtt"]["jitter_us"]), (&200.into(), &0.0.into()));
    let client = connections.iter().find(|line| line["port"] == 40_000).expect("the client's side");
    assert_eq!((&client["rtt"]["min_us"], &client["tick_hz"]), (&50.0.into(), &1000.0.into()));
    let median_us = client["rtt"]["median_us"].as_f64().expect("a median");
    assert!((50.0..=50.5).contains(&median_us), "a histogram is right to 1 %: {median_us}");
    let own_ms = client["host_median_ms"].as_f64().expect("its clock is known");
    assert!((29.0..=31.0).contains(&own_ms), "the client's TCP measures the whole path: {own_ms}");
    assert_eq!(server["host_median_ms"], Value::Null, "its measure ends with a bare acknowledgement");
    let summary = of_type(&lines, "rtt_summary")[0];
    assert_eq!(summary["counts"]["samples"], samples.len());
    assert_eq!(summary["one_way"], 0);
    let bars = summary["histogram"].as_array().expect("bars");
    let total: u64 = bars.iter().map(|bar| bar[1].as_u64().expect("a count")).sum();
    assert_eq!(total, samples.len() as u64);
    assert!(of_type(&lines, "rtt_interval").len() >= 3);
    let prefixes: Vec<_> = of_type(&lines, "rtt_prefix").iter().map(|line| line["prefix"].clone()).collect();
    assert_eq!(prefixes, ["192.0.2.0/24", "198.51.100.0/24"]);
    let machines = of_type(&lines, "rtt_machine");
    assert!(
        machines.iter().any(|line| line["address"] == "198.51.100.1" && line["rtt"]["min_us"] == 30_000.0)
    );
}

#[test]
fn one_direction_is_named_as_the_reason() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, "capture", &requests(40_000, 2).packets);
    let run = tmap(["rtt", "--filter", "src host 192.0.2.10", path.to_str().expect("a path")]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("gave 0 round trips"), "{}", run.out);
    assert!(run.out.contains("1 of 1 connection seen in one direction only"), "{}", run.out);
}

#[test]
fn round_trips_of_coarse_times_are_warned_of() {
    let folder = TempDir::new().expect("a folder");
    // The last two are no round ones: a clock of 4 ms that NTP slews by 17 ppm, and Windows' timer.
    for (step_ns, phase_ns, says) in [
        (1, 0, ""),
        (10 * MS, 0, "steps of 10 ms, so round trips"),
        (4_000_068, 1_720_000, "steps of 4 ms, so round trips"),
        (15_625_000, 3_720_000, "steps of 15.6 ms, so round trips"),
    ] {
        let mut packets = requests(40_000, 40).packets;
        for (packet, at) in packets.iter_mut().zip(0..) {
            packet.time_ns += 1_370_019 * at;
            packet.time_ns -= (packet.time_ns - phase_ns) % step_ns;
        }
        let path = write(&folder, "coarse.pcap", &packets);
        let run = tmap(["rtt", "-s", path.to_str().expect("a plain path")]);
        assert_eq!(run.code, i32::from(!says.is_empty()), "{step_ns} ns: {}", run.err);
        assert!(run.err.contains(says) && run.out.contains(says), "{}{}", run.err, run.out);
    }
}

/// A tap with two ports, whose clocks differ: what the server sends is stamped 5 ms late.
#[test]
fn round_trips_that_two_clocks_stamped_are_left_out_with_a_warning() {
    let folder = TempDir::new().expect("a folder");
    let mut packets = requests(40_000, 20).packets;
    packets
        .iter_mut()
        .filter(|packet| packet.bytes[26..30] == SERVER)
        .for_each(|packet| packet.time_ns += 5 * MS);
    let path = write(&folder, "taps.pcap", &packets);
    let path = path.to_str().expect("a plain path");
    let says = "the round trips of 1 connection are left out, because the two directions were stamped by two \
                clocks: echoes come up to ";
    let run = tmap(["rtt", "-s", path]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains(says) && run.out.contains(says), "{}{}", run.err, run.out);
    assert!(run.out.contains("echoes captured before the segments that they echo (1"), "{}", run.out);
    assert!(!run.out.contains("answers"), "{}", run.out);
    let run = tmap(["rtt", "--json", path]);
    let lines = json_lines(&run.out);
    let summary = of_type(&lines, "rtt_summary")[0];
    assert_eq!((run.code, &summary["rtt"]), (1, &Value::Null));
    assert!(summary["warnings"][0].as_str().is_some_and(|text| text.contains(says)), "{summary}");
    assert!(of_type(&lines, "rtt_machine").is_empty() && of_type(&lines, "rtt_prefix").is_empty());
    assert!(of_type(&lines, "rtt_connection").iter().all(|line| line["rtt"].is_null()));
}

/// A busy link comes to that, and `live` and `read` end so as well. Where active ones make room, a warning
/// says so.
#[test]
fn connections_that_are_silent_make_room_without_a_warning() {
    let folder = TempDir::new().expect("a folder");
    let run = |pause_ms: u64| {
        let talks = (0..40u16).map(|number| {
            let mut packets = requests(40_000 + number, 1).packets;
            packets.iter_mut().for_each(|packet| packet.time_ns += u64::from(number) * pause_ms * MS);
            packets
        });
        let path = write(&folder, "many.pcap", &talks.flatten().collect::<Vec<_>>());
        tmap(["rtt", "-s", "--rtt-connections", "8", path.to_str().expect("a plain path")])
    };
    let silent = run(40_000);
    assert!(silent.out.contains("Evicted 32 connections with round trips"), "{}", silent.out);
    assert_eq!((silent.code, silent.err.as_str()), (0, ""));
    let active = run(100);
    assert_eq!(active.code, 1, "{}", active.out);
    assert!(active.err.contains("made room for others while they were active"), "{}", active.err);
}

#[test]
fn a_spoofed_segment_and_a_change_of_clock_are_listed() {
    let folder = TempDir::new().expect("a folder");
    let mut talk = requests(40_000, 3);
    let mut spoofed = talk.packets[31].clone();
    spoofed.time_ns += 1_000;
    // TTL and the TSval's top byte: Ethernet 14, IP 20, TCP 20, NOP NOP kind length.
    spoofed.bytes[22] = 251;
    spoofed.bytes[58] ^= 0x40;
    talk.packets.push(spoofed);
    let mut changed = requests(40_001, 3);
    for packet in changed.packets.iter_mut().skip(40) {
        let from_server = packet.bytes[26..30] == SERVER;
        if from_server {
            packet.bytes[58] ^= 0x20;
        }
    }
    talk.packets.extend(changed.packets);
    let lines = lines(&write(&folder, "capture", &talk.packets), &["--summary"]);
    let mut found: Vec<_> = of_type(&lines, "rtt_anomaly")
        .iter()
        .filter(|line| line["listed_before"] == true && line["kind"] != "echo_never_sent")
        .map(|line| (line["cause"].as_str().expect("a cause"), line["kind"].as_str().expect("a kind")))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("middlebox", "tsval_leap"), ("spoofed", "tsval_leap")]);
    assert!(of_type(&lines, "rtt").is_empty(), "no single round trips with --summary");
}

#[test]
fn the_same_capture_gives_the_same_lines() {
    let folder = TempDir::new().expect("a folder");
    let mut packets = requests(40_000, 5).packets;
    packets.extend(requests(40_001, 5).packets);
    let path = write(&folder, "capture", &packets);
    let strip = |mut lines: Vec<Value>| {
        for line in &mut lines {
            if let Some(object) = line.as_object_mut() {
                object.remove("memory_bytes");
            }
        }
        lines
    };
    assert_eq!(strip(lines(&path, &[])), strip(lines(&path, &[])));
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_a_made_capture() {
    let folder = TempDir::new().expect("a folder");
    let mut talk = requests(40_000, 10);
    // Every third answer of another connection is acknowledged only with the next one.
    let mut delayed = Talk::new(40_001, [5, 90_000]);
    delayed.handshake(0, 12_345);
    for round in 1..40u64 {
        let at_us = round * 200_000;
        let first = delayed.send(1, at_us, DATA, 1_000, delayed.tsval[0]);
        delayed.send(1, at_us + 3_000, DATA, 1_000, delayed.tsval[0]);
        delayed.send(0, at_us + 43_210, Flags::ACK, 0, first);
    }
    talk.packets.extend(delayed.packets);
    let found =
        tshark::compare_round_trips(&write(&folder, "capture", &talk.packets)).expect("tshark agrees");
    assert_eq!((found.samples, found.same), (100 + 100 + 2 + 39, 100 + 100 + 2), "{found:?}");
}

/// A client of 1 kHz that acknowledges the last answer at the start of a tick and asks again at its end. The
/// server answers in 50 µs, with data or without. No handshake is seen.
fn acknowledged_then_asked(data: u32) -> Talk {
    let mut talk = Talk::new(40_002, [1_900_000, 7_000_000]);
    talk.tsval = [1_899_950, 6_999_950];
    for round in 0..50u64 {
        let at_us = round * 50_000;
        talk.send(0, at_us, Flags::ACK, 0, talk.tsval[1]);
        let asked = talk.send(0, at_us + 900, DATA, 200, talk.tsval[1]);
        talk.send(1, at_us + 950, Flags::ACK, data, asked);
    }
    talk
}

#[test]
fn a_bare_acknowledgement_before_data_does_not_start_the_time() {
    let folder = TempDir::new().expect("a folder");
    for data in [0, 900] {
        let lines = lines(&write(&folder, "capture", &acknowledged_then_asked(data).packets), &[]);
        let samples = of_type(&lines, "rtt");
        let server: Vec<_> = samples.iter().filter(|sample| sample["port"] == 443).collect();
        assert_eq!(server.len(), 50);
        assert!(server.iter().all(|sample| sample["rtt_us"] == 50.0), "{server:?}");
    }
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_bare_acknowledgements_before_data() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, "capture", &acknowledged_then_asked(900).packets);
    let found = tshark::compare_round_trips(&path).expect("tshark agrees");
    // The client acknowledges at once, too, but not the last answer.
    assert_eq!((found.samples, found.same), (50 + 49, 50 + 49), "{found:?}");
}

/// Times of day in text are those of the capture: every microsecond of it.
#[test]
fn text_and_json_tell_the_same_times() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, "capture", &requests(40_000, 20).packets);
    let run = tmap(["rtt".as_ref(), path.as_os_str()]);
    let told: Vec<&str> = run.out.lines().filter(|line| line.contains(" answers ")).collect();
    let lines = lines(&path, &[]);
    let samples = of_type(&lines, "rtt");
    assert!(samples.len() > 300);
    for (text, json) in told.iter().zip(&samples) {
        let time = json["time"].as_str().expect("a time");
        // Zones differ by whole minutes.
        let [text, json] = [&text[6..15], &time[17..26]];
        assert_eq!(text, json);
    }
}

#[test]
fn a_capture_without_frames_has_no_date() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, "capture", &[]);
    for verb in ["read", "rtt"] {
        let json = tmap([verb.as_ref(), "--json".as_ref(), path.as_os_str()]);
        let summary = json_lines(&json.out).pop().expect("a summary");
        assert_eq!(summary["time"], Value::Null, "{verb}");
        let text = tmap([verb.as_ref(), path.as_os_str()]).out;
        assert!(!json.out.contains("1970") && !text.contains("1970"), "{text}");
    }
}

#[test]
#[ignore = "needs tshark: cargo xtask test"]
fn tshark_agrees_on_captures_of_real_machines() {
    for (path, least) in captures::all().iter().zip([100, 100]) {
        let found = tshark::compare_round_trips(path).expect("tshark agrees");
        println!("{}: {found:?}", path.display());
        assert!(found.samples >= least, "{}: {found:?}", path.display());
    }
}

/// The case of the module's documentation, end to end.
#[test]
fn the_documented_case_prints_both_measures() {
    let folder = TempDir::new().expect("a folder");
    let record = |time_ns, back: bool, has_payload, tsval, tsecr| {
        let (client, server) = ((CLIENT, 40_000), (SERVER, 443));
        let (from, to) = if back { (server, client) } else { (client, server) };
        let mut record = acknowledgement(START_NS + time_ns, (from, to), tsval, tsecr);
        record.segment.has_payload = has_payload;
        record
    };
    let records = [
        record(1_282 * MS, true, true, 1_965_828, 1_957_100),
        record(1_313 * MS, false, false, 1_957_200, 1_965_828),
    ];
    let path = write(&folder, "capture", &capture::packets(&records, Link::Ethernet));
    let run = tmap([Path::new("rtt"), &path]);
    let expected = "192.0.2.10:40000 answers 198.51.100.1:443 in 31 ms; host 100 ticks";
    assert!(run.out.contains(expected), "{}", run.out);
}
