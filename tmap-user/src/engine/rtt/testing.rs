//! A builder of segments, for tests.

use tmap_common::{Address, Flags, Record, Segment, record::Direction};

/// A segment under construction, from the client (10.0.0.1) or, with [`Made::back`], from the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made(Record);

/// A data segment of the client with TSval `tsval`.
pub(super) fn segment(time_ns: u64, tsval: u32) -> Made {
    Made(Record {
        time_ns,
        direction: Direction::Ingress,
        suppressed: 0,
        segment: Segment {
            src: Address::from_ip4([10, 0, 0, 1]),
            dst: Address::from_ip4([198, 51, 100, 1]),
            src_port: 40_000,
            dst_port: 443,
            flags: Flags::ACK,
            has_payload: true,
            payload_bytes: 0,
            hop_limit: 64,
            tsval,
            tsecr: 0,
            syn: None,
            tunnel: None,
        },
    })
}

impl From<Record> for Made {
    fn from(record: Record) -> Self {
        Self(record)
    }
}

impl Made {
    /// From the server.
    pub(super) fn back(mut self) -> Self {
        let segment = &mut self.0.segment;
        std::mem::swap(&mut segment.src, &mut segment.dst);
        std::mem::swap(&mut segment.src_port, &mut segment.dst_port);
        self
    }

    /// With this TSecr.
    pub(super) fn echo(mut self, tsecr: u32) -> Self {
        self.0.segment.tsecr = tsecr;
        self
    }

    /// A bare acknowledgement.
    pub(super) fn bare(mut self) -> Self {
        self.0.segment.has_payload = false;
        self
    }

    /// With these flags, and no data.
    pub(super) fn flags(mut self, flags: u8) -> Self {
        self.0.segment.flags = Flags(flags);
        self.bare()
    }

    /// With this TTL.
    pub(super) fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.0.segment.hop_limit = hop_limit;
        self
    }

    /// From or to this client port.
    pub(super) fn port(mut self, port: u16) -> Self {
        let segment = &mut self.0.segment;
        *(if segment.dst_port == 443 { &mut segment.src_port } else { &mut segment.dst_port }) = port;
        self
    }

    /// The record.
    pub(super) fn record(self) -> Record {
        self.0
    }
}
