//! A flood: SYNs of forged addresses, as fast as one thread can, or at a rate.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::socket::MultiHeaders;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Link};

use super::{
    Halt, cast,
    socket::{FrameSocket, Handed},
};
use crate::{bench::machine::Pinned, net::namespaces::Namespace, siege, wire::frame::frame};

/// Forged addresses.
pub(super) const SOURCES: u32 = 50_000;

/// The first of them.
const FIRST: u32 = u32::from_be_bytes([11, 0, 0, 0]);

/// Frames for each system call.
const BATCH: usize = 64;

/// The CPU that floods.
const CPU: usize = 0;

/// Where a frame has what differs from one to the next.
const SOURCE_AT: usize = 26;
const SERVER_AT: usize = 33;
const PORT_AT: usize = 34;
const SEQUENCE_AT: usize = 38;
const TSVAL_AT: usize = 62;

/// Sends until the siege ends.
///
/// # Errors
/// What the kernel says.
pub(super) fn run(namespace: &Namespace, per_second: Option<u32>, halt: &AtomicBool) -> Result<Handed> {
    let _halt = Halt(halt);
    namespace.enter();
    let _pinned = Pinned::to(CPU)?;
    let socket = FrameSocket::open()?;
    let mut random = Pcg64::seed_from_u64(0);
    let mut frames = vec![pattern(); BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let mut handed = Handed::default();
    let begin = Instant::now();
    while !halt.load(Ordering::Relaxed) {
        frames.iter_mut().for_each(|frame| forge(frame, &mut random));
        handed += socket.send_all(&mut headers, &frames)?;
        if let Some(rate) = per_second {
            let sent = (handed.taken + handed.refused) as f64;
            let due = begin + Duration::from_secs_f64(sent / f64::from(rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(handed)
}

/// A SYN to a server.
fn pattern() -> Vec<u8> {
    let ends = ((Address::from_ip4(FIRST.to_be_bytes()), 0), (cast::servers()[0], 443));
    frame(&siege::segment(0, ends, Flags::SYN, 1).segment, Link::Ethernet)
}

/// Makes the frame another one: of any forged address, to any server.
fn forge(frame: &mut [u8], random: &mut Pcg64) {
    let source = FIRST + random.random_range(0..SOURCES);
    frame[SOURCE_AT..SOURCE_AT + 4].copy_from_slice(&source.to_be_bytes());
    frame[SERVER_AT] = random.random_range(1..=cast::servers().len() as u8);
    frame[PORT_AT..PORT_AT + 2].copy_from_slice(&random.random_range(1_024..=u16::MAX).to_be_bytes());
    frame[SEQUENCE_AT..SEQUENCE_AT + 4].copy_from_slice(&random.random::<u32>().to_be_bytes());
    frame[TSVAL_AT..TSVAL_AT + 4].copy_from_slice(&random.random_range(1..=u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use tmap_common::parse;

    use super::*;

    #[test]
    fn forged_frames_are_syns_that_all_differ() {
        let mut random = Pcg64::seed_from_u64(1);
        let mut frame = pattern();
        let mut all = std::collections::HashSet::new();
        for _ in 0..100 {
            forge(&mut frame, &mut random);
            let segment = parse(&frame[..], Link::Ethernet, true).expect("a sound frame");
            let source = u32::from_be_bytes(segment.src.as_ip4().expect("IPv4"));
            assert!((FIRST..FIRST + SOURCES).contains(&source));
            assert!(cast::servers().contains(&segment.dst) && segment.flags == Flags::SYN);
            assert!(segment.src_port >= 1_024 && segment.dst_port == 443 && segment.is_stamped());
            all.insert((segment.src_port, segment.tsval));
        }
        assert_eq!(all.len(), 100);
    }
}
