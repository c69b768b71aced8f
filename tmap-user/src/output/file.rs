//! The file of a page.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::capture::file::Location;

/// Where a page goes.
#[derive(Debug)]
pub(super) enum Place {
    /// Standard output.
    Stdout,
    /// A file. One that was created here is removed again if no page is written.
    File { file: File, path: PathBuf, is_empty_and_new: bool },
}

impl Place {
    /// Opens a file without touching its content; `None` is standard output.
    ///
    /// # Errors
    /// If it can't be written, or is one of the captures.
    pub(super) fn open(path: Option<&Path>, captures: &[Location]) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let failed = || format!("cannot write the page to {}", path.display());
        let is_new = !path.exists();
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(path).with_context(failed)?;
        let own = file.metadata().with_context(failed)?;
        let is_own = |capture: &&Location| match capture {
            Location::Path(path) => path
                .metadata()
                .is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()) && other.is_file()),
            Location::Stdin => false,
        };
        if let Some(capture) = captures.iter().find(is_own) {
            if is_new {
                let _ = fs::remove_file(path);
            }
            bail!("the page would overwrite the capture {capture}; name another file: -o report.html");
        }
        Ok(Self::File { file, path: path.to_owned(), is_empty_and_new: is_new })
    }

    /// Writes a page in place of the one before.
    pub(super) fn put(&mut self, page: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(page)?;
                out.flush()
            }
            Self::File { file, is_empty_and_new, .. } => {
                *is_empty_and_new = false;
                // Pipes and terminals have neither a place nor a length.
                if file.metadata()?.is_file() {
                    file.rewind()?;
                    file.set_len(0)?;
                }
                file.write_all(page)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::File { path, is_empty_and_new: true, .. } = self {
            // The run failed, which is told already.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that nothing else uses.
    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tmap-page-{}-{name}", std::process::id()))
    }

    #[test]
    fn an_old_page_stays_until_there_is_a_new_one() {
        let path = path("old");
        fs::write(&path, "an old and longer page").unwrap();
        let mut place = Place::open(Some(&path), &[]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"an old and longer page");
        for page in ["new", "newer", "short"] {
            place.put(page.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), page);
        }
        drop(place);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_failed_run_leaves_no_empty_file() {
        let path = path("none");
        drop(Place::open(Some(&path), &[]).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_capture_is_never_overwritten() {
        let (capture, link) = (path("capture"), path("link"));
        fs::write(&capture, "a capture").unwrap();
        std::os::unix::fs::symlink(&capture, &link).unwrap();
        for target in [&capture, &link] {
            let error = Place::open(Some(target), &[Location::new(&capture)]).unwrap_err().to_string();
            assert!(error.contains("would overwrite the capture") && error.contains("-o"), "{error}");
        }
        assert_eq!(fs::read_to_string(&capture).unwrap(), "a capture");
        fs::remove_file(&link).unwrap();
        fs::remove_file(&capture).unwrap();
    }
}
