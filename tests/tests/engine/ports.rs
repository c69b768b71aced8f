//! Source ports as a second witness: what they add, and that they do no harm.

use tmap::engine::snapshot::PortCount;
use tmap_tests::{
    judge::web::{self, Outcome},
    simulate::web::{Web, grid, ports::Ports},
};

/// The row of source ports with this in its name, with these ports, on some seeds: with this evidence, and
/// without.
fn judged(name: &str, ports: Ports, seeds: u64) -> [Vec<Outcome>; 2] {
    let row = grid::port_rows().into_iter().find(|row| row.name.contains(name)).expect("a row");
    [true, false].map(|with| {
        (0..seeds).map(|seed| web::judge_with(&Web { seed, ports, ..row.web.clone() }, with)).collect()
    })
}

fn right(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(|outcome| outcome.right).sum::<f64>() / outcomes.len() as f64
}

const KEPT: Ports = Ports::Walks { kept: 1.0, addresses: 1 };

#[test]
fn walks_tell_more_connections_apart() {
    let [with, without] = judged("clients 4x60 random LAN", KEPT, 6);
    assert!(right(&with) > right(&without) + 0.1, "{} {}", right(&with), right(&without));
    assert!(with.iter().all(Outcome::covers) && !with.iter().any(Outcome::is_falsely_proven));
}

#[test]
fn drawn_ports_change_nothing() {
    let [with, without] = judged("clients 4x60 random LAN", Ports::Drawn, 4);
    for (with, without) in with.iter().zip(&without) {
        assert_eq!((with.found, with.interval, with.right), (without.found, without.interval, without.right));
    }
}

#[test]
fn one_machine_is_never_split() {
    let several = Ports::Walks { kept: 1.0, addresses: 4 };
    for ports in [KEPT, several, Ports::Walks { kept: 0.5, addresses: 1 }, Ports::Counters { kept: 1.0 }] {
        let [with, _] = judged("clients 1x60 random LAN", ports, 6);
        assert!(!with.iter().any(|o| o.is_split() || o.is_falsely_proven()), "{ports:?}: {with:?}");
        assert!(with.iter().all(Outcome::covers), "{ports:?}");
    }
}

#[test]
fn clocks_overturn_ports_that_deceive() {
    for ports in [Ports::Joined, Ports::Counters { kept: 1.0 }] {
        let [with, without] = judged("clients 4x60 random LAN", ports, 6);
        assert!(right(&with) > right(&without) - 0.05, "{ports:?}: {} {}", right(&with), right(&without));
        let exact = |outcomes: &[Outcome]| outcomes.iter().filter(|o| o.found == Some(4)).count();
        assert!(exact(&with) + 1 >= exact(&without), "{ports:?}");
        assert!(with.iter().all(Outcome::covers), "{ports:?}: {with:?}");
    }
}

/// The row of as many machines, with these ports, on some seeds: what is told without timestamps.
fn without_timestamps(machines: usize, ports: Ports) -> Vec<Option<PortCount>> {
    let name = format!("clients {machines}x60 random LAN");
    let row = grid::port_rows().into_iter().find(|row| row.name.contains(&name)).expect("a row");
    (0..6).map(|seed| web::count_without_timestamps(&Web { seed, ports, ..row.web.clone() }, true)).collect()
}

#[test]
fn machines_without_timestamps_are_counted_within_their_interval() {
    for machines in [1, 4, 16] {
        for told in without_timestamps(machines, KEPT).into_iter().flatten() {
            assert!(told.low as usize <= machines, "{machines}: {told:?}");
            assert!(told.high.is_none_or(|high| high as usize >= machines), "{machines}: {told:?}");
            assert!(told.ports.hosts_at_once as usize <= machines, "{machines}: {told:?}");
        }
    }
    let told = without_timestamps(4, KEPT);
    assert!(told.iter().filter(|told| told.is_some()).count() >= 5, "{told:?}");
}

#[test]
fn several_addresses_of_one_machine_are_one_machine() {
    let told = without_timestamps(1, Ports::Walks { kept: 1.0, addresses: 4 });
    assert!(told.iter().flatten().all(|told| told.low == 1), "{told:?}");
}

#[test]
fn nothing_is_told_of_machines_without_timestamps_where_ports_are_drawn() {
    assert!(without_timestamps(4, Ports::Drawn).iter().all(Option::is_none));
    assert!(without_timestamps(4, Ports::Counters { kept: 1.0 }).iter().all(Option::is_none));
}
