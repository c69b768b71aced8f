//! The thread that reads keys, so that half a key keeps nobody.
//!
//! Crossterm waits for the rest of a key that has begun, as long as that takes: for the letter after `ESC [`,
//! or the second byte of a letter beyond ASCII. A terminal that cuts a key in two, or somebody who types Alt
//! and `[`, would keep whoever reads.

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError},
    thread,
    time::Duration,
};

use ratatui::crossterm::event::{self, Event};

use super::terminal;
use crate::sandbox;

/// The longest time between two looks whether the terminal is still taken.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long keys that are there may take to be read: without a time, crossterm reads none.
const KEYS_WITHIN: Duration = Duration::from_millis(1);

/// The most keys that wait to be taken in; what is typed beyond waits in the terminal.
const MOST_WAITING: usize = 1_024;

/// Keys, clicks and new sizes, as they come.
#[derive(Debug)]
pub(super) struct Typed(Receiver<io::Result<Event>>);

impl Typed {
    /// Starts the thread. It ends when the terminal is given back, unless half a key keeps it: then with the
    /// process.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start() -> io::Result<Self> {
        let (events, typed) = mpsc::sync_channel(MOST_WAITING);
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            sandbox::give_up();
            if let Err(error) = read(&events) {
                // The screen may be over.
                let _ = events.send(Err(error));
            }
        })?;
        Ok(Self(typed))
    }

    /// Waits so long for an event.
    ///
    /// # Errors
    /// If the terminal failed.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<Option<Event>> {
        match self.0.recv_timeout(timeout) {
            Ok(event) => event.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => ended(),
        }
    }

    /// The next event that is there.
    ///
    /// # Errors
    /// If the terminal failed.
    pub(super) fn next(&self) -> io::Result<Option<Event>> {
        match self.0.try_recv() {
            Ok(event) => event.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => ended(),
        }
    }
}

/// The thread has ended: with the screen, or by a panic, which was reported where it happened.
fn ended() -> io::Result<Option<Event>> {
    if terminal::is_taken() {
        return Err(io::Error::other("the thread that reads keys failed; please report this"));
    }
    Ok(None)
}

/// Reads until the terminal is given back, or nobody takes in what is read.
fn read(events: &SyncSender<io::Result<Event>>) -> io::Result<()> {
    while terminal::is_taken() {
        terminal::wait_for_keys(LOOK_EVERY)?;
        while terminal::is_taken() && event::poll(KEYS_WITHIN)? {
            if events.send(Ok(event::read()?)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
