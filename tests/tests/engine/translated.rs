//! A sensor inside a network, whose NAT shows servers outside one address for all of its hosts.

use tmap::engine::snapshot::{AddressReport, Regime};
use tmap_common::Address;
use tmap_tests::simulate::conversation::{Side, conversation};

use crate::rewritten::{SERVER, reports};

const SECOND_NS: u64 = 1_000_000_000;

/// The report on a server with one offset for twelve connections of the clients of these addresses.
fn server(clients: &[[u8; 4]]) -> AddressReport {
    let connection = |number: u16| {
        let address = clients[usize::from(number) % clients.len()];
        let ticks = 77_777 + 1_000_003 * u32::from(number);
        let client = Side { address, port: 40_000 + number, tick_hz: 1_000, ticks };
        let server = Side { address: SERVER, port: 443, tick_hz: 1_000, ticks: 3_000_000_000 };
        conversation(client, server, 20 * SECOND_NS * u64::from(number), 5)
    };
    let records = (0..12).flat_map(connection).collect();
    reports(records, 1).remove(&Address::from_ip4(SERVER)).expect("the server")
}

#[test]
fn an_offset_that_only_hosts_behind_a_nat_share_may_be_of_a_pair() {
    let inside = server(&[[10, 0, 0, 1], [10, 0, 0, 2], [192, 168, 7, 3], [100, 64, 0, 4]]);
    assert_eq!((inside.machines, inside.machines_low, inside.machines_high), (Some(1), Some(1), Some(1)));
    assert_eq!(inside.regime, Regime::Undetermined, "{}", inside.evidence);
    assert_eq!(inside.machine_list[0].boot, None);
    assert!(inside.evidence.contains("NAT"), "{}", inside.evidence);
}

#[test]
fn an_offset_that_hosts_elsewhere_share_as_well_is_fixed() {
    for clients in [[[10, 0, 0, 1], [198, 51, 100, 2]], [[198, 51, 100, 1], [198, 51, 100, 2]]] {
        let report = server(&clients);
        assert_eq!(report.regime, Regime::Global, "{}", report.evidence);
        assert!(report.machine_list[0].boot.is_some());
    }
}
