//! What a sensor tells after hours is what a capture of those hours tells.

use std::{sync::mpsc, thread};

use tmap::engine::{Depth, Engine, Event, Flows, FrozenHost, Looked, Options, Snapshot, Wanted};
use tmap_common::Record;
use tmap_tests::{
    simulate::{Offsets, Scenario},
    traffic,
};

const EVERYTHING: Wanted = Wanted { connections: true, siblings: true };

/// All at once, one look at the end.
fn offline(records: &[Record], now_ns: u64) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    engine.observe_all(records);
    engine.snapshot(now_ns, EVERYTHING)
}

/// Looks at a frozen host elsewhere.
type Job = (FrozenHost, Depth);

/// In batches of all sizes, reviews and snapshots on the way, looks on a thread of their own whose
/// answers come whenever they come.
fn streamed(records: &[Record], now_ns: u64) -> Snapshot {
    let (mut flows, mut analyst) = Engine::new(Options::default()).halves();
    let (jobs, jobs_in) = mpsc::channel::<Job>();
    let (answers_out, answers) = mpsc::channel::<Looked>();
    let analysis = thread::spawn(move || {
        let mut events: Vec<Event> = Vec::new();
        for (frozen, depth) in jobs_in {
            answers_out.send(analyst.review(frozen, depth, &mut events)).expect("somebody listens");
        }
        analyst
    });
    let mut left = records;
    let (mut size, mut review_at_ns) = (1, 0);
    while !left.is_empty() {
        let (batch, rest) = left.split_at(size.min(left.len()));
        left = rest;
        size = size * 7 % 613 + 1;
        flows.observe_all(batch);
        let time_ns = batch[batch.len() - 1].time_ns;
        answers.try_iter().for_each(|looked| flows.looked(looked, time_ns));
        if time_ns >= review_at_ns {
            review_at_ns = time_ns + 10_000_000_000;
            flows.sweep(time_ns);
            for (id, depth) in flows.due(time_ns) {
                jobs.send((flows.freeze(id), depth)).expect("somebody works");
            }
        }
    }
    drop(jobs);
    let mut analyst = analysis.join().expect("analysis ends");
    answers.try_iter().for_each(|looked| flows.looked(looked, now_ns));
    let _between = snapshot(&mut flows, &mut analyst, now_ns);
    snapshot(&mut flows, &mut analyst, now_ns)
}

fn snapshot(flows: &mut Flows, analyst: &mut tmap::engine::Analyst, now_ns: u64) -> Snapshot {
    let mut draft = analyst.draft(now_ns, EVERYTHING);
    for id in flows.by_size() {
        let looked = analyst.add(flows.freeze(id), &mut draft);
        flows.looked(looked, now_ns);
    }
    let (snapshot, clockworks) = draft.finish();
    flows.complete(snapshot, clockworks)
}

/// Numbers depend on what was announced on the way; machines are named by their first connection here.
fn told(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for address in &snapshot.addresses {
        let mut machines: Vec<String> = address
            .machine_list
            .iter()
            .map(|m| format!("{:?}", tmap::engine::snapshot::MachineReport { id: 0, ..m.clone() }))
            .collect();
        machines.sort();
        lines.push(format!(
            "{} {:?} {:?} {:?} {}",
            address.address,
            address.machines,
            address.machines_low,
            address.machines_high,
            address.connections
        ));
        lines.extend(machines);
    }
    lines.extend(
        snapshot
            .connections
            .iter()
            .map(|c| format!("{} {} {} {:?}", c.src, c.src_port, c.segments, c.rate_hz)),
    );
    lines
}

fn agrees(records: &[Record]) {
    let now_ns = records.last().expect("records").time_ns;
    let (offline, streamed) = (told(&offline(records, now_ns)), told(&streamed(records, now_ns)));
    assert_eq!(offline.len(), streamed.len());
    for (offline, streamed) in offline.iter().zip(&streamed) {
        assert_eq!(offline, streamed);
    }
}

#[test]
fn with_offsets_that_mean_something() {
    agrees(&traffic::mail_cluster());
}

#[test]
fn with_random_offsets() {
    let scenario = Scenario {
        machines: 3,
        connections: 12,
        duration_s: 120.0,
        segments: (20.0, 200.0),
        ..Scenario::default()
    };
    agrees(&scenario.run().records);
    agrees(&Scenario { offsets: Offsets::PerPair, seed: 2, ..scenario }.run().records);
}
