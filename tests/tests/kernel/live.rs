//! `tmap live` as a user runs it.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, PipeReader, Read, Write, pipe},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    fcntl::{FcntlArg, fcntl},
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use smoltcp::{
    phy::{Device as _, Medium, RawSocket, TxToken as _},
    time::Instant,
};
use tempfile::NamedTempFile;
use tmap_common::{Address, Link, Record, Segment};
use tmap_tests::{
    bench::machine::Pinned,
    command::{Running, binary, wait_for},
    net::namespaces::{INTERFACE, Wire},
    simulate::Scenario,
    wire::capture::packets,
};

const SERVER: &str = "192.0.2.2:8080";

/// A wire. Its far end is watched.
fn wire() -> Wire {
    Wire::new(1500, false)
}

/// Starts `tmap live` at the far end.
fn watch(wire: &Wire, arguments: &[&str]) -> Running {
    Running::start(&wire.far, &[&["-i", INTERFACE], arguments].concat())
}

/// Conversations of about a second from the near end, one with each of these servers at the far end.
fn converse(wire: &Wire, servers: &[String]) {
    let listener = wire.far.run(|| TcpListener::bind("0.0.0.0:8080").expect("bound"));
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
    let streams: Vec<TcpStream> = wire
        .near
        .run(|| servers.iter().map(|server| TcpStream::connect(server).expect("connected")).collect());
    for mut stream in streams {
        for _ in 0..40 {
            stream.write_all(b"what time is it?").expect("sent");
            stream.read_exact(&mut [0; 8]).expect("answered");
            thread::sleep(Duration::from_millis(7));
        }
    }
    server.join().expect("served");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn summaries_on_request_and_at_the_end() {
    let wire = wire();
    let mut sensor =
        watch(&wire, &["--json", "--connections", "--stats", "300ms", "tcp", "and", "port", "8080"]);
    converse(&wire, &vec![SERVER.to_owned(); 3]);
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
    assert!(!wire.far.ip(&format!("link show {INTERFACE}")).contains("xdp"), "detached");
    // Everything was told by the end, FIN at the latest.
    assert!(connections[3..].iter().all(|line| line["payload_bytes"] == 40 * 16), "{connections:?}");
}

/// Each interval has its table: an address is new, then it is silent.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_watcher_is_told_what_changed() {
    let wire = wire();
    let mut sensor = watch(&wire, &["--every", "300ms", "tcp", "and", "port", "8080"]);
    wait_for("a sign of life", || sensor.out().contains("none lost"));
    assert!(!sensor.out().contains("Changed"), "nothing to list yet: {}", sensor.out());
    converse(&wire, &vec![SERVER.to_owned(); 3]);
    let has_row = |end: &str| {
        let out = sensor.out();
        out.lines().any(|line| line.starts_with("192.0.2.1 ") && line.ends_with(end))
    };
    wait_for("a new address", || has_row("new"));
    wait_for("silence", || has_row("silent"));
    sensor.send(Signal::SIGINT);
    assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
}

/// Most segments of a bulk transfer are suppressed, merged or not, and their bytes are told all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bulk_transfer_tells_all_its_bytes() {
    const SENT: u64 = 30_000_000;
    // The kernel's cache is one for each CPU: with all segments on one, nothing is left behind.
    let _pinned = Pinned::to(0).expect("pinned");
    for mode in ["generic", "tc"] {
        let wire = wire();
        let mut sensor = watch(&wire, &["--json", "--connections", "--xdp-mode", mode]);
        let listener = wire.far.run(|| TcpListener::bind(SERVER).expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            io::copy(&mut stream, &mut io::sink()).expect("read")
        });
        let mut stream = wire.near.run(|| TcpStream::connect(SERVER).expect("connected"));
        let bytes = vec![7; 1_000_000];
        (0..SENT / 1_000_000).for_each(|_| stream.write_all(&bytes).expect("sent"));
        drop(stream);
        assert_eq!(server.join().expect("served"), SENT);
        sensor.send(Signal::SIGINT);
        assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
        let connections = sensor.lines("connection");
        let [line] = &connections[..] else { panic!("{connections:?}") };
        let count = |value: &serde_json::Value| value.as_u64().expect("a count");
        let (told, packets) = (count(&line["payload_bytes"]), &sensor.lines("summary")[0]["packets"]);
        println!("{mode}: {told} bytes in {} segments, {packets}", line["segments"]);
        // A segment that was sent twice counts twice; few are, on a wire that loses nothing.
        assert!((SENT..SENT + SENT / 50).contains(&told), "{mode}: {told} bytes of {SENT}");
        assert!(count(&packets["suppressed"]) > count(&packets["emitted"]), "{mode}: {packets}");
    }
}

/// Addresses are shared out among shards, and together the shards know of all of them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn several_shards_together_see_everything() {
    let wire = wire();
    let servers: Vec<String> = (10..26).map(|host| format!("192.0.2.{host}")).collect();
    for server in &servers {
        wire.far.ip(&format!("addr add {server}/24 dev {INTERFACE}"));
    }
    let mut sensor =
        watch(&wire, &["--json", "--connections", "--egress", "--stats", "300ms", "--shards", "3"]);
    converse(&wire, &servers.iter().map(|server| format!("{server}:8080")).collect::<Vec<_>>());
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
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_vanishes_ends_the_run_with_a_summary() {
    let wire = wire();
    let mut sensor = watch(&wire, &[]);
    converse(&wire, &[SERVER.to_owned()]);
    wire.near.ip(&format!("link del {INTERFACE}"));
    assert_eq!(sensor.end().code(), Some(1));
    assert!(sensor.err().contains("interface wire is gone; ending with what was seen\n"), "{}", sensor.err());
    assert!(sensor.out().contains("192.0.2.1"), "{}", sensor.out());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_run_ends_by_itself_after_its_duration_or_on_sigterm() {
    let wire = wire();
    let mut sensor = watch(&wire, &["--duration", "300ms", "--xdp-mode", "generic"]);
    assert!(sensor.err().contains("generic"), "{}", sensor.err());
    assert_eq!(sensor.end().code(), Some(0));
    let by_itself = "^C ends with a summary, and so does the end of --duration in 300 ms; kill -USR1";
    assert!(sensor.err().contains(by_itself), "{}", sensor.err());
    let mut sensor = watch(&wire, &["--egress"]);
    converse(&wire, &[SERVER.to_owned()]);
    sensor.send(Signal::SIGTERM);
    assert_eq!(sensor.end().code(), Some(0));
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert!(sensor.out().contains(address), "both sides with --egress: {}", sensor.out());
    }
}

/// A dropped ssh connection sends SIGHUP, often twice. Nothing that was found may be lost.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_hangup_ends_with_a_summary() {
    let wire = wire();
    let mut sensor = watch(&wire, &[]);
    converse(&wire, &[SERVER.to_owned()]);
    sensor.send(Signal::SIGHUP);
    sensor.send(Signal::SIGHUP);
    assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
    assert!(sensor.out().contains("192.0.2.1"), "{}", sensor.out());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn under_nohup_a_hangup_changes_nothing() {
    let wire = wire();
    let mut command = wire.far.command("nohup");
    command.arg(binary()).args(["-i", INTERFACE, "--json"]);
    let mut sensor = Running::spawn(command);
    sensor.send(Signal::SIGHUP);
    sensor.send(Signal::SIGUSR1);
    wait_for("a summary", || sensor.lines("summary").len() == 1);
    sensor.send(Signal::SIGTERM);
    assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
    assert_eq!(sensor.lines("summary").len(), 2, "it went on after the hangup");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let wire = wire();
    let (reader, writer) = pipe().expect("a pipe");
    let mut command = wire.far.command(binary());
    command.args(["-i", INTERFACE, "--stats", "100ms"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("tmap runs");
    drop(command);
    drop(reader);
    let output = child.wait_with_output().expect("tmap ends");
    assert_eq!(output.status.code(), Some(0));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!err.contains("roken pipe"), "{err}");
}

/// `timeout` of the coreutils sends its signal twice, to its child and to its group.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_signals_at_once_end_with_a_summary() {
    let wire = wire();
    for pause in [0, 1, 10] {
        let mut sensor = watch(&wire, &[]);
        converse(&wire, &[SERVER.to_owned()]);
        sensor.send(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(pause));
        // It may have ended already.
        let _ = kill(Pid::from_raw(sensor.pid().cast_signed()), Signal::SIGTERM);
        assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
        assert!(sensor.out().contains("192.0.2.1"), "{}", sensor.out());
    }
}

/// What panics is named by a variable that only the command under test knows.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_panic_ends_with_what_is_known() {
    let wire = wire();
    let start = |what: &str, more: &[&str]| {
        let mut command = wire.far.command(binary());
        command.args(["-i", INTERFACE, "--json", "--egress"]).args(more).env("TMAP_TEST_PANIC", what);
        Running::spawn(command)
    };
    for shards in ["1", "2"] {
        let mut sensor = start("192.0.2.1", &["--shards", shards]);
        converse(&wire, &[SERVER.to_owned()]);
        assert_eq!(sensor.end().code(), Some(1), "{}", sensor.err());
        assert!(sensor.err().contains("tmap: the analysis of 192.0.2.1 failed"), "{}", sensor.err());
        let addresses = sensor.lines("address");
        assert!(addresses.len() == 1 && addresses[0]["address"] == "192.0.2.2", "{addresses:?}");
    }
    // A thread that is gone altogether.
    for (what, shards) in [("shard", "1"), ("shard", "2"), ("analysis", "1"), ("sharer", "2")] {
        let mut sensor = start(what, &["--shards", shards]);
        assert_eq!(sensor.end().code(), Some(1), "{what}: {}", sensor.err());
        let summary = sensor.lines("summary").pop().expect("a summary");
        let warning = summary["warnings"][0].as_str().expect("a warning");
        assert!(warning.starts_with("a part of tmap failed"), "{what}: {warning}");
    }
}

/// What is stuck stops nothing else, and a second signal ends the run all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_stuck_thread_stops_nothing_else() {
    let wire = wire();
    for what in ["192.0.2.1", "shard"] {
        let mut command = wire.far.command(binary());
        command.args(["-i", INTERFACE, "--json", "--stats", "100ms"]).env("TMAP_TEST_STUCK", what);
        let mut sensor = Running::spawn(command);
        converse(&wire, &[SERVER.to_owned()]);
        sensor.send(Signal::SIGUSR1);
        let stats = || sensor.lines("stats").len();
        // More than there can be requests in a queue.
        let enough = stats() + 6;
        wait_for("statistics", || stats() >= enough);
        sensor.send(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(1_100));
        let asked = std::time::Instant::now();
        sensor.send(Signal::SIGTERM);
        assert_eq!(sensor.end().code(), Some(1), "{what}: {}", sensor.err());
        assert!(asked.elapsed() < Duration::from_secs(8), "{what}: {:?}", asked.elapsed());
        let summary = sensor.lines("summary").pop().expect("a summary");
        let warning = summary["warnings"][0].as_str().expect("a warning");
        assert!(warning.starts_with("a part of tmap did not answer"), "{what}: {warning}");
    }
}

/// Sends a frame whose IPv4 header is too short to be one.
fn send_malformed(wire: &Wire) {
    let mut frame = [0; 60];
    frame[..6].fill(0xff);
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x44]);
    wire.near.run(|| {
        let mut socket = RawSocket::new(INTERFACE, Medium::Ethernet).expect("a packet socket");
        let token = socket.transmit(Instant::now()).expect("room");
        token.consume(frame.len(), |buffer| buffer.copy_from_slice(&frame));
    });
}

/// A malformed frame is told of. Where nobody hears that, watching goes on.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_nobody_hears_ends_nothing() {
    let wire = wire();
    let full = fs::File::options().write(true).open("/dev/full").expect("there is one");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    for deaf in [Stdio::from(full), Stdio::from(writer)] {
        let mut command = wire.far.command(binary());
        command.args(["-i", INTERFACE, "--json", "--stats", "100ms"]).stdout(Stdio::piped()).stderr(deaf);
        let mut child = command.spawn().expect("tmap runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("statistics, so it watches");
        send_malformed(&wire);
        // Longer than from one look for such frames to the next.
        thread::sleep(Duration::from_millis(1_200));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("tmap is there");
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("a summary");
        assert_eq!(child.wait().expect("ended").code(), Some(0));
        let last = rest.lines().last().expect("a summary");
        assert!(last.contains(r#""type":"summary""#) && last.contains(r#""ip_malformed":1"#), "{last}");
    }
}

/// The kernel stamps records by a clock that knows no namespaces.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn in_a_time_namespace_times_are_right() {
    let wire = wire();
    let mut command = wire.far.command("unshare");
    command.args(["--time", "--monotonic", "864000", "--fork"]).arg(binary());
    command.args(["-i", INTERFACE, "--json", "--connections", "--duration", "3s"]);
    let began = Timestamp::now();
    let mut sensor = Running::spawn(command);
    converse(&wire, &vec![SERVER.to_owned(); 3]);
    assert_eq!(sensor.end().code(), Some(0), "{}", sensor.err());
    let is_now = |time: &serde_json::Value| {
        let time: Timestamp = time.as_str().expect("a time").parse().expect("a time");
        (began..=Timestamp::now()).contains(&time)
    };
    let summary = &sensor.lines("summary")[0];
    assert!(is_now(&summary["time"]) && is_now(&summary["since"]), "{summary}");
    let connections = sensor.lines("connection");
    assert_eq!(connections.len(), 3, "{connections:?}");
    assert!(
        connections.iter().all(|line| is_now(&line["first_seen"]) && is_now(&line["last_seen"])),
        "{connections:?}"
    );
}

/// As in a chroot. What the links are attached to isn't known there.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_proc_nobody_is_said_to_have_detached_tmap() {
    let wire = wire();
    let mut command = wire.far.command("unshare");
    let without = "umount --lazy /proc && exec \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-c", without]).arg(binary());
    command.args(["-i", INTERFACE, "--egress", "--json", "--duration", "7s"]);
    let mut sensor = Running::spawn(command);
    converse(&wire, &vec![SERVER.to_owned(); 3]);
    // It warned.
    assert_eq!(sensor.end().code(), Some(1), "{}", sensor.err());
    let err = sensor.err();
    assert!(err.contains("interfaces cannot be checked") && err.contains("mount /proc"), "{err}");
    assert!(!err.contains("detached") && !err.contains("can be watched"), "{err}");
    let summary = &sensor.lines("summary")[0];
    assert!(summary["addresses"].as_u64() >= Some(1), "{summary}");
}

/// Frames of a scenario, at their times.
fn replay(wire: &Wire, scenario: &Scenario) {
    send_in_time(wire, &scenario.run().records);
}

/// These records as frames, at their times.
fn send_in_time(wire: &Wire, records: &[Record]) {
    let packets = packets(records, Link::Ethernet);
    wire.near.run(|| {
        let mut socket = RawSocket::new(INTERFACE, Medium::Ethernet).expect("a packet socket");
        let (began, first_ns) = (std::time::Instant::now(), packets[0].time_ns);
        for packet in &packets {
            let due = Duration::from_nanos(packet.time_ns - first_ns);
            thread::sleep(due.saturating_sub(began.elapsed()));
            let token = socket.transmit(Instant::now()).expect("room");
            token.consume(packet.bytes.len(), |buffer| buffer.copy_from_slice(&packet.bytes));
        }
    });
}

/// Each sign of life asks for an analysis that takes longer than to the next one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn statistics_and_signs_of_life_go_on_while_analysis_is_busy() {
    let wire = wire();
    let sensor = watch(&wire, &["--every", "300ms", "--stats", "100ms", "--no-promisc"]);
    replay(&wire, &Scenario::slow_to_analyse());
    let count = || {
        let out = sensor.out();
        (out.matches("\nstats ").count(), out.matches("none lost; ").count())
    };
    let mut before = count();
    for _ in 0..8 {
        thread::sleep(Duration::from_secs(1));
        let now = count();
        assert!(now.0 > before.0 + 2 && now.1 > before.1, "{before:?}, {now:?}:\n{}", sensor.out());
        before = now;
    }
    let asked = std::time::Instant::now();
    sensor.send(Signal::SIGTERM);
    wait_for("a summary", || sensor.out().contains("As of "));
    // Two seconds, and as much again on a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

/// A live run whose standard error is this; its standard output goes to `out`.
fn watch_with_stderr(wire: &Wire, out: &NamedTempFile, stderr: impl Into<Stdio>) -> Child {
    let mut command = wire.far.command(binary());
    command.args(["live", "-i", "any", "--no-promisc", "--json", "--stats", "200ms"]).stdin(Stdio::null());
    command.stdout(out.reopen().expect("it")).stderr(stderr).spawn().expect("tmap")
}

fn printed(out: &NamedTempFile) -> String {
    fs::read_to_string(out.path()).expect("UTF-8")
}

fn signal(tmap: &Child, signal: Signal) {
    kill(Pid::from_raw(tmap.id().cast_signed()), signal).expect("tmap is there");
}

/// Changes of the interface are told on a standard error that is full and that nobody reads. Few lines wait
/// for a reader.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_standard_error_that_nobody_reads_holds_nothing_up() {
    let wire = wire();
    let out = NamedTempFile::new().expect("a file");
    let (reader, mut writer) = pipe().expect("a pipe");
    let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).expect("its size") as usize;
    writer.write_all(&vec![b'.'; size]).expect("filled");
    let mut tmap = watch_with_stderr(&wire, &out, writer);
    wait_for("statistics", || printed(&out).contains("\"type\":\"stats\""));
    let sizes = [1400, 1300, 1200, 1100];
    for mtu in sizes {
        wire.far.ip(&format!("link set {INTERFACE} mtu {mtu}"));
        thread::sleep(Duration::from_millis(300));
    }
    signal(&tmap, Signal::SIGUSR1);
    wait_for("a summary", || printed(&out).contains("\"type\":\"summary\""));
    // Somebody reads again.
    let reading = thread::spawn(move || io::read_to_string(reader).expect("UTF-8"));
    signal(&tmap, Signal::SIGTERM);
    assert!(tmap.wait().expect("tmap ends").success());
    let said = reading.join().expect("read");
    let told: Vec<String> = sizes.map(|mtu| format!("has an MTU of {mtu} now; it was ")).to_vec();
    let places: Vec<Option<usize>> = told.iter().map(|text| said.find(text)).collect();
    assert!(places[0].is_some() && places.is_sorted(), "all of them, in order: {said}");
    assert!(!said.contains("missing here"), "{said}");
}

/// A pipe that is full and that nobody reads: interfaces are followed all the same, also while a summary
/// waits for its reader, and what is left out is counted.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_standard_output_that_nobody_reads_holds_nothing_else_up() {
    let wire = wire();
    let (reader, writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4_096)).expect("a small one");
    let err = NamedTempFile::new().expect("a file");
    let mut command = wire.far.command(binary());
    command.args(["live", "-i", INTERFACE, "--json", "--stats", "20ms"]).stdin(Stdio::null());
    let mut tmap = command.stdout(writer).stderr(err.reopen().expect("it")).spawn().expect("tmap");
    drop(command);
    wait_for("its first line", || printed(&err).contains("^C ends"));
    let follows = |mtu: u32| {
        wire.far.ip(&format!("link set {INTERFACE} mtu {mtu}"));
        wait_for("a change", || printed(&err).contains(&format!("has an MTU of {mtu} now")));
    };
    // Far more statistics than the pipe holds, and than wait.
    thread::sleep(Duration::from_millis(2_500));
    follows(1_400);
    signal(&tmap, Signal::SIGUSR1);
    thread::sleep(Duration::from_millis(500));
    follows(1_300);
    let reading = thread::spawn(move || io::read_to_string(reader).expect("UTF-8"));
    thread::sleep(Duration::from_millis(500));
    signal(&tmap, Signal::SIGTERM);
    assert_eq!(tmap.wait().expect("tmap ends").code(), Some(1), "{}", printed(&err));
    let out = reading.join().expect("read");
    assert_eq!(out.matches("\"type\":\"summary\"").count(), 2, "{out}");
    assert!(out.matches("\"type\":\"stats\"").count() < 120, "more than were left out: {out}");
    assert!(printed(&err).contains(" reports were not written: nobody read those before them"));
    assert!(out.contains("reports were not written"), "the summary has the warning, too: {out}");
}

/// A live run at the far end whose standard output is full: a summary on request waits for its reader.
fn watch_with_full_stdout(wire: &Wire, err: &NamedTempFile, arguments: &[&str]) -> (Child, PipeReader) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).expect("its size") as usize;
    writer.write_all(&vec![b'\n'; size]).expect("filled");
    let mut command = wire.far.command(binary());
    command.args(["live", "-i", INTERFACE, "--no-promisc"]).args(arguments).stdin(Stdio::null());
    let tmap = command.stdout(writer).stderr(err.reopen().expect("it")).spawn().expect("tmap");
    wait_for("its first line", || printed(err).contains("^C ends"));
    (tmap, reader)
}

/// A summary on request waits for its reader when the run ends. What comes after the end isn't counted, and
/// the time of the reader is none of the analysis.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_run_ends_in_time_while_a_summary_waits_for_its_reader() {
    let wire = wire();
    for (arguments, is_stopped) in
        [(&["--duration", "6s", "--json"][..], false), (&["--json"], true), (&[], true)]
    {
        let err = NamedTempFile::new().expect("a file");
        let (mut tmap, reader) = watch_with_full_stdout(&wire, &err, arguments);
        send_malformed(&wire);
        converse(&wire, &[SERVER.to_owned()]);
        signal(&tmap, Signal::SIGUSR1);
        thread::sleep(Duration::from_millis(500));
        if is_stopped {
            signal(&tmap, Signal::SIGINT);
        } else {
            thread::sleep(Duration::from_secs(6));
        }
        // Longer than whoever asked gives an analysis.
        thread::sleep(Duration::from_millis(1_500));
        send_malformed(&wire);
        let reading = thread::spawn(move || io::read_to_string(reader).expect("UTF-8"));
        assert_eq!(tmap.wait().expect("tmap ends").code(), Some(0), "{}", printed(&err));
        let out = reading.join().expect("read");
        assert!(!printed(&err).contains("finishing"), "{arguments:?}: {}", printed(&err));
        let summaries = out.matches("\"type\":\"summary\"").count() + out.matches("As of ").count();
        assert_eq!(summaries, 2, "{arguments:?}: {out}");
        assert!(!out.contains("\"ip_malformed\":2"), "{arguments:?}: {out}");
    }
}

/// One machine each behind so many addresses, all with the same connection.
fn many_addresses(count: u16) -> Vec<Record> {
    let scenario = Scenario {
        machines: 1,
        connections: 1,
        duration_s: 4.5,
        segments: (60.0, 61.0),
        length_s: Some(4.0),
        ..Scenario::default()
    };
    let at = |record: Record, number: u16| {
        let [high, low] = number.to_be_bytes();
        let src = Address::from_ip4([198, 18, high, low]);
        Record { segment: Segment { src, ..record.segment }, ..record }
    };
    let records = scenario.run().records.into_iter();
    records.flat_map(|record| (0..count).map(move |number| at(record, number))).collect()
}

/// More events than wait for the thread that writes, and none is read. After two ^C, all that are not written
/// are told.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn events_that_are_given_up_are_counted() {
    const MACHINES: u16 = 300;
    let wire = wire();
    let err = NamedTempFile::new().expect("a file");
    let (mut tmap, reader) = watch_with_full_stdout(&wire, &err, &["--json"]);
    send_in_time(&wire, &many_addresses(MACHINES));
    // A review, which comes after four seconds, finds them.
    thread::sleep(Duration::from_secs(7));
    signal(&tmap, Signal::SIGINT);
    thread::sleep(Duration::from_millis(1_200));
    signal(&tmap, Signal::SIGINT);
    thread::sleep(Duration::from_secs(5));
    let reading = thread::spawn(move || io::read_to_string(reader).expect("UTF-8"));
    let code = tmap.wait().expect("tmap ends").code();
    let (out, err) = (reading.join().expect("read"), printed(&err));
    let told = out.matches("\"event\":\"new_machine\"").count() as u64;
    let warning = err.lines().find(|line| line.contains(" events were not printed")).unwrap_or_default();
    let missed = warning.split(' ').find_map(|word| word.parse::<u64>().ok());
    assert_eq!(
        missed.map(|missed| told + missed),
        Some(u64::from(MACHINES)),
        "{told} were written: {err}{out}"
    );
    assert_eq!(code, Some(1), "{err}");
}

/// A terminal is called ready where it has room for one byte; who writes a line waits for the rest.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_terminal_that_nobody_reads_holds_nothing_up() {
    for is_read_again in [true, false] {
        let wire = wire();
        let out = NamedTempFile::new().expect("a file");
        let pairs = (0..6).map(|number| ["a", "b"].map(|end| format!("{end}{number}")));
        let names: Vec<String> = pairs.flatten().collect();
        for ends in names.chunks(2) {
            wire.far.ip(&format!("link add {} type veth peer name {}", ends[0], ends[1]));
        }
        names.iter().for_each(|name| drop(wire.far.ip(&format!("link set {name} up"))));
        let pair = openpty(None, None).expect("a pseudo-terminal");
        let mut tmap = watch_with_stderr(&wire, &out, pair.slave);
        let lines = |kind: &str| printed(&out).matches(&format!("\"type\":\"{kind}\"")).count();
        wait_for("statistics", || lines("stats") > 0);
        // More than a terminal holds, and than wait beside it.
        let mut mtu = 1000;
        wait_for("many changes", || {
            mtu += 1;
            names.iter().for_each(|name| drop(wire.far.ip(&format!("link set {name} mtu {mtu}"))));
            lines("interface") > 500
        });
        let before = lines("stats");
        signal(&tmap, Signal::SIGUSR1);
        wait_for("a summary", || lines("summary") == 1);
        wait_for("statistics", || lines("stats") > before + 2);
        let asked = std::time::Instant::now();
        if is_read_again {
            // The end of a terminal is an error.
            let mut terminal = fs::File::from(pair.master);
            let reading = thread::spawn(move || {
                let mut said = Vec::new();
                let _ = terminal.read_to_end(&mut said);
                String::from_utf8_lossy(&said).into_owned()
            });
            signal(&tmap, Signal::SIGTERM);
            assert!(tmap.wait().expect("tmap ends").success());
            let said = reading.join().expect("read");
            let last = said.trim_end().lines().last().expect("lines");
            assert!(last.contains("lines are missing here: nobody read standard error"), "{said}");
        } else {
            signal(&tmap, Signal::SIGTERM);
            assert!(tmap.wait().expect("tmap ends").success());
            assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        }
        assert_eq!(lines("summary"), 2);
    }
}

/// A sensor whose analysis takes long, and which has been asked for a summary for a quarter of a second.
fn asked_while_busy(wire: &Wire) -> Running {
    let sensor = watch(wire, &["--json", "--no-promisc"]);
    replay(wire, &Scenario::slow_to_analyse());
    sensor.send(Signal::SIGUSR1);
    thread::sleep(Duration::from_millis(250));
    sensor
}

/// A request that comes while another one is answered is hurried, too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_requests_for_a_summary_are_both_answered_soon() {
    let wire = wire();
    let sensor = asked_while_busy(&wire);
    let asked = std::time::Instant::now();
    sensor.send(Signal::SIGUSR1);
    wait_for("two summaries", || sensor.lines("summary").len() == 2);
    // Two seconds each, and as much again on a busy machine; a quarter of a second is over.
    assert!(asked.elapsed() < Duration::from_millis(7_750), "{:?}", asked.elapsed());
}

/// A program expects one summary in the end. What hurried the one before doesn't hurry this.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_stop_after_a_request_for_a_summary_waits_for_the_analysis() {
    let wire = wire();
    let sensor = asked_while_busy(&wire);
    sensor.send(Signal::SIGTERM);
    thread::sleep(Duration::from_secs(3));
    if sensor.lines("summary").len() > 1 {
        // The analysis took less than three seconds, and so the last lines are whole.
        wait_for("whole lines", || {
            let lines = sensor.lines("address");
            let last_of =
                |address: &serde_json::Value| lines.iter().rfind(|line| line["address"] == *address);
            let doubts = lines.iter().filter_map(|line| last_of(&line["address"])).map(|line| &line["doubt"]);
            doubts.into_iter().all(|doubt| doubt != "interrupted")
        });
        return;
    }
    sensor.send(Signal::SIGTERM);
    wait_for("what is known", || sensor.lines("summary").len() == 2);
}
