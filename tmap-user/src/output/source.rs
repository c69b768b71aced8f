//! A capture's fingerprint, by which a reader of the page knows it again.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{capture::file::Location, page::Source, printable};

/// Bytes read at once.
const CHUNK: usize = 1 << 18;

/// What a page tells of a capture. Only a regular file can be read once more for its hash, where that is
/// wanted.
pub fn source_of(location: &Location, is_hash_wanted: bool) -> Source {
    let print = match location {
        Location::Path(path) if is_hash_wanted && location.is_regular() => sha256(path).ok(),
        _ => None,
    };
    let (bytes, sha256) = print.unzip();
    Source::Capture { name: printable(&location.to_string()), bytes, sha256 }
}

/// A file's length in bytes and its SHA-256 in hexadecimal digits.
fn sha256(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut length = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => {
                hash.update(&chunk[..count]);
                length += count as u64;
            }
        }
    }
    Ok((length, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
