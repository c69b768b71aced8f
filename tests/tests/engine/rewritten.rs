//! Devices that rewrite addresses and ports: connections that are seen on both of their sides count once, and
//! ports that are used again behind them prove nothing.

use std::collections::{BTreeMap, HashMap};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{
    Wanted,
    snapshot::{AddressReport, Regime},
};
use tmap_common::{Address, Flags, Record};
use tmap_tests::{
    captures::{self, THREE},
    judge::evaluate,
    simulate::{
        Law, Offsets, SHARED, Scenario,
        conversation::{START_NS, Side, acknowledgement, conversation},
    },
    wire::frame::LINUX_SYN,
};

type Reports = BTreeMap<Address, AddressReport>;

pub(crate) fn reports(mut records: Vec<Record>, resolution_ns: u64) -> Reports {
    records.sort_by_key(|record| record.time_ns);
    let addresses = evaluate::snapshot(&records, resolution_ns, Wanted::default()).addresses;
    addresses.into_iter().map(|report| (report.address, report)).collect()
}

/// Best count, interval, proven machines, how offsets are drawn, and what limits all that.
pub(crate) fn figures(report: &AddressReport) -> String {
    let AddressReport { machines, machines_low, machines_high, machines_proven, regime, doubt, .. } = report;
    format!("{machines:?} {machines_low:?} {machines_high:?} {machines_proven:?} {regime:?} {doubt:?}")
}

/// How much earlier a segment is seen on the side that it comes from.
const THROUGH_NS: u64 = 2_000;

/// The segments of `shared` on the other side of a NAT, where each connection is one host's.
fn inside_nat(records: &[Record], shared: Address) -> Vec<Record> {
    let host = |port: u16| Address::from_ip4([10, 0, 0, 2 + (port % 5) as u8]);
    let inside = |record: &Record| {
        let (mut inside, segment) = (*record, &record.segment);
        if segment.src == shared {
            (inside.segment.src, inside.segment.hop_limit) = (host(segment.src_port), segment.hop_limit + 1);
            inside.time_ns -= THROUGH_NS;
        } else {
            (inside.segment.dst, inside.segment.hop_limit) = (host(segment.dst_port), segment.hop_limit - 1);
            inside.time_ns += THROUGH_NS;
        }
        inside
    };
    let is_shared = |record: &&Record| record.segment.src == shared || record.segment.dst == shared;
    records.iter().filter(is_shared).map(inside).collect()
}

/// The segments of `shared`'s peers behind a balancer, where each has another address.
fn behind_balancer(records: &[Record], shared: Address) -> Vec<Record> {
    let real = |address: Address| {
        let [.., last] = address.as_ip4().expect("an IPv4 address");
        Address::from_ip4([10, 9, 9, last])
    };
    let behind = |record: &Record| {
        let mut behind = *record;
        if record.segment.src == shared {
            behind.segment.dst = real(record.segment.dst);
            behind.time_ns += THROUGH_NS;
        } else {
            behind.segment.src = real(record.segment.src);
            behind.time_ns -= THROUGH_NS;
        }
        behind
    };
    records.iter().map(behind).collect()
}

/// Checks that the addresses that are on one side only are told as they are without the other side.
fn check(records: &[Record], resolution_ns: u64, other: impl Fn(&[Record], Address) -> Vec<Record>) {
    let shared = Address::from_ip4(SHARED.octets());
    let alone = reports(records.to_vec(), resolution_ns);
    let mut both = other(records, shared);
    both.extend(records);
    let both = reports(both, resolution_ns);
    let mut twice = 0;
    for (address, alone) in &alone {
        assert_eq!(figures(&both[address]), figures(alone), "{address}");
        assert_eq!(both[address].connections - both[address].connections_seen_twice, alone.connections);
        assert!(
            both[address].unassigned.as_ref().map(|rest| rest.connections)
                <= alone.unassigned.as_ref().map(|rest| rest.connections)
        );
        twice += both[address].connections_seen_twice;
    }
    assert!(twice > 30, "only {twice} were seen twice");
}

#[test]
fn connections_on_both_sides_of_a_nat_count_once() {
    let (records, resolution_ns) = evaluate::read(&captures::path(THREE)).expect("a capture");
    check(&records, resolution_ns, inside_nat);
}

#[test]
fn connections_on_both_sides_of_a_balancer_count_once() {
    let (records, resolution_ns) = evaluate::read(&captures::path(THREE)).expect("a capture");
    check(&records, resolution_ns, behind_balancer);
}

/// Their handshakes came before the sensor.
#[test]
fn older_connections_on_both_sides_of_a_nat_count_once() {
    let (mut records, resolution_ns) = evaluate::read(&captures::path(THREE)).expect("a capture");
    records.retain(|record| !record.segment.flags.intersects(Flags::SYN));
    check(&records, resolution_ns, inside_nat);
}

pub(crate) const SERVER: [u8; 4] = [203, 0, 113, 99];

/// Connections to a server with random offsets: sixty clients, and one that uses `ports` ports again, for
/// another port of the server or from another address. The same port makes the same offset.
fn used_again(ports: u16, again: impl Fn(u16) -> ([u8; 4], u16)) -> Reports {
    let mut random = Pcg64::seed_from_u64(u64::from(ports));
    let mut records = Vec::new();
    let mut connect = |client: ([u8; 4], u16), to: u16, begin_s: u64, ticks: u32, at_random: u32| {
        let client = Side { address: client.0, port: client.1, tick_hz: 1_000, ticks: at_random };
        let server = Side { address: SERVER, port: to, tick_hz: 1_000, ticks };
        // No two begin at the same part of a tick.
        let begin_ns = begin_s * 1_000_000_000 + u64::from(at_random % 1_000_000_000);
        records.extend(conversation(client, server, begin_ns, 3));
    };
    for number in 0..60_u16 {
        let client = ([192, 0, 2, (number % 9) as u8], 40_000 + 7 * number);
        connect(client, 80, 2 * u64::from(number), random.random(), random.random());
    }
    for port in 0..ports {
        let ticks = random.random();
        let (address, to) = again(port);
        let begin_s = 3 * u64::from(port);
        connect(([192, 0, 2, 77], 20_000 + port), 80, begin_s, ticks, random.random());
        connect((address, 20_000 + port), to, begin_s + 30, ticks, random.random());
    }
    reports(records, 1)
}

/// Behind a port forward, or a balancer that rewrites addresses, the server sees the same four numbers again.
#[test]
fn ports_that_are_used_again_before_a_port_forward_or_a_balancer_show_no_machine() {
    let forwarded = |_: u16| ([192, 0, 2, 77], 8_080);
    let balanced = |_: u16| ([192, 0, 2, 78], 80);
    let server = Address::from_ip4(SERVER);
    for ports in [1, 3, 10, 25] {
        for reports in [used_again(ports, forwarded), used_again(ports, balanced)] {
            let report = &reports[&server];
            let told = (report.machines, report.machines_proven, report.regime);
            assert_eq!(told, (Some(1), Some(1), Regime::PerConnection), "{ports}: {}", figures(report));
        }
    }
}

/// A balancer that draws source ports, as many container networks do, draws some of them again.
#[test]
fn ports_that_a_balancer_draws_again_show_no_machine() {
    for (connections, ports) in [(1_000_u32, 28_000), (2_000, 4_000)] {
        let mut random = Pcg64::seed_from_u64(ports);
        let mut drawn: HashMap<u64, (u32, u64)> = HashMap::new();
        let (mut records, mut again) = (Vec::new(), 0);
        for number in 0..connections {
            let begin_ns = u64::from(number) * 110_000_000 + random.random_range(0..1_000_000);
            let client = Side {
                address: [192, 0, 2, random.random()],
                port: random.random_range(32_768..61_000),
                tick_hz: 1_000,
                ticks: random.random(),
            };
            let port = std::iter::repeat_with(|| random.random_range(0..ports))
                .find(|port| drawn.get(port).is_none_or(|(_, free_ns)| *free_ns < begin_ns));
            let fresh = (random.random(), 0);
            let (ticks, free_ns) = drawn.entry(port.expect("a free port")).or_insert(fresh);
            again += u32::from(*free_ns > 0);
            *free_ns = begin_ns + 3_000_000_000;
            let server = Side { address: SERVER, port: 80, tick_hz: 1_000, ticks: *ticks };
            let mut all = conversation(client, server, begin_ns, 1);
            all.iter_mut().for_each(|record| record.time_ns += random.random_range(0..60_000));
            records.extend(all);
        }
        let report = &reports(records, 1)[&Address::from_ip4(SERVER)];
        assert!(again > 10, "{again} of {ports} ports were drawn again");
        let told = (report.machines, report.machines_proven);
        assert_eq!(told, (Some(1), Some(1)), "{ports}: {}", figures(report));
        assert_ne!(report.regime, Regime::Global, "{ports}");
    }
}

/// Connections of the shared address to these peers, each of three seconds, with jitter.
pub(crate) struct Client {
    pub(crate) random: Pcg64,
    pub(crate) records: Vec<Record>,
}

impl Client {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Pcg64::seed_from_u64(seed), records: Vec::new() }
    }

    pub(crate) fn connect(&mut self, port: u16, peer: u8, begin_s: u64, ticks: u32) {
        let client = Side { address: SHARED.octets(), port, tick_hz: 1_000, ticks };
        let address = [203, 0, 113, peer];
        let server = Side { address, port: 443, tick_hz: 1_000, ticks: self.random.random() };
        let begin_ns = begin_s * 1_000_000_000 + self.random.random_range(0..1_000_000_000);
        let mut all = conversation(client, server, begin_ns, 3);
        all.iter_mut().for_each(|record| record.time_ns += self.random.random_range(0..60_000));
        self.records.extend(all);
    }

    pub(crate) fn told(self) -> AddressReport {
        reports(self.records, 1).remove(&Address::from_ip4(SHARED.octets())).expect("the client")
    }
}

/// The sensor is behind a balancer that forwards ports: one service has several addresses there.
#[test]
fn a_client_that_uses_ports_again_before_a_balancer_is_one_machine() {
    let mut client = Client::new(1);
    for number in 0..60 {
        let ticks = client.random.random();
        client.connect(30_000 + number, (number % 5) as u8, 2 * u64::from(number), ticks);
    }
    for number in 0..10 {
        let ticks = client.random.random();
        client.connect(20_000 + number, 1, 3 * u64::from(number), ticks);
        client.connect(20_000 + number, 2, 3 * u64::from(number) + 40, ticks);
    }
    let report = client.told();
    let told = (report.machines, report.machines_proven, report.regime);
    assert_eq!(told, (Some(1), Some(1), Regime::PerConnection), "{}", figures(&report));
}

/// Each container has an address of its own, which the NAT hides, so each has an offset for each peer.
#[test]
fn containers_of_one_kernel_are_one_machine_by_pair() {
    let mut kernel = Client::new(2);
    let offsets: Vec<u32> = (0..60).map(|_| kernel.random.random()).collect();
    for number in 0..150 {
        let (container, peer): (usize, usize) =
            (kernel.random.random_range(0..10), kernel.random.random_range(0..6));
        kernel.connect(30_000 + number, peer as u8, u64::from(number), offsets[6 * container + peer]);
    }
    let report = kernel.told();
    assert_eq!((report.machines, report.machines_proven), (Some(1), Some(1)), "{}", figures(&report));
}

/// Each pair of addresses shows ten counters, and phases show that two clocks make them.
#[test]
fn containers_of_two_kernels_are_two_machines_by_pair() {
    let mut records = Vec::new();
    for (kernel, phase_ns) in [(0, 0), (1, 430_000)] {
        let mut client = Client::new(20 + kernel);
        let offsets: Vec<u32> = (0..20).map(|_| client.random.random()).collect();
        for number in 0..160_u16 {
            let (container, peer) = (usize::from(number) / 4 % 5, usize::from(number) % 4);
            let port = 30_000 + 1_000 * kernel as u16 + number;
            client.connect(port, peer as u8, 2 * u64::from(number), offsets[4 * container + peer]);
        }
        client.records.iter_mut().for_each(|record| record.time_ns += phase_ns);
        records.extend(client.records);
    }
    let report = &reports(records, 1)[&Address::from_ip4(SHARED.octets())];
    assert_eq!((report.machines_low, report.machines), (Some(2), Some(2)), "{}", figures(report));
    assert!(report.machines_proven <= Some(2), "{}", figures(report));
}

/// Their phases coincide because they are many, and connections are few: that makes no few hosts with several
/// addresses each.
#[test]
fn a_crowd_with_offsets_by_pair_is_no_few_hosts() {
    for seed in 1..=5 {
        let scenario = Scenario {
            machines: 40,
            offsets: Offsets::PerPair,
            law: Law::Exponential,
            jitter_s: 300e-6,
            connections: 9,
            segments: (20.0, 200.0),
            seed,
            ..Scenario::default()
        };
        let report = &reports(scenario.run().records, 1)[&Address::from_ip4(SHARED.octets())];
        assert!(report.machines.is_none_or(|machines| machines >= 30), "{seed}: {}", figures(report));
        assert!(report.machines_high.is_none_or(|high| high >= 40), "{seed}: {}", figures(report));
    }
}

/// Pairs of addresses would show one machine, and skews refute it.
#[test]
fn machines_with_a_peer_each_are_not_one() {
    let mut clients = Client::new(3);
    let mut records = Vec::new();
    for host in 0..5_u8 {
        let ticks = clients.random.random();
        for number in 0..12 {
            clients.connect(30_000 + 100 * u16::from(host) + number, host, 9 * u64::from(number), ticks);
        }
        let rate = 1.0 + 1e-6 * (7.0 * f64::from(host) - 14.0);
        let skewed = |record: Record| {
            let after_ns = (record.time_ns - START_NS) as f64 / rate;
            Record { time_ns: START_NS + after_ns as u64, ..record }
        };
        records.extend(std::mem::take(&mut clients.records).into_iter().map(skewed));
    }
    let report = &reports(records, 1)[&Address::from_ip4(SHARED.octets())];
    assert!(report.machines_high.is_none_or(|high| high >= 5), "{}", figures(report));
    assert!(report.machines_low >= Some(2), "{}", figures(report));
}

/// Twelve devices near the sensor with a cloud of their own each, whose counters when the traffic begins are
/// these. NTP disciplines their clocks.
fn devices_of_their_own_clouds(ticks: impl Fn(u32) -> u32) -> AddressReport {
    let mut clients = Client::new(5);
    let mut records = Vec::new();
    for device in 0..12_u8 {
        for number in 0..20_u16 {
            let port = 30_000 + 100 * u16::from(device) + number;
            clients.connect(port, device, 9 * u64::from(number), ticks(device.into()));
        }
        let phase_ns = 137_000 * u64::from(device) % 1_000_000;
        for mut record in std::mem::take(&mut clients.records) {
            (record.time_ns, record.segment.hop_limit) = (record.time_ns + phase_ns, 63);
            records.push(record);
        }
    }
    reports(records, 1).remove(&Address::from_ip4(SHARED.octets())).expect("the shared address")
}

/// Counters of pairs would be anywhere.
#[test]
fn devices_that_were_switched_on_together_are_not_one_whoever_they_talk_to() {
    let report = devices_of_their_own_clouds(|device| 306_000_000 + 9_000 * device);
    assert_eq!((report.machines, report.regime), (Some(12), Regime::Global), "{}", figures(&report));
}

/// One machine's counters of pairs would show one phase.
#[test]
fn devices_whose_phases_differ_are_not_one_whoever_they_talk_to() {
    let report = devices_of_their_own_clouds(|device| device.wrapping_mul(2_654_435_761));
    assert!(report.machines_high.is_none_or(|high| high >= 12), "{}", figures(&report));
    assert!(report.machines.is_none_or(|machines| machines == 12), "{}", figures(&report));
}

/// A scanner may send the same SYN to everybody: nothing of that was seen twice.
#[test]
fn a_scan_that_sends_one_syn_to_all_is_no_copy() {
    let scanner = ([198, 51, 100, 7], 40_000);
    let syn = |number: u16| {
        let [_, host] = number.to_be_bytes();
        let mut syn = acknowledgement(
            START_NS + 2_500_000 * u64::from(number),
            (scanner, ([203, 0, 113, host], 22)),
            1,
            0,
        );
        syn.segment.flags = Flags::SYN;
        syn.segment.syn = Some(LINUX_SYN);
        syn
    };
    let report = &reports((0..200).map(syn).collect(), 1)[&Address::from_ip4(scanner.0)];
    assert_eq!((report.connections, report.connections_seen_twice), (200, 0));
}
