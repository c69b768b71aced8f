//! `BPF_PROG_TEST_RUN`, by aya's [`TestRun`](aya::programs::TestRun): hands a frame to a loaded program,
//! without any interface. The kernel refuses frames shorter than an Ethernet header.

use anyhow::{Context as _, Result, bail};
use aya::{
    TestRun as _, TestRunAttrs, TestRunOptions, TestRunResult,
    programs::{Program, ProgramError, Xdp},
};
use nix::net::if_::if_nametoindex;

/// The result of one run.
#[derive(Debug)]
pub struct Outcome {
    /// The program's return value.
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

/// Runs `program`, of XDP or TC type, once on `frame`.
///
/// # Errors
/// The system call's, and for a program of another type.
pub fn run(program: &Program, frame: &[u8]) -> Result<Outcome> {
    let mut out = vec![0; frame.len() + 256];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
    let result: Result<TestRunResult, ProgramError> = match program {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        _ => bail!("only XDP and TC programs take frames"),
    };
    let TestRunResult { return_value, data_size_out, .. } = result?;
    out.truncate(data_size_out as usize);
    Ok(Outcome { code: return_value, frame: out })
}

/// Runs `program` on `frame` `repeat` times and returns the duration of one run, in whole nanoseconds
/// (rounded down) by the kernel's own clock. The frame isn't made anew between runs.
///
/// # Errors
/// The system call's.
pub fn time(program: &Xdp, frame: &[u8], repeat: u32) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
    Ok(program.test_run(options)?.duration.as_nanos() as f64)
}

/// Runs `program` on `count` real frames that begin as `frame` and come from the interface of this index, in
/// the network namespace of the calling thread. Frames for which it says `XDP_TX` are sent from there.
///
/// # Errors
/// The system call's.
pub fn send(program: &Xdp, frame: &[u8], count: u32, ifindex: u32) -> Result<()> {
    // struct xdp_md (linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index,
    // egress_ifindex.
    let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes);
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(context.as_flattened()),
        repeat: count,
        // Batches of the kernel's own size.
        attrs: TestRunAttrs::new().xdp_live_frames(0),
        ..TestRunOptions::default()
    };
    program.test_run(options)?;
    Ok(())
}

/// The index of an interface in the network namespace of the calling thread.
///
/// # Errors
/// Where there is none of that name.
pub fn interface_index(name: &str) -> Result<u32> {
    if_nametoindex(name).with_context(|| format!("no interface {name}"))
}
