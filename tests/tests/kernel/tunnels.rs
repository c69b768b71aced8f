//! Real TCP through the kernel's own tunnel devices, watched from outside the tunnel.
//!
//! Kernels lack some types of device. Each type has a module of its own, named after it, by which
//! `cargo xtask test` leaves out those that this kernel lacks, and says so.

use std::{
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use tmap::capture::xdp::{Config, Sensor, XdpMode};
use tmap_common::{
    Address, Record, Skip,
    record::Direction,
    tunnel::{Kind, Tunnel},
};
use tmap_tests::{
    command::{Running, wait_for},
    net::{
        namespaces::{INTERFACE, Namespace, Wire},
        talk,
    },
};

/// The addresses inside.
const INSIDE: [[u8; 4]; 2] = [[198, 51, 100, 1], [198, 51, 100, 2]];

/// A type of device, what `ip link add` wants to hear of it between ends `L` and `P`, and how its
/// segments are to be named.
struct Device {
    words: &'static str,
    kind: Kind,
    id: u32,
}

const VXLAN: Device =
    Device { words: "type vxlan id 4242 remote P dstport 4789 dev wire", kind: Kind::VXLAN, id: 4242 };

/// A wire with a tunnel across it.
fn tunnel(device: &Device) -> Wire {
    let wire = Wire::new(1500, false);
    for (end, host, peer) in [(&wire.near, 1, 2), (&wire.far, 2, 1)] {
        let words = device.words.replace('L', &format!("192.0.2.{host}"));
        let words = words.replace('P', &format!("192.0.2.{peer}"));
        end.ip(&format!("link add tun9 {words}"));
        end.ip(&format!("addr add 198.51.100.{host}/24 dev tun9"));
        end.ip("link set tun9 up");
    }
    wire
}

/// Watches the far end's interface while 40 exchanges pass through the tunnel; what was seen, and how
/// many packets weren't TCP.
fn watch(device: &Device, decap: bool) -> (Vec<Record>, u64) {
    let config = Config {
        every_packet: true,
        interfaces: vec![INTERFACE.to_owned()],
        xdp_mode: XdpMode::Native,
        egress: true,
        decap,
        ..Config::default()
    };
    let seen = talk_inside(&tunnel(device), &config);
    (seen.records, seen.not_tcp)
}

/// What was seen at the far end.
struct Seen {
    interfaces: Vec<String>,
    records: Vec<Record>,
    /// How many packets weren't TCP.
    not_tcp: u64,
}

/// Watches the far end while 40 exchanges pass through the tunnel.
fn talk_inside(wire: &Wire, config: &Config) -> Seen {
    let (mut sensor, mut rings) = wire.far.run(|| Sensor::open(config)).expect("the sensor opens");
    let interfaces = sensor.watched().into_iter().map(str::to_owned).collect();
    talk::in_step(wire, "198.51.100.2:8080", 40);
    thread::sleep(Duration::from_millis(100));
    wire.far.run(|| sensor.detach());
    thread::sleep(Duration::from_millis(50));
    let mut records = Vec::new();
    while rings.drain(1000, |record| records.push(*record)) > 0 {}
    let total = sensor.statistics().total();
    assert_eq!(total.accounted(), total.seen, "{total:?}");
    Seen { interfaces, records, not_tcp: total.skipped[Skip::NotTcp as usize] }
}

/// Checks every record of a conversation through `device`.
fn check(device: &Device) {
    let (records, _) = watch(device, true);
    assert!(records.len() >= 80, "{}: {}", device.words, records.len());
    let [client, server] = INSIDE.map(Address::from_ip4);
    let [near, far] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Address::from_ip4);
    for record in &records {
        let segment = &record.segment;
        let (src, dst, outer_src, outer_dst) = match record.direction {
            Direction::Ingress => (client, server, near, far),
            Direction::Egress => (server, client, far, near),
        };
        assert_eq!((segment.src, segment.dst), (src, dst));
        let (src, dst) = (outer_src, outer_dst);
        let expected = Tunnel { kind: device.kind, id: device.id, is_over_ip: true, src, dst };
        assert_eq!(segment.tunnel, Some(expected));
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        let handshakes = records.iter().filter(|record| record.direction == direction);
        assert_eq!(handshakes.filter(|record| record.segment.syn.is_some()).count(), 1, "{direction:?}");
    }
}

/// A port of which tmap expects no tunnel.
const RELAY_PORT: u16 = 5555;

/// A far end to which a relay of its own hands over a tunnel's packets, which come to it on [`RELAY_PORT`].
struct Relayed {
    wire: Wire,
    relay: UdpSocket,
    /// The address and port of the tunnel, at the far end.
    tunnel: SocketAddr,
}

impl Relayed {
    /// `kind` names the tunnel; at the far end it has this port, and `words` tell where it sends.
    fn new(kind: &str, port: u16, words: &str) -> Self {
        let wire = Wire::new(1500, false);
        let near = format!("remote 192.0.2.2 dstport {RELAY_PORT}");
        let far = format!("dstport {port} {words}");
        for (end, host, words) in [(&wire.near, 1, near.as_str()), (&wire.far, 2, far.trim_end())] {
            end.ip(&format!("link add tun9 address 02:00:00:00:00:0{host} type {kind} id 42 {words}"));
            end.sysctl("net.ipv6.conf.tun9.disable_ipv6", "1");
            end.ip(&format!("addr add 198.51.100.{host}/24 dev tun9"));
            end.ip("link set tun9 up");
        }
        wire.near.ip("neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev tun9");
        wire.far.ip("addr add 192.0.2.77/32 dev lo");
        let relay = wire.far.run(|| UdpSocket::bind(("192.0.2.2", RELAY_PORT)).expect("bound"));
        relay.set_nonblocking(true).expect("set");
        Self { wire, relay, tunnel: SocketAddr::from(([192, 0, 2, 2], port)) }
    }

    /// Adds where the far end's tunnel sends to its forwarding table.
    fn send_to(&self, address: &str) {
        let words = format!("fdb append 00:00:00:00:00:00 dev tun9 dst {address} port {RELAY_PORT}");
        let status = self.wire.far.command("bridge").args(words.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "bridge {words}");
    }

    /// Watches `any` at the far end.
    fn watch(&self) -> Running {
        Running::start(&self.wire.far, &["-i", "any", "--no-promisc", "--json", "--every", "100ms"])
    }

    /// Sends one SYN through the tunnel. Nobody answers, as the far end's packets go nowhere.
    fn knock(&self) {
        let server = SocketAddr::from((INSIDE[1], 9));
        let knock = || TcpStream::connect_timeout(&server, Duration::from_millis(300)).is_err();
        assert!(self.wire.near.run(knock), "nobody answers");
        let mut bytes = [0; 2_000];
        while let Ok((count, _)) = self.relay.recv_from(&mut bytes) {
            self.relay.send_to(&bytes[..count], self.tunnel).expect("handed over");
        }
    }

    /// What `any` sees: each segment that the relay hands over once.
    fn any_sees_what_is_handed_over(&self) {
        let mut tmap = self.watch();
        wait_for("the tunnel", || watched(&tmap) == [INTERFACE, "tun9"]);
        self.knock();
        tmap.send(Signal::SIGTERM);
        assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
        assert_eq!(tmap.lines("summary")[0]["packets"]["emitted"], 1, "{}", tmap.out());
    }
}

/// The interfaces that a run watches.
fn watched(tmap: &Running) -> Vec<String> {
    let Some(last) = tmap.lines("heartbeat").pop() else { return Vec::new() };
    let names = last["watched"].as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

mod vxlan {
    use super::*;

    /// The loopback, a second address of the host, and one of its table.
    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn any_shows_what_a_relay_on_an_own_address_hands_over() {
        for remote in ["127.0.0.1", "192.0.2.77"] {
            Relayed::new("vxlan", 4789, &format!("remote {remote}")).any_sees_what_is_handed_over();
        }
        for destination in ["127.0.0.1", "192.0.2.2"] {
            let relayed = Relayed::new("vxlan", 4789, "");
            relayed.send_to(destination);
            relayed.any_sees_what_is_handed_over();
        }
    }

    /// Its frames come in on the wire as well, so that some would count twice.
    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn any_lets_go_of_a_tunnel_that_also_leads_elsewhere() {
        let relayed = Relayed::new("vxlan", 4789, "");
        let mut tmap = relayed.watch();
        wait_for("the first interface", || watched(&tmap) == [INTERFACE]);
        // Without a change of interfaces, by the next check.
        relayed.send_to("192.0.2.2");
        wait_for("the tunnel", || watched(&tmap) == [INTERFACE, "tun9"]);
        relayed.send_to("192.0.2.1");
        wait_for("one fewer", || watched(&tmap) == [INTERFACE]);
        let told = tmap.lines("interface").pop().expect("a change");
        assert_eq!(told["change"], "left_out");
        let text = told["text"].as_str().expect("a text");
        assert!(text.ends_with("because its frames come in by other interfaces"), "{text}");
        tmap.send(Signal::SIGTERM);
        assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
        let mut tmap = relayed.watch();
        wait_for("an interface", || !watched(&tmap).is_empty());
        assert_eq!(watched(&tmap), [INTERFACE]);
        tmap.send(Signal::SIGTERM);
        tmap.end();
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_with_their_tunnel() {
        check(&VXLAN);
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn the_port_of_before_the_standard_is_known() {
        let words = "type vxlan id 77 remote P dstport 8472 dev wire";
        check(&Device { words, kind: Kind::VXLAN, id: 77 });
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn without_decapsulation_they_are_udp() {
        let (records, not_tcp) = watch(&VXLAN, false);
        assert_eq!(records, []);
        assert!(not_tcp >= 80, "{not_tcp}");
    }

    /// Watches `any` at the far end of a conversation. Its segments come in once each, on these interfaces.
    fn any_sees_each_segment_once(wire: &Wire, decap: bool, interfaces: &[&str]) {
        let names = vec!["any".to_owned()];
        let config = Config { every_packet: true, interfaces: names, decap, ..Config::default() };
        let seen = talk_inside(wire, &config);
        assert_eq!(seen.interfaces, interfaces);
        let segments = seen.records.iter().map(|record| &record.segment);
        let client = Address::from_ip4(INSIDE[0]);
        assert!(segments.clone().all(|segment| segment.src == client));
        assert!(segments.clone().count() >= 40, "{}", segments.clone().count());
        assert_eq!(segments.filter(|segment| segment.syn.is_some()).count(), 1);
    }

    /// One on a port of tunnels, one on another, bound to an interface and not.
    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn any_shows_each_segment_once_on_whatever_port() {
        any_sees_each_segment_once(&tunnel(&VXLAN), true, &[INTERFACE]);
        any_sees_each_segment_once(&tunnel(&VXLAN), false, &[INTERFACE, "tun9"]);
        let bound = "type vxlan id 42 remote P dstport 12345 dev wire";
        for words in [bound, "type vxlan id 42 remote P dstport 12345"] {
            let wire = tunnel(&Device { words, ..VXLAN });
            any_sees_each_segment_once(&wire, true, &[INTERFACE, "tun9"]);
        }
    }

    /// As overlays of containers have it: the tunnel's packets come in where it was made.
    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn any_shows_what_was_made_in_another_namespace() {
        let (wire, maker) = (Wire::new(1500, false), Namespace::new());
        wire.near.join("under", &maker);
        for (end, host, peer) in [(&wire.near, 1, 2), (&maker, 2, 1)] {
            end.ip("link set under up");
            end.ip(&format!("addr add 203.0.113.{host}/24 dev under"));
            end.ip(&format!("link add tun9 type vxlan id 42 remote 203.0.113.{peer} dstport 4789"));
        }
        maker.ip(&format!("link set tun9 netns {}", wire.far.name()));
        for (end, host) in [(&wire.near, 1), (&wire.far, 2)] {
            end.ip(&format!("addr add 198.51.100.{host}/24 dev tun9"));
            end.ip("link set tun9 up");
        }
        any_sees_each_segment_once(&wire, true, &[INTERFACE, "tun9"]);
        wire.far.ip(&format!("link del {INTERFACE}"));
        any_sees_each_segment_once(&wire, true, &["tun9"]);
    }
}

mod geneve {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_with_their_tunnel() {
        check(&Device { words: "type geneve id 4343 remote P", kind: Kind::GENEVE, id: 4343 });
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn any_shows_what_a_relay_on_an_own_address_hands_over() {
        Relayed::new("geneve", 6081, "remote 192.0.2.77").any_sees_what_is_handed_over();
    }
}

mod gre {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_with_their_tunnel() {
        check(&Device { words: "type gre local L remote P", kind: Kind::GRE, id: 0 });
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_behind_key_checksum_and_number() {
        check(&Device { words: "type gre local L remote P key 7 seq csum", kind: Kind::GRE, id: 7 });
    }
}

mod gretap {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_with_their_tunnel() {
        check(&Device { words: "type gretap local L remote P key 9", kind: Kind::GRE, id: 9 });
    }
}

mod ipip {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_with_their_tunnel() {
        check(&Device { words: "type ipip local L remote P", kind: Kind::IP, id: 0 });
    }
}

mod sit {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn segments_are_seen_with_their_tunnel() {
        check(&Device { words: "type sit mode any local L remote P", kind: Kind::IP, id: 0 });
    }
}
