//! Packed captures, and how much memory unpacking may take.

use std::io::{self, ErrorKind, Read};

use lzma_rust2::XzReader;

use super::{READ_BYTES, input::Input};

/// Bytes read at once where many captures are open.
const READ_BYTES_OF_MANY: usize = 8 * 1024;

/// So many captures have large buffers: as many as a machine writes at once.
const FEW: usize = 32;

/// What is always granted to unpacking, in bytes: what `xz -9` needs, the most of its presets.
const LEAST_UNPACKING_BYTES: usize = 65 << 20;

/// The share of the memory that unpacking may take.
const UNPACKING_SHARE: usize = 4;

/// The memory for which the default bounds are made, in bytes.
const MEMORY_BYTES: usize = 2 << 30;

/// How much memory reading a capture may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The size of a buffer.
    pub(super) buffer_bytes: usize,
    /// The most that a decompressor may take; a few bytes of a file make it take gigabytes.
    unpacking_bytes: usize,
}

impl Room {
    /// The room of a capture where everything may take so much memory, in bytes.
    pub fn within(memory_bytes: usize) -> Self {
        let unpacking_bytes = (memory_bytes / UNPACKING_SHARE).max(LEAST_UNPACKING_BYTES);
        Self { buffer_bytes: READ_BYTES, unpacking_bytes }
    }

    /// The room of a capture while so many others are open. The buffers of a thousand add up.
    #[must_use]
    pub fn beside(self, others: usize) -> Self {
        Self { buffer_bytes: if others < FEW { READ_BYTES } else { READ_BYTES_OF_MANY }, ..self }
    }

    /// The largest window of zstd, as a power of two.
    fn window_log(self) -> u32 {
        self.unpacking_bytes.ilog2().min(MOST_WINDOW_LOG)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::within(MEMORY_BYTES)
    }
}

/// The largest window that zstd knows, as a power of two.
const MOST_WINDOW_LOG: u32 = if usize::BITS == 64 { 31 } else { 30 };

/// The compression of a file.
#[derive(Clone, Copy)]
pub(super) enum Packing {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    /// The compression of a file that begins with `bytes`, if any.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // RFC 8878: a frame, or a skippable one (as pzstd writes) before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }
}

/// The content of `packed`, unpacked.
pub(super) fn unpacked(packed: Input, packing: Packing, room: Room) -> io::Result<Box<dyn Read>> {
    Ok(match packing {
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Packing::Zstd => {
            let mut reader = zstd::stream::read::Decoder::with_buffer(packed)?;
            reader.window_log_max(room.window_log())?;
            Box::new(Bounded { reader, most_bytes: 1 << room.window_log(), command: "zstd -dc --long=31" })
        }
        Packing::Xz => {
            let most_kib = u32::try_from(room.unpacking_bytes / 1024).unwrap_or(u32::MAX);
            let reader = XzReader::new_mem_limit(packed, true, most_kib);
            Box::new(Bounded { reader, most_bytes: room.unpacking_bytes, command: "xz -dc" })
        }
    })
}

/// A decompressor that may take so much memory.
struct Bounded<R> {
    reader: R,
    most_bytes: usize,
    /// What unpacks it outside.
    command: &'static str,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into).map_err(|error| {
            // zstd's errors have no kind.
            let is_too_large = error.kind() == ErrorKind::OutOfMemory
                || error.to_string().contains("too much memory for decoding");
            if !is_too_large {
                return error;
            }
            let (most_mib, command) = (self.most_bytes >> 20, self.command);
            let advice = format!("raise --memory, or use {command} FILE | tmap read -");
            io::Error::other(format!("needs more than {most_mib} MiB to unpack; {advice}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_follows_memory() {
        let [least, default, most] = [128 << 20, MEMORY_BYTES, 1 << 40].map(Room::within);
        assert_eq!((least.unpacking_bytes, least.window_log()), (65 << 20, 26));
        assert_eq!((default.unpacking_bytes, default.window_log()), (512 << 20, 29));
        assert_eq!(most.window_log(), MOST_WINDOW_LOG);
        assert_eq!(Room::default(), default);
    }

    #[test]
    fn buffers_of_many_are_small() {
        let room = Room::default();
        assert_eq!(room.beside(FEW - 1), room);
        assert_eq!(room.beside(FEW).buffer_bytes, READ_BYTES_OF_MANY);
        assert_eq!(room.beside(1_000).unpacking_bytes, room.unpacking_bytes);
    }
}
