//! Captures of real machines that are shipped with the tests, in `tests/captures`. Its README says how
//! they were made.

use std::path::{Path, PathBuf};

/// The folder.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");

/// Three machines with random offsets behind one address.
pub const THREE: &str = "three-machines.pcap.gz";

/// Three machines with fixed offsets behind one address, and a fourth that sends no time stamps.
pub const WITH_UNSTAMPED: &str = "one-without-timestamps.pcap.gz";

/// The path of a capture.
///
/// # Panics
/// Where there is none of this name.
pub fn path(name: &str) -> PathBuf {
    let path = Path::new(FOLDER).join(name);
    assert!(path.is_file(), "{} isn't there: it is a part of the repository", path.display());
    path
}

/// The paths of all.
pub fn all() -> [PathBuf; 2] {
    [THREE, WITH_UNSTAMPED].map(path)
}
