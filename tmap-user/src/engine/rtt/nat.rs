//! Connections whose two directions have different addresses: an interface on each side of a NAT is watched.
//!
//! The answer to a SYN echoes the SYN's TSval, which a NAT leaves as it is. So a SYN-ACK of a connection that
//! nobody opened belongs to the SYN with that TSval, if one end is the same, and nobody else answered it.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use tmap_common::{Address, Segment};

use crate::engine::types::FlowKey;

/// How long a SYN waits for its answer, in nanoseconds.
const WAIT_NS: u64 = 10_000_000_000;

/// The most SYNs that wait. Beyond that the oldest are dropped, and their connections stay one-way.
const MAX_WAITING: usize = 16_384;

/// A SYN that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Place and serial of its connection; `None` where several SYNs have this TSval.
    connection: Option<(usize, u64)>,
    key: FlowKey,
    time_ns: u64,
}

/// The SYNs that wait for their answer, by TSval.
#[derive(Debug, Default)]
pub(super) struct OpenSyns {
    waiting: HashMap<u32, Waiting, RandomState>,
    /// TSvals and times, the oldest first.
    order: VecDeque<(u32, u64)>,
}

impl OpenSyns {
    /// Notes down the SYN that opened the connection at this place.
    pub(super) fn push(&mut self, syn: &Segment, time_ns: u64, place: usize, serial: u64) {
        if syn.tsval == 0 {
            return;
        }
        self.expire(time_ns);
        let key = FlowKey::of(syn);
        let waiting = Waiting { connection: Some((place, serial)), key, time_ns };
        let entry = self.waiting.entry(syn.tsval).or_insert(waiting);
        // A repeated SYN with its old TSval is no other connection.
        if entry.key != key {
            entry.connection = None;
        }
        self.order.push_back((syn.tsval, time_ns));
    }

    /// The connection, by place and serial, whose SYN this SYN-ACK answers under other addresses.
    pub(super) fn answered_by(&mut self, answer: &Segment, time_ns: u64) -> Option<(usize, u64)> {
        self.expire(time_ns);
        let waiting = self.waiting.get(&answer.tsecr)?;
        shares_one_end(&waiting.key, &FlowKey::of(answer)).then_some(waiting.connection?)
    }

    /// Estimated heap memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<(u32, Waiting)>()
            + self.order.capacity() * size_of::<(u32, u64)>()
    }

    fn expire(&mut self, now_ns: u64) {
        while let Some(&(tsval, time_ns)) = self.order.front()
            && (self.order.len() >= MAX_WAITING || now_ns.saturating_sub(time_ns) > WAIT_NS)
        {
            self.order.pop_front();
            if self.waiting.get(&tsval).is_some_and(|waiting| waiting.time_ns <= time_ns) {
                self.waiting.remove(&tsval);
            }
        }
    }
}

/// Whether an answer comes from where the question went, or goes to where it came from, but not both: a NAT
/// translates the client's end or the server's.
fn shares_one_end(question: &FlowKey, answer: &FlowKey) -> bool {
    let end = |address: Address, port: u16| (address, port);
    let is_server = end(question.dst, question.dst_port) == end(answer.src, answer.src_port);
    let is_client = end(question.src, question.src_port) == end(answer.dst, answer.dst_port);
    is_server != is_client
}
