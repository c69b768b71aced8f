//! Which processes hold BPF links and programs, as `/proc/PID/fdinfo` tells.
//!
//! Unlike the system calls that list all links of a machine, this needs no CAP_SYS_ADMIN for the own process.
//! Another user's processes stay hidden from all but root.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The most descriptors looked at: a machine may have millions.
const MAX_DESCRIPTORS: usize = 200_000;

/// A link that a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldLink {
    /// The link's id.
    pub(super) id: u32,
    /// Index of the interface that it is attached to; 0 where somebody detached it, or the interface is gone.
    pub(super) interface: u32,
    /// Id of the program that it runs.
    pub(super) program: u32,
}

/// The links to interfaces that this process holds.
#[derive(Debug, Default)]
pub(super) struct OwnLinks {
    /// Where they were found, and their ids.
    known: Vec<(PathBuf, u32)>,
}

impl OwnLinks {
    /// What they are attached to now. Those that were known are looked up where they were, which costs far
    /// less than a look at all descriptors. It takes one descriptor at a time. An error where `/proc` doesn't
    /// tell, or where no descriptor is left: then nothing is known of them.
    pub(super) fn look(&mut self) -> io::Result<Vec<HeldLink>> {
        let again = |(place, id): &(PathBuf, u32)| {
            held_link(&fs::read_to_string(place).ok()?).filter(|link| link.id == *id)
        };
        if let Some(links) = self.known.iter().map(again).collect::<Option<Vec<_>>>()
            && !links.is_empty()
        {
            return Ok(links);
        }
        let infos = descriptors(Path::new("/proc/self"), &mut MAX_DESCRIPTORS.clone())?;
        let links = infos.into_iter().filter_map(|(place, info)| Some((place, held_link(&info)?)));
        let links: Vec<(PathBuf, HeldLink)> = links.collect();
        self.known = links.iter().map(|(place, link)| (place.clone(), link.id)).collect();
        Ok(links.into_iter().map(|(_, link)| link).collect())
    }
}

/// Reads an fdinfo; `None` if it is not that of a link to an interface.
fn held_link(info: &str) -> Option<HeldLink> {
    let [id, interface, program] = ["link_id", "ifindex", "prog_id"].map(|name| number(info, name));
    Some(HeldLink { id: id?, interface: interface?, program: program? })
}

/// Who holds a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A process: `PID 12 (name)`.
    Process(String),
    /// No process.
    Nobody,
    /// Perhaps a process of which this one may not know.
    Hidden,
}

/// The process that holds a link to the program of this id, or else the program itself.
pub(super) fn of_program(program: u32) -> Holder {
    let mut left = MAX_DESCRIPTORS;
    let mut found = None;
    let mut is_any_hidden = false;
    let Ok(entries) = fs::read_dir("/proc") else { return Holder::Hidden };
    for entry in entries.flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process || left == 0 {
            continue;
        }
        let process = entry.path();
        let infos = descriptors(&process, &mut left);
        is_any_hidden |= infos.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        for (_, info) in infos.unwrap_or_default() {
            if number(&info, "prog_id") != Some(program) {
                continue;
            }
            if number(&info, "link_id").is_some() {
                return Holder::Process(name_of(&process));
            }
            found.get_or_insert_with(|| name_of(&process));
        }
    }
    match found {
        Some(process) => Holder::Process(process),
        None if is_any_hidden => Holder::Hidden,
        None => Holder::Nobody,
    }
}

/// `PID 12 (name)`.
fn name_of(process: &Path) -> String {
    let pid = process.file_name().unwrap_or_default().to_string_lossy();
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    format!("PID {pid} ({})", name.trim())
}

/// The fdinfo of each BPF link and program of a process, and where it is. Takes what it looks at off `left`.
/// An error where one of its descriptors can't be looked at that is still there.
fn descriptors(process: &Path, left: &mut usize) -> io::Result<Vec<(PathBuf, String)>> {
    let (folder, info_folder) = (process.join("fd"), process.join("fdinfo"));
    // The folder is closed before the first of them is looked at, which takes a descriptor, too.
    let names = fs::read_dir(&folder)?.take(*left).map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    *left -= names.len();
    let mut infos = Vec::new();
    for name in names {
        // `anon_inode:bpf_link`, `anon_inode:bpf-prog`. Maps are many, and name neither.
        let is_asked_for = |to: &str| to.contains(":bpf") && !to.ends_with("map");
        if fs::read_link(folder.join(&name)).is_ok_and(|to| is_asked_for(&to.to_string_lossy())) {
            let place = info_folder.join(name);
            match fs::read_to_string(&place) {
                Ok(info) => infos.push((place, info)),
                // It was closed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(infos)
}

/// The number in the line `name:`.
fn number(info: &str, name: &str) -> Option<u32> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
    info.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 prints them.
    const LINK: &str = "pos:\t0\nflags:\t02000000\nmnt_id:\t15\nino:\t56\nlink_type:\txdp\nlink_id:\t4\n\
                        prog_tag:\t3b185187f1855c4c\nprog_id:\t57\nifindex:\t3\n";
    const PROGRAM: &str =
        "pos:\t0\nprog_type:\t6\nprog_jited:\t1\nprog_tag:\t3b185187f1855c4c\nprog_id:\t57\n";

    #[test]
    fn links_and_programs_are_told_apart() {
        assert_eq!(held_link(LINK), Some(HeldLink { id: 4, interface: 3, program: 57 }));
        assert_eq!(held_link(PROGRAM), None);
        assert_eq!((number(PROGRAM, "prog_id"), number(PROGRAM, "prog_i")), (Some(57), None));
    }

    #[test]
    fn nobody_holds_what_is_not_there() {
        assert!(matches!(of_program(u32::MAX), Holder::Nobody | Holder::Hidden));
    }
}
