//! The classic format: a header, then packets (draft-ietf-opsawg-pcap).

use tmap_common::Link;

use super::{Frame, LinkType, ReadError, input::Input};

/// The longest packet, as libpcap bounds it (MAXIMUM_SNAPLEN); a longer one is a sign of garbage.
const MAX_PACKET_BYTES: u32 = 262_144;

/// Bytes of the file header: magic number, version, two unused words, snap length, link type.
const FILE_HEADER_BYTES: usize = 24;

/// The magic numbers (draft-ietf-opsawg-pcap; the last is that of Alexey Kuznetsov's patch of libpcap): what
/// they begin in the byte order of the file.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

/// Whether a file that begins with these bytes is a classic capture, in either byte order.
pub(super) fn is_magic(bytes: [u8; 4]) -> bool {
    byte_order(bytes).is_some()
}

/// The magic number, and whether the file is big-endian; `None` for any other file.
fn byte_order(bytes: [u8; 4]) -> Option<(u32, bool)> {
    let known = |magic: &u32| matches!(*magic, MICROSECONDS | NANOSECONDS | MODIFIED);
    let big = Some(u32::from_be_bytes(bytes)).filter(known).map(|magic| (magic, true));
    big.or_else(|| Some(u32::from_le_bytes(bytes)).filter(known).map(|magic| (magic, false)))
}

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
        let Some(header) = input.fill(FILE_HEADER_BYTES).first_chunk::<FILE_HEADER_BYTES>() else {
            return Err(input.shortage());
        };
        let [m0, m1, m2, m3, .., n0, n1, n2, n3] = *header;
        let Some((magic, big_endian)) = byte_order([m0, m1, m2, m3]) else {
            return Err(ReadError::Corrupt(0, "invalid file header"));
        };
        input.take(FILE_HEADER_BYTES);
        let network = [n0, n1, n2, n3];
        let network = if big_endian { u32::from_be_bytes(network) } else { u32::from_le_bytes(network) };
        // The upper bits carry the length of the frame check sequence, not the type.
        let link_type = LinkType((network & 0xffff) as u16);
        Ok(Self {
            link: link_type.link(),
            big_endian,
            header_bytes: if magic == MODIFIED { 24 } else { 16 },
            unit_ns: if magic == NANOSECONDS { 1 } else { 1_000 },
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
        let is_cut = length < word(12);
        let bytes = self.header_bytes + length as usize;
        if input.fill(bytes).len() < bytes {
            return Err(input.shortage());
        }
        let bytes = &input.take(bytes)[self.header_bytes..];
        Ok(Some(Frame { time_ns, link: self.link, bytes, is_cut }))
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
