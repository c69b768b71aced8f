//! The thread that distributes records to several shards.
//!
//! It only copies slots, so one thread keeps up with several shards. A shard that falls behind makes it
//! wait. Then the rings fill up, and the kernel counts the records that don't fit, so no loss is unseen.

use std::sync::mpsc::{self, TryRecvError};

use tmap_common::{
    Record,
    record::{MAX_SLOTS, Slot},
};
use tokio::sync::oneshot;

use super::{
    common::BATCH,
    intake::{self, Pause, Share},
    priority,
};
use crate::{capture::xdp::Rings, engine::shard, sandbox};

/// The most slots in a batch: enough that the cost of waking a thread doesn't matter.
const SLOTS: usize = 8_192;

/// The most batches that wait for a shard: with [`SLOTS`] of 32 bytes each, 1 MiB for each shard.
const BATCHES_WAITING: usize = 4;

/// The thread's state.
pub(super) struct Sharer {
    rings: Rings,
    outlets: Vec<Outlet>,
    /// Requests to empty the rings after the sensor was detached.
    requested: mpsc::Receiver<oneshot::Sender<()>>,
}

/// The sending end of a shard's queue of batches.
struct Outlet {
    batch: Vec<Slot>,
    full: mpsc::SyncSender<Vec<Slot>>,
    empty: mpsc::Receiver<Vec<Slot>>,
}

/// A shard's thread is gone.
struct Gone;

impl Sharer {
    /// A sharer for `count` shards, and the receiving end of each shard.
    pub(super) fn new(
        rings: Rings,
        count: usize,
        requested: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> (Self, Vec<Share>) {
        let (outlets, shares) = (0..count).map(|_| Outlet::new()).unzip();
        (Self { rings, outlets, requested }, shares)
    }

    /// Works until the control loop or a shard is gone.
    pub(super) fn run(mut self) {
        priority::never_be_late();
        sandbox::give_up();
        let mut pause = Pause::of_woken();
        loop {
            let Ok(count) = self.share_out() else { return };
            match self.requested.try_recv() {
                Ok(asker) => {
                    while matches!(self.share_out(), Ok(1..)) {}
                    // If the caller has stopped waiting, the answer is dropped.
                    let _ = asker.send(());
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if count < BATCH {
                intake::wait(&mut self.rings, pause.after(count, false));
            }
        }
    }

    /// Distributes the records that wait in the rings; returns their number.
    fn share_out(&mut self) -> Result<usize, Gone> {
        let Self { rings, outlets, .. } = self;
        let mut gone = Ok(());
        let count = rings.drain_slots(BATCH, |slots| {
            let mut rest = slots[1..].iter().copied();
            let segment = Record::from_slots(&slots[0], || rest.next().unwrap_or_default()).segment;
            let route = shard::route(&segment, outlets.len());
            for index in [Some(route.own), route.also()].into_iter().flatten() {
                if outlets[index as usize].push(slots).is_err() {
                    gone = Err(Gone);
                }
            }
        });
        gone?;
        outlets.iter_mut().try_for_each(Outlet::flush)?;
        Ok(count)
    }
}

impl Outlet {
    fn new() -> (Self, Share) {
        let (full, full_out) = mpsc::sync_channel(BATCHES_WAITING);
        let (empty_in, empty) = mpsc::channel();
        (Self { batch: Vec::with_capacity(SLOTS), full, empty }, Share::new(full_out, empty_in))
    }

    #[inline(always)]
    fn push(&mut self, slots: &[Slot]) -> Result<(), Gone> {
        self.batch.extend_from_slice(slots);
        if self.batch.len() > SLOTS - MAX_SLOTS { self.flush() } else { Ok(()) }
    }

    /// Sends the batch to the shard; waits where the shard is behind.
    fn flush(&mut self) -> Result<(), Gone> {
        if self.batch.is_empty() {
            return Ok(());
        }
        // At most as many batches exist as fit into the queue, and one at each end.
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(SLOTS));
        self.full.send(std::mem::replace(&mut self.batch, next)).map_err(|_| Gone)
    }
}
