//! Plain conversations between clocks of which every figure is given.

use tmap_common::{Address, Flags, Record, Segment};

use crate::{simulate::received, wire::frame::LINUX_SYN};

/// Saturday 22 April 2006, 17:00 UTC: when all made-up traffic begins. Unix time, nanoseconds.
pub const START_NS: u64 = 1_145_725_200_000_000_000;

/// One side of a conversation, and the clock behind it.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Address.
    pub address: [u8; 4],
    /// Port.
    pub port: u16,
    /// Tick rate in Hz.
    pub tick_hz: u64,
    /// The counter when the traffic begins.
    pub ticks: u32,
}

impl Side {
    /// The counter at a time.
    fn tsval(&self, time_ns: u64) -> u32 {
        let elapsed = u128::from(time_ns - START_NS) * u128::from(self.tick_hz) / 1_000_000_000;
        self.ticks.wrapping_add(elapsed as u32)
    }
}

/// An address and a port.
pub type End = ([u8; 4], u16);

/// An acknowledgement without data.
pub fn acknowledgement(time_ns: u64, (from, to): (End, End), tsval: u32, tsecr: u32) -> Record {
    let segment = Segment {
        src: Address::from_ip4(from.0),
        dst: Address::from_ip4(to.0),
        src_port: from.1,
        dst_port: to.1,
        flags: Flags::ACK,
        hop_limit: 60,
        tsval,
        tsecr,
        ..Segment::default()
    };
    received(time_ns, segment)
}

/// A conversation: handshake, then a segment each way every 50 ms or so for `seconds`, then FINs.
/// Segments arrive 100 µs after they were stamped.
pub fn conversation(client: Side, server: Side, begin_ns: u64, seconds: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at_ns = START_NS + begin_ns;
    let end_ns = at_ns + seconds * 1_000_000_000;
    let mut push = |from: &Side, to: &Side, flags: Flags, time_ns: u64, echo: u32| {
        let tsval = from.tsval(time_ns);
        let ends = ((from.address, from.port), (to.address, to.port));
        let mut record = acknowledgement(time_ns + 100_000, ends, tsval, echo);
        record.segment.flags = flags;
        record.segment.has_payload = flags.intersects(Flags::PSH);
        record.segment.syn = flags.intersects(Flags::SYN).then_some(LINUX_SYN);
        records.push(record);
        tsval
    };
    let mut echo = push(&client, &server, Flags::SYN, at_ns, 0);
    echo = push(&server, &client, Flags::SYN | Flags::ACK, at_ns + 1_000_000, echo);
    echo = push(&client, &server, Flags::ACK, at_ns + 2_000_000, echo);
    // Steps that drift through the tick, so that its edges are found.
    while at_ns < end_ns {
        at_ns += 51_370_000;
        echo = push(&client, &server, Flags::ACK | Flags::PSH, at_ns, echo);
        echo = push(&server, &client, Flags::ACK | Flags::PSH, at_ns + 1_730_000, echo);
    }
    echo = push(&client, &server, Flags::FIN | Flags::ACK, at_ns + 10_000_000, echo);
    push(&server, &client, Flags::FIN | Flags::ACK, at_ns + 11_000_000, echo);
    records
}

/// A mail server's address with three machines of 100 Hz behind it: 3, 2 and 1 connections, from
/// as many clients of 1000 Hz.
pub fn mail_cluster() -> Vec<Record> {
    let mut records = Vec::new();
    let mut connection = 0u8;
    for (ticks, connections) in [(559_871_915, 3), (21_253_557, 2), (1_782_762_098, 1)] {
        for _ in 0..connections {
            connection += 1;
            let client = Side {
                address: [192, 0, 2, connection],
                port: 40_000 + u16::from(connection),
                tick_hz: 1000,
                ticks: 1_000_000_007u32.wrapping_mul(u32::from(connection)),
            };
            let server = Side { address: [198, 51, 100, 1], port: 25, tick_hz: 100, ticks };
            records.extend(conversation(client, server, u64::from(connection) * 3_000_000_000, 30));
        }
    }
    records.sort_by_key(|record| record.time_ns);
    records
}
