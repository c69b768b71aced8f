//! The terminal: taken, and given back as it was, whatever happens.

use std::{
    io::{self, IsTerminal as _, Stdout, Write as _},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{DisableMouseCapture, EnableMouseCapture},
        execute,
        terminal::{
            Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
        },
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Puts the hook before others', once.
static HOOK: Once = Once::new();

/// A terminal that this process has for itself. Dropping it gives it back.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<io::BufWriter<Stdout>>>,
}

/// Whether standard output is a terminal that can show a screen.
pub fn is_there() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether the terminal is the kernel's own, whose font has no braille.
pub fn has_no_braille() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "linux")
}

/// Waits so long for keys, or until there are some.
///
/// # Errors
/// If the terminal is gone. Crossterm must not be asked for keys then: it would ask the system without end.
pub fn wait_for_keys(timeout: Duration) -> io::Result<()> {
    let out = io::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "it is gone"));
    }
    Ok(())
}

impl Screen {
    /// Takes the terminal: raw mode, the alternate screen and, where it is wanted, the mouse.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn take(mouse: bool) -> io::Result<Self> {
        HOOK.call_once(|| {
            let others = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // First, so that the message is on the ordinary screen.
                give_back();
                others(info);
            }));
        });
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let begin = || {
            let mut out = io::stdout();
            execute!(out, EnterAlternateScreen, Clear(ClearType::All))?;
            if mouse {
                execute!(out, EnableMouseCapture)?;
            }
            let terminal = Terminal::new(CrosstermBackend::new(io::BufWriter::new(io::stdout())))?;
            Ok(Self { terminal })
        };
        begin().inspect_err(|_| give_back())
    }

    /// Draws, unless the terminal was given back.
    ///
    /// # Errors
    /// If the terminal can't be written.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        if is_taken() {
            self.terminal.draw(draw)?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the terminal is still this process's.
pub fn is_taken() -> bool {
    IS_TAKEN.load(Ordering::SeqCst)
}

/// Gives the terminal back as it was, if it was taken. Any thread may do this, also while another one draws.
pub fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        // A terminal that is gone needs nothing.
        let _ = execute!(out, DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}
