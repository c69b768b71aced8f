//! The files of a run: NAME.pcap, and beside it NAME.inside.pcap, NAME.truth.csv and NAME.truth.json.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The paths.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The capture behind the NAT, at the server.
    pub outside: PathBuf,
    /// The capture before the NAT.
    pub inside: PathBuf,
    /// The list of connections with their machines.
    pub list: PathBuf,
    /// The description of the run and its machines.
    pub description: PathBuf,
}

impl Files {
    /// The files of a run, by the path of its capture.
    pub(super) fn beside(capture: &Path) -> Self {
        Self {
            outside: capture.to_owned(),
            inside: capture.with_extension("inside.pcap"),
            list: capture.with_extension("truth.csv"),
            description: capture.with_extension("truth.json"),
        }
    }
}

/// Reads the name of a capture on the command line.
///
/// # Errors
/// When it does not end in `.pcap`.
pub(super) fn capture(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.extension().is_none_or(|extension| extension != "pcap") {
        bail!("a capture's name ends in .pcap: write {name}.pcap");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_have_one_stem() {
        let files = Files::beside(&capture("out/nat4.pcap").unwrap());
        assert_eq!(files.inside, Path::new("out/nat4.inside.pcap"));
        assert_eq!(files.list, Path::new("out/nat4.truth.csv"));
        assert_eq!(files.description, Path::new("out/nat4.truth.json"));
        assert!(capture("out/nat4").is_err());
        assert!(capture("out/.pcap").is_err());
    }
}
