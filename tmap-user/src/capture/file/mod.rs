//! Capture files: pcap and pcapng, compressed or not, as a stream of frames with times.
//!
//! ```text
//! file -> gzip | zstd | xz | bzip2 | plain (by magic) -> Input (buffer) -> pcap | pcapng -> Frame
//! pipe -> gzip | zstd | xz | bzip2 | plain -- thread ------^
//! ```
//!
//! pcap-parser knows the layout of blocks. Its readers are not used: they need the whole first block in the
//! first `read`, which a pipe does not give, and cannot tell a truncated file from a corrupt one.
//! Buffering, bounds and times are handled here.
//!
//! Frames are borrowed. Frames that share reference-counted blocks (`bytes`), and a thread that unpacks
//! files ahead, were measured: both together take 6 to 10 % more CPU time and end no earlier, and nothing
//! keeps a frame. Pipes are unpacked on a thread all the same, because that waits (`pipe`).
//!
//! Files aren't mapped into memory. Others may truncate them, as tcpdump does where it starts again, and the
//! system would end this process. Reading takes 2 % more CPU time, or less where packets are long.

mod input;
mod link_type;
mod pcap;
mod pcapng;
mod pipe;
mod resolution;
mod statistics;
mod step;
mod stop;
mod unpack;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use tmap_common::Link;

use crate::{stdout, without_error_codes};
use input::Input;
pub use link_type::LinkType;
use pipe::PipeReader;
pub use resolution::Resolution;
pub use statistics::Told;
pub use stop::Stop;
pub use unpack::Room;
use unpack::{Packing, unpacked};

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// A captured packet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Time since the Unix epoch, nanoseconds.
    pub time_ns: u64,
    /// How the bytes begin, or the link type if tmap cannot read it.
    pub link: Result<Link, LinkType>,
    /// The captured bytes, perhaps fewer than the packet had.
    pub bytes: &'a [u8],
    /// Whether the packet had more bytes: the snap length was too short for it.
    pub is_cut: bool,
}

/// Why reading ended before the end of the capture.
#[derive(Debug)]
pub enum ReadError {
    /// The file can't be opened or read, or unpacked beyond this point.
    Io(io::Error),
    /// No capture; the text says what it is and what to do.
    Unknown(&'static str),
    /// The file ends inside a packet or block that begins at this byte (of the unpacked capture).
    Truncated(u64),
    /// The bytes at this offset are invalid.
    Corrupt(u64, &'static str),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{}", plain(error)),
            Self::Unknown(what) => write!(f, "{what}"),
            Self::Truncated(0) => write!(f, "truncated in the file header"),
            Self::Truncated(at) => write!(f, "truncated in the packet at byte {at}"),
            Self::Corrupt(at, what) => write!(f, "corrupt at byte {at}: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    /// The caller's turn.
    pub(crate) fn idle() -> Self {
        Self::Io(io::ErrorKind::WouldBlock.into())
    }

    /// Whether nothing is wrong, but no packet came for a moment: reading can go on, unless a stop was
    /// requested.
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// An I/O error in words.
fn plain(error: &io::Error) -> String {
    // Only the decompressors report an unexpected end.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "the compressed file is truncated".to_owned();
    }
    without_error_codes(&error.to_string())
}

/// A capture being read.
pub struct Capture {
    input: Input,
    format: Format,
    resolution: Resolution,
    /// Packets handed out.
    timed: u64,
}

/// The format of a capture.
enum Format {
    /// The file header, which tells it, is still to come.
    Unknown,
    Pcap(pcap::Pcap),
    PcapNg(pcapng::PcapNg),
}

/// The place of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Standard input.
    Stdin,
    /// A file.
    Path(PathBuf),
}

impl Location {
    /// `-` is standard input, anything else a path.
    pub fn new(name: &Path) -> Self {
        if name.as_os_str() == "-" { Self::Stdin } else { Self::Path(name.to_owned()) }
    }

    /// Whether it is a regular file, which can be opened more than once.
    pub fn is_regular(&self) -> bool {
        matches!(self, Self::Path(path) if path.metadata().is_ok_and(|metadata| metadata.is_file()))
    }

    /// Checks that it can be read. A pipe isn't opened: that can be done only once, and may wait for a
    /// writer.
    ///
    /// # Errors
    /// [`ReadError::Io`] if there is no such file or no permission to read it; [`ReadError::Unknown`] for a
    /// directory, or a standard input that isn't there.
    pub fn check(&self) -> Result<(), ReadError> {
        let Self::Path(path) = self else {
            if stdout::has_no_input() {
                return Err(ReadError::Unknown("is closed or not readable; pipe a capture into it"));
            }
            return Ok(());
        };
        let metadata = path.metadata().map_err(ReadError::Io)?;
        if metadata.is_dir() {
            return Err(ReadError::Unknown("is a directory; name the captures in it, such as DIR/*.pcap"));
        }
        if metadata.is_file() {
            File::open(path).map_err(ReadError::Io)?;
        }
        Ok(())
    }

    /// Opens the capture. `watch` may wrap its reader, and is told its length in bytes where that is known.
    /// `stop` is asked whether to go on, and [`Capture::next_frame`] returns [`ReadError::is_idle`] where it
    /// is the caller's turn: now and then where nothing comes from a pipe, and between blocks that may hold
    /// no packet for long, if the caller wants turns ([`Stop::with_turns`]) or a stop. Nobody waits for a
    /// pipe here, so its file header may still be to come ([`Capture::has_begun`]).
    ///
    /// # Errors
    /// If it can't be opened, or is no capture (see [`Capture::new`]); of a pipe, [`Capture::next_frame`]
    /// tells that.
    pub fn open(
        &self,
        stop: &Stop,
        room: Room,
        watch: impl FnOnce(Box<dyn Read + Send>, Option<u64>) -> Box<dyn Read + Send>,
    ) -> Result<Capture, ReadError> {
        if !self.is_regular() {
            let pipe = PipeReader::start(self.clone(), room, |reader| watch(reader, None));
            let pipe = pipe.map_err(ReadError::Io)?;
            return Ok(Capture::unbegun(Input::new(Box::new(pipe), room, stop.clone())));
        }
        let Self::Path(path) = self else { return Err(ReadError::Unknown("is no file")) };
        let file = File::open(path).map_err(ReadError::Io)?;
        let bytes = file.metadata().map_err(ReadError::Io)?.len();
        let source = watch(Box::new(Whole { file, bytes, read_bytes: 0 }), Some(bytes));
        Capture::within(room, source, stop)
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Capture {
    /// A capture in any format, recognised by its first bytes.
    ///
    /// # Errors
    /// [`ReadError::Unknown`] if it is no capture, [`ReadError::Truncated`] if it ends in the file header,
    /// [`ReadError::Io`].
    pub fn new(source: Box<dyn Read>) -> Result<Self, ReadError> {
        Self::within(Room::default(), source, &Stop::never())
    }

    fn within(room: Room, source: Box<dyn Read>, stop: &Stop) -> Result<Self, ReadError> {
        let mut input = Input::new(source, room, stop.clone());
        match Packing::of(input.fill(4)) {
            None => Self::of(input),
            Some(packing) => {
                let unpacked = unpacked(input, packing, room).map_err(ReadError::Io)?;
                Self::of(Input::new(unpacked, room, stop.clone()))
            }
        }
    }

    fn of(input: Input) -> Result<Self, ReadError> {
        let mut capture = Self::unbegun(input);
        capture.begin()?;
        Ok(capture)
    }

    /// A capture of which nothing was read.
    fn unbegun(input: Input) -> Self {
        Self { input, format: Format::Unknown, resolution: Resolution::new(1), timed: 0 }
    }

    /// Reads the file header. Nothing is lost where it hasn't come yet.
    #[cold]
    fn begin(&mut self) -> Result<(), ReadError> {
        let input = &mut self.input;
        self.format = match input.fill(4).get(..4) {
            Some([0x0a, 0x0d, 0x0d, 0x0a]) => Format::PcapNg(pcapng::PcapNg::default()),
            Some(&[m0, m1, m2, m3]) if pcap::is_magic([m0, m1, m2, m3]) => {
                Format::Pcap(pcap::Pcap::new(input)?)
            }
            _ => return Err(unknown(input)),
        };
        if let Format::Pcap(pcap) = &self.format {
            self.resolution = Resolution::new(pcap.resolution_ns());
        }
        Ok(())
    }

    /// Whether its file header has come.
    pub fn has_begun(&self) -> bool {
        !matches!(self.format, Format::Unknown)
    }

    /// Whether it was the caller's turn last because nothing came from a pipe, rather than much.
    pub fn is_silent(&self) -> bool {
        self.input.is_silent()
    }

    /// The next packet; `None` at the end of the capture.
    ///
    /// # Errors
    /// Any [`ReadError`]; the packets handed out so far are valid, and nothing more can be read, unless it is
    /// the caller's turn ([`ReadError::is_idle`]).
    #[inline(always)]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        let frame = loop {
            match &mut self.format {
                Format::Unknown => self.begin()?,
                Format::Pcap(pcap) => break pcap.next_frame(&mut self.input)?,
                Format::PcapNg(pcapng) => {
                    let frame = pcapng.next_frame(&mut self.input)?;
                    self.resolution.declare(pcapng.resolution_ns());
                    break frame;
                }
            }
        };
        if let Some(frame) = &frame {
            self.resolution.observe(frame.time_ns);
            self.timed += 1;
        }
        Ok(frame)
    }

    /// The resolution of the capture times so far, in nanoseconds: that of the headers, or the coarser one
    /// that the times themselves show.
    pub fn resolution_ns(&self) -> u64 {
        self.resolution.ns()
    }

    /// Packets without a capture time (simple packet blocks of pcapng), which are useless for clocks.
    pub fn untimed(&self) -> u64 {
        match &self.format {
            Format::Unknown | Format::Pcap(_) => 0,
            Format::PcapNg(pcapng) => pcapng.untimed(),
        }
    }

    /// What it tells so far of packets that its writer dropped. Only pcapng has a place for that.
    pub fn told(&self) -> Told {
        match &self.format {
            Format::Unknown | Format::Pcap(_) => Told::NOTHING,
            Format::PcapNg(pcapng) => pcapng.told(),
        }
    }

    /// Packets in it so far, with or without a capture time.
    pub fn packets(&self) -> u64 {
        self.timed + self.untimed()
    }
}

/// A file that fails where it ends before the length that it had when it was opened: somebody truncated
/// it since, and that must not pass for its end.
struct Whole {
    file: File,
    bytes: u64,
    read_bytes: u64,
}

impl Read for Whole {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.read_bytes += count as u64;
        if count == 0 && !into.is_empty() && self.read_bytes < self.bytes {
            return Err(io::Error::other("truncated by another program while it was read"));
        }
        Ok(count)
    }
}

/// The error for bytes that begin no capture.
fn unknown(input: &mut Input) -> ReadError {
    if let Some(failure) = input.failure() {
        return failure;
    }
    ReadError::Unknown(match input.data() {
        [] => "is empty; capture again",
        [_] | [_, _] | [_, _, _] => "is too short for a capture; capture again",
        [0x04, 0x22, 0x4d, 0x18, ..] => "is compressed with lz4; use lz4 -dc FILE | tmap read -",
        [b's', b'n', b'o', b'o', ..] => "is a snoop capture; convert it with editcap -F pcapng FILE OUT",
        _ => "is not a capture; tmap reads pcap and pcapng, plain or compressed (gzip, zstd, xz, bzip2)",
    })
}
