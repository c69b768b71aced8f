//! What source ports tell somebody who knows everything else: each machine's boundary, and the machine of
//! every other connection.

use std::collections::HashMap;

use tmap::engine::ports::rule::Rule;
use tmap_common::Address;

use crate::{judge::traces::Trace, simulate::web::ports::Ports};

/// The time from one boundary to the next, in seconds.
const PERIOD_S: f64 = 10.0;

/// The probability of a port that a NAT draws.
const DRAWN: f64 = 1.0 / 64_512.0;

/// A SYN, in its machine's walk.
#[derive(Clone, Copy)]
struct Syn {
    at_s: f64,
    port: u16,
    number: usize,
}

/// Knows who sent which SYN.
pub(super) struct PortOracle<'a> {
    traces: &'a [Trace],
    /// The SYNs of each machine to each service, in order of time.
    sent: HashMap<(usize, Address, u16), Vec<Syn>>,
    boundaries_s: Vec<f64>,
    /// The share of ports that the NAT keeps; `None` where ports are no walks.
    kept: Option<f64>,
}

impl<'a> PortOracle<'a> {
    /// Of these connections, opened by these machines, whose walks break at these times modulo ten seconds.
    pub(super) fn new(
        ports: Ports,
        traces: &'a [Trace],
        machine_of: &[usize],
        boundaries_s: Vec<f64>,
    ) -> Self {
        let mut sent: HashMap<(usize, Address, u16), Vec<Syn>> = HashMap::new();
        for (number, (trace, machine)) in traces.iter().zip(machine_of).enumerate() {
            let (port, peer, service) = trace.key;
            let syn = Syn { at_s: begin_s(trace), port, number };
            sent.entry((*machine, peer, service)).or_default().push(syn);
        }
        sent.values_mut().for_each(|syns| syns.sort_by(|a, b| a.at_s.total_cmp(&b.at_s)));
        let kept = match ports {
            Ports::Walks { kept, addresses: 1 } => Some(kept),
            _ => None,
        };
        Self { traces, sent, boundaries_s, kept }
    }

    /// The connections of each walk, by their numbers, as somebody tells them who knows who sent which SYN; a
    /// connection whose port goes on from none is one by itself.
    pub(super) fn walks(&self) -> Vec<Vec<usize>> {
        let mut walks: Vec<Vec<usize>> = Vec::new();
        for ((machine, ..), syns) in &self.sent {
            let period = |syn: &Syn| ((syn.at_s - self.boundaries_s[*machine]) / PERIOD_S).floor();
            let goes_on = |from: &Syn, to: &Syn| {
                let is_step = Rule::LinuxWalk.step_probability(to.port.wrapping_sub(from.port)) > 0.0;
                self.kept.is_some() && period(from) == period(to) && is_step
            };
            let of_service = syns.chunk_by(goes_on).map(|walk| walk.iter().map(|syn| syn.number).collect());
            walks.extend(of_service);
        }
        walks
    }

    /// The log likelihood of a connection's port if `machine` opened it, in nats.
    pub(super) fn nats(&self, number: usize, machine: usize) -> f64 {
        let Some(kept) = self.kept else { return 0.0 };
        let (port, peer, service) = self.traces[number].key;
        let at_s = begin_s(&self.traces[number]);
        let period = |at_s: f64| ((at_s - self.boundaries_s[machine]) / PERIOD_S).floor();
        let walk = self.sent.get(&(machine, peer, service)).into_iter().flatten();
        let walk = || walk.clone().filter(|syn| syn.number != number && period(syn.at_s) == period(at_s));
        let before = walk().rfind(|syn| syn.at_s <= at_s).map(|syn| syn.port);
        let behind = walk().find(|syn| syn.at_s > at_s).map(|syn| syn.port);
        let next = |from: Option<u16>, port: u16| {
            let chosen = match from {
                // What it was to go on from may have been drawn by the NAT.
                Some(from) => {
                    kept * Rule::LinuxWalk.step_probability(port.wrapping_sub(from))
                        + (1.0 - kept) * Rule::LinuxWalk.any_probability()
                }
                None => Rule::LinuxWalk.any_probability(),
            };
            kept * chosen + (1.0 - kept) * DRAWN
        };
        let own = next(before, port).max(DRAWN * 1e-3).ln();
        let of_next = behind.map_or(0.0, |behind| {
            let without = next(before, behind).max(DRAWN * 1e-3);
            (next(Some(port), behind).max(DRAWN * 1e-3) / without).ln()
        });
        own + of_next
    }
}

/// When a connection begins, in seconds.
fn begin_s(trace: &Trace) -> f64 {
    trace.points.first().map_or(0.0, |point| point.time_ns as f64 * 1e-9)
}
