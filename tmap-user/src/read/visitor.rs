//! From a frame of a capture to a segment in the window, in the steps that the kernel program takes.

use std::cell::{Cell, RefCell};

use tmap_common::{Link, Record, Segment, Skip, fast, parse, record::Direction};

use super::{repeats::Repeats, window::Window};
use crate::{capture::file::Frame, engine::shard, filter::Program};

/// The parser's visitor: it passes a frame's segment through the filter to the window.
pub(super) struct FrameVisitor<'a> {
    pub frame: &'a Frame<'a>,
    pub filter: &'a Program,
    pub repeats: &'a RefCell<Repeats>,
    /// Engine time, in nanoseconds.
    pub now_ns: u64,
    /// How many shards share the addresses.
    pub shards: usize,
    /// Taken when the segment is passed on, which happens once: a frame holds one segment at most.
    pub window: Cell<Option<&'a mut Window>>,
}

/// The reason to count for a frame that the parser skipped: one that was cut when captured isn't malformed.
pub(super) fn reason(skip: Skip, is_cut: bool) -> Skip {
    let ends_early =
        matches!(skip, Skip::LinkTruncated | Skip::IpTruncated | Skip::TunnelTruncated | Skip::TcpTruncated);
    if is_cut && ends_early { Skip::SnapCut } else { skip }
}

impl FrameVisitor<'_> {
    /// Parses what the fast path leaves: handshakes, tunnels, whatever is rare.
    #[inline(never)]
    pub(super) fn slow_path(&self, link: Link, decap: bool) -> Result<(), Skip> {
        self.take(parse::walk(self.frame.bytes, link, decap)?)
    }

    #[inline(always)]
    fn take(&self, segment: Segment) -> Result<(), Skip> {
        if !self.filter.accepts(&segment) {
            return Err(Skip::Filtered);
        }
        if let Some(window) = self.window.take() {
            let Frame { time_ns, .. } = *self.frame;
            if segment.syn.is_some() {
                self.repeats.borrow_mut().observe(&segment, time_ns);
            }
            let route = shard::route(&segment, self.shards);
            let record = Record { time_ns, direction: Direction::Ingress, suppressed: 0, segment };
            window.push(&record, route, self.now_ns);
        }
        Ok(())
    }
}

impl fast::Visitor for FrameVisitor<'_> {
    type Outcome = Result<(), Skip>;

    #[inline(always)]
    fn segment(&self, offsets: &fast::HeaderOffsets) -> Self::Outcome {
        self.take(offsets.segment(self.frame.bytes).ok_or(Skip::TcpTruncated)?)
    }

    #[inline(always)]
    fn skip(&self, skip: Skip) -> Self::Outcome {
        Err(skip)
    }
}
