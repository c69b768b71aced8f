//! `tmap read` as a user runs it: what it prints, what it refuses, how it ends.
//!
//! After a change of words, write the golden file anew and read the difference before you commit it:
//! `SNAPSHOTS=overwrite cargo test -p tmap-tests --test cli read`.

use std::{fs, io::Write, path::PathBuf};

use snapbox::{assert_data_eq, file, str};
use tempfile::TempDir;
use tmap::report::number::grouped;
use tmap_common::Link;
use tmap_tests::{
    command::{Run, command, json_lines, of_type, tmap, tmap_with_input, wait_for},
    simulate::conversation::mail_cluster,
    wire::capture::{LINK_TYPES, Order, Packet, PcapNg, modified, packets, pcap, pcapng, plain, snapped},
};

/// A folder for the captures of one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("written");
        path
    }

    /// Reads a file with this content.
    fn read(&self, content: &[u8]) -> Run {
        tmap(["read".into(), self.file("capture", content)])
    }
}

fn mail_packets() -> Vec<Packet> {
    packets(&mail_cluster(), Link::Ethernet)
}

/// The mail cluster as the plainest capture.
fn mail_capture() -> Vec<u8> {
    plain(&mail_cluster())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).expect("packed")
}

/// Whether the server of the mail cluster has a line with three machines.
fn three_machines(run: &Run) -> bool {
    run.out.lines().any(|line| line.split_whitespace().take(2).eq(["198.51.100.1", "3"]))
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut writer =
        lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).expect("an encoder");
    writer.write_all(content).expect("packed");
    writer.finish().expect("packed")
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).expect("packed");
    encoder.finish().expect("packed")
}

/// Asserts that a run printed what another one did, and had nothing to complain about.
fn assert_same(run: &Run, expected: &str, name: &str) {
    assert_eq!((run.err.as_str(), run.code), ("", 0), "{name}");
    assert_eq!(run.out, expected, "{name}");
}

#[test]
fn the_report_for_people() {
    let run = Folder::new().read(&mail_capture());
    // Word for word: the traffic is the same on every run, so no figure is a wildcard.
    assert_data_eq!(run.out, file!["../golden/read.txt"].raw());
    assert_eq!((run.err.as_str(), run.code), ("", 0));
}

#[test]
fn the_report_for_programs() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let run = tmap(["read".into(), "--json".into(), "--connections".into(), capture]);
    assert_eq!((run.err.as_str(), run.code), ("", 0));
    let lines = json_lines(&run.out);
    let of_type = |kind: &str| of_type(&lines, kind);
    assert_eq!(of_type("connection").len(), 12, "six conversations, two sides each");
    let server = of_type("address").into_iter().find(|line| line["address"] == "198.51.100.1");
    let server = server.expect("the server");
    assert_eq!(server["machines"], 3);
    assert_eq!(server["connections"], 6);
    assert_eq!(server["regime"], "global");
    let machines = server["machine_list"].as_array().expect("a list");
    let mut loads: Vec<f64> =
        machines.iter().map(|machine| machine["load_percent"].as_f64().expect("a number").round()).collect();
    loads.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(loads, [50.0, 33.0, 17.0]);
    let news = of_type("event").iter().filter(|line| line["address"] == "198.51.100.1").count();
    assert_eq!(news, 3);
    let summary = of_type("summary");
    assert_eq!(summary.len(), 1);
    assert_eq!(summary[0]["packets"]["seen"], mail_packets().len());
    assert_eq!(lines.last().expect("lines")["type"], "summary");
}

#[test]
fn every_container_tells_the_same() {
    let folder = Folder::new();
    let packets = mail_packets();
    let plain = mail_capture();
    let expected = folder.read(&plain).out;
    let containers = [
        ("pcap, big-endian", pcap(&packets, 1, Order::Big, true)),
        ("pcapng, little-endian", pcapng(&packets, 1, Order::Little)),
        ("pcapng, big-endian", pcapng(&packets, 1, Order::Big)),
        ("gzip", gzip(&plain)),
        ("zstd", zstd(&plain)),
        ("pcapng in gzip", gzip(&pcapng(&packets, 1, Order::Little))),
        ("two gzip members", [gzip(&plain[..5000]), gzip(&plain[5000..])].concat()),
        ("xz", xz(&plain)),
        ("bzip2", bzip2(&plain)),
        ("two xz streams", [xz(&plain[..5000]), xz(&plain[5000..])].concat()),
        ("two bzip2 streams", [bzip2(&plain[..5000]), bzip2(&plain[5000..])].concat()),
        ("two zstd frames", [zstd(&plain[..5000]), zstd(&plain[5000..])].concat()),
    ];
    for (name, content) in containers {
        assert_same(&folder.read(&content), &expected, name);
        assert_same(&tmap_with_input(["read", "-"], &content), &expected, &format!("{name} on stdin"));
    }
}

#[test]
fn every_link_type_tells_the_same() {
    let folder = Folder::new();
    let expected = folder.read(&mail_capture()).out;
    for (link_type, link) in LINK_TYPES {
        let packets = packets(&mail_cluster(), link);
        let mut capture = pcap(&packets, link_type, Order::Little, true);
        assert_same(&folder.read(&capture), &expected, &format!("link type {link_type}"));
        // The upper half of a pcap's link type may hold the length of the check sequence.
        capture[23] = 0x14;
        assert_same(&folder.read(&capture), &expected, &format!("link type {link_type} with FCS"));
    }
}

/// The packets in one interface of microseconds and, where `offset_s` is not 0, an offset.
fn in_microseconds(packets: &[Packet], order: Order, offset_s: i64) -> Vec<u8> {
    let mut capture = PcapNg::new(order);
    capture.interface(1, 6, offset_s);
    for packet in packets {
        capture.packet(0, packet.time_ns / 1_000 - offset_s as u64 * 1_000_000, &packet.bytes);
    }
    capture.into_bytes()
}

/// The packets in turn from an interface of microseconds and one of nanoseconds with an offset.
fn on_two_interfaces(packets: &[Packet]) -> Vec<u8> {
    let mut capture = PcapNg::new(Order::Little);
    capture.interface(1, 6, 0);
    capture.interface(1, 9, 1_000_000);
    for (index, packet) in packets.iter().enumerate() {
        match index % 2 {
            0 => capture.packet(0, packet.time_ns / 1_000, &packet.bytes),
            _ => capture.packet(1, packet.time_ns - 1_000_000_000_000_000, &packet.bytes),
        }
    }
    capture.into_bytes()
}

/// Half of the packets in a section of its own, in the other byte order.
fn in_two_sections(packets: &[Packet]) -> Vec<u8> {
    let mut capture = PcapNg::new(Order::Little);
    let (first, second) = packets.split_at(packets.len() / 2);
    capture.interface(1, 6, 0);
    first.iter().for_each(|packet| capture.packet(0, packet.time_ns / 1_000, &packet.bytes));
    capture.section(Order::Big);
    capture.interface(1, 6, 0);
    second.iter().for_each(|packet| capture.packet(0, packet.time_ns / 1_000, &packet.bytes));
    capture.into_bytes()
}

fn in_obsolete_blocks(packets: &[Packet]) -> Vec<u8> {
    let mut capture = PcapNg::new(Order::Big);
    capture.interface(1, 6, 0);
    let time_us = |packet: &Packet| packet.time_ns / 1_000;
    packets.iter().for_each(|packet| capture.obsolete_packet(0, time_us(packet), &packet.bytes, 0));
    capture.into_bytes()
}

#[test]
fn times_mean_the_same_whatever_their_units() {
    let folder = Folder::new();
    // Whole microseconds, so that the coarser units lose nothing.
    let whole = |packet: Packet| Packet { time_ns: packet.time_ns / 1_000 * 1_000, ..packet };
    let packets: Vec<Packet> = mail_packets().into_iter().map(whole).collect();
    let expected = folder.read(&pcap(&packets, 1, Order::Little, false));
    assert_eq!(expected.code, 0);
    for (name, content) in [
        ("nanoseconds", pcap(&packets, 1, Order::Big, true)),
        ("modified, little-endian", modified(&packets, 1, Order::Little)),
        ("modified, big-endian", modified(&packets, 1, Order::Big)),
        ("pcapng", in_microseconds(&packets, Order::Little, 0)),
        ("if_tsoffset", in_microseconds(&packets, Order::Little, 1_000_000_000)),
        ("if_tsoffset, big-endian", in_microseconds(&packets, Order::Big, 1_000_000_000)),
        ("two interfaces", on_two_interfaces(&packets)),
        ("two sections", in_two_sections(&packets)),
        ("obsolete blocks", in_obsolete_blocks(&packets)),
    ] {
        assert_same(&folder.read(&content), &expected.out, name);
    }
}

/// A snap length that cuts Timestamps off is named, and so is what helps.
#[test]
fn a_short_snap_length_is_told_of() {
    let folder = Folder::new();
    let packets = mail_packets();
    for snap_bytes in [20, 30, 40, 54, 60, 65] {
        let capture = snapped(&packets, 1, Order::Little, snap_bytes);
        for verb in ["read", "rtt"] {
            let run = tmap_with_input([verb, "-"], &capture);
            let hint = format!("Snap length too short: {} frames cut off", grouped(packets.len() as u64));
            assert!(run.out.contains(&hint), "{verb}, {snap_bytes} bytes: {}", run.out);
            assert!(run.out.contains("tcpdump -s 128"), "{}", run.out);
        }
        let run = tmap_with_input(["read", "--json", "-"], &capture);
        let lines = json_lines(&run.out);
        let summary = of_type(&lines, "summary");
        assert_eq!(summary[0]["packets"]["skipped"]["snap_cut"], packets.len(), "{snap_bytes} bytes");
    }
    let whole = folder.read(&snapped(&packets, 1, Order::Big, 80));
    assert_same(&whole, &folder.read(&mail_capture()).out, "80 bytes");
}

#[test]
fn files_are_one_capture_in_any_order() {
    let folder = Folder::new();
    let packets = mail_packets();
    let half = packets.len() / 2;
    let first = folder.file("first.pcap", &pcap(&packets[..half], 1, Order::Little, true));
    let second = folder.file("second.pcapng.gz", &gzip(&pcapng(&packets[half..], 1, Order::Big)));
    // Every other packet, as two sensors would share them.
    let share = |odd: usize| packets.iter().skip(odd).step_by(2).cloned().collect::<Vec<_>>();
    let odd = folder.file("odd.pcap", &pcap(&share(1), 1, Order::Little, true));
    let even = folder.file("even.pcap", &pcap(&share(0), 1, Order::Little, true));
    let expected = folder.read(&mail_capture()).out;
    for (name, files) in [
        ("in order", [&first, &second]),
        ("in another order", [&second, &first]),
        ("overlapping", [&odd, &even]),
    ] {
        assert_same(&tmap(["read".as_ref(), files[0].as_os_str(), files[1].as_os_str()]), &expected, name);
    }
    let mut command = command(["read".as_ref(), "-".as_ref(), second.as_os_str()]);
    let run = command.stdin(fs::File::open(&first).expect("there")).output().expect("tmap runs");
    assert_eq!(String::from_utf8_lossy(&run.stdout), expected, "standard input and a file");
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let folder = Folder::new();
    let capture = folder.file("a.pcap", &mail_capture());
    let link = folder.0.path().join("b.pcap");
    std::os::unix::fs::symlink(&capture, &link).expect("a link");
    let run = tmap(["read".into(), capture.clone(), link, capture]);
    assert_eq!(run.code, 1);
    assert_eq!(run.err.matches(" is named more than once; it is read once").count(), 2, "{}", run.err);
    assert!(run.out.starts_with(&folder.read(&mail_capture()).out), "{}", run.out);
    // A copy under another name is other packets of the same times.
    let copies = [folder.file("c.pcap", &mail_capture()), folder.file("d.pcap", &mail_capture())];
    let run = tmap(["read".as_ref(), copies[0].as_os_str(), copies[1].as_os_str()]);
    assert!(three_machines(&run), "{}", run.out);
}

/// The packets again, this much later.
fn with_later_copy(packets: &[Packet], later_s: u64) -> Vec<Packet> {
    let copy = packets
        .iter()
        .map(|packet| Packet { time_ns: packet.time_ns + later_s * 1_000_000_000, ..packet.clone() });
    packets.iter().cloned().chain(copy).collect()
}

#[test]
fn what_comes_again_makes_no_machines() {
    let folder = Folder::new();
    // The capture joined to itself: from the end back to the beginning.
    let run = folder.read(&pcap(&with_later_copy(&mail_packets(), 0), 1, Order::Little, true));
    assert_eq!(run.code, 1);
    assert!(run.err.contains("left out ") && run.err.contains("reordercap IN OUT"), "{}", run.err);
    assert!(three_machines(&run), "{}", run.out);
    // Captured twice, by clocks that differ.
    let mut twice = with_later_copy(&mail_packets(), 100);
    twice.sort_by_key(|packet| packet.time_ns);
    let run = folder.read(&pcap(&twice, 1, Order::Little, true));
    assert_eq!(run.code, 1);
    assert!(run.err.contains("come again 100 s later, so the same traffic is there twice"), "{}", run.err);
    // Seen twice on one link, as at a mirror port: nothing is wrong.
    let mut mirrored = mail_packets();
    mirrored.extend(
        mail_packets().iter().map(|packet| Packet { time_ns: packet.time_ns + 60_000, ..packet.clone() }),
    );
    mirrored.sort_by_key(|packet| packet.time_ns);
    let run = folder.read(&pcap(&mirrored, 1, Order::Little, true));
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(three_machines(&run), "{}", run.out);
}

#[test]
fn a_range_of_time_is_read_alone() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let seen = |from: &str, to: &str| {
        let arguments = ["read", "--json", "--from", from, "--to", to].map(std::ffi::OsString::from);
        let run = tmap(arguments.into_iter().chain([capture.clone().into_os_string()]));
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{from} {to}");
        let lines = json_lines(&run.out);
        of_type(&lines, "summary")[0]["packets"]["seen"].as_u64().expect("a number")
    };
    // It begins at 19:00:03 in Warsaw.
    let all = mail_packets().len() as u64;
    assert_eq!(seen("19:00", "19:01"), all);
    assert_eq!(seen("2006-04-22T17:00:00Z", "2006-04-23"), all);
    let (first, rest) = (seen("19:00:00", "19:00:20"), seen("2006-04-22 19:00:20.000000001", "20:00"));
    assert!(first > 0 && rest > 0, "{first} {rest}");
    assert_eq!(first + rest, all);
    assert_eq!(seen("19:02", "19:03"), 0);
    // Nanoseconds of 64 bits end in 2554, and times in 9999.
    for late in ["2555-01-01", "9999-12-30T20:00:00Z", "9999-12-31 23:59:59"] {
        assert_eq!((seen("19:00", late), seen(late, "9999-12-31 23:59:59")), (all, 0), "{late}");
    }
}

/// A FIFO in a folder.
fn fifo(folder: &Folder) -> PathBuf {
    let path = folder.0.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    path
}

#[test]
fn a_fifo_is_opened_once() {
    let folder = Folder::new();
    let path = fifo(&folder);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || fs::write(path, mail_capture()).expect("written")
    });
    assert_same(&tmap(["read".into(), path]), &folder.read(&mail_capture()).out, "a FIFO");
    writer.join().expect("written");
}

#[test]
fn the_first_signal_ends_waiting_for_a_pipe() {
    let folder = Folder::new();
    let path = fifo(&folder);
    for has_begun in [false, true] {
        let mut command = command(["read".as_ref(), "--stats".as_ref(), "100ms".as_ref(), path.as_os_str()]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = command.spawn().expect("tmap runs");
        // Where it has begun, the pipe stays open, and nothing more comes.
        let pipe = has_begun.then(|| {
            let mut pipe = fs::OpenOptions::new().write(true).open(&path).expect("a reader");
            pipe.write_all(&mail_capture()).expect("written");
            pipe
        });
        std::thread::sleep(std::time::Duration::from_millis(700));
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{has_begun}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(out.contains("198.51.100.1 "), has_begun, "{out}");
        assert_eq!(out.matches("stats 2006").count() >= 2, has_begun, "statistics come by time: {out}");
        drop(pipe);
    }
}

/// Waits for a report on a pipe that stays open.
fn wait_for_report(path: &std::path::Path) {
    let is_there = || fs::read_to_string(path).unwrap_or_default().contains("As of ");
    wait_for("a report", is_there);
}

/// Decompressors can't be asked to wait, so none may notice that a pipe pauses. Signals are answered
/// meanwhile, and what comes after the pause is read.
#[test]
fn a_packed_pipe_may_pause_and_answers_signals_meanwhile() {
    type Pack = fn(&[u8]) -> Vec<u8>;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(1_300);
    let folder = Folder::new();
    let content = mail_capture();
    let expected = folder.read(&content).out;
    let (begin, end) = content.split_at(content.len() / 2 + 1);
    let all: [(&str, Pack); 4] = [("gzip", gzip), ("zstd", zstd), ("xz", xz), ("bzip2", bzip2)];
    for (name, pack) in all {
        for goes_on in [true, false] {
            let (begin, end) = (pack(begin), pack(end));
            let out = folder.0.path().join("out");
            let mut command = command(["read", "-"]);
            command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let mut child = command.stdout(fs::File::create(&out).expect("a file")).spawn().expect("it runs");
            let mut pipe = child.stdin.take().expect("piped");
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let send = |signal| nix::sys::signal::kill(pid, signal).expect("it runs");
            // The pause is inside a stream.
            pipe.write_all(&[&begin[..], &end[..40]].concat()).expect("written");
            std::thread::sleep(if goes_on { PAUSE } else { PAUSE / 3 });
            send(nix::sys::signal::Signal::SIGUSR1);
            wait_for_report(&out);
            if goes_on {
                pipe.write_all(&end[40..]).expect("written");
                drop(pipe);
            } else {
                send(nix::sys::signal::Signal::SIGTERM);
            }
            let ended = child.wait_with_output().expect("it ends");
            let err = String::from_utf8_lossy(&ended.stderr);
            assert_eq!((ended.status.code(), err.as_ref()), (Some(0), ""), "{name} {goes_on}");
            let out = fs::read_to_string(&out).expect("a report");
            assert_eq!(out.matches("As of ").count(), 2, "{name} {goes_on}: {out}");
            assert_eq!(out.ends_with(&expected), goes_on, "{name}: {out}");
        }
    }
}

#[test]
fn tcpdumps_users_read_a_file() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let expected = folder.read(&mail_capture()).out;
    assert_same(&tmap([capture.clone()]), &expected, "tmap FILE");
    assert_same(&tmap(["-nr".into(), capture.clone()]), &expected, "tmap -nr FILE");
    let words = ["src", "host", "198.51.100.1"].map(PathBuf::from);
    let run = tmap(["-r".into(), capture].into_iter().chain(words));
    assert!(run.code == 0 && run.out.contains("1 address with timestamps"), "{}{}", run.out, run.err);
}

#[test]
fn options_that_only_tcpdump_has_are_answered() {
    for (arguments, answer) in [
        (["-c", "5", "x.pcap"], "tmap has no -c"),
        (["-w", "x.pcap", "tcp"], "tcpdump -w x.pcap, then tmap read x.pcap"),
    ] {
        let run = tmap(arguments);
        assert!(run.code == 2 && run.err.contains(answer), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn one_connection_and_its_machine_are_told() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let arguments = ["read", "--connection", "192.0.2.4:40004"].map(PathBuf::from);
    let run = tmap(arguments.into_iter().chain([capture]));
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let lines: Vec<&str> = run.out.lines().filter(|line| line.starts_with("192.0.2.")).collect();
    assert_eq!(
        lines[0],
        "192.0.2.4:40004 > 198.51.100.1:25  04-22 19:00:12      30 s     587     584 B  client  #1"
    );
    assert!(lines.len() == 2 && lines[1].starts_with("192.0.2.4  "), "{}", run.out);
}

#[test]
fn a_limit_that_was_reached_is_the_reason() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let no_room = "for lack of room (see the limits below)";
    for (option, reason, advice) in [
        ("--max-flows", no_room, "Raise --max-flows or --max-connections."),
        ("--max-connections", no_room, "Raise --max-flows or --max-connections."),
        // A few segments of each connection still tell the machines, with larger errors.
        ("--history-memory", "3 6 ?", "Raise --history-memory where clocks are missing."),
    ] {
        let run = tmap(["read".into(), option.into(), "1".into(), capture.clone()]);
        let text = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(reason) && text.contains(advice), "{option}: {}", run.out);
        assert!(!text.contains("tick rates stay"), "{option}: {}", run.out);
    }
}

/// The error where there is no standard output.
const NOWHERE: &str = "tmap: standard output is closed or not writable, so there is nowhere to report to\n";

#[test]
fn a_closed_standard_output_is_an_error() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let script = format!("{} read {} >&-", tmap_tests::command::binary().display(), capture.display());
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_eq!(err, NOWHERE);
}

/// To the standard library, who may not write has written. A path that is opened as such (`O_PATH`) can't be
/// written either, but no shell opens one.
#[test]
fn a_standard_output_that_takes_nothing_is_an_error() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    for words in ["read", "read --json", "rtt", "plot offsets", "report -o -"] {
        let (tmap, capture) = (tmap_tests::command::binary().display(), capture.display());
        let script = format!("{tmap} {words} {capture} 1<{capture}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {err}");
        assert_eq!(err, NOWHERE, "{words}");
    }
}

#[test]
fn a_standard_input_that_gives_nothing_is_an_error() {
    const CLOSED: &str = "tmap: standard input: is closed or not readable; pipe a capture into it\n";
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let (tmap, capture) = (tmap_tests::command::binary().display(), capture.display());
    for (end, said) in [
        ("- <&-", CLOSED),
        ("- 0>/dev/null", CLOSED),
        (&format!("{capture} - <&-"), CLOSED),
        ("- </dev/null", "tmap: standard input: is empty; capture again\n"),
        (&format!("{capture} <&-"), ""),
    ] {
        let script = format!("{tmap} read {end}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stderr), said, "{end}");
        assert_eq!(output.status.code(), Some(i32::from(!said.is_empty())), "{end}");
    }
}

/// A picture or a page in a file needs no standard output.
#[test]
fn a_file_is_written_with_standard_output_closed() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    for (verb, name) in [("plot offsets", "picture.svg"), ("report", "page.html")] {
        let file = folder.0.path().join(name);
        let tmap = tmap_tests::command::binary();
        let (tmap, capture, out) = (tmap.display(), capture.display(), file.display());
        let script = format!("{tmap} {verb} {capture} -o {out} >&-");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(output.status.code(), Some(0), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::metadata(&file).is_ok_and(|file| file.len() > 1_000), "{verb}");
    }
}

/// Asserts that all packets but the last were read, and that the cut was said in one line.
fn assert_cut(run: &Run, packets: usize, name: &str) {
    assert_eq!(run.code, 1, "{name}");
    assert_eq!(run.err.lines().count(), 1, "{name}: {}", run.err);
    let said = run.err.contains("truncated") && run.err.contains("the packets before it are reported");
    assert!(said, "{name}: {}", run.err);
    let summary: serde_json::Value =
        serde_json::from_str(run.out.lines().last().expect("a summary")).expect("JSON");
    assert_eq!(summary["packets"]["seen"], packets - 1, "{name}");
    assert!(summary["warnings"][0].as_str().expect("a text").contains("truncated"), "{name}");
}

#[test]
fn what_came_before_the_cut_is_reported() {
    let packets = mail_packets();
    let last = packets.last().expect("packets").bytes.len();
    let plain = mail_capture();
    let blocks = pcapng(&packets, 1, Order::Little);
    for (name, content) in [
        ("pcap", &plain[..plain.len() - 10]),
        ("pcap, in a packet's header", &plain[..plain.len() - last - 13]),
        ("pcapng", &blocks[..blocks.len() - 6]),
        ("pcapng, in a block's header", &blocks[..blocks.len() - last - 22]),
    ] {
        assert_cut(&tmap_with_input(["read", "--json", "-"], content), packets.len(), name);
    }
}

#[test]
fn what_came_before_the_cut_in_a_packed_file_is_reported() {
    let folder = Folder::new();
    let whole = mail_capture();
    for packed in [gzip(&whole), zstd(&whole), bzip2(&whole)] {
        let run = folder.read(&packed[..packed.len() * 3 / 4]);
        assert_eq!(run.code, 1);
        assert!(run.err.contains("compressed file is truncated"), "{}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    }
    let run = folder.read(&gzip(&whole)[..gzip(&whole).len() * 3 / 4]);
    assert!(run.out.contains("\n198.51.100.1 "), "{}", run.out);
}

#[test]
fn what_came_before_the_rubbish_is_reported() {
    let folder = Folder::new();
    for capture in [mail_capture(), pcapng(&mail_packets(), 1, Order::Little)] {
        let run = folder.read(&[&capture[..], &[0xff; 64]].concat());
        assert_eq!(run.code, 1);
        assert!(run.err.contains(&format!("corrupt at byte {}", capture.len())), "{}", run.err);
        assert!(three_machines(&run), "{}", run.out);
    }
}

#[test]
fn what_is_no_capture_is_refused_in_one_line() {
    let folder = Folder::new();
    for (content, says) in [
        (&b""[..], "is empty"),
        (b"ab", "too short"),
        (b"#!/bin/sh\nexit 0\n", "is not a capture"),
        (b"\xfd7zXZ\0\0\0", "tmap:"),
        (b"BZh91AY", "truncated"),
        (&xz(b"no capture in here"), "is not a capture"),
        (b"\xd4\xc3\xb2\xa1\x02\0", "truncated in the file header"),
        (&gzip(b"no capture in here"), "is not a capture"),
        (&[0x1f, 0x8b, 8, 0, 0xff, 0xff], "truncated"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff, 0xff], "tmap:"),
    ] {
        let run = folder.read(content);
        assert_eq!(run.code, 1, "{content:?}");
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert!(run.err.starts_with("tmap: ") && run.err.contains(says), "{content:?}: {}", run.err);
        assert_eq!(run.out, "", "nothing was read, so there is no report: {content:?}");
    }
}

#[test]
fn a_file_that_is_not_there_stops_the_run_before_it_begins() {
    let folder = Folder::new();
    let good = folder.file("good.pcap", &mail_capture());
    let run = tmap(["read".into(), good, "/nonexistent.pcap".into()]);
    assert_eq!((run.out.as_str(), run.code), ("", 1));
    assert_eq!(run.err, "tmap: /nonexistent.pcap: No such file or directory; check the name\n");
    let run = tmap(["read", "/"]);
    let says = "tmap: /: is a directory; name the captures in it, such as DIR/*.pcap\n";
    assert_eq!((run.code, run.err.as_str()), (1, says));
    let run = tmap(["read", "src"]);
    assert!(run.err.contains("--filter"), "{}", run.err);
}

#[test]
fn link_types_that_are_not_read_are_counted_and_said() {
    let packets = mail_packets();
    let run = Folder::new().read(&pcap(&packets, 127, Order::Little, true));
    assert_eq!(run.code, 1);
    let count = grouped(packets.len() as u64);
    let said = format!("skipped {count} packets of link type 127 (802.11 with radiotap header)");
    assert!(run.err.contains(&said), "{}", run.err);
}

#[test]
fn packets_without_a_time_are_counted_and_said() {
    let mut capture = PcapNg::new(Order::Little);
    capture.interface(1, 9, 0);
    mail_packets().iter().for_each(|packet| capture.packet(0, packet.time_ns, &packet.bytes));
    capture.simple_packet(&mail_packets()[0].bytes);
    let run = Folder::new().read(&capture.into_bytes());
    assert_eq!(run.code, 1);
    assert!(run.err.contains("skipped 1 packet without a capture time"), "{}", run.err);
    assert!(three_machines(&run), "{}", run.out);
}

/// Nanoseconds where microseconds were declared: the year would be 58,000.
#[test]
fn impossible_times_are_no_times() {
    let mut capture = PcapNg::new(Order::Little);
    capture.interface(1, 6, 0);
    capture.interface(1, 9, 0);
    let packets = mail_packets();
    packets.iter().for_each(|packet| capture.packet(1, packet.time_ns, &packet.bytes));
    packets.iter().take(100).for_each(|packet| capture.packet(0, packet.time_ns, &packet.bytes));
    let run = Folder::new().read(&capture.into_bytes());
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("skipped 100 packets without a capture time that a clock can have"),
        "{}",
        run.err
    );
    assert!(three_machines(&run), "{}", run.out);
}

/// Whatever wrote it, or made it anonymous, gave all packets one time.
#[test]
fn a_capture_whose_time_stands_still_tells_no_clock() {
    for time_ns in [0, 1_764_000_000_123_456_789] {
        let mut packets = mail_packets();
        packets.iter_mut().for_each(|packet| packet.time_ns = time_ns);
        let run = Folder::new().read(&pcapng(&packets, 1, Order::Little));
        assert!(run.out.contains("the capture times are too coarse to tell clocks apart"), "{}", run.out);
        assert!(!run.out.contains(" Hz") && !run.out.contains("MHz"), "{}", run.out);
        assert!(!run.out.contains("random offsets"), "{}", run.out);
    }
}

/// The mail cluster, and then blocks of statistics: interface, codes and counts.
fn mail_with_statistics(order: Order, blocks: &[(u32, &[(u16, u64)])]) -> PcapNg {
    let mut capture = PcapNg::new(order);
    capture.interface(1, 9, 0);
    capture.interface(1, 9, 0);
    mail_packets().iter().for_each(|packet| capture.packet(0, packet.time_ns, &packet.bytes));
    blocks.iter().for_each(|(interface, counts)| capture.statistics(*interface, counts));
    capture
}

#[test]
fn packets_that_the_writer_dropped_are_said() {
    let folder = Folder::new();
    let all = mail_packets().len() as u64;
    // Of several blocks the last one counts; interfaces and both kinds of drops add up.
    let blocks: [(u32, &[(u16, u64)]); 3] =
        [(0, &[(4, 9_000), (5, 100)]), (1, &[(7, 40)]), (0, &[(5, 900), (7, 60)])];
    for order in [Order::Little, Order::Big] {
        let run = folder.read(&mail_with_statistics(order, &blocks).into_bytes());
        let says = format!(
            "its writer dropped 1,000 packets beside the {} in it (interface statistics or drop counts); counts \
             may be low; capture with a larger buffer (-B) or a filter",
            grouped(all)
        );
        assert_eq!(run.code, 1);
        assert!(run.err.contains(&says) && run.out.contains(&says), "{}{}", run.err, run.out);
        assert!(three_machines(&run), "{}", run.out);
    }
    // Sections add up, too, whose interfaces begin anew.
    let mut capture = mail_with_statistics(Order::Little, &[(0, &[(5, 7)])]);
    capture.section(Order::Big);
    capture.interface(1, 9, 0);
    capture.statistics(0, &[(5, 5)]);
    let dropped = folder.file("dropped.pcapng", &capture.into_bytes());
    let json = tmap(["read".as_ref(), "--json".as_ref(), dropped.as_os_str()]);
    let lines = json_lines(&json.out);
    let warnings = of_type(&lines, "summary")[0]["warnings"].as_array().expect("warnings");
    assert!(warnings[0].as_str().is_some_and(|text| text.contains("dropped 12 packets")), "{warnings:?}");
    assert_eq!((json.code, warnings.len()), (1, 1));
    // Beside another capture, each is told by its name.
    let other = folder.file("other.pcap", &mail_capture());
    let both = tmap(["read".as_ref(), dropped.as_os_str(), other.as_os_str()]);
    assert!(both.err.contains("dropped.pcapng: its writer dropped 12 packets"), "{}", both.err);
    assert_eq!((both.code, both.err.lines().count()), (1, 1));
}

#[test]
fn drop_counts_of_packets_are_said() {
    let folder = Folder::new();
    let packets = mail_packets();
    // Two interfaces, of which both drop packets before every hundredth of theirs.
    let expected = 2 * 3 * (packets.len() as u64 / 2).div_ceil(100);
    for (order, obsolete) in [Order::Little, Order::Big].into_iter().flat_map(|o| [(o, false), (o, true)]) {
        let mut capture = PcapNg::new(order);
        capture.interface(1, 9, 0);
        capture.interface(1, 9, 0);
        for (i, packet) in packets[..packets.len() & !1].iter().enumerate() {
            let (interface, dropped) = (i % 2, if i / 2 % 100 == 0 { 3 } else { 0 });
            if obsolete {
                capture.obsolete_packet(interface as u16, packet.time_ns, &packet.bytes, dropped);
            } else if dropped > 0 {
                capture.packet_after_dropped(interface as u32, packet.time_ns, &packet.bytes, dropped.into());
            } else {
                capture.packet(interface as u32, packet.time_ns, &packet.bytes);
            }
        }
        // The smaller number of one interface's statistics counts nothing more.
        capture.statistics(0, &[(5, expected / 2 - 1)]);
        let run = folder.read(&capture.into_bytes());
        let says = format!("its writer dropped {} packets beside the ", grouped(expected));
        assert_eq!(run.code, 1, "{order:?} {obsolete}: {}", run.err);
        assert!(run.err.contains(&says) && run.out.contains(&says), "{}{}", run.err, run.out);
        assert!(three_machines(&run), "{}", run.out);
    }
}

#[test]
fn statistics_without_drops_or_damaged_ones_are_no_fault() {
    let none: [(u32, &[(u16, u64)]); 3] =
        [(0, &[(4, 9), (5, 0), (7, 0)]), (1, &[(5, u64::MAX)]), (2, &[(5, 9)])];
    let mut capture = mail_with_statistics(Order::Little, &none);
    // Without options, and with options of wrong lengths.
    capture.block(5, &[0; 12]);
    for options in [&[5, 0, 8, 0, 1, 1, 1, 1][..], &[5, 0, 0xff, 0xff, 1, 1, 1, 1], &[5, 0, 4, 0, 1, 1, 1, 1]]
    {
        capture.block(5, &[&[0; 12], options].concat());
    }
    mail_packets()[..1].iter().for_each(|packet| capture.simple_packet(&packet.bytes));
    let run = Folder::new().read(&capture.into_bytes());
    // The last block was reached.
    assert!(run.err.contains("skipped 1 packet without a capture time"), "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
}

#[test]
fn order_of_arrival_is_not_taken_for_granted() {
    let folder = Folder::new();
    let mut packets = mail_packets();
    packets.reverse();
    let run = folder.read(&pcap(&packets, 1, Order::Little, true));
    assert!(run.code == 1 && run.err.contains("after later ones; sort the packets"), "{}", run.err);
    // One stamp from another century, in the middle.
    let mut packets = mail_packets();
    let middle = packets.len() / 2;
    packets[middle].time_ns = u64::from(u32::MAX) * 1_000_000_000;
    assert_eq!(folder.read(&pcap(&packets, 1, Order::Little, true)).code, 0);
    packets[middle].time_ns = u64::MAX;
    let run = folder.read(&pcapng(&packets, 1, Order::Little));
    assert!(run.code == 1 && run.err.contains("skipped 1 packet without a capture time"), "{}", run.err);
}

#[test]
fn a_filter_chooses_and_what_it_leaves_out_is_counted() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let read = |filter: &str| tmap(["read".into(), "--filter".into(), filter.into(), capture.clone()]);
    let run = read("src host 198.51.100.1");
    assert_eq!(run.code, 0);
    assert!(three_machines(&run), "{}", run.out);
    assert!(run.out.contains("1 address with timestamps"), "{}", run.out);
    assert!(run.out.contains(" excluded by the filter."), "{}", run.out);
    let run = read("src prot 25");
    assert_eq!((run.out.as_str(), run.code), ("", 2));
    assert!(run.err.contains("    src prot 25\n        ^^^^\n"), "{}", run.err);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let folder = Folder::new();
    let capture = folder.file("mail.pcap", &mail_capture());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command(["read".into(), capture]).stdout(writer).output().expect("tmap runs");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn help_and_version_go_to_standard_output() {
    let run = tmap(["--help"]);
    assert_eq!((run.err.as_str(), run.code), ("", 0));
    assert!(run.out.contains("Examples:"));
    for verb in ["live", "read"] {
        let run = tmap([verb, "--help"]);
        assert_eq!(run.code, 0);
        assert!(
            run.out.contains("The average uptime (-v) is the mean") && run.out.contains("(skew)"),
            "{verb} defines its figures"
        );
        assert!(run.out.contains("2-26: at least 2 and at most"), "{verb} defines bounds");
    }
    assert_data_eq!(tmap(["--version"]).out, str!["tmap [..]\n"]);
    assert_eq!(tmap::<&str>([]).code, 2);
}
