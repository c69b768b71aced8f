//! `BPF_PROG_TEST_RUN`: hands a frame to a loaded program, without any interface.
//!
//! aya offers it for XDP only, and TC's programs are to be tested the same way; so here is the
//! system call itself, for both. The kernel refuses frames shorter than an Ethernet header.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// `BPF_PROG_TEST_RUN` in `enum bpf_cmd` (linux/bpf.h).
const COMMAND: libc::c_long = 10;

/// The part of `union bpf_attr` for this command.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// What the program returned.
    pub code: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
}

/// Whether the kernel takes `frame` for a TC program: since Linux 6.18 or so (and in stable kernels)
/// it refuses those that end inside the IP header which their EtherType announces.
pub fn suits_tc(frame: &[u8]) -> bool {
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 15,
    };
    frame.len() >= least
}

/// Runs `program` once on `frame`.
///
/// # Errors
/// What the system call says.
pub fn run(program: impl AsFd, frame: &[u8]) -> io::Result<Verdict> {
    let mut out = vec![0; frame.len() + 256];
    let mut attributes = Attributes {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_size_out: out.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat: 1,
        ..Attributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel has them, and point to a frame and a buffer
    // that outlive the call, with their true lengths.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, COMMAND, &raw mut attributes, size_of::<Attributes>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    out.truncate(attributes.data_size_out as usize);
    Ok(Verdict { code: attributes.retval, frame: out })
}

/// Runs `program` on `frame` `repeat` times and returns what one run took, in whole nanoseconds
/// (rounded down) by the kernel's own clock. The frame isn't made anew between runs.
///
/// # Errors
/// What the system call says.
pub fn time(program: impl AsFd, frame: &[u8], repeat: u32) -> io::Result<u32> {
    let mut attributes = Attributes {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..Attributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel has them, and point to a frame that outlives
    // the call, with its true length; nothing is to be written back but the attributes.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, COMMAND, &raw mut attributes, size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes.duration) }
}

/// `struct xdp_md` (linux/bpf.h).
#[repr(C)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// `BPF_F_TEST_XDP_LIVE_FRAMES` (linux/bpf.h): frames are real, and what the program says is done.
const LIVE_FRAMES: u32 = 1 << 1;

/// Runs `program`, of XDP type, on `count` real frames that begin as `frame` and come from the interface
/// of this index, in the network namespace of the calling thread. Frames for which it says `XDP_TX` are
/// sent from there.
///
/// # Errors
/// What the system call says.
pub fn send(program: impl AsFd, frame: &[u8], count: u32, ifindex: u32) -> io::Result<()> {
    let context = XdpContext {
        data: 0,
        data_end: frame.len() as u32,
        data_meta: 0,
        ingress_ifindex: ifindex,
        rx_queue_index: 0,
        egress_ifindex: 0,
    };
    let mut attributes = Attributes {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: count,
        ctx_size_in: size_of::<XdpContext>() as u32,
        ctx_in: (&raw const context) as u64,
        flags: LIVE_FRAMES,
        ..Attributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel has them, and point to a frame and a context that
    // outlive the call, with their true lengths; the kernel writes neither in this mode.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, COMMAND, &raw mut attributes, size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The index of an interface in the network namespace of the calling thread.
///
/// # Errors
/// Where there is none of that name.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is a string that ends in zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}
