//! The classic format: a header, then packets (draft-ietf-opsawg-pcap).

use pcap_parser::{LegacyPcapBlock, PcapHeader, pcap};
use tmap_common::Link;

use super::{Frame, LinkType, ReadError, input::Input};

/// The longest packet, as libpcap bounds it (MAXIMUM_SNAPLEN); a longer one is a sign of garbage.
const MAX_PACKET_BYTES: u32 = 262_144;

/// State of a classic capture.
pub struct Pcap {
    link: Result<Link, LinkType>,
    big_endian: bool,
    /// Bytes before each packet: 16, or 24 in Kuznetsov's variant.
    header_bytes: usize,
    /// Nanoseconds per unit of the stamps' fraction.
    unit_ns: u32,
    parse: fn(&[u8]) -> Option<LegacyPcapBlock<'_>>,
}

impl Pcap {
    /// Reads the file header.
    pub fn new(input: &mut Input) -> Result<Self, ReadError> {
        let size = PcapHeader::new().size();
        let Some(bytes) = input.fill(size).get(..size) else { return Err(input.shortage()) };
        let Ok((_, header)) = pcap::parse_pcap_header(bytes) else {
            return Err(ReadError::Corrupt(0, "the file header makes no sense"));
        };
        input.take(size);
        let (modified, big_endian) = (header.is_modified_format(), header.is_bigendian());
        // The upper bits carry the length of the frame check sequence, not the type.
        let link_type = LinkType((header.network.0 & 0xffff) as u16);
        Ok(Self {
            link: link_type.link(),
            big_endian,
            header_bytes: if modified { 24 } else { 16 },
            unit_ns: if header.is_nanosecond_precision() { 1 } else { 1_000 },
            parse: match (modified, big_endian) {
                (true, _) => |bytes| pcap::parse_pcap_frame_modified(bytes).ok().map(|(_, block)| block),
                (false, true) => |bytes| pcap::parse_pcap_frame_be(bytes).ok().map(|(_, block)| block),
                (false, false) => |bytes| pcap::parse_pcap_frame(bytes).ok().map(|(_, block)| block),
            },
        })
    }

    /// What the header declares.
    pub fn resolution_ns(&self) -> u64 {
        u64::from(self.unit_ns)
    }

    /// The next packet, if there is one.
    pub fn next_frame<'a>(&mut self, input: &'a mut Input) -> Result<Option<Frame<'a>>, ReadError> {
        let Some(bytes) = self.packet_bytes(input)? else { return Ok(None) };
        let at = input.offset();
        let packet = (self.parse)(input.take(bytes)).ok_or(ReadError::Corrupt(at, "not a packet"))?;
        let second_ns = u64::from(packet.ts_sec) * 1_000_000_000;
        let fraction_ns = u64::from(packet.ts_usec) * u64::from(self.unit_ns);
        Ok(Some(Frame { time_ns: second_ns + fraction_ns, link: self.link, bytes: packet.data }))
    }

    /// How many bytes the next packet takes with its header; all of them are waiting in `input`.
    fn packet_bytes(&self, input: &mut Input) -> Result<Option<usize>, ReadError> {
        let at = input.offset();
        let Some(header) = input.fill(self.header_bytes).get(..self.header_bytes) else {
            if !input.data().is_empty() {
                return Err(input.shortage());
            }
            return input.failure().map_or(Ok(None), Err);
        };
        let length = [header[8], header[9], header[10], header[11]];
        let length = if self.big_endian { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) };
        if length > MAX_PACKET_BYTES {
            return Err(ReadError::Corrupt(at, "a packet longer than any capture holds"));
        }
        let bytes = self.header_bytes + length as usize;
        if input.fill(bytes).len() < bytes { Err(input.shortage()) } else { Ok(Some(bytes)) }
    }
}
