//! The thread that owns the terminal, and the other threads' end of it.

use std::{
    env, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ratatui::crossterm::event::{Event, KeyCode, MouseEventKind};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc as asks;

use super::{
    app::{App, Setup},
    feed::{Ask, Feed},
    terminal::{self, LAST_DRAWING, Screen, takes_output},
    typed::Typed,
    view,
};
use crate::{sandbox, say_if_read};

/// The least time between two drawings.
const FRAME: Duration = Duration::from_millis(100);

/// An end within this time needs no words.
const SOON: Duration = Duration::from_millis(700);

/// The most that waits to be shown. What comes beyond is dropped: the next snapshot has it.
const FEEDS_WAITING: usize = 4_096;

/// A screen that is shown. Dropping it gives the terminal back.
#[derive(Debug)]
pub struct Session {
    feeds: Option<mpsc::SyncSender<Feed>>,
    asks: asks::UnboundedReceiver<Ask>,
    thread: Option<JoinHandle<io::Result<()>>>,
    is_over: Arc<AtomicBool>,
    /// CPU time of the screen's thread, in nanoseconds.
    spent_ns: Arc<AtomicU64>,
}

/// The thread's own state.
struct Owner {
    app: App,
    screen: Screen,
    typed: Typed,
    feeds: mpsc::Receiver<Feed>,
    asks: asks::UnboundedSender<Ask>,
    is_over: Arc<AtomicBool>,
    spent_ns: Arc<AtomicU64>,
}

impl Session {
    /// Takes the terminal and shows the screen, until a key ends it. Then it gives the terminal back at once,
    /// and calls `quit`: the other threads may have to analyse for long.
    ///
    /// # Errors
    /// If the terminal or the system refuses.
    pub fn open(setup: Setup, mouse: bool, quit: impl FnOnce() + Send + 'static) -> anyhow::Result<Self> {
        let (feeds, feeds_out) = mpsc::sync_channel(FEEDS_WAITING);
        let (asks_in, asks) = asks::unbounded_channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let spent_ns = Arc::new(AtomicU64::new(0));
        let screen = Screen::take(mouse).context("cannot use the terminal")?;
        let typed = Typed::start()?;
        let shared = (Arc::clone(&is_over), Arc::clone(&spent_ns));
        let thread = thread::Builder::new().name("screen".to_owned()).spawn(move || {
            sandbox::give_up();
            let (is_over, spent_ns) = shared;
            let app = App::new(setup);
            let shared = Arc::clone(&is_over);
            let mut owner = Owner { app, screen, typed, feeds: feeds_out, asks: asks_in, is_over, spent_ns };
            let ended = owner.run();
            drop(owner);
            quit();
            say_if_late(&shared);
            ended
        })?;
        Ok(Self { feeds: Some(feeds), asks, thread: Some(thread), is_over, spent_ns })
    }

    /// Shows what is new; never waits.
    pub fn feed(&self, feed: Feed) {
        if let Some(feeds) = &self.feeds {
            // A screen that can't keep up, or has ended, shows less.
            let _ = feeds.try_send(feed);
        }
    }

    /// What the user asks for next; [`Ask::Quit`] where the screen has failed.
    pub async fn ask(&mut self) -> Ask {
        self.asks.recv().await.unwrap_or(Ask::Quit)
    }

    /// What the user asked for, if anything; [`Ask::Quit`] where the screen has failed.
    pub fn try_ask(&mut self) -> Option<Ask> {
        match self.asks.try_recv() {
            Ok(ask) => Some(ask),
            Err(asks::error::TryRecvError::Empty) => None,
            Err(asks::error::TryRecvError::Disconnected) => Some(Ask::Quit),
        }
    }

    /// CPU time that the screen's thread took so far, in nanoseconds.
    pub fn spent_ns(&self) -> u64 {
        self.spent_ns.load(Ordering::Relaxed)
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// If the terminal failed.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.end().context("the terminal failed")
    }

    fn end(&mut self) -> io::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.feeds = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        // A terminal that takes nothing more must not keep the process, in a drawing or in what follows.
        let until = Instant::now() + LAST_DRAWING;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        let left = until.saturating_duration_since(Instant::now());
        if !takes_output(io::stdout(), left) {
            terminal::let_go();
            return Err(terminal::takes_nothing());
        }
        if !thread.is_finished() {
            // What comes now may still be read.
            terminal::give_back();
            return Err(io::Error::other("the screen's thread does not answer; please report this"));
        }
        // A panic was reported where it happened.
        let failed = |_| Err(io::Error::other("the screen's thread failed; please report this"));
        thread.join().unwrap_or_else(failed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Who drops it has another error to report.
        let _ = self.end();
        terminal::give_back();
    }
}

impl Owner {
    /// Shows the screen until it is over.
    fn run(&mut self) -> io::Result<()> {
        let mut drawn = Instant::now();
        let mut is_stale = true;
        self.screen.draw(|frame| view::draw(frame, &self.app))?;
        while !self.is_over.load(Ordering::Relaxed) && terminal::is_taken() {
            // Keys wake it at once. What is fed, and a new size, wait for the next frame.
            let mut event = self.typed.wait(FRAME.saturating_sub(drawn.elapsed()))?;
            let has_keys = event.is_some();
            while let Some(typed) = event {
                is_stale |= self.take_in(&typed);
                event = self.typed.next()?;
            }
            if has_keys {
                for ask in self.app.asks() {
                    if ask == Ask::Quit {
                        return Ok(());
                    }
                    // The loop may have ended already.
                    let _ = self.asks.send(ask);
                }
                self.draw(&mut is_stale)?;
            }
            if drawn.elapsed() >= FRAME {
                drawn = Instant::now();
                is_stale |= self.take_feeds();
                self.draw(&mut is_stale)?;
                let spent = clock_gettime(ClockId::ThreadCPUTime);
                let spent_ns = spent.tv_sec.unsigned_abs() * 1_000_000_000 + spent.tv_nsec.unsigned_abs();
                self.spent_ns.store(spent_ns, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn draw(&mut self, is_stale: &mut bool) -> io::Result<()> {
        if std::mem::take(is_stale) {
            self.screen.draw(|frame| view::draw(frame, &self.app))?;
        }
        Ok(())
    }

    /// Takes in what was fed; true where there was anything.
    fn take_feeds(&mut self) -> bool {
        let mut has_news = false;
        loop {
            match self.feeds.try_recv() {
                Ok(feed) => self.app.update(feed),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return has_news,
            }
            has_news = true;
        }
    }

    /// Takes in a key, a click or a new size; true where something may look different.
    fn take_in(&mut self, event: &Event) -> bool {
        match event {
            Event::Key(key) => {
                provoke(key.code);
                self.app.key(*key);
                true
            }
            Event::Mouse(mouse) => match mouse.kind {
                MouseEventKind::ScrollUp => self.app.wheel(false),
                MouseEventKind::ScrollDown => self.app.wheel(true),
                MouseEventKind::Down(_) => self.app.click(mouse.column, mouse.row),
                _ => false,
            },
            Event::Resize(..) => true,
            _ => false,
        }
    }
}

/// Says that the end takes long, where it does.
fn say_if_late(is_over: &AtomicBool) {
    let began = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        if began.elapsed() > SOON {
            // Stuck in a write, this thread would keep the process.
            say_if_read("analysing what was seen; ^C ends with what is known");
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Panics where a test of a debug build wants it, or never goes on.
fn provoke(code: KeyCode) {
    let wants = |key: u8, variable| {
        cfg!(debug_assertions) && code == KeyCode::F(key) && env::var_os(variable).is_some()
    };
    assert!(!wants(12, "TMAP_TEST_PANIC"), "a panic as a test wants it");
    while wants(11, "TMAP_TEST_STUCK") {
        thread::park();
    }
}
