//! The source of a shard's records: the rings themselves, or the thread that distributes records.

use std::{
    sync::mpsc::{self, RecvTimeoutError, TryRecvError},
    thread,
    time::Duration,
};

use tmap_common::record::{MAX_SLOTS, Slot};

use crate::{capture::xdp::Rings, engine::Flows};

/// Slots handed to the flow table at once: enough to prefetch, few enough to stay in the cache.
const AT_ONCE: usize = 256;

/// The bounds of the pause between two drains: short under load, so that rings stay empty; long where little
/// arrives.
const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// The longest pauses after a long silence, so that an idle sensor costs little: where a record or a request
/// ends them, and where a request does not.
const PAUSE_IDLE: Duration = Duration::from_secs(1);
const PAUSE_UNWOKEN: Duration = Duration::from_millis(40);

/// A pause is no longer than the silence before it divided by this, unless it is short anyway.
const SILENCE_PER_PAUSE: u32 = 20;

/// With more records than this at once, the pause before was too long.
const BUSY: usize = 1_024;

/// The pause between two drains, which adapts to the load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    last: Duration,
    /// The sum of pauses since the last record.
    silence: Duration,
    longest: Duration,
}

impl Pause {
    /// Pauses of a thread that a record and a request wake.
    pub(super) fn of_woken() -> Self {
        Self { last: PAUSE_MIN, silence: Duration::ZERO, longest: PAUSE_IDLE }
    }

    /// Pauses of a thread that a request does not wake.
    fn of_unwoken() -> Self {
        Self { longest: PAUSE_UNWOKEN, ..Self::of_woken() }
    }

    /// The next pause, after `count` records at once. It is short where something else `is_awaited`.
    pub(super) fn after(&mut self, count: usize, is_awaited: bool) -> Duration {
        if count > 0 || is_awaited {
            self.silence = Duration::ZERO;
        }
        let most = (self.silence / SILENCE_PER_PAUSE).clamp(PAUSE_MAX, self.longest);
        self.last = if count > BUSY { self.last / 2 } else { self.last * 2 }.clamp(PAUSE_MIN, most);
        self.silence = self.silence.saturating_add(self.last);
        self.last
    }
}

/// The source of a shard's records.
pub(super) enum Intake {
    /// A single shard empties the rings itself; the vector holds its batches.
    Rings(Box<Rings>, Vec<Slot>),
    /// One of several shards receives its share.
    Share(Share),
}

/// The receiving end of a shard's queue of batches.
pub(super) struct Share {
    full: mpsc::Receiver<Vec<Slot>>,
    /// The queue on which empty batches go back.
    empty: mpsc::Sender<Vec<Slot>>,
    /// The batch that came during a pause.
    next: Option<Vec<Slot>>,
}

impl Share {
    /// A share whose batches come through `full` and go back, emptied, through `empty`.
    pub(super) fn new(full: mpsc::Receiver<Vec<Slot>>, empty: mpsc::Sender<Vec<Slot>>) -> Self {
        Self { full, empty, next: None }
    }
}

/// The thread that distributes records has ended.
#[derive(Debug)]
pub(super) struct Ended;

impl Intake {
    /// The intake of a single shard.
    pub(super) fn of_rings(rings: Rings) -> Self {
        Self::Rings(Box::new(rings), Vec::with_capacity(AT_ONCE))
    }

    /// Its pauses.
    pub(super) fn pause(&self) -> Pause {
        match self {
            Self::Rings(..) => Pause::of_woken(),
            Self::Share(_) => Pause::of_unwoken(),
        }
    }

    /// Feeds `flows` with the waiting records, up to `most` or one batch more. Returns their number, which is
    /// approximate for a share.
    ///
    /// # Errors
    /// If no records are left and none will come.
    pub(super) fn feed(&mut self, flows: &mut Flows, most: usize) -> Result<usize, Ended> {
        match self {
            Self::Rings(rings, batch) => Ok(feed_from_rings(rings, batch, flows, most)),
            Self::Share(share) => share.feed(flows, most),
        }
    }

    /// Takes the waiting records, as [`Intake::feed`] does, and drops them.
    pub(super) fn discard(&mut self, most: usize) -> usize {
        match self {
            Self::Rings(rings, _) => rings.drain_slots(most, |_| {}),
            Self::Share(share) => {
                let batches = share.next.take().into_iter().chain(share.full.try_iter());
                let discard = |batch: Vec<Slot>| {
                    let count = batch.len();
                    // If the other thread has ended, the batch is dropped.
                    let _ = share.empty.send(batch);
                    count
                };
                batches.map(discard).sum()
            }
        }
    }

    /// Waits for `pause`, or until there are records.
    pub(super) fn wait(&mut self, pause: Duration) {
        match self {
            Self::Rings(rings, _) => wait(rings, pause),
            Self::Share(share) => match share.full.recv_timeout(pause) {
                Ok(batch) => share.next = Some(batch),
                Err(RecvTimeoutError::Timeout) => {}
                // The next feed returns the error.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(pause),
            },
        }
    }
}

/// Waits for `pause`; where that is long, only until there is a record. The kernel's bell costs more than a
/// short pause.
pub(super) fn wait(rings: &mut Rings, pause: Duration) {
    if pause > PAUSE_MAX { rings.sleep(pause) } else { thread::sleep(pause) }
}

fn feed_from_rings(rings: &mut Rings, batch: &mut Vec<Slot>, flows: &mut Flows, most: usize) -> usize {
    let count = rings.drain_slots(most, |slots| {
        batch.extend_from_slice(slots);
        if batch.len() > AT_ONCE - MAX_SLOTS {
            flows.observe_slots(batch);
            batch.clear();
        }
    });
    flows.observe_slots(batch);
    batch.clear();
    count
}

impl Share {
    fn feed(&mut self, flows: &mut Flows, most: usize) -> Result<usize, Ended> {
        let mut count = 0;
        while count < most {
            let mut batch = match self.next.take().map_or_else(|| self.full.try_recv(), Ok) {
                Ok(batch) => batch,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if count > 0 => break,
                Err(TryRecvError::Disconnected) => return Err(Ended),
            };
            flows.observe_slots(&batch);
            count += batch.len();
            batch.clear();
            // If the other thread has ended, the batch is dropped.
            let _ = self.empty.send(batch);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_short_under_load_and_long_after_a_silence() {
        let mut pause = Pause::of_woken();
        for _ in 0..100 {
            assert!(pause.after(1, false) <= PAUSE_MAX, "a record now and then is no silence");
        }
        // The pause after the last record is silent, too.
        let mut silence = pause.last;
        while silence < PAUSE_IDLE * SILENCE_PER_PAUSE {
            let next = pause.after(0, false);
            assert!(next <= PAUSE_MAX.max(silence / SILENCE_PER_PAUSE), "{next:?} after {silence:?}");
            silence += next;
        }
        assert_eq!(pause.after(0, false), PAUSE_IDLE);
        assert_eq!(pause.after(1, false), PAUSE_MAX, "one record ends the silence");
        let busy: Vec<Duration> = (0..10).map(|_| pause.after(BUSY + 1, false)).collect();
        assert_eq!(busy[9], PAUSE_MIN);
    }
}
