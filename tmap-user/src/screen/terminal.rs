//! The terminal: taken, and given back as it was, whatever happens.

use std::{
    io::{self, IsTerminal as _, Write},
    os::fd::AsFd,
    panic,
    sync::{
        Mutex, MutexGuard, Once, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{dup2_stderr, dup2_stdout};

use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::{Backend as _, CrosstermBackend},
    crossterm::{
        cursor::Show,
        event::{DisableMouseCapture, EnableMouseCapture},
        execute, queue,
        style::ResetColor,
        terminal::{
            Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
        },
    },
    layout::{Rect, Size},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// The longest that giving it back waits for the terminal, and how often it looks.
const AT_ONCE: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The longest that the end of a drawing waits for the terminal, and that the process waits for that end.
pub const LAST_DRAWING: Duration = Duration::from_secs(2);

/// How often a start looks whether it is to go on, while the terminal takes no output.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// The most columns and rows that are drawn; the rest of a larger terminal stays blank. Whoever has the other
/// end of a terminal says how large it is, up to 65,535 on each side, and each cell takes memory, twice.
/// Displays show less: 3,840 x 2,160 pixels make 480 columns of 8 pixels, and 180 rows of 12.
const MOST_COLUMNS: u16 = 500;
const MOST_ROWS: u16 = 200;

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether the terminal was told that it is taken, and not yet that it isn't any more.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Held while the terminal is written, which takes for ever where it takes no output. It stands in for the
/// lock of [`io::stdout`], which whoever writes the report would wait for then.
static WRITING: Mutex<()> = Mutex::new(());

/// Puts the hook before others', once.
static HOOK: Once = Once::new();

/// A terminal that this process has for itself. Dropping it gives it back.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<io::BufWriter<Output>>>,
    /// The size of the terminal at the last drawing.
    size: Size,
}

/// Standard output while it is taken. What comes after that goes nowhere: the terminal is somebody else's.
#[derive(Debug)]
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody panics while writing.
        let _writing = WRITING.lock();
        while is_taken() {
            match rustix::io::write(io::stdout(), bytes) {
                // Another program made it non-blocking.
                Err(Errno::AGAIN) => drop(takes_output(io::stdout(), CHECK_EVERY)),
                written => return Ok(written?),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether standard output is a terminal.
pub fn is_there() -> bool {
    io::stdout().is_terminal()
}

/// Whether the terminal says of itself that it can't move its cursor.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
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
    match poll(&mut polled, Some(&timespec(timeout))) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "it is gone"));
    }
    Ok(())
}

/// A time as poll(2) takes it.
fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

/// Whether what is written to this descriptor is taken, or refused, at once, now or within this time.
pub fn takes_output(out: impl AsFd, within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = timespec(left);
        match poll(&mut [PollFd::new(&out, PollFlags::OUT)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            // One that is gone refuses.
            found => return found.is_ok_and(|ready| ready > 0),
        }
    }
}

/// The error of a terminal that takes no output.
pub fn takes_nothing() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it takes no output; use `tmap live` or `tmap read`")
}

impl Screen {
    /// Takes the terminal: raw mode, the alternate screen and, where it is wanted, the mouse.
    ///
    /// # Errors
    /// If the terminal refuses, or nothing can be drawn on it.
    pub fn take(mouse: bool) -> io::Result<Self> {
        if is_dumb() {
            let text = "it cannot be drawn on (TERM=dumb); use `tmap live` or `tmap read`";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
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
        Self::begin(mouse).inspect_err(|_| let_go())
    }

    fn begin(mouse: bool) -> io::Result<Self> {
        while !takes_output(io::stdout(), CHECK_EVERY) {
            if !is_taken() {
                return Err(takes_nothing());
            }
        }
        IS_TOLD.store(true, Ordering::SeqCst);
        execute!(Output, EnterAlternateScreen, Clear(ClearType::All))?;
        if mouse {
            execute!(Output, EnableMouseCapture)?;
        }
        let backend = CrosstermBackend::new(io::BufWriter::new(Output));
        let size = backend.size()?;
        let viewport = Viewport::Fixed(drawn(size));
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        Ok(Self { terminal, size })
    }

    /// Draws, unless the terminal was given back.
    ///
    /// # Errors
    /// If the terminal can't be written.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        if is_taken() {
            self.fit()?;
            self.terminal.draw(draw)?;
        }
        Ok(())
    }

    /// Takes the terminal's new size, if it has another one. Nobody knows what the terminal made of what it
    /// showed, so all of it is drawn anew.
    fn fit(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        if size != self.size {
            self.size = size;
            self.terminal.backend_mut().clear()?;
            self.terminal.resize(drawn(size))?;
        }
        Ok(())
    }
}

/// The part of a terminal of this size that is drawn.
fn drawn(size: Size) -> Rect {
    Rect::new(0, 0, size.width.min(MOST_COLUMNS), size.height.min(MOST_ROWS))
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        // Whoever gave it back while it was drawn couldn't wait for the end of that.
        tell(LAST_DRAWING);
    }
}

/// Whether the terminal is still this process's.
pub fn is_taken() -> bool {
    IS_TAKEN.load(Ordering::SeqCst)
}

/// Gives the terminal back as it was, if it was taken. Any thread may do this, also while another one draws;
/// it never waits for a terminal that takes no output.
pub fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        tell(AT_ONCE);
        // At once, whatever the terminal has still to show. One that is gone needs nothing.
        let _ = disable_raw_mode();
    }
}

/// Gives back a terminal that takes no output, and lets go of it: whatever is written to it from now on
/// fails, as where the reader of a pipe went away, and so keeps nobody.
pub fn let_go() {
    give_back();
    let (out, err) = (io::stdout(), io::stderr());
    // Without descriptors there is nothing to put in its place, and another signal ends the process.
    let Ok((reader, writer)) = io::pipe() else { return };
    drop(reader);
    if out.is_terminal() && !takes_output(&out, Duration::ZERO) {
        let _ = dup2_stdout(&writer);
    }
    if err.is_terminal() && !takes_output(&err, Duration::ZERO) {
        let _ = dup2_stderr(&writer);
    }
}

/// Tells the terminal that it was given back, if it wasn't told and takes output within this time.
fn tell(within: Duration) {
    let until = Instant::now() + within;
    let Some(_writing) = lock_until(until) else { return };
    let left = until.saturating_duration_since(Instant::now());
    if IS_TOLD.load(Ordering::SeqCst) && takes_output(io::stdout(), left) {
        IS_TOLD.store(false, Ordering::SeqCst);
        let mut codes = Vec::new();
        // A drawing that was cut short may have left its colours. A terminal that is gone needs nothing.
        let _ = queue!(codes, DisableMouseCapture, LeaveAlternateScreen, ResetColor, Show);
        let _ = rustix::io::write(io::stdout(), &codes);
    }
}

/// The right to write to the terminal, unless another thread keeps it.
fn lock_until(until: Instant) -> Option<MutexGuard<'static, ()>> {
    loop {
        match WRITING.try_lock() {
            Ok(writing) => return Some(writing),
            Err(TryLockError::Poisoned(writing)) => return Some(writing.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_drawn_than_a_display_shows() {
        let area = |width, height| drawn(Size { width, height }).as_size();
        assert_eq!(area(80, 24), Size { width: 80, height: 24 });
        assert_eq!(area(3_000, 24), Size { width: MOST_COLUMNS, height: 24 });
        assert_eq!(area(80, u16::MAX), Size { width: 80, height: MOST_ROWS });
        assert_eq!(area(0, 0), Size { width: 0, height: 0 });
    }

    #[test]
    fn whole_seconds_are_waited_for() {
        let of = |ms| timespec(Duration::from_millis(ms));
        assert_eq!((of(2_500).tv_sec, of(2_500).tv_nsec), (2, 500_000_000));
        assert_eq!((of(20).tv_sec, of(20).tv_nsec), (0, 20_000_000));
    }
}
