//! The file of a page or a picture.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::capture::file::Location;

/// Where a page or a picture goes.
#[derive(Debug)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file. One that was created here is removed again if nothing is written.
    File {
        /// The file, open.
        file: File,
        /// Its name, where links are followed: what one leads to is replaced, and not the link.
        path: PathBuf,
        /// Whether it was made here, and holds nothing yet.
        is_empty_and_new: bool,
    },
}

impl Place {
    /// Opens a file for `what` without touching its content; `None` is standard output.
    ///
    /// # Errors
    /// If it can't be written, or is one of the captures.
    pub fn open(what: &str, path: Option<&Path>, captures: &[Location]) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let failed = || format!("cannot write the {what} to {}", path.display());
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
            bail!("the {what} would overwrite the capture {capture}; name another file");
        }
        // Now, because an unprivileged user may not look into the folder later. Pipes have no such name.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self::File { file, path, is_empty_and_new: is_new })
    }

    /// Whether what is written takes the place of what was written before, as in a file. A pipe has it all.
    pub fn is_replaced(&self) -> bool {
        match self {
            Self::Stdout => false,
            Self::File { file, .. } => file.metadata().is_ok_and(|metadata| metadata.is_file()),
        }
    }

    /// Writes it in place of the one before, which stays where that fails.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put(&mut self, content: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(content)?;
                out.flush()
            }
            // Pipes and terminals have neither a place nor a length.
            Self::File { file, .. } if !file.metadata()?.is_file() => file.write_all(content),
            Self::File { file, path, is_empty_and_new } => {
                let replaced = match Draft::make(path) {
                    Ok(draft) => draft.complete(content, path),
                    Err(error) => Err(Failure { error, is_folders: true }),
                };
                match replaced {
                    // In a folder that takes no new file, the old content can't be kept meanwhile.
                    Err(Failure { is_folders: true, .. }) => {
                        file.rewind()?;
                        file.set_len(0)?;
                        file.write_all(content)?;
                    }
                    other => other.map_err(|failure| failure.error)?,
                }
                *is_empty_and_new = false;
                Ok(())
            }
        }
    }
}

/// A file beside the wanted one, which takes its place when it is complete, and is removed if that fails.
struct Draft {
    file: File,
    path: PathBuf,
}

/// Why a draft didn't take a file's place.
#[derive(Debug)]
struct Failure {
    error: io::Error,
    /// Whether the folder is the reason: it takes no file of this user, or lets it replace none of others.
    is_folders: bool,
}

impl Draft {
    fn make(beside: &Path) -> io::Result<Self> {
        let mut name = beside.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let path = beside.with_file_name(name);
        // For writing only: a sandboxed process may not read here.
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        // A failure leaves the usual permissions.
        let _ = beside.metadata().and_then(|old| file.set_permissions(old.permissions()));
        Ok(Self { file, path })
    }

    fn complete(mut self, content: &[u8], wanted: &Path) -> Result<(), Failure> {
        self.file.write_all(content).map_err(|error| Failure { error, is_folders: false })?;
        fs::rename(&self.path, wanted).map_err(|error| {
            let is_folders = error.kind() == io::ErrorKind::PermissionDenied;
            Failure { error, is_folders }
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the renaming there is none.
        let _ = fs::remove_file(&self.path);
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
        let mut place = Place::open("page", Some(&path), &[]).unwrap();
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
    fn a_page_that_cannot_be_completed_leaves_the_old_one() {
        // A folder that takes the draft, and a name that cannot be replaced by it.
        let folder = path("folder");
        fs::create_dir(&folder).unwrap();
        let draft = Draft::make(&folder).unwrap();
        assert!(draft.complete(b"new", &folder).is_err());
        let left: Vec<_> = fs::read_dir(folder.parent().unwrap()).unwrap().flatten().collect();
        let is_draft = |name: &str| name.contains("-folder.") && name.ends_with(".tmp");
        assert!(left.iter().all(|entry| !is_draft(&entry.file_name().to_string_lossy())));
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_failed_run_leaves_no_empty_file() {
        let path = path("none");
        drop(Place::open("page", Some(&path), &[]).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_capture_is_never_overwritten() {
        let (capture, link) = (path("capture"), path("link"));
        fs::write(&capture, "a capture").unwrap();
        std::os::unix::fs::symlink(&capture, &link).unwrap();
        for target in [&capture, &link] {
            let error =
                Place::open("page", Some(target), &[Location::new(&capture)]).unwrap_err().to_string();
            assert!(error.contains("would overwrite the capture"), "{error}");
        }
        assert_eq!(fs::read_to_string(&capture).unwrap(), "a capture");
        fs::remove_file(&link).unwrap();
        fs::remove_file(&capture).unwrap();
    }
}
