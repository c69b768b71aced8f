//! One connection of a victim: what its ends and an attacker send, and when it passes the sensor.
//!
//! A segment gets its TSval when it is sent, by the time that it is then. So it doesn't matter whether it is
//! sent a little late.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Flags, Segment};

use super::{MS, S, cast::Party};
use crate::{siege, wire::frame::LINUX_SYN};

/// How long a connection lasts, in nanoseconds.
const LASTS_NS: std::ops::Range<u64> = 10 * S..30 * S;

/// Questions with their answers: with the handshake and the end, 20 to 60 segments of the client.
const EXCHANGES: std::ops::Range<u64> = 8..29;

/// How long an end thinks, in nanoseconds.
const THINKS_NS: std::ops::Range<u64> = 50_000..3 * MS;

/// Bytes of questions and of answers.
const QUESTION_BYTES: u32 = 120;
const ANSWER_BYTES: u32 = 900;

/// Who sends a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
    /// Somebody who knows both ends, in the name of the client, with this TSval.
    Forger(u32),
}

/// A segment that is still to be sent.
#[derive(Clone, Copy, Debug)]
struct Step {
    at_ns: u64,
    sender: Sender,
    flags: Flags,
    payload_bytes: u32,
}

/// A connection under way.
#[derive(Debug)]
pub(super) struct Connection {
    client: Party,
    server: Party,
    /// The latest TSval of either, once there was one.
    shown: [Option<u32>; 2],
    /// The last one comes first.
    steps: Vec<Step>,
}

impl Connection {
    /// One that begins at a time.
    pub(super) fn new((client, server): (Party, Party), begin_ns: u64, random: &mut Pcg64) -> Self {
        let mut steps = Steps { all: Vec::new(), client, server };
        let open_ns = steps.round(begin_ns, (Flags::SYN, 0), (Flags::SYN | Flags::ACK, 0), random);
        let end_ns = begin_ns + random.random_range(LASTS_NS);
        for _ in 0..random.random_range(EXCHANGES) {
            let data = Flags::PSH | Flags::ACK;
            let at_ns = random.random_range(open_ns + MS..end_ns);
            steps.round(at_ns, (data, QUESTION_BYTES), (data, ANSWER_BYTES), random);
        }
        let fin = Flags::FIN | Flags::ACK;
        steps.round(end_ns + 100 * MS, (fin, 0), (fin, 0), random);
        steps.forge(open_ns, end_ns, random);
        steps.all.sort_by_key(|step| std::cmp::Reverse(step.at_ns));
        Self { client, server, shown: [None; 2], steps: steps.all }
    }

    /// When its next segment passes the sensor; `None` after the last one.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.steps.last().map(|step| step.at_ns)
    }

    /// Its next segment, as it passes the sensor now.
    pub(super) fn next(&mut self, now_ns: u64, random: &mut Pcg64) -> Option<Segment> {
        let Step { sender, flags, payload_bytes, .. } = self.steps.pop()?;
        let (own, from, to) = match sender {
            Sender::Client => (0, self.client, self.server),
            Sender::Server => (1, self.server, self.client),
            Sender::Forger(tsval) => {
                let ends = (self.client.end, self.server.end);
                return Some(siege::segment(now_ns, ends, flags, tsval).segment);
            }
        };
        let stamped_ns = now_ns.saturating_sub(from.delay_ns(random));
        let tsval = from.clock.tsval(stamped_ns).wrapping_add(from.offset);
        // Nothing overtakes on the way.
        let is_older = |shown: &u32| tsval.wrapping_sub(*shown).cast_signed() < 0;
        let tsval = self.shown[own].filter(is_older).unwrap_or(tsval);
        self.shown[own] = Some(tsval);
        let is_syn = flags.intersects(Flags::SYN);
        Some(Segment {
            src: from.end.0,
            dst: to.end.0,
            src_port: from.end.1,
            dst_port: to.end.1,
            flags,
            hop_limit: from.hop_limit,
            tsval,
            tsecr: self.shown[1 - own].unwrap_or(0),
            has_payload: payload_bytes > 0,
            payload_bytes,
            syn: is_syn.then_some(LINUX_SYN),
            ..Segment::default()
        })
    }
}

/// Flags and bytes of a segment.
type Content = (Flags, u32);

/// The segments of a connection that is being planned.
struct Steps {
    all: Vec<Step>,
    client: Party,
    server: Party,
}

impl Steps {
    /// What the client asks, what the server answers, and the client's acknowledgement. Returns the time of
    /// that.
    fn round(&mut self, at_ns: u64, asks: Content, answers: Content, random: &mut Pcg64) -> u64 {
        let mut thinks_ns = || random.random_range(THINKS_NS);
        let answered_ns = at_ns + 2 * self.server.delay_ns + thinks_ns();
        let acknowledged_ns = answered_ns + 2 * self.client.delay_ns + thinks_ns();
        self.push(at_ns, Sender::Client, asks);
        self.push(answered_ns, Sender::Server, answers);
        self.push(acknowledged_ns, Sender::Client, (Flags::ACK, 0));
        acknowledged_ns
    }

    /// Two segments of another clock in the middle, and a RST somewhat later.
    fn forge(&mut self, open_ns: u64, end_ns: u64, random: &mut Pcg64) {
        let middle_ns = open_ns.midpoint(end_ns);
        let tsval = random.random_range(1..u32::MAX - 1);
        self.push(middle_ns, Sender::Forger(tsval), (Flags::ACK, 0));
        self.push(middle_ns + 2 * MS, Sender::Forger(tsval + 1), (Flags::ACK, 0));
        let reset_ns = random.random_range(middle_ns + 3 * MS..end_ns);
        self.push(reset_ns, Sender::Forger(random.random()), (Flags::RST, 0));
    }

    fn push(&mut self, at_ns: u64, sender: Sender, (flags, payload_bytes): Content) {
        self.all.push(Step { at_ns, sender, flags, payload_bytes });
    }
}
