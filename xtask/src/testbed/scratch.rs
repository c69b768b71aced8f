//! A folder for temporary files. It is removed with its guard; if the run is killed, the next run
//! removes it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::leftovers::{is_leftover, stem};

/// A folder for temporary files. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Removes the folders of earlier, killed runs, and makes one.
    ///
    /// # Errors
    /// When the system's folder for temporary files is not writable.
    pub(crate) fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        for entry in fs::read_dir(&parent)?.filter_map(Result::ok) {
            if is_leftover(&entry.file_name().to_string_lossy()) {
                // We can't remove the folders of other users, and they do no harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = parent.join(stem()?);
        fs::create_dir(&path).with_context(|| format!("could not make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: could not remove {}: {error}", self.0.display());
        }
    }
}
