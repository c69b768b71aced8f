//! Containers of one kernel, each with an address of its own, and another machine beside them.

use tmap_common::{Address, Record};

use crate::simulate::{Offsets, Scenario};

/// Containers: their addresses end in 1 to this.
pub const CONTAINERS: u8 = 3;

/// What the address of the other machine ends in.
pub const OTHER: u8 = 9;

/// The address that ends in `host`.
pub fn address(host: u8) -> Address {
    Address::from_ip4([198, 51, 100, host])
}

/// What they send.
pub fn records(offsets: Offsets) -> Vec<Record> {
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
