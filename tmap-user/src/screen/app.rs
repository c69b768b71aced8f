//! The state of the screen: what is shown, chosen and asked for.

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
};

use jiff::tz::TimeZone;
use tmap_common::{Address, Counters};

use super::{
    events::{Events, Kind as EventKind},
    feed::{Ask, Feed, Health, Progress},
    look::Look,
    ranking::{self, Figures, Order, Rates},
};
use crate::{
    engine::{
        Event, Snapshot,
        options::Options,
        snapshot::{AddressReport, Losses},
    },
    picture::{self, Kind, chart::Chart},
    report::{Summary, number::Calendar, number::count},
    time::WallClock,
};

/// The most values of a curve over time: as many as the widest screen has columns.
const MOST_VALUES: usize = 512;

/// The most things held back while the view stands still.
const MOST_HELD: usize = 4_096;

/// What doesn't change while the screen is shown.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is watched or read, in a few words.
    pub source: String,
    /// Whether it is watched live.
    pub is_live: bool,
    /// How engine time maps to wall-clock time at first.
    pub wall: WallClock,
    /// The time zone of times.
    pub zone: TimeZone,
    /// The engine's settings, for its bounds.
    pub engine: Options,
    /// Whether there are colours.
    pub colour: bool,
    /// Whether pictures are drawn with half blocks.
    pub half_blocks: bool,
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    /// Addresses, or one of them.
    #[default]
    Addresses,
    /// What happened.
    Events,
    /// The sensor's health.
    Health,
}

impl Pane {
    /// All of them, in the order of their tabs.
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Addresses, "Addresses"), (Self::Events, "Events"), (Self::Health, "Health")];

    /// The next one, or the one before.
    pub(super) fn next(self, forward: bool) -> Self {
        let at = Self::ALL.iter().position(|(pane, _)| *pane == self).unwrap_or(0);
        let count = Self::ALL.len();
        Self::ALL[(at + if forward { 1 } else { count - 1 }) % count].0
    }
}

/// What is shown of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// Its machines, and a picture.
    #[default]
    Machines,
    /// A picture alone.
    Picture,
    /// The evidence in words.
    Words,
}

/// One address that the user looks at.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    /// The address.
    pub address: Address,
    /// It and its connections; `None` until they come.
    pub snapshot: Option<Box<Snapshot>>,
    /// Its pictures, each with its kind.
    pub charts: Vec<(Kind, Chart)>,
    /// The picture that is shown.
    pub chart: usize,
    /// The machine that is chosen, by its position.
    pub machine: usize,
    /// What is shown.
    pub part: Part,
}

/// The kinds of pictures, in the order in which they are shown.
const KINDS: [Kind; 6] = [Kind::Phases, Kind::Offsets, Kind::Ports, Kind::Load, Kind::Timeline, Kind::Rtt];

/// The state.
#[derive(Debug)]
pub struct App {
    pub(super) setup: Setup,
    pub(super) look: Look,
    pub(super) wall: WallClock,
    pub(super) summary: Option<Box<Summary>>,
    pub(super) rates: Rates,
    pub(super) round_trips: HashMap<Address, f64>,
    pub(super) news_ns: HashMap<Address, u64>,
    /// Positions in the summary's addresses, as they are listed.
    pub(super) listed: Vec<usize>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) selected: Option<Address>,
    pub(super) detail: Option<Detail>,
    pub(super) pane: Pane,
    pub(super) events: Events,
    pub(super) health: Option<Box<Health>>,
    /// Frames and records a second, and round trips in seconds, over time.
    pub(super) frames_per_s: VecDeque<f64>,
    pub(super) records_per_s: VecDeque<f64>,
    pub(super) rtt_s: VecDeque<f64>,
    pub(super) progress: Progress,
    /// What was said last of writing a report.
    pub(super) saved: String,
    pub(super) has_help: bool,
    pub(super) is_paused: bool,
    held: Vec<Feed>,
    /// The first line shown of events, health, words or help.
    pub(super) scroll: usize,
    /// The lines of a page, and the last line to which one may scroll, as they were drawn.
    pub(super) page: Cell<usize>,
    pub(super) last_line: Cell<usize>,
    /// The first position of the list that was drawn.
    pub(super) top: Cell<usize>,
    lost: u64,
    losses: Losses,
    pub(super) asks: Vec<Ask>,
}

impl App {
    /// The state before anything was fed.
    pub fn new(setup: Setup) -> Self {
        Self {
            look: Look { colour: setup.colour, half_blocks: setup.half_blocks },
            wall: setup.wall,
            setup,
            summary: None,
            rates: Rates::default(),
            round_trips: HashMap::new(),
            news_ns: HashMap::new(),
            listed: Vec::new(),
            order: Order::default(),
            filter: String::new(),
            is_typing: false,
            selected: None,
            detail: None,
            pane: Pane::default(),
            events: Events::default(),
            health: None,
            frames_per_s: VecDeque::new(),
            records_per_s: VecDeque::new(),
            rtt_s: VecDeque::new(),
            progress: Progress::default(),
            saved: String::new(),
            has_help: false,
            is_paused: false,
            held: Vec::new(),
            scroll: 0,
            page: Cell::new(10),
            last_line: Cell::new(0),
            top: Cell::new(0),
            lost: 0,
            losses: Losses::default(),
            asks: Vec::new(),
        }
    }

    /// Takes in what is new; while the view stands still, it is held back.
    pub fn update(&mut self, feed: Feed) {
        match feed {
            Feed::Saved(text) => self.saved = text,
            // An address that was opened meanwhile is shown.
            Feed::Detail(address, _) if self.waits_for(address) => self.take(feed),
            feed if self.is_paused => {
                // Of snapshots only the last counts, and of events the first ones.
                let same = std::mem::discriminant(&feed);
                if matches!(feed, Feed::Summary(_) | Feed::Detail(..) | Feed::Health(_) | Feed::Progress(_)) {
                    self.held.retain(|held| std::mem::discriminant(held) != same);
                }
                if self.held.len() < MOST_HELD {
                    self.held.push(feed);
                }
            }
            feed => self.take(feed),
        }
    }

    /// Takes in a click; true where something changed. The first row of the list is the fourth of the screen.
    pub fn click(&mut self, _column: u16, row: u16) -> bool {
        let is_list = self.pane == Pane::Addresses && self.detail.is_none() && !self.has_help;
        let at = self.top.get() + usize::from(row.saturating_sub(3));
        match self.report_at(at).map(|report| report.address).filter(|_| is_list && row >= 3) {
            Some(address) => {
                self.selected = Some(address);
                true
            }
            None => false,
        }
    }

    /// What the user asked for since the last call.
    pub fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// Whether this address is open, and its connections have not come yet.
    fn waits_for(&self, address: Address) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.address == address && detail.snapshot.is_none())
    }

    fn take(&mut self, feed: Feed) {
        match feed {
            Feed::Summary(summary) => self.take_summary(summary),
            Feed::Detail(address, snapshot) => self.take_detail(address, snapshot),
            Feed::Health(health) => self.take_health(health),
            Feed::Event(event, time_ns) => self.take_event(&event, time_ns),
            Feed::Notice(text, time_ns) => self.events.push_line(EventKind::Notice, text, time_ns),
            Feed::Progress(progress) => self.progress = progress,
            Feed::Saved(text) => self.saved = text,
        }
    }

    fn take_summary(&mut self, summary: Box<Summary>) {
        self.wall = summary.wall;
        self.rates.update(&summary.snapshot);
        self.round_trips = ranking::round_trips(&summary.snapshot);
        self.tell_losses(&summary);
        self.summary = Some(summary);
        self.rank();
    }

    /// Connections that were refused or evicted since the last snapshot are events.
    fn tell_losses(&mut self, summary: &Summary) {
        let (now, before, now_ns) = (summary.snapshot.losses, self.losses, summary.snapshot.now_ns);
        let mut tell = |now: u64, before: u64, one: &str, why: &str| {
            if now > before {
                let text = format!("{} {why}", count(now - before, one));
                self.events.push_line(EventKind::Loss, text, now_ns);
            }
        };
        tell(
            now.records_refused,
            before.records_refused,
            "record",
            "of new connections refused: the table is full (--max-flows)",
        );
        tell(
            now.addresses_forgotten,
            before.addresses_forgotten,
            "address",
            "forgotten to make room (--max-addresses)",
        );
        tell(now.flows_evicted, before.flows_evicted, "open flow", "evicted to make room (--max-flows)");
        self.losses = now;
    }

    fn take_detail(&mut self, address: Address, snapshot: Box<Snapshot>) {
        let calendar = Calendar { wall: self.wall, zone: &self.setup.zone };
        if let Some(detail) = self.detail.as_mut().filter(|detail| detail.address == address) {
            let shown = detail.charts.get(detail.chart).map(|(kind, _)| *kind);
            let of_kind = |kind| picture::charts(kind, &snapshot, Some(address), &calendar);
            detail.charts = KINDS
                .iter()
                .flat_map(|&kind| of_kind(kind).into_iter().map(move |one| (kind, one)))
                .collect();
            let stays = detail.charts.get(detail.chart).map(|(kind, _)| *kind) == shown;
            if !stays {
                let same = detail.charts.iter().position(|(kind, _)| Some(*kind) == shown);
                detail.chart = same.unwrap_or(0);
            }
            detail.snapshot = Some(snapshot);
        }
    }

    fn take_health(&mut self, health: Box<Health>) {
        self.wall = health.wall;
        let keep = |values: &mut VecDeque<f64>, value: f64| {
            if values.len() == MOST_VALUES {
                values.pop_front();
            }
            values.push_back(value);
        };
        keep(&mut self.frames_per_s, health.stats.rate(|counters| counters.seen));
        keep(&mut self.records_per_s, health.stats.rate(|counters| counters.emitted));
        let lost = health.stats.counters.ring_full;
        if lost > self.lost {
            let text = format!(
                "LOST: {}, because a ring buffer was full; raise --ring-size",
                count(lost - self.lost, "record")
            );
            self.events.push_line(EventKind::Loss, text, health.stats.now_ns);
        }
        self.lost = lost;
        self.health = Some(health);
    }

    fn take_event(&mut self, event: &Event, time_ns: u64) {
        if let Event::Rtt(news) = event {
            let median = news.interval.as_ref().and_then(|interval| interval.rtt.as_ref());
            if let Some(summary) = median {
                if self.rtt_s.len() == MOST_VALUES {
                    self.rtt_s.pop_front();
                }
                self.rtt_s.push_back(summary.median as f64 / 1e9);
            }
            return;
        }
        let calendar = Calendar { wall: self.wall, zone: &self.setup.zone };
        self.events.push_event(event, time_ns, &calendar);
        let kept = self.events.latest().filter_map(|entry| Some((entry.address?, entry.time_ns)));
        // The latest of an address comes last, and stays.
        self.news_ns = kept.rev().collect();
    }

    /// Lists the addresses anew; the chosen one stays chosen.
    pub(super) fn rank(&mut self) {
        let Some(summary) = &self.summary else { return };
        let figures = Figures {
            rates: &self.rates,
            over_all: self.is_over(),
            round_trips: &self.round_trips,
            news_ns: &self.news_ns,
        };
        self.listed = ranking::rank(&summary.snapshot, &self.filter, self.order, &figures);
        if self.chosen_at().is_none() {
            self.selected = self.report_at(0).map(|report| report.address);
        }
    }

    /// Whether a capture was read to its end.
    pub(super) fn is_over(&self) -> bool {
        !self.setup.is_live && self.progress.is_over
    }

    /// The address at a position of the list.
    pub(super) fn report_at(&self, at: usize) -> Option<&AddressReport> {
        let summary = self.summary.as_ref()?;
        summary.snapshot.addresses.get(*self.listed.get(at)?)
    }

    /// The position of the chosen address in the list.
    pub(super) fn chosen_at(&self) -> Option<usize> {
        let (summary, selected) = (self.summary.as_ref()?, self.selected?);
        self.listed.iter().position(|&at| summary.snapshot.addresses[at].address == selected)
    }

    /// The report on the address that the user looks at: with connections or, until those come, without.
    pub(super) fn shown(&self) -> Option<(&Detail, &AddressReport, &Snapshot)> {
        let detail = self.detail.as_ref()?;
        let own = detail.snapshot.as_deref();
        let all = self.summary.as_ref().map(|summary| &summary.snapshot);
        own.into_iter().chain(all).find_map(|snapshot| {
            let report = snapshot.addresses.iter().find(|report| report.address == detail.address)?;
            Some((detail, report, snapshot))
        })
    }

    /// Opens an address.
    pub(super) fn open(&mut self, address: Address) {
        self.scroll = 0;
        self.detail = Some(Detail {
            address,
            snapshot: None,
            charts: Vec::new(),
            chart: 0,
            machine: 0,
            part: Part::default(),
        });
        self.asks.push(Ask::Detail(Some(address)));
    }

    /// Closes the open address.
    pub(super) fn close(&mut self) {
        self.detail = None;
        self.scroll = 0;
        self.asks.push(Ask::Detail(None));
    }

    /// Lets the view stand still, or go on with what came meanwhile.
    pub(super) fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if !self.is_paused {
            std::mem::take(&mut self.held).into_iter().for_each(|feed| self.take(feed));
        }
        if !self.setup.is_live {
            self.asks.push(Ask::Hold(self.is_paused));
        }
    }

    /// The calendar of all times shown.
    pub(super) fn calendar(&self) -> Calendar<'_> {
        Calendar { wall: self.wall, zone: &self.setup.zone }
    }

    /// The latest counters of frames.
    pub(super) fn counters(&self) -> Counters {
        let of_summary = self.summary.as_ref().map(|summary| summary.counters);
        let of_health = self.health.as_ref().map(|health| health.stats.counters);
        match (of_health, of_summary) {
            (Some(a), Some(b)) if b.seen > a.seen => b,
            (Some(counters), _) | (None, Some(counters)) => counters,
            (None, None) => Counters::default(),
        }
    }

    /// The latest engine time, in nanoseconds.
    pub(super) fn now_ns(&self) -> u64 {
        let of_summary = self.summary.as_ref().map_or(0, |summary| summary.snapshot.now_ns);
        of_summary.max(self.health.as_ref().map_or(0, |health| health.stats.now_ns))
    }
}
