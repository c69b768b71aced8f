//! One kernel behind several addresses: containers on one host, or a host with several addresses.

use std::ffi::OsStr;

use tmap::engine::{
    Engine, Options, Snapshot, Wanted,
    snapshot::{Basis, Regime},
};
use tmap_common::{Address, Record};
use tmap_tests::{
    command::tmap,
    pcap::{self, Order},
    simulate::{Offsets, Scenario},
};

/// The addresses of the containers, and that of a host of its own.
const CONTAINERS: u8 = 3;
const OTHER: u8 = 9;

fn address(host: u8) -> Address {
    Address::from_ip4([198, 51, 100, host])
}

/// Containers of one kernel, each with an address of its own, and a host beside them.
fn records(offsets: Offsets) -> Vec<Record> {
    let seen = Scenario { machines: 1, offsets, connections: 36, duration_s: 300.0, ..Scenario::default() };
    let mut records = seen.run().records;
    for record in &mut records {
        record.segment.src = address(1 + (record.segment.src_port % u16::from(CONTAINERS)) as u8);
    }
    let mut others = Scenario { seed: 77, connections: 12, ..seen }.run().records;
    for record in &mut others {
        record.segment.src = address(OTHER);
    }
    records.extend(others);
    records.sort_by_key(|record| record.time_ns);
    records
}

fn snapshot(records: &[Record]) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    records.iter().for_each(|record| engine.observe(record));
    let wanted = Wanted { siblings: true, ..Wanted::default() };
    engine.snapshot(records.last().expect("traffic").time_ns, wanted)
}

#[test]
fn containers_of_one_kernel_are_one_clock() {
    let basis = [(Offsets::Global, Basis::Offset), (Offsets::PerConnection, Basis::Phase)];
    for (offsets, basis) in basis {
        let found = snapshot(&records(offsets));
        for host in (1..=CONTAINERS).chain([OTHER]) {
            let report = found.addresses.iter().find(|report| report.address == address(host));
            let machines = report.map(|report| (report.machines, report.regime == Regime::Global));
            assert_eq!(machines, Some((Some(1), offsets == Offsets::Global)), "{offsets:?} {host}");
        }
        let [only] = &found.siblings[..] else { panic!("{offsets:?}: {:?}", found.siblings) };
        let expected: Vec<(Address, u32)> = (1..=CONTAINERS).map(|host| (address(host), 1)).collect();
        assert_eq!((&only.members, only.basis), (&expected, basis), "{offsets:?}");
        assert!(only.probability > 0.9, "{offsets:?}: {only:?}");
    }
}

#[test]
fn the_listing_says_what_one_clock_behind_several_addresses_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("containers.pcap");
    let packets = pcap::packets(&records(Offsets::PerConnection), tmap_common::Link::Ethernet);
    std::fs::write(&path, pcap::pcap(&packets, 1, Order::Little, true)).expect("written");
    let run = tmap([OsStr::new("read"), OsStr::new("--siblings"), path.as_os_str()]);
    let listing: Vec<&str> = run.out.lines().skip_while(|line| !line.starts_with("One clock")).collect();
    assert!(listing.len() >= 2, "{}", run.out);
    assert_eq!(listing[0], "One clock behind several addresses (one machine, or containers on one machine):");
    let members =
        "  198.51.100.1 #1, 198.51.100.2 #1, 198.51.100.3 #1 (equal phase and skew, probability 0.9";
    assert!(listing[1].starts_with(members), "{}", listing[1]);
}
