//! One kernel behind several addresses: containers on one host, or a host with several addresses.

use tmap::engine::{
    Engine, Options, Snapshot, Wanted,
    snapshot::{Basis, Regime},
};
use tmap_common::{Address, Record};
use tmap_tests::simulate::{
    Offsets,
    containers::{CONTAINERS, OTHER, address, records},
};

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
