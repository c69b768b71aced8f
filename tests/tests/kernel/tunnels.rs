//! Real TCP through the kernel's own tunnel devices, watched from outside the tunnel.
//!
//! Kernels lack some types of device. Each type has a module of its own, named after it, by which
//! `cargo xtask test` leaves out those that this kernel lacks, and says so.

use std::{thread, time::Duration};

use tmap::capture::xdp::{Config, Sensor, XdpMode};
use tmap_common::{
    Address, Record, Skip,
    record::Direction,
    tunnel::{Kind, Tunnel},
};
use tmap_tests::net::{
    namespaces::{INTERFACE, Namespace, Wire},
    talk,
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

mod vxlan {
    use super::*;

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
