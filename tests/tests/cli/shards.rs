//! Files are read by several engines, each with a share of the addresses: how many there are must not
//! show in what is found.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tmap_common::{Address, Record, Segment};
use tmap_tests::{
    command::{json_lines, of_type, tmap},
    simulate::{Offsets, Scenario},
    wire::capture::plain,
};

/// What a run prints with so many shards, but for the memory that they take.
fn found(capture: &Path, shards: usize) -> Vec<Value> {
    let words = ["read", "--json", "--connections", "--siblings", "--shards"].map(PathBuf::from);
    let run = tmap(words.into_iter().chain([shards.to_string().into(), capture.to_owned()]));
    assert_eq!((run.err.as_str(), run.code), ("", 0));
    let mut lines = json_lines(&run.out);
    for line in &mut lines {
        line.as_object_mut().expect("an object").remove("memory_bytes");
    }
    lines
}

/// The same traffic behind other addresses, of either version.
fn moved(record: &Record, to: u8) -> Record {
    let other = |address: Address| match address.as_ip4() {
        Some([a, b, c, d]) if to % 3 == 2 => {
            Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, to, 0, 0, a, b, c, d])
        }
        Some([a, _, c, d]) => Address::from_ip4([a, to, c, d]),
        None => address,
    };
    let segment =
        Segment { src: other(record.segment.src), dst: other(record.segment.dst), ..record.segment };
    Record { segment, ..*record }
}

/// Traffic of many addresses, with shared offsets, offsets per pair and a few random ones.
fn traffic() -> Vec<Record> {
    let mut records = Vec::new();
    for to in 0..24 {
        let (offsets, connections) = match to % 4 {
            0 | 1 => (Offsets::Global, 12),
            2 => (Offsets::PerPair, 12),
            _ => (Offsets::PerConnection, 4),
        };
        let scenario = Scenario {
            machines: 1 + usize::from(to) % 3,
            offsets,
            connections,
            duration_s: 200.0,
            seed: u64::from(to),
            ..Scenario::default()
        };
        records.extend(scenario.run().records.iter().map(|record| moved(record, to)));
    }
    records.sort_by_key(|record| record.time_ns);
    records
}

#[test]
fn any_number_of_shards_finds_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = folder.path().join("many.pcap");
    std::fs::write(&capture, plain(&traffic())).expect("written");
    let expected = found(&capture, 1);
    let of_type = |kind: &str| of_type(&expected, kind).len();
    assert!(of_type("address") == 24 && of_type("event") >= 24, "{} events", of_type("event"));
    for shards in [2, 3, 7] {
        let lines = found(&capture, shards);
        assert_eq!(lines.len(), expected.len(), "{shards} shards");
        for (line, same) in lines.iter().zip(&expected) {
            assert_eq!(line, same, "{shards} shards");
        }
    }
}

#[test]
fn a_senseless_number_of_shards_is_refused() {
    for shards in ["0", "1000", "many"] {
        let run = tmap(["read", "--shards", shards, "nothing.pcap"]);
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(run.err.contains("shards"), "{}", run.err);
    }
}
