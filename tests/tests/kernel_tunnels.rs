//! Real TCP through the kernel's own VXLAN device, watched from outside the tunnel.

use std::{thread, time::Duration};

use tmap::capture::xdp::{Config, Sensor, XdpMode};
use tmap_common::{
    Address, Record, Skip,
    record::Direction,
    tunnel::{Kind, Tunnel},
};
use tmap_tests::{
    netns::{INTERFACE, Wire},
    root, talk,
};

/// The addresses inside.
const INSIDE: [[u8; 4]; 2] = [[198, 51, 100, 1], [198, 51, 100, 2]];

/// A wire with a VXLAN across it.
fn tunnel(vni: u32) -> Wire {
    let wire = Wire::new(1500, false);
    for (end, host, peer) in [(&wire.near, 1, 2), (&wire.far, 2, 1)] {
        end.ip(&format!(
            "link add vx type vxlan id {vni} remote 192.0.2.{peer} dstport 4789 dev {INTERFACE}"
        ));
        end.ip(&format!("addr add 198.51.100.{host}/24 dev vx"));
        end.ip("link set vx up");
    }
    wire
}

/// Watches the far end's interface while 40 exchanges pass through the tunnel.
fn watch(decap: bool) -> (Vec<Record>, u64) {
    root::require();
    let wire = tunnel(4242);
    let config = Config {
        interfaces: vec![INTERFACE.to_owned()],
        xdp_mode: XdpMode::Auto,
        egress: true,
        decap,
        ..Config::default()
    };
    let (mut sensor, mut rings) = wire.far.run(|| Sensor::open(&config)).expect("the sensor opens");
    talk::in_step(&wire, "198.51.100.2:8080", 40);
    thread::sleep(Duration::from_millis(100));
    wire.far.run(|| sensor.detach());
    thread::sleep(Duration::from_millis(50));
    let mut records = Vec::new();
    while rings.drain(1000, |record| records.push(*record)) > 0 {}
    let total = sensor.statistics().total();
    assert_eq!(total.accounted(), total.seen, "{total:?}");
    (records, total.skipped[Skip::NotTcp as usize])
}

#[test]
fn segments_in_vxlan_are_seen_with_their_tunnel() {
    let (records, _) = watch(true);
    assert!(records.len() >= 80, "{}", records.len());
    let [client, server] = INSIDE.map(Address::from_ip4);
    let [near, far] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Address::from_ip4);
    for record in &records {
        let segment = &record.segment;
        let (src, dst, outer_src, outer_dst) = match record.direction {
            Direction::Ingress => (client, server, near, far),
            Direction::Egress => (server, client, far, near),
        };
        assert_eq!((segment.src, segment.dst), (src, dst));
        let expected = Tunnel { kind: Kind::VXLAN, id: 4242, src: outer_src, dst: outer_dst };
        assert_eq!(segment.tunnel, Some(expected));
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        let handshakes = records.iter().filter(|record| record.direction == direction);
        assert_eq!(handshakes.filter(|record| record.segment.syn.is_some()).count(), 1, "{direction:?}");
    }
}

#[test]
fn without_decapsulation_they_are_udp() {
    let (records, not_tcp) = watch(false);
    assert_eq!(records, []);
    assert!(not_tcp >= 80, "{not_tcp}");
}
