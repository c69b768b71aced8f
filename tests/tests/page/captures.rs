//! Pages of captures, made by the command as a user would.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tmap_tests::{captures, command::tmap};

/// A page in a folder of its own, which goes with it.
pub(crate) struct Page {
    folder: TempDir,
}

impl Page {
    /// The page of a capture that is shipped with the tests.
    pub(crate) fn of_shipped(name: &str) -> Self {
        Self::of(&captures::path(name), [])
    }

    /// The page of a capture, made with further arguments.
    pub(crate) fn of<const N: usize>(capture: &Path, more: [&str; N]) -> Self {
        let page = Self { folder: tempfile::tempdir().expect("a folder") };
        let path = page.path();
        let words = [OsStr::new("report"), capture.as_os_str(), OsStr::new("-o"), path.as_os_str()];
        let run = tmap(words.into_iter().chain(more.iter().map(OsStr::new)));
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
        page
    }

    /// A page with this text.
    pub(crate) fn with(html: &str) -> Self {
        let page = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(page.path(), html).expect("written");
        page
    }

    /// Its file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("report.html")
    }

    /// Its text.
    pub(crate) fn html(&self) -> String {
        std::fs::read_to_string(self.path()).expect("a page")
    }
}
