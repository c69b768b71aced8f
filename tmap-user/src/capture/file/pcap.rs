//! The classic format: a header, then packets (draft-ietf-opsawg-pcap).

use pcap_parser::{PcapHeader, pcap};
use tmap_common::Link;

use super::{Frame, LinkType, ReadError, input::Input};

/// The longest packet, as libpcap bounds it (MAXIMUM_SNAPLEN); a longer one is a sign of garbage.
const MAX_PACKET_BYTES: u32 = 262_144;

/// State of a classic capture.
pub(super) struct Pcap {
    link: Result<Link, LinkType>,
    big_endian: bool,
    /// Bytes before each packet: 16, or 24 in Kuznetsov's variant.
    header_bytes: usize,
    /// Nanoseconds per unit of the stamps' fraction.
    unit_ns: u32,
}

impl Pcap {
    /// Reads the file header.
    pub(super) fn new(input: &mut Input) -> Result<Self, ReadError> {
        let size = PcapHeader::new().size();
        let Some(bytes) = input.fill(size).get(..size) else { return Err(input.shortage()) };
        let Ok((_, header)) = pcap::parse_pcap_header(bytes) else {
            return Err(ReadError::Corrupt(0, "invalid file header"));
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
        })
    }

    /// The resolution that the header declares.
    pub(super) fn resolution_ns(&self) -> u64 {
        u64::from(self.unit_ns)
    }

    /// The next packet, if there is one.
    #[inline(always)]
    pub(super) fn next_frame<'a>(&mut self, input: &'a mut Input) -> Result<Option<Frame<'a>>, ReadError> {
        let at = input.offset();
        // Seconds, fraction, captured length; the original length and Kuznetsov's fields follow.
        let Some(header) = input.fill(self.header_bytes).first_chunk::<16>() else {
            return Self::end(input);
        };
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let second_ns = u64::from(word(0)) * 1_000_000_000;
        let time_ns = second_ns + u64::from(word(4)) * u64::from(self.unit_ns);
        let length = word(8);
        if length > MAX_PACKET_BYTES {
            return Err(ReadError::Corrupt(at, "impossible packet length"));
        }
        let bytes = self.header_bytes + length as usize;
        if input.fill(bytes).len() < bytes {
            return Err(input.shortage());
        }
        Ok(Some(Frame { time_ns, link: self.link, bytes: &input.take(bytes)[self.header_bytes..] }))
    }

    /// The result if there are too few bytes for a header: the end, or an error.
    #[cold]
    fn end<'a>(input: &mut Input) -> Result<Option<Frame<'a>>, ReadError> {
        if !input.data().is_empty() {
            return Err(input.shortage());
        }
        input.failure().map_or(Ok(None), Err)
    }
}
