//! A capture on a screen: when packets' turns come, and what the screen gets meanwhile.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tmap_common::{Address, Counters};

use super::{Reading, WALL};
use crate::{
    capture::file::Location,
    config::{ReadConfig, TopConfig},
    engine::{Event, Snapshot, Wanted},
    output::source_of,
    report::{Stats, number::first_of},
    say,
    screen::{
        Ask, Feed, Setup,
        feed::{Health, Progress},
        save::Saver,
        session::Session,
        spent::Spent,
        terminal,
    },
    signals::{Signals, quit},
};

/// The longest sleep before keys are looked at again.
const NAP: Duration = Duration::from_millis(20);

/// The time between two snapshots, where they take little, and as a multiple of what the last one took: so
/// that they delay reading by a tenth.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
const PAUSE_PER_COST: u32 = 10;

/// The most files that are named on the screen; others are counted.
const MOST_NAMES: usize = 2;

/// The reader's end of the screen.
pub(super) struct Replay {
    session: Session,
    saver: Saver,
    files: Vec<Location>,
    /// How many times faster than it was recorded; `None` for as fast as it can be read.
    speed: Option<f64>,
    /// When which capture time had its turn; `None` before the first packet and after a pause.
    anchor: Option<(Instant, u64)>,
    refresh: Duration,
    is_held: bool,
    open: Option<Address>,
    snapshot_at: Instant,
    snapshots: u64,
    took: Duration,
    health_began: Instant,
    before: Counters,
    spent: Spent,
}

impl Replay {
    /// Shows the screen.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub(super) fn open(config: &ReadConfig, top: &TopConfig, signals: &Arc<Signals>) -> anyhow::Result<Self> {
        let names = config.files.iter().take(MOST_NAMES).map(ToString::to_string);
        // The folder is known to who named it.
        let names: Vec<String> =
            names.map(|name| name.rsplit('/').next().unwrap_or(&name).to_owned()).collect();
        let setup = Setup {
            source: first_of(&names, config.files.len()),
            is_live: false,
            wall: WALL,
            zone: config.common.zone.clone(),
            engine: config.common.engine.clone(),
            colour: top.colour,
            half_blocks: terminal::has_no_braille(),
        };
        // First, because a terminal that takes no output keeps the screen from opening.
        signals.at_stop(terminal::give_back);
        let session = Session::open(setup, top.mouse, quit(signals))?;
        let now = Instant::now();
        Ok(Self {
            session,
            saver: Saver::new(&top.command, config.common.zone.clone()),
            files: config.files.clone(),
            speed: top.speed,
            anchor: None,
            refresh: top.refresh,
            is_held: false,
            open: None,
            snapshot_at: now,
            snapshots: 0,
            took: Duration::ZERO,
            health_began: now,
            before: Counters::default(),
            spent: Spent::default(),
        })
    }

    /// Shows an event.
    pub(super) fn event(&mut self, event: Event, time_ns: u64) {
        self.saver.event(&event, time_ns, WALL);
        self.session.feed(Feed::Event(Box::new(event), time_ns));
    }

    /// Shows a line.
    pub(super) fn say(&self, text: &str, now_ns: u64) {
        self.session.feed(Feed::Notice(text.to_owned(), now_ns));
    }

    /// Up to which capture time packets have their turn now.
    fn turn_ns(&mut self, time_ns: u64) -> u64 {
        let Some(speed) = self.speed else { return u64::MAX };
        let (began, first_ns) = *self.anchor.get_or_insert_with(|| (Instant::now(), time_ns));
        first_ns.saturating_add((began.elapsed().as_nanos() as f64 * speed) as u64)
    }
}

impl Reading<'_> {
    /// Waits until a packet's turn, and attends to the screen meanwhile. False where the user wants to end.
    #[cold]
    pub(super) fn wait_until(&mut self, time_ns: u64) -> io::Result<bool> {
        loop {
            let Some(replay) = &mut self.replay else { return Ok(true) };
            let turn_ns = replay.turn_ns(time_ns);
            if turn_ns >= time_ns {
                // As far as that, nobody need look at the clock.
                self.waits_from_ns = if replay.speed.is_some() { turn_ns } else { u64::MAX };
                return Ok(true);
            }
            let speed = replay.speed.unwrap_or(1.0);
            let rest = Duration::from_nanos(((time_ns - turn_ns) as f64 / speed) as u64);
            thread::sleep(rest.min(NAP));
            self.attend()?;
            if self.signals.stop() {
                return Ok(false);
            }
        }
    }

    /// Does what the screen asks for and what is due; while it holds the capture, nothing else.
    pub(super) fn attend(&mut self) -> io::Result<()> {
        loop {
            self.answer_all();
            let Some(replay) = &mut self.replay else { return Ok(()) };
            let (is_held, is_due) = (replay.is_held, Instant::now() >= replay.snapshot_at);
            if replay.health_began.elapsed() >= replay.refresh {
                self.show_health();
            }
            if is_due && !is_held {
                self.show_snapshots();
            }
            if !is_held || self.signals.stop() {
                return Ok(());
            }
            thread::sleep(NAP);
        }
    }

    /// Answers all that was asked for so far. Pages are written last, and several as one; once a stop is
    /// requested, nobody waits for anything else.
    fn answer_all(&mut self) {
        let mut wants_page = false;
        while !self.signals.stop() {
            match self.replay.as_mut().and_then(|replay| replay.session.try_ask()) {
                Some(Ask::Save) => wants_page = true,
                Some(ask) => self.answer(&ask),
                None if wants_page => return self.save_page(),
                None => return,
            }
        }
    }

    fn answer(&mut self, ask: &Ask) {
        let Some(replay) = &mut self.replay else { return };
        match ask {
            Ask::Quit => self.signals.request_stop(),
            Ask::Hold(is_held) => (replay.is_held, replay.anchor) = (*is_held, None),
            Ask::Detail(address) => {
                replay.open = *address;
                self.show_open();
            }
            Ask::Refresh => self.show_snapshots(),
            Ask::Save => self.save_page(),
        }
    }

    fn save_page(&mut self) {
        let wanted = Wanted { connections: true, siblings: true };
        let snapshot = self.workers.snapshot(self.order.now_ns(), wanted);
        let summary = self.summary_of(snapshot);
        if let Some(replay) = &mut self.replay {
            let sources = replay.files.iter().map(|file| source_of(file, true)).collect();
            let saved = replay.saver.save(&summary, sources);
            replay.session.feed(Feed::Saved(saved));
        }
    }

    /// Shows all addresses, and the open one with its connections.
    fn show_snapshots(&mut self) {
        let began = Instant::now();
        let snapshot = self.workers.snapshot(self.order.now_ns(), Wanted::default());
        self.show(snapshot);
        self.show_open();
        if let Some(replay) = &mut self.replay {
            replay.took = began.elapsed();
            replay.snapshot_at = Instant::now() + SNAPSHOT_EVERY.max(replay.took * PAUSE_PER_COST);
        }
    }

    fn show(&mut self, snapshot: Snapshot) {
        let summary = self.summary_of(snapshot);
        if let Some(replay) = &mut self.replay {
            replay.snapshots += 1;
            replay.session.feed(Feed::Summary(Box::new(summary)));
        }
    }

    fn show_open(&mut self) {
        let Some(address) = self.replay.as_ref().and_then(|replay| replay.open) else { return };
        let snapshot = self.workers.snapshot_of(self.order.now_ns(), address);
        if let Some(replay) = &self.replay {
            replay.session.feed(Feed::Detail(address, Box::new(snapshot)));
        }
    }

    fn show_health(&mut self) {
        let holdings = self.workers.holdings();
        let Some(replay) = &mut self.replay else { return };
        let interval_s = replay.health_began.elapsed().as_secs_f64();
        let (cpu_percent, screen_percent) = replay.spent.percent(replay.session.spent_ns());
        let health = Health {
            stats: Stats {
                now_ns: self.order.now_ns(),
                interval_s,
                counters: self.counters,
                before: replay.before,
                cpus: Vec::new(),
                holdings,
            },
            wall: WALL,
            cpu_percent,
            screen_percent,
            snapshot_s: replay.took.as_secs_f64(),
            snapshots: replay.snapshots,
            is_taking: false,
        };
        (replay.health_began, replay.before) = (Instant::now(), self.counters);
        replay.session.feed(Feed::Health(Box::new(health)));
        let bar = &self.progress.bar;
        let share = bar.length().filter(|length| *length > 0);
        let share = share.map(|length| (bar.position() as f64 / length as f64).min(1.0));
        replay.session.feed(Feed::Progress(Progress { share, is_over: false }));
    }

    /// Shows the last snapshot until the user has seen enough, gives the terminal back, and returns the
    /// snapshot. Without a screen, that is all.
    pub(super) fn show_the_end(&mut self, snapshot: Snapshot) -> anyhow::Result<Snapshot> {
        if self.replay.is_none() {
            return Ok(snapshot);
        }
        self.tell_news()?;
        self.show_health();
        if let Some(replay) = &self.replay {
            replay.session.feed(Feed::Progress(Progress { share: Some(1.0), is_over: true }));
        }
        self.show(snapshot.clone());
        self.show_open();
        while !self.signals.stop() {
            thread::sleep(NAP);
            self.answer_all();
        }
        if let Some(replay) = self.replay.take() {
            self.closed = replay.session.close();
        }
        // The screen is gone.
        self.progress.hide(false);
        if !self.has_any_begun {
            // There will be no summary to tell them.
            self.warnings.iter().for_each(|warning| say(warning));
        }
        Ok(snapshot)
    }
}
