//! What is tried inside of a sandbox.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::UdpSocket,
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        ptrace,
        signal::kill,
        socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket},
    },
    unistd::{Uid, execv, getppid, setuid},
};

/// An act in a folder: its name, and what does it.
pub type Act = (&'static str, fn(&Path) -> io::Result<()>);

/// What every run may do.
pub const PERMITTED: &[Act] = &[
    ("read a capture", |folder| fs::read(folder.join("capture")).map(drop)),
    ("write a page", |folder| fs::write(folder.join("page"), "a page")),
    ("replace a page", |folder| {
        fs::write(folder.join("draft"), "a new page")?;
        fs::rename(folder.join("draft"), folder.join("page"))
    }),
    ("remove a page", |folder| fs::remove_file(folder.join("page"))),
    ("read own state", |_| fs::read_to_string("/proc/self/status").map(drop)),
    ("list own descriptors", |_| fs::read_dir("/proc/self/fd").map(drop)),
    ("start a thread", |_| thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("lost"))),
    ("wake a thread", |_| {
        let (mut one, mut other) = UnixStream::pair()?;
        one.write_all(b"x")?;
        other.read_exact(&mut [0])
    }),
    ("read own limits", |_| limit(0)),
    ("keep own priority", |_| renice(libc::PRIO_PROCESS, 0)),
    ("sleep", |_| {
        thread::sleep(Duration::from_millis(1));
        Ok(())
    }),
];

/// What no run may do.
pub const FORBIDDEN: &[Act] = &[
    ("read /etc/shadow", |_| File::open("/etc/shadow").map(drop)),
    ("read /etc/passwd", |_| File::open("/etc/passwd").map(drop)),
    ("write /etc/passwd", |_| OpenOptions::new().append(true).open("/etc/passwd").map(drop)),
    ("make a file elsewhere", |_| File::create_new(format!("/tmp/probe-{}", std::process::id())).map(drop)),
    ("make a folder", |folder| fs::create_dir(folder.join("sub"))),
    ("run a program", |_| Command::new("/bin/true").status().map(drop)),
    ("become a program", |_| Ok(execv(c"/bin/true", &[c"true"]).map(drop)?)),
    ("open an IP socket", |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("open a packet socket", |_| {
        let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None);
        Ok(raw.map(drop)?)
    }),
    ("call a daemon", |_| UnixStream::connect("/run/systemd/journal/stdout").map(drop)),
    ("trace a process", |_| Ok(ptrace::attach(getppid())?)),
    ("signal a process", |_| Ok(kill(getppid(), None)?)),
    // Own numbers stand for others': what these may do depends on whose they are.
    ("limit a process by its number", |_| limit(std::process::id())),
    ("renice a process by its number", |_| renice(libc::PRIO_PROCESS, std::process::id())),
    ("renice a group of processes", |_| renice(libc::PRIO_PGRP, 0)),
    ("mount", |_| Ok(mount(Some("none"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>)?)),
    ("unshare", |_| Ok(unshare(CloneFlags::CLONE_NEWUSER)?)),
    ("become root", |_| Ok(setuid(Uid::from_raw(0))?)),
];

/// Reads a process's limit of open files, by the call that also sets it. 0 is the calling process.
fn limit(process: u32) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: prlimit(2) reads no new limit from a null pointer, and writes the old one into `limit`.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            process,
            libc::RLIMIT_NOFILE,
            std::ptr::null::<libc::rlimit>(),
            &raw mut limit,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the priority of these to that of the calling thread, which usually changes nothing.
fn renice(kind: libc::__priority_which_t, who: u32) -> io::Result<()> {
    // SAFETY: both calls take numbers only.
    let done = unsafe {
        let own = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(kind, who, own)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What a sensor's control loop may do, and nothing else may.
pub const CONTROL: &[Act] = &[
    ("ask the kernel by netlink", |_| {
        let route = Some(SockProtocol::NetlinkRoute);
        Ok(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), route).map(drop)?)
    }),
    ("ask for an index", |_| UnixDatagram::unbound().map(drop)),
    ("load a BPF map", |_| make_map()),
];

/// Asks the kernel for an array of one number.
fn make_map() -> io::Result<()> {
    // Of union bpf_attr (linux/bpf.h): BPF_MAP_TYPE_ARRAY, sizes of key and value, entries.
    let attributes: [u32; 4] = [2, 4, 4, 1];
    let command: libc::c_int = 0;
    // SAFETY: BPF_MAP_CREATE reads as many bytes of the attributes as it is told that there are.
    let made =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    if made < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
