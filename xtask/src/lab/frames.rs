//! What a run needs from its own captures: who opened which connection, and notes of clocks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};

use super::notes;

/// The first bytes of a file that tcpdump writes with nanoseconds, in this computer's order.
const MAGIC: [u8; 4] = 0xa1b2_3c4d_u32.to_ne_bytes();
/// The link type of Ethernet.
const ETHERNET: u32 = 1;
/// The flags SYN and ACK.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A SYN: the first segment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syn {
    /// Client address and port.
    pub source: (IpAddr, u16),
    /// Server address and port.
    pub server: (IpAddr, u16),
    /// The initial sequence number.
    pub isn: u32,
    /// TSval, if it has timestamps.
    pub tsval: Option<u32>,
}

/// A note of a machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// When it was captured, as Unix time in nanoseconds.
    pub time_ns: i64,
    /// The sender's address.
    pub source: IpAddr,
    /// The sender's CLOCK_MONOTONIC in nanoseconds.
    pub monotonic_ns: i64,
}

/// What a capture holds, in the order of capture.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    /// SYNs, also repeated ones.
    pub syns: Vec<Syn>,
    /// Notes of clocks, from either side: servers send them back.
    pub notes: Vec<Note>,
}

impl Frames {
    /// Reads the bytes of a capture that tcpdump wrote on this computer.
    ///
    /// # Errors
    /// When it is no such capture.
    pub(super) fn read(file: &[u8]) -> Result<Self> {
        let word = |at: usize| bytes(file, at).map(u32::from_ne_bytes);
        if bytes(file, 0) != Some(MAGIC) || word(20) != Some(ETHERNET) {
            bail!(
                "this is no capture of Ethernet frames with nanoseconds, written by tcpdump on this computer"
            );
        }
        let mut frames = Self::default();
        let mut at = 24;
        while at < file.len() {
            let header = (|| Some([word(at)?, word(at + 4)?, word(at + 8)?]))();
            let frame = header.and_then(|[_, _, length]| file.get(at + 16..)?.get(..length as usize));
            let ([seconds, nanoseconds, _], frame) =
                header.zip(frame).context("the capture ends inside a packet: was tcpdump killed?")?;
            frames.add(i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds), frame);
            at += 16 + frame.len();
        }
        Ok(frames)
    }

    /// Takes what a frame tells. Frames that are no TCP, or are cut in their headers, tell nothing.
    fn add(&mut self, time_ns: i64, frame: &[u8]) {
        let Some((source, destination, tcp)) = packet(frame) else { return };
        let Some(segment) = Segment::read(tcp) else { return };
        if segment.flags & (SYN | ACK) == SYN {
            self.syns.push(Syn {
                source: (source, segment.ports.0),
                server: (destination, segment.ports.1),
                isn: segment.sequence,
                tsval: tsval(segment.options),
            });
        } else if let Some(monotonic_ns) = notes::read(segment.payload) {
            self.notes.push(Note { time_ns, source, monotonic_ns });
        }
    }
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

/// Both addresses and the TCP segment of a frame. The laboratory has no fragments and no other headers.
fn packet(frame: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let ip = frame.get(14..)?;
    match bytes(frame, 12)? {
        [0x08, 0x00] if *ip.get(9)? == 6 => {
            let address = |at| Some(IpAddr::from(Ipv4Addr::from(bytes::<4>(ip, at)?)));
            Some((address(12)?, address(16)?, ip.get(usize::from(ip[0] & 15) * 4..)?))
        }
        [0x86, 0xdd] if *ip.get(6)? == 6 => {
            let address = |at| Some(IpAddr::from(Ipv6Addr::from(bytes::<16>(ip, at)?)));
            Some((address(8)?, address(24)?, ip.get(40..)?))
        }
        _ => None,
    }
}

/// The parts of a TCP segment.
struct Segment<'a> {
    ports: (u16, u16),
    sequence: u32,
    flags: u8,
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    fn read(tcp: &'a [u8]) -> Option<Self> {
        let header = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            ports: (u16::from_be_bytes(bytes(tcp, 0)?), u16::from_be_bytes(bytes(tcp, 2)?)),
            sequence: u32::from_be_bytes(bytes(tcp, 4)?),
            flags: *tcp.get(13)?,
            options: tcp.get(20..header)?,
            payload: tcp.get(header..)?,
        })
    }
}

/// TSval, if the options have timestamps.
fn tsval(mut options: &[u8]) -> Option<u32> {
    loop {
        match *options.first()? {
            0 => return None,
            1 => options = &options[1..],
            8 => return Some(u32::from_be_bytes(bytes(options, 2)?)),
            _ => options = options.get(usize::from(*options.get(1)?).max(2)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a TCP segment.
    fn frame(is_ip6: bool, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        if is_ip6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64]);
            frame.extend(Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 10).octets());
            frame.extend(Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1).octets());
        } else {
            frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0]);
            frame.extend([10, 78, 0, 10, 203, 0, 113, 1]);
        }
        frame.extend(40_000_u16.to_be_bytes());
        frame.extend(443_u16.to_be_bytes());
        frame.extend(7_000_000_u32.to_be_bytes());
        frame.extend([0, 0, 0, 0, ((20 + options.len()) / 4 * 16) as u8, flags, 0, 0, 0, 0, 0, 0]);
        frame.extend(options);
        frame.extend(payload);
        frame
    }

    fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [&MAGIC[..], &[0; 16], &ETHERNET.to_ne_bytes()].concat();
        for (number, frame) in frames.iter().enumerate() {
            for word in [number as u32, 500, frame.len() as u32, 9_999] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(frame);
        }
        file
    }

    /// Linux's order: MSS, SACK permitted, timestamps, padding, window scale.
    const STAMPED: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 1, 44, 0, 0, 0, 0, 1, 3, 3, 7];
    const UNSTAMPED: [u8; 12] = [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7];

    #[test]
    fn finds_syns_of_both_families() {
        let frames = [frame(false, SYN, &STAMPED, b""), frame(true, SYN, &UNSTAMPED, b"")];
        let answer = frame(false, SYN | ACK, &STAMPED, b"");
        let file = capture(&[frames[0].clone(), answer, frames[1].clone()]);
        let found = Frames::read(&file).unwrap().syns;
        let server = (IpAddr::from([203, 0, 113, 1]), 443);
        let source = (IpAddr::from([10, 78, 0, 10]), 40_000);
        assert_eq!(found[0], Syn { source, server, isn: 7_000_000, tsval: Some(300) });
        assert_eq!((found.len(), found[1].tsval), (2, None));
        assert_eq!(found[1].source.0, "fd78::a".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn finds_notes() {
        let file = capture(&[frame(false, ACK, &[], b"tmapx 42 ...."), frame(false, ACK, &[], b"GET / ")]);
        let note = Note { time_ns: 500, source: [10, 78, 0, 10].into(), monotonic_ns: 42 };
        assert_eq!(Frames::read(&file).unwrap().notes, [note]);
    }

    #[test]
    fn damage_is_told_or_passed_over() {
        let whole = frame(false, SYN, &STAMPED, b"");
        let file = capture(std::slice::from_ref(&whole));
        assert!(Frames::read(&file[..file.len() - 1]).is_err(), "the last packet is cut");
        assert!(Frames::read(b"GIF89a").is_err());
        for length in 0..whole.len() {
            assert_eq!(Frames::read(&capture(&[whole[..length].to_vec()])).unwrap().syns, [], "{length}");
        }
    }
}
