//! Records as the rings hand them over: of many flows, each with a clock of its own.
//!
//! What a record holds is computed from its flow's number and the time, so that making records
//! touches no memory that grows with the flows: the caches are the engine's.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tmap_common::{
    Address, Flags, Record, Segment,
    record::{Direction, Slot, Tells},
};

/// How flows are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shares {
    /// All alike.
    Uniform,
    /// The n-th has a share of 1/n: a few elephants, many mice.
    Zipf,
}

/// A stream of records.
#[derive(Debug)]
pub struct Stream {
    flows: u64,
    addresses: u64,
    shares: Shares,
    packets_per_s: f64,
    rng: Pcg64,
    sent: u64,
    /// Flows that were replaced by others: numbers begin behind theirs.
    gone: u64,
}

/// When streams begin; each flow's first record comes before that.
const BEGIN_NS: u64 = 1_000_000_000_000;

impl Stream {
    /// A stream over `flows` flows from `addresses` addresses, on a link of so many packets per second.
    pub fn new(flows: u64, addresses: u64, shares: Shares, packets_per_s: f64) -> Self {
        Self { flows, addresses, shares, packets_per_s, rng: Pcg64::seed_from_u64(1), sent: 0, gone: 0 }
    }

    /// One record of every flow, to begin with.
    pub fn openings(&self) -> impl Iterator<Item = Record> {
        let (flows, addresses, gone) = (self.flows, self.addresses, self.gone);
        let now_ns = self.now_ns();
        (0..flows).map(move |flow| record(gone + flow, now_ns - (flows - flow), addresses, 0))
    }

    /// Other flows take the place of all that there were.
    pub fn replace_flows(&mut self) {
        self.gone += self.flows;
        // After a second's silence.
        self.sent += self.packets_per_s as u64;
    }

    fn now_ns(&self) -> u64 {
        BEGIN_NS + (self.sent as f64 * 1e9 / self.packets_per_s) as u64
    }

    /// The next record, as its slot of a ring.
    pub fn next_slot(&mut self) -> Slot {
        let flow = match self.shares {
            Shares::Uniform => self.rng.random_range(0..self.flows),
            Shares::Zipf => {
                // The inverse of the distribution, which is a logarithm.
                let ranks = (self.flows + 1) as f64;
                (ranks.powf(self.rng.random::<f64>()) as u64).clamp(1, self.flows) - 1
            }
        };
        let time_ns = self.now_ns();
        self.sent += 1;
        record(self.gone + flow, time_ns, self.addresses, self.rng.random_range(0..200_000))
            .first_slot(Tells::PayloadBytes)
    }
}

/// A record of a flow: 1,000 ticks a second, `late_ns` on the way.
fn record(flow: u64, time_ns: u64, addresses: u64, late_ns: u64) -> Record {
    let mixed = mix(flow);
    let ticks = ((time_ns - late_ns) / 1_000_000) as u32;
    let host = 0x0a00_0000 + (mix(flow ^ 0x5eed) % addresses) as u32;
    Record {
        time_ns,
        direction: Direction::Ingress,
        suppressed: 0,
        segment: Segment {
            src: Address::from_ip4(host.to_be_bytes()),
            dst: Address::from_ip4((mixed as u32).to_be_bytes()),
            src_port: (mixed >> 32) as u16,
            dst_port: 443,
            flags: Flags::ACK,
            has_payload: true,
            payload_bytes: 1_448,
            hop_limit: 57,
            tsval: ticks.wrapping_add((mixed >> 20) as u32).max(1),
            tsecr: 1,
            syn: None,
            tunnel: None,
        },
    }
}

/// SplitMix64's finaliser.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
