//! Which files may still be opened, by Landlock.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::Needs;
use crate::{with_advice, without_error_codes};

/// The newest rules of Landlock that tmap was tried with. Older kernels keep those that they know.
const TRIED: ABI = ABI::V6;

/// What every run may read: its own state and the machine's, time zones.
const READ_BY_ALL: [&str; 5] = ["/proc", "/sys", "/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone"];

/// The rights of making and replacing files in a folder.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::WriteFile | AccessFs::Truncate | AccessFs::ReadDir | AccessFs::MakeReg | AccessFs::RemoveFile
}

/// Rules that are not enforced yet, or why there are none.
pub(super) struct Fence(Result<RulesetCreated, String>);

impl Fence {
    /// The rules for what `needs` names. Names that lead nowhere have no rule.
    pub(super) fn new(needs: &Needs) -> Self {
        let rules = has_room()
            .map_err(|error| error.to_string())
            .and_then(|()| rules(needs).map_err(|error| error.to_string()));
        Self(rules.map_err(|error| with_advice(without_error_codes(&error), 0)))
    }

    /// Enforces the rules for this thread and those that it starts. Returns what can't be done.
    pub(super) fn close(self) -> Option<String> {
        let restrict = |rules: RulesetCreated| rules.restrict_self().map_err(|error| error.to_string());
        let enforced = self.0.and_then(restrict);
        match enforced {
            Ok(status) if status.ruleset != RulesetStatus::NotEnforced => None,
            Ok(_) => Some(
                "this kernel has no Landlock, so only permissions limit which files tmap may open".to_owned(),
            ),
            Err(error) => Some(format!(
                "Landlock is not in force, so only permissions limit which files tmap may open: {error}"
            )),
        }
    }
}

/// Fails where there is no descriptor left for the rules and one for a path at a time: a path that can't be
/// opened would have no rule, so that it couldn't be read later.
fn has_room() -> io::Result<()> {
    let _room = [File::open("/")?, File::open("/")?];
    Ok(())
}

fn rules(needs: &Needs) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // A panic reads the program to name its functions.
    let program = std::env::current_exe().ok();
    // Pipes without a name (`<(command)`) can have no rule, and need none.
    let captures = needs.reads.iter().filter(|path| path.canonicalize().is_ok());
    // A screen whose standard input is a capture has its keys from the terminal.
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::from_all(TRIED))?
        .scope(Scope::from_all(TRIED))?
        .create()?
        .add_rules(path_beneath_rules(READ_BY_ALL, read))?
        .add_rules(path_beneath_rules(program, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(["/dev/tty", "/dev/null"], device))?
        .add_rules(path_beneath_rules(captures, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(&needs.writes, writing()))
}

/// The folder in which a file is made or replaced: that of what a link leads to.
pub fn folder_of(file: &Path) -> PathBuf {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_what_links_lead_to() {
        assert_eq!(folder_of(Path::new("no-such-page.html")), Path::new("."));
        assert_eq!(folder_of(Path::new("/no/such/page.html")), Path::new("/no/such"));
        assert_eq!(
            folder_of(Path::new("/proc/self/exe")),
            std::env::current_exe().unwrap().parent().unwrap()
        );
    }
}
