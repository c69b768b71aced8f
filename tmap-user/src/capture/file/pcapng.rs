//! The block format (draft-ietf-opsawg-pcapng): sections, interfaces, packets.

use pcap_parser::{
    Block, InterfaceDescriptionBlock, OptionCode, PcapNGOption, parse_block_be, parse_block_le,
    traits::PcapNGPacketBlock,
};
use tmap_common::Link;

use super::{
    Frame, LinkType, ReadError,
    input::Input,
    statistics::{Dropped, Told, before_obsolete_packet, before_packet},
};

/// Block types that are checked before the block is parsed.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const PACKET_OBSOLETE: u32 = 2;

/// Bytes of a block before its packet's, in either kind of packet block.
const PACKET_HEADER_BYTES: usize = 28;

/// The longest block, as libpcap bounds it.
const MAX_BLOCK_BYTES: u32 = 16 * 1024 * 1024;

/// The most interfaces of a section; merged captures have dozens.
const MAX_INTERFACES: usize = 65_536;

/// The latest valid time, in the year 2116: engine time needs room for additions.
const MAX_TIME_NS: u64 = 1 << 62;

/// State of a block capture.
#[derive(Default)]
pub(super) struct PcapNg {
    big_endian: bool,
    interfaces: Vec<Interface>,
    resolution_ns: u64,
    untimed: u64,
    /// What earlier sections tell of dropped packets.
    told_before: Told,
}

/// The content of an interface description.
#[derive(Clone, Copy)]
struct Interface {
    link: Result<Link, LinkType>,
    units: Units,
    offset_s: i64,
    dropped: Dropped,
}

/// The unit of capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    /// Nanoseconds per unit; the usual units.
    Nanoseconds(u64),
    /// Units per second.
    PerSecond(u128),
}

impl PcapNg {
    /// The coarsest resolution declared so far.
    pub(super) fn resolution_ns(&self) -> u64 {
        self.resolution_ns
    }

    /// Packets without a capture time so far.
    pub(super) fn untimed(&self) -> u64 {
        self.untimed
    }

    /// What the sections so far tell of packets that their writer dropped.
    pub(super) fn told(&self) -> Told {
        self.interfaces.iter().map(|interface| interface.dropped.told()).fold(self.told_before, Told::and)
    }

    /// The next packet, if there is one; other blocks are taken in on the way. There may be any number of
    /// them, so the caller has its turn between them.
    pub(super) fn next_frame<'a>(&mut self, input: &'a mut Input) -> Result<Option<Frame<'a>>, ReadError> {
        loop {
            input.give_turn()?;
            let Some(bytes) = self.block_bytes(input)? else { return Ok(None) };
            let at = input.offset();
            // Borrowed anew after each block that holds no packet: only a packet is handed out.
            match self.block(&input.data()[..bytes]) {
                Err(what) => return Err(ReadError::Corrupt(at, what)),
                Ok(None) => {
                    input.take(bytes);
                }
                Ok(Some(packet)) => {
                    let block = input.take(bytes);
                    let bytes = &block[packet.data_at..packet.data_at + packet.data_bytes];
                    let Packet { time_ns, link, is_cut, .. } = packet;
                    return Ok(Some(Frame { time_ns, link, bytes, is_cut }));
                }
            }
        }
    }

    /// The length of the next block in bytes; all of them are waiting in `input`.
    fn block_bytes(&mut self, input: &mut Input) -> Result<Option<usize>, ReadError> {
        let at = input.offset();
        let Some(&[t0, t1, t2, t3, l0, l1, l2, l3, m0, m1, m2, m3]) = input.fill(12).first_chunk() else {
            if !input.data().is_empty() {
                return Err(input.shortage());
            }
            return input.failure().map_or(Ok(None), Err);
        };
        if [t0, t1, t2, t3] == SECTION_HEADER {
            self.big_endian = match [m0, m1, m2, m3] {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err(ReadError::Corrupt(at, "section without byte-order magic")),
            };
        }
        let length = [l0, l1, l2, l3];
        let length = if self.big_endian { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) };
        if !(12..=MAX_BLOCK_BYTES).contains(&length) || !length.is_multiple_of(4) {
            return Err(ReadError::Corrupt(at, "impossible block length"));
        }
        let bytes = length as usize;
        if input.fill(bytes).len() < bytes { Err(input.shortage()) } else { Ok(Some(bytes)) }
    }

    /// Takes in one whole block.
    fn block(&mut self, bytes: &[u8]) -> Result<Option<Packet>, &'static str> {
        let parsed = if self.big_endian { parse_block_be(bytes) } else { parse_block_le(bytes) };
        let Ok((_, block)) = parsed else { return Err("inconsistent block") };
        match block {
            Block::SectionHeader(_) => {
                self.told_before = self.told();
                self.interfaces.clear();
            }
            Block::InterfaceDescription(description) => self.add_interface(&description)?,
            Block::EnhancedPacket(packet) => {
                let stamp = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let data_bytes = packet.packet_data().len();
                if data_bytes < packet.caplen as usize {
                    return Err("packet longer than its block");
                }
                let is_cut = packet.caplen < packet.origlen;
                self.add_dropped(packet.if_id, before_packet(&packet.options, self.big_endian));
                return self.packet(packet.if_id, stamp, data_bytes, is_cut);
            }
            Block::InterfaceStatistics(statistics) => {
                // Those of an interface that isn't described are nobody's.
                if let Some(interface) = self.interfaces.get_mut(statistics.if_id as usize) {
                    interface.dropped.update(Dropped::new(&statistics.options, self.big_endian));
                }
            }
            Block::SimplePacket(_) => self.untimed += 1,
            Block::Unknown(unknown) if self.native(unknown.block_type) == PACKET_OBSOLETE => {
                return self.obsolete_packet(unknown.data);
            }
            _ => {}
        }
        Ok(None)
    }

    fn native(&self, read_as_little_endian: u32) -> u32 {
        if self.big_endian { read_as_little_endian.swap_bytes() } else { read_as_little_endian }
    }

    fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(self.native(word))
    }

    /// The packet block of before 2009: interface and drop count share a word.
    fn obsolete_packet(&mut self, content: &[u8]) -> Result<Option<Packet>, &'static str> {
        let words = [0, 4, 8, 12].map(|at| self.word(content, at));
        let [Some(first), Some(high), Some(low), Some(length)] = words else {
            return Err("packet block too short");
        };
        let data_bytes = length as usize;
        if content.len() < 20 + data_bytes {
            return Err("packet longer than its block");
        }
        let halves = [first >> 16, first & 0xffff];
        let [interface, dropped] = if self.big_endian { halves } else { [halves[1], halves[0]] };
        self.add_dropped(interface, before_obsolete_packet(dropped as u16));
        let is_cut = self.word(content, 16).is_some_and(|original| length < original);
        self.packet(interface, u64::from(high) << 32 | u64::from(low), data_bytes, is_cut)
    }

    /// Takes in that packets of an interface were dropped. Those of one that isn't described are nobody's.
    fn add_dropped(&mut self, interface: u32, dropped: u64) {
        if let Some(interface) = self.interfaces.get_mut(interface as usize) {
            interface.dropped.add(dropped);
        }
    }

    /// A packet of an interface; `None` where its time is none that a clock can have.
    fn packet(
        &mut self,
        interface: u32,
        stamp: u64,
        data_bytes: usize,
        is_cut: bool,
    ) -> Result<Option<Packet>, &'static str> {
        let interface =
            self.interfaces.get(interface as usize).ok_or("packet of an undescribed interface")?;
        let Some(time_ns) = interface.time_ns(stamp) else {
            self.untimed += 1;
            return Ok(None);
        };
        let link = interface.link;
        Ok(Some(Packet { time_ns, link, data_at: PACKET_HEADER_BYTES, data_bytes, is_cut }))
    }

    fn add_interface(&mut self, description: &InterfaceDescriptionBlock<'_>) -> Result<(), &'static str> {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err("too many interfaces");
        }
        let units = Units::new(option(&description.options, OptionCode::IfTsresol).unwrap_or([6])[0])?;
        let offset = option(&description.options, OptionCode::IfTsoffset).unwrap_or([0; 8]);
        self.resolution_ns = self.resolution_ns.max(units.resolution_ns());
        self.interfaces.push(Interface {
            link: LinkType(description.linktype.0 as u16).link(),
            units,
            offset_s: if self.big_endian { i64::from_be_bytes(offset) } else { i64::from_le_bytes(offset) },
            dropped: Dropped::default(),
        });
        Ok(())
    }
}

/// The first `N` bytes of an option. Read here and not by the crate: its 0.17 takes an offset for
/// little-endian in a big-endian section and refuses resolutions that are powers of two.
fn option<const N: usize>(options: &[PcapNGOption<'_>], code: OptionCode) -> Option<[u8; N]> {
    let option = options.iter().find(|option| option.code == code)?;
    option.value().first_chunk().copied()
}

/// A packet's place in its block.
struct Packet {
    time_ns: u64,
    link: Result<Link, LinkType>,
    data_at: usize,
    data_bytes: usize,
    is_cut: bool,
}

impl Interface {
    /// The time of a stamp, in nanoseconds since the Unix epoch; `None` before that and beyond
    /// [`MAX_TIME_NS`]. Such stamps come of wrong units or offsets.
    fn time_ns(&self, stamp: u64) -> Option<u64> {
        let since_offset_ns = match self.units {
            Units::Nanoseconds(each) => stamp.checked_mul(each)?,
            Units::PerSecond(units) => {
                u64::try_from(u128::from(stamp).checked_mul(1_000_000_000)? / units).ok()?
            }
        };
        let offset_ns = self.offset_s.checked_mul(1_000_000_000)?;
        since_offset_ns.checked_add_signed(offset_ns).filter(|&time_ns| time_ns <= MAX_TIME_NS)
    }
}

impl Units {
    /// From if_tsresol: a power of ten, or of two with the top bit set.
    fn new(resolution: u8) -> Result<Self, &'static str> {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            return 1u128.checked_shl(exponent).map(Self::PerSecond).ok_or("impossible time resolution");
        }
        match exponent {
            0..=9 => Ok(Self::Nanoseconds(10u64.pow(9 - exponent))),
            10..=30 => Ok(Self::PerSecond(10u128.pow(exponent))),
            _ => Err("impossible time resolution"),
        }
    }

    fn resolution_ns(self) -> u64 {
        match self {
            Self::Nanoseconds(each) => each,
            Self::PerSecond(units) => (1_000_000_000 / units).max(1) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(resolution: u8, offset_s: i64) -> Interface {
        let units = Units::new(resolution).unwrap();
        Interface { link: Ok(Link::Ethernet), units, offset_s, dropped: Dropped::default() }
    }

    #[test]
    fn stamps_become_nanoseconds() {
        assert_eq!(interface(6, 0).time_ns(1_500_000), Some(1_500_000_000));
        assert_eq!(interface(9, 0).time_ns(1_500_000_007), Some(1_500_000_007));
        assert_eq!(interface(3, 0).time_ns(1_500), Some(1_500_000_000));
        assert_eq!(interface(12, 0).time_ns(1_500_000_007_900), Some(1_500_000_007));
        assert_eq!(interface(0x80 | 10, 0).time_ns(1536), Some(1_500_000_000));
        assert_eq!(interface(6, 1_000).time_ns(1), Some(1_000_000_001_000));
        assert_eq!(interface(6, -1).time_ns(3_000_000), Some(2_000_000_000));
    }

    #[test]
    fn absurd_stamps_are_no_times() {
        assert_eq!(interface(0, 0).time_ns(u64::MAX), None);
        assert_eq!(interface(6, i64::MIN).time_ns(1), None);
        assert_eq!(interface(0x80, i64::MAX).time_ns(u64::MAX), None);
        assert_eq!(interface(6, -1).time_ns(999_999), None, "before 1970");
        // Nanoseconds where microseconds were declared.
        assert_eq!(interface(6, 0).time_ns(1_764_000_000_000_000_000), None);
        assert_eq!(interface(9, 0).time_ns(MAX_TIME_NS), Some(MAX_TIME_NS));
    }

    #[test]
    fn impossible_resolutions_are_refused() {
        assert!(Units::new(31).is_err());
        assert!(Units::new(0xff).is_ok(), "2^-127 s is silly but arithmetic");
    }
}
