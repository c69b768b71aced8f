//! Machines in captures of real ones are counted, and connections told apart by source port or by a list.

use std::{collections::BTreeMap, fs, net::IpAddr};

use tmap_tests::{
    captures::{self, THREE, WITH_UNSTAMPED},
    judge::evaluate,
};

#[test]
fn three_machines_are_counted() {
    for name in [THREE, WITH_UNSTAMPED] {
        let outcome = evaluate::laboratory(&captures::path(name)).expect("a capture");
        println!("{name}: {outcome:?}");
        assert_eq!((outcome.machines, outcome.found), (3, Some(3)), "{name}: {outcome:?}");
        assert!(outcome.covers() && outcome.agreement.adjusted_rand > 0.5, "{name}: {outcome:?}");
    }
}

/// A list counts, and not the ports: this one gives the second and the third machine one number.
#[test]
fn a_list_says_which_machine_a_connection_is_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join(THREE);
    fs::copy(captures::path(THREE), &copy).expect("copied");
    let (records, _) = evaluate::read(&copy).expect("a capture");
    let mut lines = BTreeMap::new();
    for segment in records.iter().map(|record| &record.segment).filter(|s| s.src_port >= 20_000) {
        let server = IpAddr::from(segment.dst);
        let machine = (segment.src_port - 20_000) / 1000;
        lines.insert((segment.src_port, server, segment.dst_port), machine.min(1));
    }
    let mut text = "sport,dst,dport,isn,machine\n".to_owned();
    for ((port, server, service), machine) in lines {
        text += &format!("{port},{server},{service},0,{machine}\n");
    }
    fs::write(folder.path().join("three-machines.truth.csv"), text).expect("written");
    let outcome = evaluate::laboratory(&copy).expect("a capture");
    assert_eq!((outcome.machines, outcome.found), (2, Some(3)), "{outcome:?}");
}
