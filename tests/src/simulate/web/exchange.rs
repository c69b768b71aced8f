//! One connection, segment by segment: handshake, questions and answers one round trip apart, FINs.

use rand::RngExt;
use tmap_common::{Address, Flags, Record, Segment};

use super::{
    Host,
    plan::{Script, Turn},
};
use crate::simulate::{Random, delay::Delays, received};

/// The end that opens a connection, as an index.
pub(super) const CLIENT: usize = 0;
/// The end that was asked.
pub(super) const SERVER: usize = 1;

/// An acknowledgement waits for data of its own side so long, in seconds (Linux: TCP_DELACK_MIN).
const DELAYED_ACK_S: f64 = 0.04;

/// Segments of one direction are at least this far apart: 1,500 bytes at 1 Gb/s, in seconds.
const GAP_S: f64 = 12e-6;

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) struct End<'a> {
    pub(super) host: &'a Host,
    pub(super) offset: u32,
    pub(super) address: Address,
    pub(super) port: u16,
    /// Least delay between it and the sensor, in seconds.
    pub(super) to_sensor_s: f64,
    pub(super) delays: Delays<'a>,
}

/// A connection under way. Arrays are by the sending end.
pub(super) struct Exchange<'a> {
    ends: [End<'a>; 2],
    loss: f64,
    random: &'a mut Random,
    records: &'a mut Vec<Record>,
    /// When the latest segment passed the sensor, and when it arrived.
    passed_s: [f64; 2],
    arrived_s: [f64; 2],
    slow_until_s: [f64; 2],
    /// The latest TSval that an end has received.
    heard_tsval: [u32; 2],
    /// When an end has last received something, or sent its own.
    ready_s: [f64; 2],
    owes_ack: [bool; 2],
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        ends: [End<'a>; 2],
        loss: f64,
        random: &'a mut Random,
        records: &'a mut Vec<Record>,
    ) -> Self {
        Self {
            ends,
            loss,
            random,
            records,
            passed_s: [0.0; 2],
            arrived_s: [0.0; 2],
            slow_until_s: [0.0; 2],
            heard_tsval: [0; 2],
            ready_s: [0.0; 2],
            owes_ack: [false; 2],
        }
    }

    /// Sends it all.
    pub(super) fn run(mut self, begin_s: f64, script: &Script) {
        let syn_s = self.send(CLIENT, begin_s, Flags::SYN, false);
        if let Script::Probe { answered } = script {
            // Tried once more; a RST has no time stamps.
            if !answered {
                self.send(CLIENT, begin_s + 1.0, Flags::SYN, false);
            }
            return;
        }
        let accept_s = syn_s + self.random.exponential(30e-6);
        let accepted_s = self.send(SERVER, accept_s, Flags::SYN | Flags::ACK, false);
        let connected_s = accepted_s + self.random.exponential(20e-6);
        self.ready_s = [connected_s, self.send(CLIENT, connected_s, Flags::ACK, false)];
        let rtt_s = 2.0 * (self.ends[CLIENT].to_sensor_s + self.ends[SERVER].to_sensor_s);
        for turn in script.turns(rtt_s, self.random) {
            self.turn(&turn);
        }
        self.close();
    }

    /// One end says something after its pause; the other acknowledges every other segment at once.
    fn turn(&mut self, turn: &Turn) {
        let Turn { side, pause_s, segments } = *turn;
        let other = 1 - side;
        let at_s = self.ready_s[side] + pause_s;
        self.acknowledge(side, at_s);
        for number in 1..=segments {
            let arrival_s = self.send(side, at_s, Flags::PSH | Flags::ACK, true);
            self.ready_s[other] = self.ready_s[other].max(arrival_s);
            if number % 2 == 0 {
                self.send(other, arrival_s + 10e-6, Flags::ACK, false);
            }
        }
        self.ready_s[side] = at_s;
        self.owes_ack[other] = segments % 2 == 1;
        // At the beginning of a connection, and now and then later, Linux acknowledges at once.
        if self.owes_ack[other] && self.random.0.random_bool(0.5) {
            self.send(other, self.ready_s[other] + 10e-6, Flags::ACK, false);
            self.owes_ack[other] = false;
        }
    }

    /// What an end owes when it next speaks at `until_s`: data carry it, unless the timer is faster.
    fn acknowledge(&mut self, side: usize, until_s: f64) {
        let end = &self.ends[side];
        let due_s = self.ready_s[side] + DELAYED_ACK_S;
        let ticks = end.host.clock.ticks_at(due_s);
        let due_s = due_s + (ticks.ceil() - ticks) / end.host.stack.tick_hz + self.random.exponential(20e-6);
        if self.owes_ack[side] && due_s < until_s {
            self.send(side, due_s, Flags::ACK, false);
        }
        self.owes_ack[side] = false;
    }

    /// FINs: of the server with its last word, or of the client soon after.
    fn close(&mut self) {
        let closer = if self.random.0.random_bool(0.5) { SERVER } else { CLIENT };
        let wait_s = if closer == SERVER { 0.0 } else { self.random.exponential(2e-3) };
        let fin_s = self.send(closer, self.ready_s[closer] + wait_s, Flags::FIN | Flags::ACK, false);
        let answer_s = fin_s.max(self.ready_s[1 - closer]) + self.random.exponential(1e-3);
        let end_s = self.send(1 - closer, answer_s, Flags::FIN | Flags::ACK, false);
        self.send(closer, end_s, Flags::ACK, false);
    }

    /// Sends a segment, anew where it is lost; returns when it arrives at the other end, in seconds.
    fn send(&mut self, side: usize, sent_s: f64, flags: Flags, has_payload: bool) -> f64 {
        let tsval = self.tsval(side, sent_s, flags);
        let tsecr = if flags.is_syn() { 0 } else { self.heard_tsval[side] };
        let [from, to] = [&self.ends[side], &self.ends[1 - side]];
        let delay_s = from.delays.draw(sent_s, &mut self.slow_until_s[side], self.random);
        let seen_s = (sent_s + from.to_sensor_s + delay_s).max(self.passed_s[side] + GAP_S);
        let fate = self.random.0.random::<f64>();
        if fate >= self.loss / 2.0 {
            let segment = Segment {
                src: from.address,
                dst: to.address,
                src_port: from.port,
                dst_port: to.port,
                flags,
                hop_limit: 60,
                tsval,
                tsecr,
                has_payload,
                syn: flags.intersects(Flags::SYN).then_some(from.host.stack.syn),
                ..Segment::default()
            };
            self.records.push(received((seen_s * 1e9) as u64, segment));
        }
        if fate < self.loss {
            let timeout_s = if flags.intersects(Flags::SYN) { 1.0 } else { 0.2 };
            let rtt_s = 2.0 * (from.to_sensor_s + to.to_sensor_s);
            return self.send(side, sent_s + timeout_s + rtt_s, flags, has_payload);
        }
        let delay_s = to.delays.draw(seen_s, &mut self.slow_until_s[side], self.random);
        let arrival_s = (seen_s + to.to_sensor_s + delay_s).max(self.arrived_s[side] + GAP_S);
        (self.passed_s[side], self.arrived_s[side]) = (seen_s, arrival_s);
        self.heard_tsval[1 - side] = tsval;
        arrival_s
    }

    fn tsval(&self, side: usize, sent_s: f64, flags: Flags) -> u32 {
        let End { host, offset, .. } = &self.ends[side];
        if flags.intersects(Flags::SYN) && host.stack.is_zero_in_syn {
            return 0;
        }
        (host.clock.ticks_at(sent_s).floor() as i64 as u32).wrapping_add(*offset)
    }
}
