//! Captures of any bytes.

use std::io::{Read, Result, Write as _};

use flate2::{Compression, write::GzEncoder};
use tmap::capture::file::Capture;
use tmap_common::Link;

use crate::{
    simulate::conversation::mail_cluster,
    wire::capture::{Packet, in_every_format, packets},
};

/// A capture is read to an end, and says the same whether it comes at once or in small pieces. An error has
/// words.
pub fn run(bytes: &[u8]) {
    let (at_once, in_pieces) = (read(bytes, usize::MAX), read(bytes, 7));
    let count = at_once.0.len().min(in_pieces.0.len());
    assert_eq!(at_once.0[..count], in_pieces.0[..count]);
    assert_eq!(at_once.1, in_pieces.1);
    // Where packed bytes are damaged, how much is unpacked before that is left to the library.
    assert!(at_once.1 || at_once.0.len() == in_pieces.0.len());
}

/// What is read of a frame: its time, how it begins, and its length.
type Seen = (u64, Option<Link>, usize);

/// The frames, at most so many, and whether reading ended with an error.
fn read(bytes: &[u8], at_once: usize) -> (Vec<Seen>, bool) {
    const MOST: usize = 100_000;
    let mut seen = Vec::new();
    let pieces = Pieces { rest: bytes.to_vec(), at_once };
    let mut capture = match Capture::new(Box::new(pieces)) {
        Ok(capture) => capture,
        Err(error) => return (seen, !error.to_string().is_empty()),
    };
    while seen.len() < MOST {
        match capture.next_frame() {
            Ok(Some(frame)) => {
                let link = frame.link.ok();
                if let Some(link) = link {
                    let _ = tmap_common::parse(frame.bytes, link, true);
                }
                seen.push((frame.time_ns, link, frame.bytes.len()));
            }
            Ok(None) => return (seen, false),
            Err(error) => return (seen, !error.to_string().is_empty()),
        }
    }
    (seen, false)
}

/// Bytes that come in pieces.
struct Pieces {
    rest: Vec<u8>,
    at_once: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = buffer.len().min(self.at_once).min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// Small captures in every format.
pub fn seeds() -> Vec<Vec<u8>> {
    let packets: Vec<Packet> = packets(&mail_cluster(), Link::Ethernet).into_iter().take(8).collect();
    let mut all = in_every_format(&packets);
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&all[3]).expect("memory takes it");
    all.push(packer.finish().expect("memory takes it"));
    all
}
