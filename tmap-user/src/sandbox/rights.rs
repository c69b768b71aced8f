//! The user and the capabilities of this process.

use std::path::{Path, PathBuf};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{
        AccessFlags, Gid, Uid, faccessat, getegid, geteuid, getgroups, setegid, seteuid, setgroups,
        setresgid, setresuid,
    },
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
};

use super::{Needs, Role};

/// The user of nobody's files, on all systems (the kernel's `overflowuid`, and systemd's `nobody`).
const NOBODY: u32 = 65_534;

/// What attaching takes.
const ATTACHING: CapabilitySet =
    CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::PERFMON);

/// What a sensor's threads start with: one of them runs before other work.
const STARTING: CapabilitySet = ATTACHING.union(CapabilitySet::SYS_NICE);

/// An unprivileged user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

/// Changes to an unprivileged user where this one is root, and keeps the capabilities that `needs` takes.
/// Returns what can't be done.
pub(super) fn reduce(needs: &Needs) -> Vec<String> {
    let mut notes = Vec::new();
    let (user, wanted) = match needs.role {
        Role::Sensor => (geteuid().is_root().then(other_user), attaching(&mut notes)),
        Role::Reader => choose_reader(needs),
    };
    // Nothing is run by this process, so what a program would get is of no use.
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // Capabilities that the kernel doesn't know are no error here.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let _ = clear_ambient_capability_set();
    if let Some(user) = user
        && let Err(error) = become_user(user)
    {
        notes.push(format!(
            "cannot change to the user of UID {} ({}), so tmap goes on as root without root's capabilities",
            user.uid,
            error.desc()
        ));
    }
    if let Err(error) = keep(wanted) {
        notes.push(format!("cannot give capabilities up: {error}"));
    }
    let _ = set_no_new_privs(true);
    notes
}

/// Takes all capabilities from the calling thread.
pub(super) fn give_up() {
    let _ = keep(CapabilitySet::empty());
}

/// Leaves the calling thread what attaching takes.
pub(super) fn settle() {
    let permitted = capabilities(None).map_or(CapabilitySet::empty(), |held| held.permitted);
    let _ = keep(permitted.difference(CapabilitySet::SYS_NICE));
}

/// Who called sudo, so that they can send signals, and read what was written; otherwise nobody.
fn other_user() -> User {
    let text = |name| std::env::var(name).ok();
    sudo_user(text("SUDO_UID"), text("SUDO_GID")).unwrap_or(User { uid: NOBODY, gid: NOBODY })
}

/// The user of these variables of sudo; `None` where they name none but root.
fn sudo_user(uid: Option<String>, gid: Option<String>) -> Option<User> {
    // The largest number is no user, nor a group: the kernel takes it for "as before" (setresuid(2)).
    let number = |text: Option<String>| text?.parse().ok().filter(|&id: &u32| id != u32::MAX);
    let uid = number(uid).filter(|&uid| uid != 0)?;
    Some(User { uid, gid: number(gid)? })
}

/// What a sensor keeps. CAP_SYS_ADMIN is kept where it stands for the newer ones, and told.
fn attaching(notes: &mut Vec<String>) -> CapabilitySet {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |held| held.permitted);
    if held.contains(ATTACHING) || !held.contains(CapabilitySet::SYS_ADMIN) {
        return STARTING;
    }
    notes.push("keeps CAP_SYS_ADMIN to attach again; CAP_BPF and CAP_PERFMON would do instead".to_owned());
    STARTING.union(CapabilitySet::SYS_ADMIN)
}

/// The user and the capabilities with which a reader gets at its files: the least that suffice.
fn choose_reader(needs: &Needs) -> (Option<User>, CapabilitySet) {
    let none = CapabilitySet::empty();
    let user = geteuid().is_root().then(other_user);
    if user.is_some_and(|user| suffices(Some(user), needs)) {
        return (user, none);
    }
    if suffices(None, needs) {
        return (None, none);
    }
    (None, CapabilitySet::DAC_READ_SEARCH)
}

/// Whether `user`, or this one, gets at the files that a reader needs, without a capability. The process is
/// as before then.
fn suffices(user: Option<User>, needs: &Needs) -> bool {
    let Ok(before) = capabilities(None) else { return false };
    let groups = getgroups().unwrap_or_default();
    let (uid, gid) = (geteuid(), getegid());
    let try_it = || {
        if let Some(User { uid, gid }) = user {
            setgroups(&[Gid::from_raw(gid)])?;
            setegid(Gid::from_raw(gid))?;
            seteuid(Uid::from_raw(uid))?;
        }
        let lowered = CapabilitySets { effective: CapabilitySet::empty(), ..before };
        set_capabilities(None, lowered).map_err(|_| nix::Error::EPERM)?;
        Ok::<bool, nix::Error>(is_accessible(needs))
    };
    let found = try_it().unwrap_or(false);
    if user.is_some() {
        // Root again: these can fail only where the ones above did.
        let _ = seteuid(uid);
        let _ = set_capabilities(None, before);
        let _ = setegid(gid);
        let _ = setgroups(&groups);
    }
    let _ = set_capabilities(None, before);
    found
}

/// Whether the effective user may read and write what `needs` names.
fn is_accessible(needs: &Needs) -> bool {
    // Not eaccess(3), which asks for the real user where both are the same: for root with all capabilities.
    let may = |path: &Path, flags| faccessat(AT_FDCWD, path, flags, AtFlags::AT_EACCESS).is_ok();
    let write = AccessFlags::W_OK | AccessFlags::X_OK;
    needs.reads.iter().all(|path: &PathBuf| may(path, AccessFlags::R_OK))
        && needs.writes.iter().all(|folder| may(folder, write))
}

/// Becomes another user for good, with the capabilities of before, none of which is effective yet.
fn become_user(User { uid, gid }: User) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_keep_capabilities(true).map_err(|_| nix::Error::EPERM)?;
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Leaves the calling thread those of its capabilities that are in `wanted`.
fn keep(wanted: CapabilitySet) -> rustix::io::Result<()> {
    let left = capabilities(None)?.permitted.intersection(wanted);
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_called_sudo_is_a_user_but_root() {
        let user = |uid: &str, gid: &str| sudo_user(Some(uid.to_owned()), Some(gid.to_owned()));
        assert_eq!(user("1000", "100"), Some(User { uid: 1000, gid: 100 }));
        assert_eq!(user("0", "0"), None);
        assert_eq!(user("4294967295", "1000"), None, "it would stay root");
        assert_eq!(user("1000", "4294967295"), None, "it would stay in root's group");
        assert_eq!((user("-1", "1"), user("", "1"), user("4294967296", "1")), (None, None, None));
        assert_eq!(sudo_user(Some("1000".to_owned()), None), None);
    }
}
