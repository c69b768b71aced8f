//! Connections opened without time stamps: counted by address, and nothing else changed.

use std::{fs, path::Path};

use serde_json::Value;
use tmap_common::{Address, Flags, Record, Segment, Syn};
use tmap_tests::{
    captures,
    command::{json_lines, of_type, tmap},
    simulate::conversation::mail_cluster,
    wire::{capture::plain, frame::LINUX_SYN},
};

/// The lines of a run by type.
fn read(path: &Path) -> (Vec<Value>, Value) {
    let run = tmap(["read".as_ref(), "--json".as_ref(), path.as_os_str()]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let lines = json_lines(&run.out);
    let of = |kind: &str| of_type(&lines, kind).into_iter().cloned().collect::<Vec<_>>();
    let summary = of("summary").pop().expect("a summary");
    (of("address"), summary)
}

fn with(records: &[Record]) -> (Vec<Value>, Value) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("capture.pcap");
    fs::write(&path, plain(records)).unwrap();
    read(&path)
}

/// SYNs without Timestamps from `src`: `connections`, each sent three times.
fn openings(template: &Record, src: [u8; 4], connections: u16) -> Vec<Record> {
    let syn = Syn { option_order: 0x31_1142, ..LINUX_SYN };
    let opening = |connection: u16, attempt: u64| Record {
        time_ns: template.time_ns + u64::from(connection) * 10_000_000 + attempt * 1_000_000_000,
        segment: Segment {
            src: Address::from_ip4(src),
            dst: Address::from_ip4([203, 0, 113, 9]),
            src_port: 50_000 + connection,
            dst_port: 443,
            flags: Flags::SYN,
            has_payload: false,
            tsval: 0,
            tsecr: 0,
            syn: Some(syn),
            ..template.segment
        },
        ..*template
    };
    (0..connections).flat_map(|number| [0, 1, 3].map(|attempt| opening(number, attempt))).collect()
}

#[test]
fn they_are_told_and_change_nothing_else() {
    let stamped = mail_cluster();
    let (addresses, summary) = with(&stamped);
    let mut more = openings(&stamped[0], [198, 51, 100, 1], 7);
    more.extend(openings(&stamped[0], [192, 0, 2, 99], 5));
    let mut all = [stamped, more].concat();
    all.sort_by_key(|record| record.time_ns);
    let (mut addresses_with, summary_with) = with(&all);
    let found: Vec<_> = addresses_with.iter().filter(|line| !line["unstamped"].is_null()).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["address"], "198.51.100.1");
    assert_eq!(found[0]["unstamped"]["connections"], 7);
    assert!(found[0]["unstamped"]["signature"].as_str().unwrap().contains(":mss,sok,nop,nop,nop,ws:"));
    for line in &mut addresses_with {
        line["unstamped"] = Value::Null;
    }
    assert_eq!(addresses_with, addresses);
    let totals = &summary_with["unstamped"];
    assert_eq!((&totals["connections"], &totals["addresses_only"]), (&12.into(), &1.into()));
    let records = |summary: &Value| summary["packets"]["emitted"].as_u64().unwrap();
    assert_eq!(records(&summary_with), records(&summary) + 3 * 12);
    assert_eq!(totals["records"], 3 * 12);
}

#[test]
fn the_machine_that_sends_none_is_stated() {
    let (addresses, _) = read(&captures::path(captures::WITH_UNSTAMPED));
    let nat = addresses.iter().find(|line| line["address"] == "198.51.100.1").expect("the NAT");
    // The source ports that the laboratory gave to that machine, as tcpdump counts them.
    assert_eq!(nat["unstamped"]["connections"], 13);
    assert_eq!(nat["machines"], 3);
}
