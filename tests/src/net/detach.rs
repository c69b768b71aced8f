//! Detaching and replacing another process's programs, as `bpftool link detach` and loaders do.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use nix::libc;

/// Commands of bpf(2) (linux/bpf.h).
const BPF_LINK_UPDATE: i32 = 29;
const BPF_LINK_GET_FD_BY_ID: i32 = 30;
const BPF_LINK_DETACH: i32 = 34;

/// Detaches all that a process has attached to interfaces by BPF links; returns how many links these were.
///
/// # Panics
/// Without root.
pub fn detach_links_of(pid: u32) -> usize {
    let links = links_of(pid);
    for (link, _) in &links {
        bpf(BPF_LINK_DETACH, [link.as_raw_fd().cast_unsigned(), 0, 0]).expect("detached");
    }
    links.len()
}

/// Puts other programs in the place of all that a process has attached to interfaces by BPF links: by the
/// link's type (`xdp`, `tcx`), which must be the program's. Returns how many links these were.
///
/// # Panics
/// Without root, or where the kernel refuses a program.
pub fn replace_links_of<'a>(pid: u32, program: impl Fn(&str) -> BorrowedFd<'a>) -> usize {
    let links = links_of(pid);
    for (link, kind) in &links {
        let numbers = [link.as_raw_fd(), program(kind).as_raw_fd(), 0].map(i32::cast_unsigned);
        bpf(BPF_LINK_UPDATE, numbers).expect("replaced");
    }
    links.len()
}

/// The links by which a process has programs on interfaces, and their types. A link that the process closes
/// between our two looks (its file, then the link) isn't among them.
fn links_of(pid: u32) -> Vec<(OwnedFd, String)> {
    let folder = format!("/proc/{pid}/fdinfo");
    let infos = fs::read_dir(&folder).expect("the process is there").flatten();
    let infos = infos.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let attached = infos.filter(|info| info.contains("ifindex:") && !info.contains("ifindex:\t0"));
    let link = |info: String| {
        let word =
            |name: &str| info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        let id = word("link_id:").and_then(|id| id.parse().ok()).expect("a link has an id");
        let fd = match bpf(BPF_LINK_GET_FD_BY_ID, [id, 0, 0]) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return None,
            fd => fd.expect("root may open a link"),
        };
        // SAFETY: the kernel has just given us this descriptor, which nothing else owns.
        Some((unsafe { OwnedFd::from_raw_fd(fd) }, word("link_type:").expect("a link has a type")))
    };
    attached.filter_map(link).collect()
}

/// Calls bpf(2) with an attribute of three numbers.
fn bpf(command: i32, attributes: [u32; 3]) -> io::Result<i32> {
    // SAFETY: the kernel reads the attributes, which are as long as we say; these commands write none.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
