//! A reader of captures that shares no code with tmap: a judge must not err where tmap does.
//!
//! It knows what captures of TCP usually are: pcap and pcapng, plain or in gzip; Ethernet with VLAN tags,
//! Linux cooked, BSD loopback, bare IP; IPv4 and IPv6. It looks into no tunnel.

use std::{fs, io::Read, net::IpAddr, path::Path};

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;

/// A TCP segment with the Timestamps option (RFC 7323).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// Unix time in nanoseconds.
    pub time_ns: u64,
    /// Sender, address and port.
    pub src: (IpAddr, u16),
    /// Receiver, address and port.
    pub dst: (IpAddr, u16),
    /// The low eight flags: FIN is 1, SYN 2, RST 4, ACK 16.
    pub flags: u8,
    /// The sender's counter.
    pub tsval: u32,
}

/// All time-stamped segments of a capture, in its order.
///
/// # Errors
/// Where the file can't be read or is no capture.
pub fn stamped(path: &Path) -> Result<Vec<Stamped>> {
    let read = || -> Result<Vec<u8>> {
        let bytes = fs::read(path)?;
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return Ok(bytes);
        }
        let mut plain = Vec::new();
        MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain)?;
        Ok(plain)
    };
    let file = read().with_context(|| format!("can't read {}", path.display()))?;
    let frames = match file.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => pcapng(&file),
        _ => pcap(&file),
    };
    let frames = frames.with_context(|| format!("can't read {}", path.display()))?;
    Ok(frames.iter().filter_map(|frame| segment(frame.time_ns, ip_packet(frame)?)).collect())
}

struct Frame<'a> {
    time_ns: u64,
    link_type: u16,
    bytes: &'a [u8],
}

/// Numbers in the file's byte order.
#[derive(Clone, Copy)]
struct Numbers {
    is_big: bool,
}

impl Numbers {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let word = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.is_big { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.is_big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }
}

fn pcap(file: &[u8]) -> Result<Vec<Frame<'_>>> {
    let (is_big, unit_ns) = match file.get(..4) {
        Some([0xa1, 0xb2, 0xc3, 0xd4]) => (true, 1000),
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => (false, 1000),
        Some([0xa1, 0xb2, 0x3c, 0x4d]) => (true, 1),
        Some([0x4d, 0x3c, 0xb2, 0xa1]) => (false, 1),
        _ => bail!("no pcap or pcapng"),
    };
    let numbers = Numbers { is_big };
    let link_type = numbers.u32(file, 20).context("no header")? as u16;
    let mut frames = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(part), Some(length)) =
        (numbers.u32(file, at), numbers.u32(file, at + 4), numbers.u32(file, at + 8))
    {
        let Some(bytes) = file.get(at + 16..at + 16 + length as usize) else { break };
        let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(part) * unit_ns;
        frames.push(Frame { time_ns, link_type, bytes });
        at += 16 + length as usize;
    }
    Ok(frames)
}

/// Enhanced packet blocks only, which all current programs write.
fn pcapng(file: &[u8]) -> Result<Vec<Frame<'_>>> {
    let mut numbers = Numbers { is_big: false };
    let mut interfaces: Vec<(u16, u8)> = Vec::new();
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(kind) = file.get(at..at + 4) {
        if kind == [0x0a, 0x0d, 0x0d, 0x0a] {
            numbers.is_big = file.get(at + 8) == Some(&0x1a);
            interfaces.clear();
        }
        let length = numbers.u32(file, at + 4).context("no length")? as usize;
        let Some(block) = file.get(at..at + length).filter(|block| block.len() >= 12) else { break };
        match numbers.u32(block, 0) {
            Some(1) => {
                let link_type = numbers.u16(block, 8).context("no link type")?;
                interfaces.push((link_type, resolution(numbers, block)));
            }
            Some(6) => frames.extend(enhanced_packet(numbers, block, &interfaces)),
            _ => {}
        }
        at += length;
    }
    Ok(frames)
}

/// An interface's if_tsresol; microseconds where it has none.
fn resolution(numbers: Numbers, block: &[u8]) -> u8 {
    let mut at = 16;
    while let (Some(code), Some(length)) = (numbers.u16(block, at), numbers.u16(block, at + 2)) {
        if code == 9 {
            return block.get(at + 4).copied().unwrap_or(6);
        }
        at += 4 + usize::from(length).next_multiple_of(4);
        if code == 0 {
            break;
        }
    }
    6
}

fn enhanced_packet<'a>(numbers: Numbers, block: &'a [u8], interfaces: &[(u16, u8)]) -> Option<Frame<'a>> {
    let word = |at| numbers.u32(block, at);
    let (link_type, resolution) = *interfaces.get(word(8)? as usize)?;
    let stamp = u128::from(word(12)?) << 32 | u128::from(word(16)?);
    let units =
        if resolution & 0x80 == 0 { 10_u128.pow(resolution.into()) } else { 1 << (resolution & 0x7f) };
    let bytes = block.get(28..28 + word(20)? as usize)?;
    Some(Frame { time_ns: (stamp * 1_000_000_000 / units) as u64, link_type, bytes })
}

fn big16(bytes: &[u8], at: usize) -> Option<u16> {
    Numbers { is_big: true }.u16(bytes, at)
}

fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    Numbers { is_big: true }.u32(bytes, at)
}

/// The IP packet in a frame.
fn ip_packet<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    let bytes = frame.bytes;
    let begin = match frame.link_type {
        0 | 108 => 4,
        1 => {
            let mut at = 12;
            while matches!(big16(bytes, at)?, 0x8100 | 0x88a8) {
                at += 4;
            }
            at + 2
        }
        12 | 101 | 228 | 229 => 0,
        113 => 16,
        276 => 20,
        _ => return None,
    };
    bytes.get(begin..)
}

/// The time-stamped TCP segment in an IP packet.
fn segment(time_ns: u64, packet: &[u8]) -> Option<Stamped> {
    let (src, dst, tcp) = match packet.first()? >> 4 {
        4 => {
            let is_first = big16(packet, 6)? & 0x1fff == 0;
            let header_bytes = usize::from(packet[0] & 15) * 4;
            if *packet.get(9)? != 6 || !is_first {
                return None;
            }
            let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            (address(12)?, address(16)?, packet.get(header_bytes..)?)
        }
        6 => {
            let address =
                |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            let (mut next, mut at) = (*packet.get(6)?, 40);
            // Hop-by-hop options, routing, destination options.
            while matches!(next, 0 | 43 | 60) {
                next = *packet.get(at)?;
                at += 8 + 8 * usize::from(*packet.get(at + 1)?);
            }
            if next != 6 {
                return None;
            }
            (address(8)?, address(24)?, packet.get(at..)?)
        }
        _ => return None,
    };
    let ports = (big16(tcp, 0)?, big16(tcp, 2)?);
    let header = tcp.get(20..usize::from(*tcp.get(12)? >> 4) * 4)?;
    let tsval = timestamp(header)?;
    Some(Stamped { time_ns, src: (src, ports.0), dst: (dst, ports.1), flags: tcp[13], tsval })
}

/// TSval in TCP options.
fn timestamp(options: &[u8]) -> Option<u32> {
    let mut at = 0;
    loop {
        match *options.get(at)? {
            0 => return None,
            1 => at += 1,
            8 => return big32(options, at + 2),
            _ => at += usize::from(*options.get(at + 1)?).max(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        captures,
        simulate::Scenario,
        wire::capture::{self, Order, Packet},
    };
    use tmap::capture::file::{Location, Room, Stop};

    /// What tmap's own reader and parser see.
    fn by_tmap(path: &Path) -> Vec<(u64, u32, u16)> {
        let opened = Location::new(path).open(&Stop::new(|| false), Room::default(), |reader, _| reader);
        let mut capture = opened.expect("a capture");
        let mut seen = Vec::new();
        while let Some(frame) = capture.next_frame().expect("a frame") {
            let Ok(link) = frame.link else { continue };
            let segment = tmap_common::parse(frame.bytes, link, true);
            if let Some(segment) = segment.ok().filter(tmap_common::Segment::is_stamped) {
                seen.push((frame.time_ns, segment.tsval, segment.src_port));
            }
        }
        seen
    }

    #[test]
    fn both_readers_see_the_shipped_captures_alike() {
        for path in captures::all() {
            let own: Vec<_> =
                stamped(&path).expect("read").iter().map(|s| (s.time_ns, s.tsval, s.src.1)).collect();
            assert!(own.len() > 1_000, "{}: {}", path.display(), own.len());
            assert_eq!(own, by_tmap(&path), "{}", path.display());
        }
    }

    #[test]
    fn every_format_holds_the_traffic_that_was_written() {
        let records = Scenario { connections: 3, ..Scenario::default() }.run().records;
        let packets: Vec<Packet> = capture::packets(&records, tmap_common::Link::Ip);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made");
        for (unit_ns, file) in [
            (1000, capture::pcap(&packets, 101, Order::Big, false)),
            (1, capture::pcap(&packets, 101, Order::Little, true)),
            (1, capture::pcapng(&packets, 101, Order::Big)),
            (1, capture::pcapng(&packets, 101, Order::Little)),
        ] {
            fs::write(&path, file).expect("written");
            let read: Vec<_> =
                stamped(&path).expect("read").iter().map(|s| (s.time_ns, s.tsval, s.flags)).collect();
            let expected = records.iter().map(|record| {
                let segment = &record.segment;
                (record.time_ns / unit_ns * unit_ns, segment.tsval, segment.flags.0)
            });
            assert_eq!(read, expected.collect::<Vec<_>>());
        }
    }
}
