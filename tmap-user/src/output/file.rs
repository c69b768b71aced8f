//! The file of a page or a picture.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek, Write},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::{fs::OFlags, process::geteuid};

use crate::{capture::file::Location, patient::Patient};

/// The most links that are followed, as by the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// How files of a kind begin, in lower case. What begins otherwise isn't replaced: `-o *` of a shell may name
/// a capture.
const BEGINNINGS: [(&str, &[&[u8]]); 2] =
    [("page", &[b"<!doctype html", b"<html"]), ("plot", &[b"<svg", b"<?xml", b"\x89png\r\n"])];

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
    /// Opens a file for `what`, a page or a plot, without touching its content; `None` is standard output.
    ///
    /// # Errors
    /// If it can't be written, is one of the captures, holds something else, or is a link of another user.
    pub fn open(what: &str, path: Option<&Path>, captures: &[Location]) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let failed = || format!("cannot write the {what} to {}", path.display());
        let (path, flags) = match path.metadata() {
            // What links to pipes and terminals say is no path.
            Ok(metadata) if !metadata.is_file() => (path.to_owned(), OFlags::empty()),
            _ => (without_links(path, [0, geteuid().as_raw()]).with_context(failed)?, OFlags::NOFOLLOW),
        };
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).custom_flags(flags.bits().cast_signed());
        let file = options.open(&path).with_context(failed)?;
        // Now, because an unprivileged user may not look into the folder later. Pipes have no such name.
        let path = path.canonicalize().unwrap_or(path);
        let place = Self::File { file, path, is_empty_and_new: is_new };
        place.check(what, captures)?;
        Ok(place)
    }

    /// Checks that nothing is lost when the file is replaced.
    fn check(&self, what: &str, captures: &[Location]) -> anyhow::Result<()> {
        let Self::File { file, path, .. } = self else { return Ok(()) };
        let own = file.metadata()?;
        if !own.is_file() {
            return Ok(());
        }
        let is_own = |capture: &&Location| match capture {
            Location::Path(path) => {
                path.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
            }
            Location::Stdin => false,
        };
        if let Some(capture) = captures.iter().find(is_own) {
            bail!("the {what} would overwrite the capture {capture}; name another file");
        }
        let is_other =
            || format!("{0} is there and is no {what}; name another file, or remove it", path.display());
        if own.len() > 0 && !is_one(what, path).with_context(is_other)? {
            bail!(is_other());
        }
        Ok(())
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
                let mut out = Patient(io::stdout());
                out.write_all(content)?;
                out.flush()
            }
            // Pipes and terminals have neither a place nor a length.
            Self::File { file, .. } if !file.metadata()?.is_file() => file.write_all(content),
            Self::File { file, path, is_empty_and_new } => {
                let replaced = match Draft::make(path) {
                    Ok(draft) => draft.complete(content, path),
                    Err(error) => Err(Failure { is_folders: is_folders(&error), error }),
                };
                match replaced {
                    // In a folder that takes no new file, the old content can't be kept meanwhile.
                    Err(Failure { is_folders: true, error }) => {
                        if !is_at(file, path) {
                            return Err(moved(path, &error));
                        }
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

/// Whether this open file is the one at `path` still: nobody deleted, moved or replaced it meanwhile.
fn is_at(file: &File, path: &Path) -> bool {
    let Ok(own) = file.metadata() else { return false };
    match path.metadata() {
        Ok(there) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
        // An unprivileged user may not look into the folder, but the kernel says where an open file is.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let there = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            own.nlink() > 0 && there.map_or(true, |there| there == path)
        }
        Err(_) => false,
    }
}

/// The error for a file that isn't in its place any more, in a folder that takes no new one.
fn moved(path: &Path, error: &io::Error) -> io::Error {
    let text = format!(
        "{} was deleted, moved or replaced, and its folder takes no new file ({error}); let tmap's user \
         write to the folder, or leave the file there",
        path.display()
    );
    io::Error::new(error.kind(), text)
}

/// The file to which a name leads through links of this user or of root. Others' links are traps: a folder
/// that all may write to can hold a link to any file of the user who runs tmap.
fn without_links(path: &Path, trusted: [u32; 2]) -> anyhow::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(metadata) = path.symlink_metadata() else { return Ok(path) };
        if !metadata.is_symlink() {
            return Ok(path);
        }
        let owner = metadata.uid();
        if !trusted.contains(&owner) {
            bail!("{} is a link of another user (uid {owner}); name the file itself", path.display());
        }
        let target = path.read_link()?;
        path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    bail!("too many links lead from one to the next")
}

/// Whether a file is a page or a plot, by its first bytes.
fn is_one(what: &str, path: &Path) -> io::Result<bool> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut bytes)?;
    let beginning = bytes.trim_ascii_start().to_ascii_lowercase();
    let known = BEGINNINGS.iter().filter(|(name, _)| *name == what).flat_map(|(_, known)| *known);
    Ok(known.into_iter().any(|known| beginning.starts_with(known)))
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

/// Whether the folder, or the draft's name in it, is why no draft could be made. It isn't where there is no
/// room: then the content of before is better than a part of the new one.
fn is_folders(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
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
            let is_folders = error.kind() == ErrorKind::PermissionDenied;
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
        if let Self::File { file, path, is_empty_and_new: true } = self
            && is_at(file, path)
        {
            // The run failed, which is told already.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A path that nothing else uses.
    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tmap-page-{}-{name}", std::process::id()))
    }

    #[test]
    fn an_old_page_stays_until_there_is_a_new_one() {
        let path = path("old");
        fs::write(&path, "<!DOCTYPE html>an old and longer page").unwrap();
        let mut place = Place::open("page", Some(&path), &[]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"<!DOCTYPE html>an old and longer page");
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
    fn only_the_file_that_was_opened_is_at_its_path() {
        let (page, archived) = (path("page"), path("archived"));
        for by_others in [false, true] {
            let file = File::create(&page).unwrap();
            assert!(is_at(&file, &page));
            fs::rename(&page, &archived).unwrap();
            if by_others {
                fs::write(&page, "somebody else's").unwrap();
            }
            assert!(!is_at(&file, &page), "{by_others}");
            assert!(is_at(&file, &archived), "{by_others}");
            fs::remove_file(&archived).unwrap();
            assert!(!is_at(&file, &archived), "{by_others}");
        }
        fs::remove_file(&page).unwrap();
    }

    /// One that has the place of its own file, which it didn't open, is not its own to remove.
    #[test]
    fn a_failed_run_leaves_the_files_of_others() {
        let path = path("replaced");
        let place = Place::open("page", Some(&path), &[]).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(place);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_failed_run_leaves_no_empty_file() {
        let path = path("none");
        drop(Place::open("page", Some(&path), &[]).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_capture_is_never_overwritten() {
        let (capture, link, hard) = (path("capture"), path("link"), path("hard"));
        fs::write(&capture, "a capture").unwrap();
        symlink(&capture, &link).unwrap();
        fs::hard_link(&capture, &hard).unwrap();
        for target in [&capture, &link, &hard] {
            let error = Place::open("page", Some(target), &[Location::new(&capture)]).unwrap_err();
            assert!(format!("{error:#}").contains("would overwrite the capture"), "{error:#}");
        }
        assert_eq!(fs::read_to_string(&capture).unwrap(), "a capture");
        [link, hard, capture].iter().for_each(|path| fs::remove_file(path).unwrap());
    }

    #[test]
    fn only_its_own_kind_is_replaced() {
        let path = path("kind");
        for (content, what, is_replaced) in [
            ("", "page", true),
            (" <!doctype HTML><html>", "page", true),
            ("<svg xmlns=", "plot", true),
            ("\u{89}PNG", "page", false),
            ("<svg xmlns=", "page", false),
            ("\u{a1}\u{b2}\u{c3}\u{d4}", "plot", false),
            ("notes", "page", false),
        ] {
            fs::write(&path, content).unwrap();
            let opened = Place::open(what, Some(&path), &[]);
            assert_eq!(opened.is_ok(), is_replaced, "{content}: {opened:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn links_are_followed_to_what_they_name_and_stay() {
        let (first, second, file) = (path("first"), path("second"), path("file"));
        symlink(second.file_name().unwrap(), &first).unwrap();
        symlink(&file, &second).unwrap();
        Place::open("page", Some(&first), &[]).unwrap().put(b"<html>").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"<html>");
        assert!(first.is_symlink() && second.is_symlink() && !file.is_symlink());
        fs::remove_file(&second).unwrap();
        symlink(&first, &second).unwrap();
        let error = Place::open("page", Some(&first), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("too many links"), "{error:#}");
        let owner = first.symlink_metadata().unwrap().uid();
        let error = without_links(&first, [owner + 1, owner + 2]).unwrap_err().to_string();
        assert!(error.contains(&format!("is a link of another user (uid {owner})")), "{error}");
        [first, second, file].iter().for_each(|path| fs::remove_file(path).unwrap());
    }

    #[test]
    fn a_folder_without_room_keeps_the_old_page() {
        let is = |kind: ErrorKind| is_folders(&io::Error::from(kind));
        assert!(!is(ErrorKind::StorageFull) && !is(ErrorKind::QuotaExceeded));
        assert!(is(ErrorKind::PermissionDenied) && is(ErrorKind::ReadOnlyFilesystem));
    }

    /// As a draft that was left by a process with the same number, which a container's often have.
    #[test]
    fn where_the_drafts_name_cannot_be_used_the_page_is_written_in_place() {
        let (path, long) = (path("taken"), path(&"x".repeat(220)));
        let left = path.with_file_name(format!("{}.{}.tmp", name_of(&path), std::process::id()));
        fs::write(&left, "").unwrap();
        for path in [path, long] {
            let mut place = Place::open("page", Some(&path), &[]).unwrap();
            place.put(b"a page").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "a page");
            drop(place);
            fs::remove_file(&path).unwrap();
        }
        fs::remove_file(&left).unwrap();
    }

    fn name_of(path: &Path) -> String {
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}
