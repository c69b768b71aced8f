//! A virtual machine is restored from a snapshot ten minutes old, in the middle of a connection: its counter
//! is set back. That is told, by the engine as by round trips, and the clock goes on.

use tmap::engine::{
    Engine, Options, Wanted,
    rtt::{self, RttEngine, paws::Kind},
};
use tmap_common::{Address, Flags, Record, Segment, record::Direction};

const MS: u64 = 1_000_000;

/// A connection of two minutes, a segment every 7 ms, of a clock of 1 kHz that is set back by ten minutes
/// after the first.
fn records() -> Vec<Record> {
    let record = |i: u64| {
        let time_ns = 1_000_000 * MS + i * 7 * MS;
        let ticks = 5_000_000 + i * 7;
        Record {
            time_ns,
            direction: Direction::Ingress,
            suppressed: 0,
            segment: Segment {
                src: Address::from_ip4([192, 0, 2, 1]),
                dst: Address::from_ip4([198, 51, 100, 1]),
                src_port: 40_000,
                dst_port: 443,
                flags: Flags(Flags::ACK.0),
                has_payload: true,
                payload_bytes: 0,
                hop_limit: 64,
                tsval: (if i < 8_571 { ticks } else { ticks - 600_000 }) as u32,
                tsecr: 1,
                syn: None,
                tunnel: None,
            },
        }
    };
    (0..17_142).map(record).collect()
}

#[test]
fn the_engine_tells_it_and_the_clock_goes_on() {
    let records = records();
    let mut engine = Engine::new(Options::default());
    engine.observe_all(&records);
    let end_ns = records.last().map_or(0, |record| record.time_ns);
    let snapshot = engine.snapshot(end_ns, Wanted { connections: true, siblings: false });
    let [address] = &snapshot.addresses[..] else { panic!("one address: {snapshot:?}") };
    assert_eq!((address.machines, address.tsval_jumps), (Some(1), 1));
    let [machine] = &address.machine_list[..] else { panic!("one machine: {address:?}") };
    let skew = machine.skew_ppm.expect("a minute of a clock of 1 kHz shows its skew");
    assert!(skew.value.abs() < 5.0 * skew.sigma, "{skew:?}");
    let set_ns = records[8_571].time_ns;
    let [connection] = &snapshot.connections[..] else { panic!("one connection: {snapshot:?}") };
    let point = connection.place.expect("a minute of a clock shows its phase");
    assert!(point.at_ns > set_ns, "the clock is the one that is shown since: {point:?}");
}

#[test]
fn round_trips_tell_it_once() {
    let mut engine = RttEngine::new(rtt::Options::default());
    let records = records();
    records.iter().for_each(|record| engine.observe(record));
    let news = engine.review(u64::MAX);
    assert_eq!(news.anomalies.iter().map(|anomaly| anomaly.oddity.kind).collect::<Vec<_>>(), [Kind::Back]);
}
