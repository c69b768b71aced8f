//! Waiting where standard input gives nothing, or standard output takes nothing, for a moment.
//!
//! `O_NONBLOCK` belongs to the open file description. So any program that shares a terminal, a pipe or a
//! socket with this one can set it, at any time, and a full pipe is then an error instead of a wait. What
//! this process opens itself is its own, and needs none of this.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

/// The pause where a descriptor was called ready and wasn't: a terminal has room for one byte, and a newline
/// takes two.
const PAUSE: Duration = Duration::from_millis(10);

/// A reader or writer that waits as if its descriptor were blocking. Signals have their own thread, which can
/// end the process meanwhile.
#[derive(Debug)]
pub struct Patient<T>(pub T);

impl<T: AsFd> Patient<T> {
    /// Tries until it works, or fails for another reason than that the descriptor isn't `ready`.
    fn insist<R>(
        &mut self,
        ready: PollFlags,
        mut attempt: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut has_waited = false;
        loop {
            match attempt(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if has_waited {
                        thread::sleep(PAUSE);
                    }
                    wait(&self.0, ready)?;
                    has_waited = true;
                }
                tried => return tried,
            }
        }
    }
}

/// Waits until the descriptor is ready or has failed, which the next attempt tells.
fn wait(descriptor: &impl AsFd, ready: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(descriptor, ready)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

// Nothing else is passed on: `write_all` of the standard library's writers fails with part of it written.
impl<T: AsFd + Write> Write for Patient<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.insist(PollFlags::OUT, |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.insist(PollFlags::OUT, T::flush)
    }
}

impl<T: AsFd + Read> Read for Patient<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.insist(PollFlags::IN, |source| source.read(into))
    }
}
