//! Detaching another process's programs, as `bpftool link detach` does.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::libc;

/// Commands of bpf(2) (linux/bpf.h).
const BPF_LINK_GET_FD_BY_ID: i32 = 30;
const BPF_LINK_DETACH: i32 = 34;

/// Detaches all that a process has attached to interfaces by BPF links; returns how many links these were.
///
/// # Panics
/// Without root.
pub fn detach_links_of(pid: u32) -> usize {
    let folder = format!("/proc/{pid}/fdinfo");
    let infos = fs::read_dir(&folder).expect("the process is there").flatten();
    let infos = infos.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let mut detached = 0;
    for info in infos.filter(|info| info.contains("ifindex:") && !info.contains("ifindex:\t0")) {
        let id = info.lines().find_map(|line| line.strip_prefix("link_id:")?.trim().parse().ok());
        let fd = bpf(BPF_LINK_GET_FD_BY_ID, id.expect("a link has an id")).expect("the link is there");
        // SAFETY: the kernel has just given us this descriptor, which nothing else owns.
        let link = unsafe { OwnedFd::from_raw_fd(fd) };
        bpf(BPF_LINK_DETACH, link.as_raw_fd().cast_unsigned()).expect("detached");
        detached += 1;
    }
    detached
}

/// Calls bpf(2) with an attribute of one number.
fn bpf(command: i32, number: u32) -> io::Result<i32> {
    let attributes = [number, 0, 0];
    // SAFETY: the kernel reads the attributes, which are as long as we say; these commands write none.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
