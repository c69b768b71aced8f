//! Room in memory for searches: several engines share it, so that their tables together stay within a bound.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Searches with smaller tables than this, in bytes, take no part: there is one for each thread at most.
const SMALL_BYTES: usize = 1 << 20;

/// How often a search that waits for room looks whether somebody waits for it, in turn.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Room for the tables of searches, in bytes.
#[derive(Clone, Debug)]
pub struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all_bytes: usize,
    taken_bytes: Mutex<usize>,
    given_back: Condvar,
}

/// A part of the room, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    bytes: usize,
}

impl Room {
    /// Room of so many bytes.
    pub fn new(all_bytes: usize) -> Self {
        Self(Arc::new(Shared { all_bytes, taken_bytes: Mutex::new(0), given_back: Condvar::new() }))
    }

    /// Takes so many bytes, or all there are if that is less; waits until others have given them back. `None`
    /// where `gives_up` says that it is no use to wait any longer.
    pub(super) fn take(&self, bytes: usize, gives_up: impl Fn() -> bool) -> Option<Taken> {
        let shared = &*self.0;
        let bytes = if bytes < SMALL_BYTES { 0 } else { bytes.min(shared.all_bytes) };
        // The figure is right after a panic, too.
        let mut taken = shared.taken_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken + bytes > shared.all_bytes {
            if gives_up() {
                return None;
            }
            let waited = shared.given_back.wait_timeout(taken, LOOK_EVERY);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken += bytes;
        Some(Taken { room: self.clone(), bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let shared = &*self.room.0;
        *shared.taken_bytes.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        shared.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    #[test]
    fn searches_together_stay_within_the_room() {
        let room = Room::new(8 * SMALL_BYTES);
        let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..6 {
                let (room, held, most) = (&room, &held, &most);
                scope.spawn(move || {
                    for turn in 0..50 {
                        let bytes = (1 + (thread + turn) % 12) * SMALL_BYTES;
                        let taken = room.take(bytes, || false).unwrap();
                        most.fetch_max(
                            held.fetch_add(taken.bytes, Ordering::SeqCst) + taken.bytes,
                            Ordering::SeqCst,
                        );
                        thread::yield_now();
                        held.fetch_sub(taken.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((2 * SMALL_BYTES..=8 * SMALL_BYTES).contains(&most.into_inner()));
    }

    #[test]
    fn whoever_gives_up_takes_nothing() {
        let room = Room::new(2 * SMALL_BYTES);
        let all = room.take(9 * SMALL_BYTES, || false).unwrap();
        assert!(room.take(SMALL_BYTES, || true).is_none());
        assert!(room.take(SMALL_BYTES / 2, || true).is_some(), "small ones need no room");
        drop(all);
        assert!(room.take(2 * SMALL_BYTES, || true).is_some());
    }
}
