//! The control loop with a screen: what the screen asks for, and how often it gets it.
//!
//! Nothing here is in the way of records. Snapshots are requests like those of a summary; they are answered
//! between batches, and the thread that takes records in comes first. How often they come depends on what
//! they take.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use tmap_common::Address;
use tokio::time::Interval;

use super::{
    Control,
    common::{Scope, Timed},
    orders::Request,
    ticks,
};
use crate::{
    config::{LiveConfig, TopConfig},
    engine::{Holdings, Snapshot, Wanted},
    page::Source,
    screen::{Ask, Feed, Setup, feed::Health, save::Saver, session::Session, spent::Spent, terminal},
    signals::{Signals, quit},
    time::{WallClock, now_ns, process_cpu_ns},
};

/// How often it is checked whether a snapshot is due.
const CHECK: Duration = Duration::from_millis(250);

/// The time between two snapshots, where they take little.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// The time between two snapshots, as a multiple of what the next one will take: together about two percent
/// of a core, half of it for the list of all addresses and half for the open one.
const PAUSE_PER_COST: f64 = 100.0;

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The list of addresses.
    All,
    /// The open address.
    One(Address),
    /// A report into a file.
    Save,
}

/// Why the screen wakes the control loop.
pub(super) enum ScreenWake {
    Ask(Ask),
    Taken(Purpose, Box<(Snapshot, Holdings)>),
    Health,
    Check,
}

/// When snapshots of one kind are due.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// When the last one came, and what it took.
    last: Instant,
    took: Duration,
    /// Connections that it was of.
    connections: usize,
    /// Whether the user wants one now.
    is_wanted: bool,
}

/// The control loop's end of the screen.
pub(super) struct OnScreen {
    session: Session,
    saver: Saver,
    /// The snapshot under way, what for, and since when.
    under_way: Option<(Purpose, Began, Request)>,
    all: Due,
    one: Due,
    open: Option<Address>,
    wants_save: bool,
    snapshots: u64,
    /// Connections that are held now.
    held: usize,
    health: Interval,
    check: Interval,
    spent: Spent,
}

/// When a snapshot was asked for.
#[derive(Clone, Copy, Debug)]
struct Began {
    at: Instant,
    /// CPU time of the process, in nanoseconds.
    cpu_ns: u64,
}

impl Began {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_ns: process_cpu_ns() }
    }

    /// What the snapshot took at most: on a busy machine the process had less than all of the time, and on
    /// an idle one other threads had some of its CPU time.
    fn cost(self) -> Duration {
        let cpu = Duration::from_nanos(process_cpu_ns().saturating_sub(self.cpu_ns));
        self.at.elapsed().min(cpu)
    }
}

impl Due {
    /// Due after one usual interval.
    fn new() -> Self {
        Self { last: Instant::now(), took: Duration::ZERO, connections: 0, is_wanted: false }
    }

    /// A snapshot of so many connections came, and took so long.
    fn took(&mut self, took: Duration, connections: usize) {
        *self = Self { last: Instant::now(), took, connections, is_wanted: false };
    }

    /// Whether the next one is due: the later the longer it will take, which grows with the connections held.
    fn is_due(&self, held: usize) -> bool {
        let growth = (held as f64 / self.connections.max(1) as f64).max(1.0);
        let growth = if self.connections == 0 { 1.0 } else { growth };
        let pause = SNAPSHOT_EVERY.max(self.took.mul_f64(PAUSE_PER_COST * growth));
        self.is_wanted || self.last.elapsed() >= pause
    }
}

impl OnScreen {
    /// Shows the screen.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub(super) fn open(config: &LiveConfig, top: &TopConfig, signals: &Arc<Signals>) -> anyhow::Result<Self> {
        let setup = Setup {
            source: config.interfaces.join(","),
            is_live: true,
            wall: WallClock::of_live(),
            zone: config.common.zone.clone(),
            engine: config.common.engine.clone(),
            colour: top.colour,
            half_blocks: terminal::has_no_braille(),
        };
        // First, because a terminal that takes no output keeps the screen from opening.
        signals.at_stop(terminal::give_back);
        let session = Session::open(setup, top.mouse, quit(signals))?;
        Ok(Self {
            session,
            saver: Saver::new(&top.command, config.common.zone.clone()),
            under_way: None,
            all: Due::new(),
            one: Due::new(),
            open: None,
            wants_save: false,
            snapshots: 0,
            held: 0,
            health: ticks(top.refresh),
            check: ticks(CHECK),
            spent: Spent::default(),
        })
    }

    /// Shows a line.
    pub(super) fn say(&self, text: &str) {
        self.session.feed(Feed::Notice(text.to_owned(), now_ns()));
    }

    /// Shows an event.
    pub(super) fn event(&mut self, event: &Timed) {
        self.saver.event(&event.event, event.time_ns, WallClock::of_live());
        self.session.feed(Feed::Event(Box::new(event.event.clone()), event.time_ns));
    }

    /// What is due next, if anything is.
    fn due(&self) -> Option<Purpose> {
        match self.open {
            _ if self.under_way.is_some() => None,
            _ if self.wants_save => Some(Purpose::Save),
            Some(address) if self.one.is_due(0) => Some(Purpose::One(address)),
            _ if self.all.is_due(self.held) => Some(Purpose::All),
            _ => None,
        }
    }
}

/// Waits for what the screen needs; for ever without one.
pub(super) async fn next(screen: &mut Option<OnScreen>) -> ScreenWake {
    let Some(OnScreen { session, under_way, health, check, .. }) = screen else { return pending().await };
    let taken = async {
        match under_way {
            Some((purpose, _, request)) => (*purpose, request.as_mut().await),
            None => pending().await,
        }
    };
    tokio::select! {
        ask = session.ask() => ScreenWake::Ask(ask),
        (purpose, found) = taken => ScreenWake::Taken(purpose, Box::new(found)),
        _ = health.tick() => ScreenWake::Health,
        _ = check.tick() => ScreenWake::Check,
    }
}

impl Control<'_> {
    /// Gives the terminal back, if it was taken.
    ///
    /// # Errors
    /// If the terminal failed, or the screen.
    pub(super) fn close_screen(&mut self) -> anyhow::Result<()> {
        let Some(OnScreen { session, under_way, .. }) = self.screen.take() else { return Ok(()) };
        if let Some((.., request)) = under_way {
            self.orders.take_over(request);
        }
        session.close()
    }

    /// Takes a snapshot for the screen soon; false where there is no screen.
    pub(super) fn refresh_screen(&mut self) -> bool {
        if let Some(screen) = &mut self.screen {
            screen.all.is_wanted = true;
        }
        self.screen.is_some()
    }

    /// Does what the screen needs; true where the user wants to end.
    pub(super) async fn attend_screen(&mut self, wake: ScreenWake) -> bool {
        match wake {
            ScreenWake::Ask(Ask::Quit) => return true,
            ScreenWake::Ask(ask) => self.answer(&ask),
            ScreenWake::Taken(purpose, found) => self.show(purpose, *found),
            ScreenWake::Health => self.show_health().await,
            ScreenWake::Check => {}
        }
        self.request_what_is_due();
        false
    }

    fn answer(&mut self, ask: &Ask) {
        let Some(screen) = &mut self.screen else { return };
        match ask {
            Ask::Detail(address) => {
                screen.open = *address;
                screen.one.is_wanted = true;
            }
            Ask::Refresh => (screen.all.is_wanted, screen.one.is_wanted) = (true, true),
            Ask::Save => screen.wants_save = true,
            // Live traffic can't be held.
            Ask::Hold(_) | Ask::Quit => {}
        }
    }

    fn request_what_is_due(&mut self) {
        let Some(screen) = &mut self.screen else { return };
        let Some(purpose) = screen.due() else { return };
        let scope = match purpose {
            Purpose::All => Scope { wanted: Wanted::default(), only: None },
            Purpose::One(address) => {
                Scope { wanted: Wanted { connections: true, siblings: false }, only: Some(address) }
            }
            Purpose::Save => Scope { wanted: Wanted { connections: true, siblings: true }, only: None },
        };
        screen.wants_save = screen.wants_save && purpose != Purpose::Save;
        screen.under_way = Some((purpose, Began::now(), Box::pin(self.drain.request_snapshot(scope))));
    }

    /// Shows a snapshot, or saves it.
    fn show(&mut self, purpose: Purpose, found: (Snapshot, Holdings)) {
        let summary = self.summary_of(found);
        let Some(screen) = &mut self.screen else { return };
        let cost = screen.under_way.take().map_or(Duration::ZERO, |(_, began, _)| began.cost());
        match purpose {
            Purpose::One(address) => {
                screen.one.took(cost, summary.snapshot.connections.len());
                screen.session.feed(Feed::Detail(address, Box::new(summary.snapshot)));
            }
            Purpose::Save => {
                let sources = self.config.interfaces.iter().cloned().map(Source::Interface).collect();
                let saved = screen.saver.save(&summary, sources);
                screen.session.feed(Feed::Saved(saved));
            }
            Purpose::All => {
                screen.snapshots += 1;
                screen.all.took(cost, summary.holdings.connections);
                screen.session.feed(Feed::Summary(Box::new(summary)));
            }
        }
    }

    async fn show_health(&mut self) {
        let stats = self.take_stats().await;
        let Some(screen) = &mut self.screen else { return };
        screen.held = stats.holdings.connections;
        let (cpu_percent, screen_percent) = screen.spent.percent(screen.session.spent_ns());
        let health = Health {
            wall: WallClock::of_live(),
            cpu_percent,
            screen_percent,
            snapshot_s: screen.all.took.as_secs_f64(),
            snapshots: screen.snapshots,
            is_taking: matches!(screen.under_way, Some((Purpose::All, ..))),
            stats,
        };
        screen.session.feed(Feed::Health(Box::new(health)));
    }
}
