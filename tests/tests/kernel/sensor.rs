//! The sensor on real interfaces: attached in every mode, fed by real TCP, held against tcpdump.

use std::{
    net::UdpSocket,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aya::programs::{SchedClassifier, TcAttachType};
use smoltcp::{
    phy::{Device, Medium, RawSocket, TunTapInterface, TxToken},
    time::Instant as StackInstant,
};
use tmap::{
    capture::xdp::{Config, Hook, Rings, Sensor, XdpMode},
    time::WallClock,
};
use tmap_common::{Counters, Link, Record, Skip, parse, record::Direction, tunnel::MAX_HEADERS};
use tmap_tests::{
    command::{OpenBinary, binary, wait_for},
    judge::tcpdump::{Line, Tcpdump, Way, assert_same},
    net::{
        namespaces::{INTERFACE, Namespace, Wire},
        root,
        talk::{self, SERVERS},
    },
    wire::frame::acknowledgement,
};

fn config(xdp_mode: XdpMode, egress: bool) -> Config {
    Config {
        interfaces: vec![INTERFACE.to_owned()],
        xdp_mode,
        egress,
        every_packet: true,
        // Records tell TSecr, as tcpdump does.
        round_trips: true,
        ..Config::default()
    }
}

fn open(namespace: &Namespace, config: &Config) -> (Sensor, Rings) {
    namespace.run(|| Sensor::open(config)).expect("the sensor opens")
}

/// The message with which the sensor refuses `config`.
fn refusal(namespace: &Namespace, config: &Config) -> String {
    let opened = namespace.run(|| Sensor::open(config).map(drop));
    let message = format!("{:#}", opened.expect_err("this can't work"));
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

fn hooks(sensor: &Sensor) -> Vec<Hook> {
    sensor.attachments().iter().map(|attachment| attachment.hook).collect()
}

/// Everything in the rings, with the accounts checked to the packet. The sensor must be detached.
fn drain(sensor: &Sensor, rings: &mut Rings) -> (Vec<Record>, Counters) {
    let mut records = Vec::new();
    while rings.drain(1000, |record| records.push(*record)) > 0 {}
    let statistics = sensor.statistics();
    let total = statistics.total();
    assert_eq!(total.accounted(), total.seen, "{total:?}");
    assert_eq!((total.ring_full, total.suppressed), (0, 0), "{total:?}");
    assert_eq!(total.emitted, records.len() as u64);
    assert_eq!(statistics.received, total.emitted);
    assert!(statistics.cpus.iter().all(|cpu| cpu.ring_fill == 0));
    (records, total)
}

/// Detaches, and lets frames that are inside the programs through.
fn detach(namespace: &Namespace, sensor: &mut Sensor) {
    namespace.run(|| sensor.detach());
    thread::sleep(Duration::from_millis(50));
}

fn lines(records: &[Record], direction: Direction) -> Vec<Line> {
    let mut lines: Vec<Line> =
        records.iter().filter(|record| record.direction == direction).map(Line::from).collect();
    lines.sort_unstable();
    lines
}

/// What of ours is attached to the far end.
fn attached(namespace: &Namespace) -> Vec<String> {
    let mut found = Vec::new();
    let link = namespace.ip(&format!("-d link show dev {INTERFACE}"));
    if link.contains("xdp") {
        found.push(format!("XDP: {link}"));
    }
    for (side, kind) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
        namespace.run(|| {
            if let Ok((_, programs)) = SchedClassifier::query_tcx(INTERFACE, kind) {
                found.extend(programs.iter().map(|program| format!("{side}: {:?}", program.name_as_str())));
            }
        });
        let filters = namespace.command("tc").args(["filter", "show", "dev", INTERFACE, side]).output();
        let filters = String::from_utf8_lossy(&filters.expect("tc runs").stdout).into_owned();
        if !filters.is_empty() {
            found.push(format!("{side}: {filters}"));
        }
    }
    found
}

/// Frames that the far end's interface received so far.
fn received(wire: &Wire) -> u64 {
    let path = format!("/sys/class/net/{INTERFACE}/statistics/rx_packets");
    // `ip netns exec` mounts the namespace's own /sys.
    let output = wire.far.command("cat").arg(path).output().expect("cat runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Real TCP both ways; the records of both hooks must be what tcpdump saw.
fn compare_with_tcpdump(config: &Config, expected: &[Hook]) {
    let wire = Wire::new(1500, true);
    let (mut sensor, mut rings) = open(&wire.far, config);
    assert_eq!(hooks(&sensor), expected);
    let inbound = Tcpdump::start(&wire, Way::In);
    let outbound = Tcpdump::start(&wire, Way::Out);
    let begin_ns = unix_ns();
    for server in SERVERS {
        for exchanges in [1, 20, 200] {
            talk::in_step(&wire, server, exchanges);
        }
    }
    let (inbound, outbound) = (inbound.finish(&wire), outbound.finish(&wire));
    detach(&wire.far, &mut sensor);
    let (records, total) = drain(&sensor, &mut rings);
    assert!(inbound.len() > 400 && outbound.len() > 400, "{} and {}", inbound.len(), outbound.len());
    assert_same(&lines(&records, Direction::Ingress), &inbound, "received");
    let sent = lines(&records, Direction::Egress);
    assert_same(&sent, &outbound, "sent");
    assert!(records.is_sorted_by_key(|record| record.time_ns), "CPUs are merged by time");
    let to_unix = WallClock::of_live().unix_minus_engine_ns;
    for record in &records {
        let unix_ns = record.time_ns as i64 + to_unix;
        assert!((begin_ns - 1_000_000..=self::unix_ns()).contains(&unix_ns), "{unix_ns}");
    }
    println!("{} records as tcpdump saw them; {} frames in all", records.len(), total.seen);
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn native_and_egress_see_what_tcpdump_sees() {
    compare_with_tcpdump(&config(XdpMode::Native, true), &[Hook::XdpNative, Hook::EgressTcx]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn generic_and_clsact_see_what_tcpdump_sees() {
    let config = Config { clsact: true, ..config(XdpMode::Generic, true) };
    compare_with_tcpdump(&config, &[Hook::XdpGeneric, Hook::EgressClsact]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn tcx_on_both_sides_sees_what_tcpdump_sees() {
    compare_with_tcpdump(&config(XdpMode::Auto, true), &[Hook::IngressTcx, Hook::EgressTcx]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn clsact_on_both_sides_sees_what_tcpdump_sees() {
    let config = Config { clsact: true, ..config(XdpMode::Tc, true) };
    compare_with_tcpdump(&config, &[Hook::IngressClsact, Hook::EgressClsact]);
}

/// A bulk transfer over a veth comes in segments merged to up to 64 KiB, with little but the headers in the
/// linear part.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn merged_segments_are_seen_as_tcpdump_sees_them() {
    let wire = Wire::new(1500, false);
    let (mut sensor, mut rings) = open(&wire.far, &config(XdpMode::Tc, true));
    let (inbound, outbound) = (Tcpdump::start(&wire, Way::In), Tcpdump::start(&wire, Way::Out));
    talk::in_bulk(&wire, 20_000_000);
    let (inbound, outbound) = (inbound.finish(&wire), outbound.finish(&wire));
    detach(&wire.far, &mut sensor);
    let (records, _) = drain(&sensor, &mut rings);
    println!("{} segments of 20 MB, {} acknowledgements", inbound.len(), outbound.len());
    assert!(inbound.len() < 20_000_000 / 1448 / 2, "they are merged: {}", inbound.len());
    assert_same(&lines(&records, Direction::Ingress), &inbound, "received");
    assert_same(&lines(&records, Direction::Egress), &outbound, "sent");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_received_frame_is_accounted_for() {
    let wire = Wire::new(1500, false);
    let before = received(&wire);
    let (mut sensor, mut rings) = open(&wire.far, &config(XdpMode::Native, false));
    assert_eq!(hooks(&sensor), [Hook::XdpNative]);
    talk::in_step(&wire, SERVERS[0], 100);
    // Something that isn't TCP, too.
    let socket = wire.near.run(|| UdpSocket::bind("0.0.0.0:0").expect("bound"));
    for _ in 0..5 {
        socket.send_to(b"hello", "192.0.2.2:9").expect("sent");
    }
    thread::sleep(Duration::from_millis(100));
    let frames = received(&wire) - before;
    detach(&wire.far, &mut sensor);
    let (_, total) = drain(&sensor, &mut rings);
    assert_eq!(total.seen, frames);
    assert!(total.skipped[Skip::NotTcp as usize] >= 5, "{total:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn jumbo_frames_in_native_mode() {
    let wire = Wire::new(9000, false);
    let (mut sensor, mut rings) = open(&wire.far, &config(XdpMode::Native, true));
    assert_eq!(hooks(&sensor), [Hook::XdpNative, Hook::EgressTcx]);
    talk::in_bulk(&wire, 4_000_000);
    detach(&wire.far, &mut sensor);
    let (records, _) = drain(&sensor, &mut rings);
    let data = |record: &&Record| record.direction == Direction::Ingress && record.segment.has_payload;
    let segments = records.iter().filter(data).count();
    assert!(segments >= 50, "{segments} segments with data");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn crafted_frames_arrive_as_the_parser_reads_them() {
    // By TC the kernel has taken the outer VLAN tag off.
    for mode in [XdpMode::Native, XdpMode::Tc] {
        crafted_frames_arrive_in(mode);
    }
}

fn crafted_frames_arrive_in(mode: XdpMode) {
    let wire = Wire::new(1500, false);
    // No link-layer answer is needed, and the fewer speak the better.
    let (mut sensor, mut rings) = open(&wire.far, &config(mode, false));
    let frames = crafted();
    wire.near.run(|| {
        let mut socket = RawSocket::new(INTERFACE, Medium::Ethernet).expect("a packet socket");
        for frame in &frames {
            let token = socket.transmit(StackInstant::now()).expect("room");
            token.consume(frame.len(), |buffer| buffer.copy_from_slice(frame));
        }
    });
    thread::sleep(Duration::from_millis(200));
    detach(&wire.far, &mut sensor);
    let (records, total) = drain(&sensor, &mut rings);
    let parsed: Vec<_> = frames.iter().map(|frame| parse(&frame[..], Link::Ethernet, true)).collect();
    let expected: Vec<_> = parsed.iter().filter_map(|result| result.ok()).collect();
    assert_eq!(expected.len(), 10, "{parsed:?}");
    let segments: Vec<_> = records.iter().map(|record| record.segment).collect();
    assert_eq!(segments, expected);
    for skip in [Skip::VlanTooDeep, Skip::IpMalformed, Skip::OptionOverrun, Skip::NoTimestamps] {
        let wanted = parsed.iter().filter(|result| **result == Err(skip)).count() as u64;
        assert!(wanted > 0, "{skip}");
        assert_eq!(total.skipped[skip as usize], wanted, "{skip}");
    }
}

/// Frames for the far end: with no tag to more than the parser follows, both IP versions, and some that are
/// broken.
fn crafted() -> Vec<Vec<u8>> {
    let stamped = [1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4];
    let tag = |tpid: u16, id: u8| [tpid.to_be_bytes(), [0, id]].concat();
    let mut frames = Vec::new();
    for ip6 in [false, true] {
        frames.push(acknowledgement(&[], ip6, &stamped));
        frames.push(acknowledgement(&tag(0x8100, 7), ip6, &stamped));
        frames.push(acknowledgement(&[tag(0x88a8, 8), tag(0x8100, 7)].concat(), ip6, &stamped));
        frames.push(acknowledgement(&[tag(0x9100, 8), tag(0x8100, 7)].concat(), ip6, &stamped));
        frames.push(acknowledgement(
            &[tag(0x88a8, 9), tag(0x8100, 8), tag(0x8100, 7)].concat(),
            ip6,
            &stamped,
        ));
        let too_many = tag(0x8100, 7).repeat(MAX_HEADERS + 1);
        frames.push(acknowledgement(&too_many, ip6, &stamped));
        frames.push(acknowledgement(&[], ip6, &[2, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        frames.push(acknowledgement(&[], ip6, &[]));
    }
    let mut broken = acknowledgement(&[], false, &stamped);
    broken[14] = 0x44;
    frames.push(broken);
    frames
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tunnel_without_link_header() {
    let namespace = Namespace::new();
    namespace.run(|| {
        let mut tun = TunTapInterface::new("tun9", Medium::Ip).expect("a tun device");
        namespace.ip("addr add 192.0.2.1/24 dev tun9");
        namespace.ip("link set tun9 up");
        let config = Config {
            interfaces: vec!["tun9".to_owned()],
            egress: true,
            every_packet: true,
            round_trips: true,
            ..Config::default()
        };
        let (mut sensor, mut rings) = Sensor::open(&config).expect("opens");
        println!("{:?}", hooks(&sensor));
        // In: the frames above without their Ethernet headers, as far as they are IP then.
        let packets: Vec<_> = crafted().iter().map(|frame| frame[14..].to_vec()).collect();
        let packets: Vec<_> = packets.into_iter().filter(|bytes| matches!(bytes[0] >> 4, 4 | 6)).collect();
        for packet in &packets {
            let token = tun.transmit(StackInstant::now()).expect("room");
            token.consume(packet.len(), |buffer| buffer.copy_from_slice(packet));
        }
        // Out: a SYN to a host that doesn't answer.
        let nobody = "192.0.2.99:80".parse().expect("an address");
        let _ = std::net::TcpStream::connect_timeout(&nobody, Duration::from_millis(50));
        sensor.detach();
        thread::sleep(Duration::from_millis(50));
        let (records, _) = drain(&sensor, &mut rings);
        let of = |direction| {
            let of = records.iter().filter(move |record| record.direction == direction);
            of.map(|record| record.segment).collect::<Vec<_>>()
        };
        let expected: Vec<_> =
            packets.iter().filter_map(|bytes| parse(&bytes[..], Link::Ip, true).ok()).collect();
        assert_eq!(expected.len(), 2);
        assert_eq!(of(Direction::Ingress), expected);
        let sent = of(Direction::Egress);
        assert!(sent.iter().any(|segment| segment.dst_port == 80 && segment.flags.is_syn()), "{sent:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn dropping_the_sensor_detaches() {
    let wire = Wire::new(1500, false);
    for clsact in [false, true] {
        let config = Config { clsact, ..config(XdpMode::Tc, true) };
        let (sensor, _rings) = open(&wire.far, &config);
        assert_eq!(attached(&wire.far).len(), 2, "{:?}", attached(&wire.far));
        wire.far.run(|| drop(sensor));
        wait_until_detached(&wire.far);
    }
    talk::in_step(&wire, SERVERS[0], 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_stays_after_sigkill() {
    let wire = Wire::new(1500, false);
    let mut command = wire.far.command(binary());
    command.args(["live", "-i", INTERFACE, "--egress"]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut tmap = command.stderr(Stdio::null()).spawn().expect("tmap runs");
    wait_for("the hooks", || {
        assert!(tmap.try_wait().expect("a child").is_none(), "tmap ended before");
        attached(&wire.far).len() == 2
    });
    tmap.kill().expect("it runs");
    tmap.wait().expect("a child");
    wait_until_detached(&wire.far);
}

/// Not at once: a process that another test is just starting has copies of all descriptors until it is on
/// its own, those that hold programs attached among them.
fn wait_until_detached(namespace: &Namespace) {
    wait_for("the hooks to go", || attached(namespace).is_empty());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn refusals_say_what_to_do() {
    let wire = Wire::new(1500, false);
    let unknown = Config { interfaces: vec!["eth77".to_owned()], ..Config::default() };
    let message = refusal(&wire.far, &unknown);
    assert!(message.contains("eth77") && message.contains(INTERFACE) && message.contains("lo"), "{message}");
    let message = refusal(&wire.far, &Config::default());
    assert!(message.contains("-i"), "{message}");

    let (sensor, _rings) = open(&wire.far, &config(XdpMode::Native, false));
    let pid = std::process::id();
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let message = refusal(&wire.far, &config(mode, false));
        for part in ["tmap_xdp_eth", &format!("held by PID {pid} (")[..], "--xdp-mode auto"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    drop(sensor);

    let loopback = |xdp_mode| Config { interfaces: vec!["lo".to_owned()], xdp_mode, ..Config::default() };
    let message = refusal(&wire.far, &loopback(XdpMode::Native));
    assert!(message.contains("lo") && message.contains("--xdp-mode"), "{message}");
    let (sensor, _rings) = open(&wire.far, &loopback(XdpMode::Auto));
    assert_eq!(hooks(&sensor), [Hook::XdpGeneric]);
    assert!(sensor.attachments()[0].reason.is_some());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_rights_it_says_sudo() {
    root::require();
    let program = OpenBinary::new();
    let output = Command::new(program.path()).args(["live", "-i", "lo"]).uid(65534).gid(65534).output();
    let output = output.expect("tmap runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains("sudo"), "{err}");
    assert!(err.contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are missing"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_missing_capability_is_named() {
    root::require();
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-perfmon,-sys_admin").arg(binary()).args(["live", "-i", "lo"]);
    let output = command.output().expect("setpriv runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("CAP_PERFMON is missing") && !err.contains("report"), "{err}");
    assert_eq!((output.status.code(), err.lines().count()), (Some(1), 1), "{err}");
}
