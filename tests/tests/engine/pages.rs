//! Connections that an address opens at about the same time: what that tells, and that it does no harm.

use std::collections::HashMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tmap::engine::Options;
use tmap_common::{Address, Record, Segment};
use tmap_tests::{
    judge::web::Outcome,
    simulate::{
        SHARED,
        web::{Web, grid, ports::Ports},
    },
};

use crate::{
    odd_clocks::shared,
    ports::{judged_with, right},
    rewritten::figures,
    visits::holds,
};

#[test]
fn pages_tell_more_connections_apart() {
    let options = [true, false].map(|pages| Options { pages, ..Options::default() });
    let [with, without] = judged_with("clients 4x60 random LAN", Ports::Drawn, 6, options);
    assert!(right(&with) > right(&without) + 0.1, "{} {}", right(&with), right(&without));
    assert!(with.iter().all(Outcome::covers) && !with.iter().any(Outcome::is_falsely_proven));
}

#[test]
fn pages_of_one_machine_never_split_it() {
    let options = [true, false].map(|pages| Options { pages, ..Options::default() });
    let [with, _] = judged_with("clients 1x60 random LAN", Ports::Drawn, 6, options);
    assert!(with.iter().all(|outcome| outcome.found == Some(1)), "{with:?}");
}

/// Connections that begin within this time of each other are a page, in nanoseconds.
const PAUSE_NS: u64 = 500_000_000;

/// The connection of a segment of the shared address.
fn connection(segment: &Segment) -> (u16, Address, u16) {
    (segment.src_port, segment.dst, segment.dst_port)
}

/// The records of a browser whose pages each come late by up to so much: its queue, or a radio that slept.
fn late_by_pages(web: &Web, most_ns: u64) -> Vec<Record> {
    let mut random = Pcg64::seed_from_u64(web.seed);
    let mut records = web.run().simulation.records;
    let (mut late, mut began_ns, mut late_ns) = (HashMap::new(), 0, 0);
    for record in records.iter_mut().filter(|record| record.segment.src == Address::from_ip4(SHARED.octets()))
    {
        late.entry(connection(&record.segment)).or_insert_with(|| {
            if record.time_ns - began_ns > PAUSE_NS {
                late_ns = random.random_range(0..most_ns);
            }
            began_ns = record.time_ns;
            late_ns
        });
        record.time_ns += late[&connection(&record.segment)];
    }
    records
}

/// Its pages' phases lie in four tenths of a tick. They were told as two to five machines.
#[test]
fn pages_that_come_late_as_a_whole_are_one_machine_s() {
    let row = grid::port_rows().into_iter().find(|row| row.name.contains("1x60 random LAN")).expect("a row");
    let (mut missed, mut several) = (0, 0);
    for seed in 0..8 {
        let web = Web { seed, connections: 200, duration_s: 600.0, ..row.web.clone() };
        let report = shared(late_by_pages(&web, 400_000));
        eprintln!("{seed}: {}", figures(&report));
        missed += usize::from(!holds(&report, 1));
        several += usize::from(report.machines != Some(1));
    }
    assert!(missed <= 1 && several <= 2, "{missed} {several}");
}
