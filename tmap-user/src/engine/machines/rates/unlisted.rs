//! Clocks of a rate that is on no list: what all connections together contradict.
//!
//! A short connection leaves its rate open, and the rates that it is weighed among are the nominal ones: one
//! of 96 Hz is then taken for one of 100. Its counter is not where a clock of 100 Hz would have it, and its
//! boot time is hours off. So the rate that connections were placed at is held against
//!
//! - the counters that they share: from one connection to the next, these run at their true rate;
//! - where connections share none, their own rates: each may be off by delays, but delays differ from one to
//!   the next, and rates that agree among each other, and not with the nominal one, are another rate.
//!
//! A clock that sleeps, or a queue that fills, contradicts only one of a counter's long run and the rates
//! within connections.

use tmap_common::Address;

use super::long_run::{self, LongRun};
use crate::engine::{
    clock::{
        fit::{self, Fitted},
        rate::Deviations,
    },
    flows::connection::Connection,
    machines::{
        counters::{behaviours::Behaviour, cluster::Cluster},
        regime::judgement::{Judgement, Random},
    },
    types::{Estimate, Point, Regime},
};

/// How far a clock of a nominal rate is off that, relative: crystals by 100 ppm, virtual machines and cheap
/// boards by 1,500 ppm. Clocks that are slewed by 500 ppm stay within that, too.
const FARTHEST: f64 = 2e-3;

/// The fewest connections that contradict a nominal rate.
const FEWEST: usize = 5;

/// The error of a long run counts so many times: delays have heavy tails.
const DEVIATIONS: f64 = 2.0;

/// Rates within connections bear out another rate where they are off the nominal one by at least this share
/// of what that is, and at most by that much more: a counter that sleeps is off in the long run only.
const LEAST_BORNE_OUT: f64 = 0.5;
const MOST_BORNE_OUT: f64 = 1.5;

/// Where a counter is off by so many errors and keeps to a line all the same, own rates need only agree with
/// it: what sleeps does so for longer.
const CLEARLY_OFF: f64 = 10.0;

/// Own rates contradict a nominal one where their mean is off by so much of a single rate's error, too: a
/// little of one delay is common to all.
const LEAST_MEAN: f64 = 1.0;

/// Own rates are one rate where so many of them are nearer to it than half-way to the nominal one. Queues
/// scatter them.
const MOST_ALIKE: f64 = 0.8;

/// Of the connections whose own rates contradict a nominal one, so many may share counters that bear it out.
const MOST_CONFIRMED: f64 = 0.1;

/// Connections of one nominal rate that share counters or not, as a class has them.
pub(in crate::engine::machines) struct Placed<'a> {
    pub hz: f64,
    pub clusters: &'a mut [Cluster],
    pub judgement: &'a mut Judgement,
    pub connections: &'a [&'a Connection],
    pub resolution_ns: u64,
}

/// What the connections of a cluster say of the rate that they were placed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// The counter runs at it.
    Yes,
    /// The counter runs at another one.
    No,
    /// Nothing.
    Nothing,
}

/// Connections of a rate that is on no list.
pub(in crate::engine::machines) struct LeftOut {
    /// The connections.
    pub members: Vec<usize>,
    /// Their rate in Hz.
    pub rate_hz: Estimate,
    /// How their offsets are drawn.
    pub regime: Regime,
    /// The number of counters that they show.
    pub counters: usize,
    /// Whether they are one machine's.
    pub are_one: bool,
}

impl Placed<'_> {
    /// Marks machines whose counters tick at no nominal rate. Takes out what has another rate and is no
    /// machine by its offset, and returns it.
    pub(in crate::engine::machines) fn leave_out(&mut self) -> Vec<LeftOut> {
        let mut open = Vec::new();
        for &machine in &self.judgement.machines {
            let members = &self.clusters[machine].members;
            match LongRun::of(self.points(members)).filter(|long_run| is_another(long_run, self.hz)) {
                Some(long_run) => self.clusters[machine].unlisted_hz = Some(long_run.estimate()),
                None if self.clusters[machine].behaviour != Behaviour::Losing => open.push(machine),
                None => {}
            }
        }
        let mut left_out = Vec::new();
        if self.contradict(&open) {
            let judgement = &mut *self.judgement;
            judgement.machines.retain(|machine| open.binary_search(machine).is_err());
            judgement.fewest = judgement.fewest.min(judgement.machines.len());
            left_out.extend(self.take(&open, Regime::Undetermined));
        }
        let random = std::mem::take(&mut self.judgement.random);
        let (out, kept): (Vec<Random>, Vec<Random>) =
            random.into_iter().partition(|random| self.contradict(&random.clusters));
        self.judgement.random = kept;
        left_out.extend(out.iter().filter_map(|random| self.take(&random.clusters, random.regime)));
        left_out
    }

    /// What a cluster's counter says.
    fn says(&self, cluster: usize) -> Says {
        let members = &self.clusters[cluster].members;
        if members.len() < 2 {
            return Says::Nothing;
        }
        let Some(long_run) = LongRun::of(self.points(members)) else { return Says::Nothing };
        match is_another(&long_run, self.hz) {
            true => Says::No,
            false if bears_out(&long_run, self.hz) => Says::Yes,
            false => Says::Nothing,
        }
    }

    /// Whether the connections of these clusters contradict the rate: most by the counters that they share,
    /// or nearly all by their own rates.
    fn contradict(&self, clusters: &[usize]) -> bool {
        let size = |says: Says| {
            let of = clusters.iter().filter(|&&cluster| self.says(cluster) == says);
            of.map(|&cluster| self.clusters[cluster].members.len()).sum::<usize>()
        };
        let all: usize = clusters.iter().map(|&cluster| self.clusters[cluster].members.len()).sum();
        let members = clusters.iter().flat_map(|&cluster| &self.clusters[cluster].members);
        all >= FEWEST
            && (2 * size(Says::No) > all
                || self.rates_contradict(members) && size(Says::Yes) as f64 <= MOST_CONFIRMED * all as f64)
    }

    /// Whether the rates of these connections agree among each other, and not with the nominal one.
    fn rates_contradict<'m>(&self, members: impl Iterator<Item = &'m usize> + Clone) -> bool {
        let Some(own_hz) = long_run::own_hz(self.points(members.clone())) else { return false };
        if (own_hz / self.hz - 1.0).abs() < FARTHEST {
            return false;
        }
        let rates_hz: Vec<Estimate> = members.filter_map(|&member| self.rate_of(member)).collect();
        let is_alike = |rate_hz: &&Estimate| (rate_hz.value - own_hz).abs() < 0.5 * (own_hz - self.hz).abs();
        rates_hz.len() >= FEWEST
            && Deviations::of(rates_hz.iter().copied(), self.hz).contradict(LEAST_MEAN)
            && rates_hz.iter().filter(is_alike).count() as f64 >= MOST_ALIKE * rates_hz.len() as f64
    }

    /// The rate of a connection by its own points, with the error that decides on the nominal one.
    fn rate_of(&self, member: usize) -> Option<Estimate> {
        let connection = self.connections[member];
        let rate_hz = match connection.clock(self.resolution_ns) {
            Fitted::Weak(rate_hz) => return Some(rate_hz),
            Fitted::Steady(clock) => clock.rate_hz,
            Fitted::Odd(rate_hz) => rate_hz,
            Fitted::Unclear => return None,
        };
        Some(fit::allow_for_wander(rate_hz, connection.flow.envelope.span_s()))
    }

    /// Takes the connections out of clusters whose offsets are drawn in this way.
    fn take(&mut self, clusters: &[usize], regime: Regime) -> Option<LeftOut> {
        let peers = clusters.iter().flat_map(|&cluster| self.clusters[cluster].peers(self.connections));
        let mut peers: Vec<Address> = peers.collect();
        let counters_of_peers = peers.len();
        peers.sort_unstable();
        peers.dedup();
        let members: Vec<usize> = clusters
            .iter()
            .flat_map(|&cluster| std::mem::take(&mut self.clusters[cluster].members))
            .collect();
        let counters = clusters.len();
        if let Some(long_run) = LongRun::of(self.points(&members)).filter(|found| found.connections >= FEWEST)
        {
            let regime = if peers.len() > 1 { Regime::Global } else { Regime::Undetermined };
            return Some(LeftOut { members, rate_hz: long_run.estimate(), regime, counters, are_one: true });
        }
        // With offsets by pair, a machine shows each peer one counter.
        let are_one = regime == Regime::PerPair && counters_of_peers == peers.len();
        let value = long_run::own_hz(self.points(&members))?;
        let errors: Vec<f64> =
            members.iter().filter_map(|&member| Some(self.rate_of(member)?.sigma)).collect();
        let count = errors.len().max(1) as f64;
        let sigma = errors.iter().sum::<f64>() / count / count.sqrt();
        Some(LeftOut { members, rate_hz: Estimate { value, sigma }, regime, counters, are_one })
    }

    fn points<'m>(&self, members: impl IntoIterator<Item = &'m usize>) -> impl Iterator<Item = &[Point]> {
        members.into_iter().map(|&member| self.connections[member].flow.envelope.points())
    }
}

/// Whether a counter runs at another rate than this nominal one, as the rates within connections bear out.
fn is_another(long_run: &LongRun, hz: f64) -> bool {
    let (off, own_off) = (long_run.rate_hz / hz - 1.0, long_run.own_hz / hz - 1.0);
    let is_borne_out = (LEAST_BORNE_OUT..=MOST_BORNE_OUT).contains(&(own_off / off));
    let agrees = (own_off - off).abs() < DEVIATIONS * long_run.own_error;
    long_run.connections >= FEWEST
        && off.abs() > FARTHEST.max(DEVIATIONS * long_run.error)
        && (is_borne_out || agrees && off.abs() > CLEARLY_OFF * long_run.error)
}

/// Whether a counter runs at this nominal rate, and not at the one within connections.
fn bears_out(long_run: &LongRun, hz: f64) -> bool {
    let (off, own_off) = (long_run.rate_hz / hz - 1.0, long_run.own_hz / hz - 1.0);
    off.abs() <= FARTHEST.max(DEVIATIONS * long_run.error)
        && DEVIATIONS * long_run.error < 0.5 * own_off.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty connections of a third of a second in two minutes.
    fn long_run(rate_hz: f64, own_hz: f64) -> LongRun {
        LongRun { rate_hz, error: 1.3e-3, own_hz, own_error: 0.02, connections: 20 }
    }

    #[test]
    fn a_long_run_is_another_rate_where_connections_bear_it_out() {
        assert!(is_another(&long_run(96.0, 96.4), 100.0));
        assert!(is_another(&long_run(96.0, 93.2), 100.0), "own rates are uncertain");
        let one = LongRun { connections: 1, ..long_run(96.0, 96.4) };
        assert!(!is_another(&one, 100.0), "two points are always on a line");
    }

    #[test]
    fn clocks_that_sleep_and_queues_that_fill_are_no_other_rate() {
        assert!(!is_another(&long_run(167.0, 1000.0), 1000.0), "it sleeps");
        assert!(!is_another(&long_run(1000.2, 900.0), 1000.0), "its connections fill a queue");
        assert!(bears_out(&long_run(1000.2, 900.0), 1000.0));
        assert!(!is_another(&long_run(1001.5, 1001.5), 1000.0), "a board that is 1,500 ppm off");
    }
}
