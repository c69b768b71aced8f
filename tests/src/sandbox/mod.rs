//! What a process may do: as the kernel tells, and as it finds out itself.

pub mod acts;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use acts::{Act, CONTROL, FORBIDDEN, PERMITTED};

/// A process's or a thread's rights, as `/proc/PID/status` tells them.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Effective capabilities.
    pub effective: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
    /// Ambient capabilities.
    pub ambient: u64,
    /// The bounding set.
    pub bounding: u64,
    /// 1 where no program that it runs can have more rights.
    pub no_new_privs: u64,
    /// 2 where system calls are filtered.
    pub seccomp: u64,
    /// The real, effective, saved and file system user.
    pub users: Vec<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Reads the rights of the process or the thread of this folder in `/proc`.
///
/// # Panics
/// Where there is none.
pub fn status(folder: &Path) -> Status {
    let text = fs::read_to_string(folder.join("status")).expect("it runs");
    let line = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("{name}: {text}")).trim()
    };
    let mask = |name| u64::from_str_radix(line(name), 16).expect("a mask");
    let number = |name| line(name).parse().expect("a number");
    let list = |name| line(name).split_whitespace().map(|word| word.parse().expect("an id")).collect();
    Status {
        effective: mask("CapEff"),
        permitted: mask("CapPrm"),
        inheritable: mask("CapInh"),
        ambient: mask("CapAmb"),
        bounding: mask("CapBnd"),
        no_new_privs: number("NoNewPrivs"),
        seccomp: number("Seccomp"),
        users: list("Uid"),
        groups: list("Groups"),
    }
}

/// What `sandbox-probe` says that it could do.
#[derive(Clone, Debug)]
pub struct Probe(Vec<(String, String)>);

/// The program that tries, as cargo built it beside this test.
///
/// # Panics
/// Outside of this package's tests.
pub fn binary() -> PathBuf {
    let binary = crate::command::binary().with_file_name("sandbox-probe");
    assert!(binary.is_file(), "{} isn't there: run the tests by cargo", binary.display());
    binary
}

/// Has it try, in a role, with a capture in `folder`.
///
/// # Panics
/// Where it doesn't end well.
pub fn probe(role: &str, folder: &Path) -> Probe {
    fs::write(folder.join("capture"), "a capture").expect("written");
    let output = Command::new(binary()).arg(role).arg(folder).output().expect("it runs");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let (name, found) = line.rsplit_once(": ").expect("an act and what came of it");
        (name.to_owned(), found.to_owned())
    };
    Probe(out.lines().map(line).collect())
}

impl Probe {
    /// Asserts that all that is permitted was possible, and nothing else; with `may_attach`, also what a
    /// sensor's control loop may do.
    ///
    /// # Panics
    /// Where that is not so.
    pub fn assert_confined(&self, may_attach: bool) {
        let wanted = |all: &[Act], found: &str| {
            all.iter().map(|(name, _)| ((*name).to_owned(), found.to_owned())).collect::<Vec<_>>()
        };
        let denied = "PermissionDenied";
        let control = if may_attach { "ok" } else { denied };
        let all = [wanted(PERMITTED, "ok"), wanted(FORBIDDEN, denied), wanted(CONTROL, control)];
        assert_eq!(self.0, all.concat());
    }
}
