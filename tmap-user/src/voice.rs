//! Lines on standard error, for threads that mustn't wait for whoever reads them.
//!
//! No question tells whether a line would wait: a terminal is called ready where it has room for one byte.
//! So a thread of its own writes what such threads say. Once it runs it writes everybody's lines, in their
//! order.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use crate::{patient::Patient, sandbox};

/// The most lines that wait for a reader. More come at once only where many interfaces change together.
const MOST_WAITING: usize = 128;

/// How long a line waits for room among them.
const ROOM_WITHIN: Duration = Duration::from_millis(250);

/// What the threads that say something and the one that writes share.
static VOICE: Voice = Voice {
    waiting: Mutex::new(Waiting { lines: VecDeque::new(), left_out: 0, is_writing: false }),
    changed: Condvar::new(),
};

/// Whether the thread runs: empty until it is needed, false where the system grants none.
static RUNS: OnceLock<bool> = OnceLock::new();

/// The lines that wait, and what is known of them.
struct Voice {
    waiting: Mutex<Waiting>,
    /// A line came, was taken or was written.
    changed: Condvar,
}

/// What waits to be written.
struct Waiting {
    lines: VecDeque<String>,
    /// Lines after these that were left out.
    left_out: u64,
    /// Whether a line that was taken isn't written yet.
    is_writing: bool,
}

/// Writes a line, or hands it to the thread where that runs.
pub(crate) fn write(line: String) {
    if RUNS.get() == Some(&true) {
        VOICE.take_in(line);
    } else {
        put(&line);
    }
}

/// Hands a line to the thread, which it starts where it doesn't run yet. Where too many wait for a reader,
/// lines are left out, and then it says how many.
pub(crate) fn hand_over(line: String) {
    RUNS.get_or_init(|| {
        let run = || {
            sandbox::give_up();
            loop {
                put(&VOICE.next());
            }
        };
        thread::Builder::new().name("voice".to_owned()).spawn(run).is_ok()
    });
    write(line);
}

/// Waits until all is written that was said, but no longer than this. Whether it is.
pub(crate) fn is_written(within: Duration) -> bool {
    VOICE.is_written(within)
}

/// Writes a line at once, so that others' lines don't come in between. Standard error that is closed or full
/// is no reason to end.
fn put(line: &str) {
    let _ = Patient(io::stderr()).write_all(line.as_bytes());
}

impl Voice {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a line behind the others. Where there is no room, it waits for a moment, unless lines were
    /// left out already.
    fn take_in(&self, line: String) {
        let mut waiting = self.lock();
        let within = if waiting.left_out == 0 { ROOM_WITHIN } else { Duration::ZERO };
        let is_full = |waiting: &mut Waiting| waiting.lines.len() >= MOST_WAITING;
        waiting = self.wait_while(waiting, within, is_full);
        if is_full(&mut waiting) {
            waiting.left_out += 1;
            return;
        }
        let missing = waiting.missing();
        waiting.lines.extend(missing.into_iter().chain([line]));
        self.changed.notify_all();
    }

    /// Waits for the next line to write. The one before is written.
    fn next(&self) -> String {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        loop {
            // Whoever waits for room, or for the end of it all, looks again.
            self.changed.notify_all();
            if let Some(line) = waiting.lines.pop_front().or_else(|| waiting.missing()) {
                waiting.is_writing = true;
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_written(&self, within: Duration) -> bool {
        let is_busy =
            |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty() || waiting.left_out > 0;
        !is_busy(&mut self.wait_while(self.lock(), within, is_busy))
    }

    /// Waits while this holds, but no longer than `within`.
    fn wait_while<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        within: Duration,
        holds: impl FnMut(&mut Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        let waited = self.changed.wait_timeout_while(waiting, within, holds);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Waiting {
    /// The line about lines that were left out, where any were.
    fn missing(&mut self) -> Option<String> {
        match std::mem::take(&mut self.left_out) {
            0 => None,
            1 => Some("tmap: a line is missing here: nobody read standard error\n".to_owned()),
            lines => Some(format!("tmap: {lines} lines are missing here: nobody read standard error\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice() -> Voice {
        let waiting = Waiting { lines: VecDeque::new(), left_out: 0, is_writing: false };
        Voice { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_where_they_are_missing() {
        let voice = voice();
        (0..MOST_WAITING + 2).for_each(|number| voice.take_in(format!("{number}\n")));
        assert!(!voice.is_written(Duration::ZERO));
        assert_eq!(voice.next(), "0\n");
        voice.take_in("later\n".to_owned());
        let rest: Vec<String> = (0..=MOST_WAITING).map(|_| voice.next()).collect();
        assert_eq!(rest[MOST_WAITING - 2], format!("{}\n", MOST_WAITING - 1));
        assert_eq!(rest[MOST_WAITING - 1], "tmap: 2 lines are missing here: nobody read standard error\n");
        assert_eq!(rest[MOST_WAITING], "later\n");
        assert!(!voice.is_written(Duration::ZERO), "the last one may be under way");
    }

    #[test]
    fn the_number_is_said_where_no_line_follows() {
        let voice = voice();
        (0..=MOST_WAITING).for_each(|number| voice.take_in(format!("{number}\n")));
        let said: Vec<String> = (0..=MOST_WAITING).map(|_| voice.next()).collect();
        assert_eq!(said[MOST_WAITING], "tmap: a line is missing here: nobody read standard error\n");
        assert!(voice.lock().left_out == 0);
    }
}
