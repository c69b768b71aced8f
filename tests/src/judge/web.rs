//! Scores what tmap says of short connections, against the truth.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use tmap::engine::{
    Engine, Options, Wanted,
    snapshot::{AddressReport, PortCount, Snapshot},
};
use tmap_common::{Address, Record, Segment, Syn};

use crate::{
    judge::{
        count_oracle::Told,
        evaluate::{self, Verdict, Witness},
        offset_oracle::Oracle,
        port_oracle::PortOracle,
        score::{agreement, holds},
        traces::{self, Trace},
    },
    simulate::{
        Offsets,
        web::{TrueOffset, Web, WebTraffic},
    },
};

/// One run, scored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Machines that there are.
    pub machines: usize,
    /// Machines found; `None` where the engine said that it can't tell.
    pub found: Option<u32>,
    /// The interval given.
    pub interval: (u32, Option<u32>),
    /// Machines called proven, 0 where there is no such word.
    pub proven: u32,
    /// Share of connections given to the right machine, under the best one-to-one naming of machines. A
    /// connection given to none is wrong.
    pub right: f64,
    /// The share that an oracle gives to the right machine, which knows every machine's clock and sees equal
    /// offsets as equal.
    pub oracle: f64,
    /// The share that it gives to the right machine if it knows each machine's boundary, too, and the
    /// machines of all other connections; as without, where ports are no walks.
    pub port_oracle: f64,
    /// Whether an oracle that is told nearly everything could count all machines; `None` where it can't say.
    pub countable: Option<bool>,
    /// Whether it could if it is told all walks of source ports, too; only where offsets are random.
    pub port_countable: Option<bool>,
    /// Machines that offsets alone prove: distinct clocks, at most as many as one peer meets.
    pub by_offset: usize,
    /// Largest error of a boot time that is given to the second, in seconds.
    pub boot_error_s: Option<f64>,
    /// Largest error of any boot time, in its standard errors.
    pub boot_error_sigmas: Option<f64>,
    /// Boot times given for machines that hide theirs.
    pub false_boots: usize,
    /// Peers: each is one machine.
    pub peers: usize,
    /// Those that are told to have a number of machines.
    pub peers_answered: usize,
    /// Those that are told to be several.
    pub peers_split: usize,
    /// Connection sides that were analysed, the peers' too.
    pub sides: usize,
    /// How long their analysis took, in seconds.
    pub analysis_s: f64,
}

impl Outcome {
    /// Whether the interval holds the truth.
    pub fn covers(&self) -> bool {
        holds(self.interval, self.machines)
    }

    /// Whether more machines are told than there are.
    pub fn is_split(&self) -> bool {
        self.found.is_some_and(|found| found as usize > self.machines)
    }

    /// Whether more are called proven than there are.
    pub fn is_falsely_proven(&self) -> bool {
        self.proven as usize > self.machines
    }
}

/// Simulates and scores.
pub fn judge(web: &Web) -> Outcome {
    judge_with(web, Options::default())
}

/// Simulates and scores, with these settings of the engine.
pub fn judge_with(web: &Web, options: Options) -> Outcome {
    let WebTraffic { simulation, offset_of } = web.run();
    let (snapshot, analysis_s) = analyse(&simulation.records, options);
    let (peers, peers_answered, peers_split) = peers(&snapshot);
    let sides = snapshot.addresses.iter().map(|report| report.connections as usize).sum();
    let verdict = Verdict::of(&snapshot, evaluate::shared(), analysis_s);
    let mine = simulation.records.iter().filter(|record| record.segment.src == evaluate::shared());
    // Connections of which the sensor saw an answer only, and none with a clock, are nobody's.
    let traces = traces::collect(mine);
    let truth = &simulation.truth;
    let machine_of: Vec<usize> = traces.iter().map(|trace| truth.machine_of[&trace.key]).collect();
    let offsets: Vec<TrueOffset> = traces.iter().map(|trace| offset_of[&trace.key]).collect();
    let tells_boot = web.stacks.iter().map(|stack| stack.offsets == Offsets::Global && !stack.is_shifted);
    let clock = |machine: usize, t: f64| truth.clocks[machine].ticks_at(t);
    let clocks: Vec<Witness<'_>> = truth.clocks.iter().zip(tells_boot).collect();
    let errors = verdict.errors(&traces, &machine_of, &clocks);
    let oracle = Oracle::new(web);
    let machines = truth.clocks.len();
    let boundaries_s = truth.clocks.iter().map(|clock| clock.boot_s).collect();
    let ports_known = PortOracle::new(web.ports, &traces, &machine_of, boundaries_s);
    let count =
        |law| Told { law, traces: &traces, machine_of: &machine_of, offsets: &offsets, machines, clock };
    Outcome {
        machines: machine_of.iter().collect::<HashSet<_>>().len(),
        found: verdict.found,
        interval: verdict.interval,
        proven: verdict.proven.unwrap_or(0),
        right: agreement(&verdict.pairings(&traces, &machine_of)).accuracy,
        oracle: oracle.accuracy(&traces, &machine_of, &offsets, machines, clock, |_, _| 0.0),
        port_oracle: oracle.accuracy(&traces, &machine_of, &offsets, machines, clock, |number, machine| {
            ports_known.nats(number, machine)
        }),
        countable: match &oracle.law {
            // All offsets are fixed.
            None => Some(true),
            Some(_) if web.is_uneven => None,
            Some(law) => count(law).are_counted(),
        },
        port_countable: oracle
            .law
            .as_ref()
            .and_then(|law| count(law).are_counted_by_walks(&ports_known.walks())),
        by_offset: by_offset(&traces, &machine_of, &offsets),
        boot_error_s: errors.boot_s,
        boot_error_sigmas: errors.boot_sigmas,
        false_boots: errors.false_boots,
        peers,
        peers_answered,
        peers_split,
        sides,
        analysis_s,
    }
}

/// What is said of the machines of `web` if they switch timestamps off: only their SYNs are then to be seen.
pub fn count_without_timestamps(web: &Web, ports: bool) -> Option<PortCount> {
    let (snapshot, _) = analyse(&without_timestamps(web), Options { ports, ..Options::default() });
    let mut reports = snapshot.addresses.into_iter();
    reports.find(|report| report.address == evaluate::shared())?.unstamped_machines
}

/// The SYNs of the machines of `web` if they switch timestamps off.
pub fn without_timestamps(web: &Web) -> Vec<Record> {
    let is_syn = |record: &&Record| record.segment.flags.is_syn() && record.segment.src == evaluate::shared();
    let bare = |record: &Record| {
        let syn = record.segment.syn.map(|syn| Syn { option_order: WITHOUT_TIMESTAMPS, ..syn });
        Record { segment: Segment { tsval: 0, tsecr: 0, syn, ..record.segment }, ..*record }
    };
    web.run().simulation.records.iter().filter(is_syn).map(bare).collect()
}

/// The options of a SYN without timestamps: maximum segment size, window scale, selective acknowledgement.
const WITHOUT_TIMESTAMPS: u64 = 0x41_1312;

/// What a new engine says in the end, and how long it thought about that, in seconds.
fn analyse(records: &[Record], options: Options) -> (Snapshot, f64) {
    let mut engine = Engine::new(options);
    engine.set_resolution_ns(1);
    engine.observe_all(records);
    let now_ns = records.last().map_or(0, |record| record.time_ns);
    let start = Instant::now();
    let snapshot = engine.snapshot(now_ns, Wanted { connections: true, ..Wanted::default() });
    (snapshot, start.elapsed().as_secs_f64())
}

/// Peers, those with a count, and those told to be several machines.
fn peers(snapshot: &Snapshot) -> (usize, usize, usize) {
    let peers = || snapshot.addresses.iter().filter(|report| report.address != evaluate::shared());
    let is_split = |report: &&AddressReport| {
        let counts = [report.machines, report.machines_low, report.machines_proven];
        counts.iter().any(|count| count.is_some_and(|count| count > 1))
    };
    let answered = peers().filter(|report| report.machines.is_some());
    (peers().count(), answered.count(), peers().filter(is_split).count())
}

/// Machines with an offset for all their connections, and those with one per pair that the busiest peer
/// meets; at least one.
fn by_offset(traces: &[Trace], machine_of: &[usize], offsets: &[TrueOffset]) -> usize {
    let mut global = HashSet::new();
    let mut met: HashMap<Address, HashSet<usize>> = HashMap::new();
    for ((trace, machine), (_, regime)) in traces.iter().zip(machine_of).zip(offsets) {
        match regime {
            Offsets::Global => drop(global.insert(*machine)),
            Offsets::PerPair => drop(met.entry(trace.key.1).or_default().insert(*machine)),
            Offsets::PerConnection => {}
        }
    }
    let most = met.values().map(HashSet::len).max().unwrap_or(0);
    (global.len() + most).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::web::grid;

    fn outcome(row: &str) -> Outcome {
        let row = grid::rows().into_iter().find(|candidate| candidate.name == row).expect("a row");
        judge(&Web { seed: 2, ..row.web })
    }

    #[test]
    fn the_oracle_reads_offsets_and_else_only_phases() {
        assert_eq!(outcome("clients 4x30 global far").oracle, 1.0);
        assert_eq!(outcome("balancer 5x30 pair WAN").oracle, 1.0, "one pair: each back end has its offset");
        // Now and then two machines have one phase, whatever the path.
        let mean = |name: &str| {
            let row = grid::rows().into_iter().find(|row| row.name == name).expect("a row");
            (0..6).map(|seed| judge(&Web { seed, ..row.web.clone() }).oracle).sum::<f64>() / 6.0
        };
        let chance = mean("clients 4x30 random far");
        assert!(chance < 0.4, "jitter of ten ticks leaves no phase: {chance}");
        let quiet = mean("mail 4x30 random LAN");
        assert!(quiet > 0.7, "a quiet LAN and a dozen segments: {quiet}");
    }

    #[test]
    fn offsets_prove_what_one_peer_meets() {
        let proven = |row: &str| outcome(row).by_offset;
        assert_eq!(proven("clients 4x30 global LAN"), 4);
        assert_eq!(proven("balancer 20x30 pair LAN"), 20);
        assert_eq!(proven("crawler 3x30 pair LAN"), 1);
        assert_eq!(proven("clients 4x30 random LAN"), 1);
        assert_eq!(proven("balancer 7x60 2 pair + 5 random LAN"), 2);
    }

    #[test]
    fn outcomes_are_compared_with_the_truth() {
        let outcome = Outcome { machines: 3, interval: (2, None), ..Outcome::default() };
        assert!(outcome.covers() && !outcome.is_split() && !outcome.is_falsely_proven());
        let split = Outcome { found: Some(4), interval: (4, Some(5)), proven: 4, ..outcome };
        assert!(!split.covers() && split.is_split() && split.is_falsely_proven());
    }
}
