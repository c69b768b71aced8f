//! `tmap read`: capture files through the same parser and engine as live traffic.
//!
//! One thread reads and parses; the engine runs on other threads ([`worker`]).

mod canvas;
mod ending;
mod merge;
mod order;
mod progress;
mod repeats;
mod replay;
mod silence;
mod source;
mod visitor;
mod window;
mod worker;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    fmt::Display,
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};
use tmap_common::{Counters, fast, record::Tells};

use crate::{
    Outcome,
    capture::file::{Capture, Frame, LinkType, Location, ReadError, Room, Stop, Told},
    config::{Common, ReadConfig, TopConfig},
    deadline::Deadline,
    engine::{Event, Snapshot, Wanted},
    picture::MOST_REBOOTS,
    printable,
    report::{
        Capturing, Format, Sink, Stats, Summary, losses,
        number::{Calendar, count, grouped, span},
    },
    sandbox::{self, Needs, Role, folder_of},
    say,
    screen::terminal,
    signals::{Caught, Signals},
    time::{WallClock, When},
    with_advice,
};
use canvas::Canvas;
use ending::Ending;
use merge::Merge;
use order::Order;
use progress::Progress;
use repeats::Repeats;
use replay::Replay;
use silence::Silence;
use source::{Frames, Opener, Single};
use visitor::{FrameVisitor, reason};
use window::Window;
use worker::{Waiting, Workers};

/// How often the engine reviews what changed, in capture time.
const REVIEW_NS: u64 = 1_000_000_000;

/// Packets between two readings of the wall clock, which takes as long as parsing one.
const PACKETS_PER_LOOK: u32 = 256;

/// The time between two checks of signals, progress and statistics.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// Captures carry wall-clock time themselves.
const WALL: WallClock = WallClock { unix_minus_engine_ns: 0 };

/// Reads all files and hands reports to `reporter`.
///
/// # Errors
/// If a file cannot be opened (checked before anything is read), or a report cannot be written. A fault in
/// the content of a file is a warning: the packets before it are reported.
pub fn run(config: &ReadConfig, reporter: &mut dyn Sink) -> anyhow::Result<Outcome> {
    match &config.plot {
        Some(picture) if picture.is_alone => {
            let canvas = Canvas::open(picture, &config.files)?;
            run_with(config, None, &mut config.common.reporter(io::sink()), Some(canvas))
        }
        Some(picture) => {
            let canvas = Canvas::open(picture, &config.files)?;
            run_with(config, None, reporter, Some(canvas))
        }
        None => run_with(config, None, reporter, None),
    }
}

/// Shows all files on a screen until told to stop; then hands a summary to `reporter`.
///
/// # Errors
/// As [`run`]; also if standard output is no terminal.
pub fn run_on_screen(
    config: &ReadConfig,
    top: &TopConfig,
    reporter: &mut dyn Sink,
) -> anyhow::Result<Outcome> {
    if !terminal::is_there() {
        anyhow::bail!("standard output is no terminal; use `tmap read` to read without a screen");
    }
    if config.files.contains(&Location::Stdin) && io::stdin().is_terminal() {
        anyhow::bail!("standard input is the terminal, which has the keys; pipe a capture into it");
    }
    run_with(config, Some(top), reporter, None)
}

/// Reads all files, hands reports to `reporter`, and then draws.
fn run_with(
    config: &ReadConfig,
    top: Option<&TopConfig>,
    reporter: &mut dyn Sink,
    canvas: Option<Canvas<'_>>,
) -> anyhow::Result<Outcome> {
    for source in &config.files {
        if let Err(error) = source.check() {
            anyhow::bail!("{source}: {error}{}", hint(source, &error));
        }
    }
    for note in enter_sandbox(config, top.is_some()) {
        say(&note);
    }
    let signals = Caught::new()?.listen()?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let ending = Ending::new(Arc::clone(&signals));
    let stop = {
        let ending = ending.clone();
        Stop::new(move || ending.is_due()).with_turns()
    };
    let opener = Opener::new(bar.clone(), stop, Room::within(config.common.memory_bytes));
    let is_alone = canvas.as_ref().is_some_and(Canvas::is_alone);
    let takes_drafts = match &canvas {
        Some(canvas) if is_alone => canvas.takes_drafts(),
        _ => reporter.takes_drafts(),
    };
    let mut reading = Reading::new(config, reporter, (signals, ending), bar, takes_drafts)?;
    // A picture alone and a screen are no summaries.
    reading.deadline.follow(&reading.signals, !is_alone && top.is_none(), takes_drafts);
    if let Some(top) = top {
        reading.progress.hide(true);
        reading.replay = Some(Replay::open(config, top, &reading.signals)?);
        reading.waits_from_ns = if top.speed.is_some() { 0 } else { u64::MAX };
    }
    let (files, repeated) = distinct(&config.files);
    for source in repeated {
        reading.warn(format!("{source} is named more than once; it is read once"));
    }
    match files[..] {
        [only] => reading.frames(&mut Single::open(only, &opener), &only.to_string())?,
        _ => {
            let files: Vec<Location> = files.into_iter().cloned().collect();
            reading.frames(&mut Merge::new(&files, &opener), "these captures")?;
        }
    }
    reading.finish(canvas)
}

/// Gives up what reading doesn't take. Returns what this system can't do, to those who want to know it all.
fn enter_sandbox(config: &ReadConfig, has_screen: bool) -> Vec<String> {
    if !config.common.sandbox {
        return Vec::new();
    }
    let reads = config.files.iter().filter_map(|file| match file {
        Location::Path(path) => Some(path.clone()),
        Location::Stdin => None,
    });
    let page = config.common.page.as_ref().and_then(|page| page.path.as_deref());
    let plot = config.plot.as_ref().and_then(|plot| plot.out.as_deref());
    // A screen saves pages here.
    let here = has_screen.then(|| ".".into());
    let writes = page.into_iter().chain(plot).map(folder_of).chain(here).collect();
    let notes = sandbox::enter(&Needs { role: Role::Reader, reads: reads.collect(), writes });
    if config.common.view.verbose { notes } else { Vec::new() }
}

/// Each file once, by what the names lead to, and the names that lead to a file again.
fn distinct(files: &[Location]) -> (Vec<&Location>, Vec<&Location>) {
    let mut seen = HashSet::new();
    files.iter().partition(|source| match source {
        Location::Path(path) if source.is_regular() => {
            path.metadata().map_or(true, |metadata| seen.insert((metadata.dev(), metadata.ino())))
        }
        _ => true,
    })
}

/// What is said of a fault in a capture, of which the packets before it were read if it `has_begun`.
fn fault(source: &impl Display, error: &ReadError, has_begun: bool) -> String {
    let rest = if has_begun { "; the packets before it are reported" } else { "" };
    format!("{source}: {error}{rest}")
}

/// The warnings of what a capture lacks: times, and packets that its writer dropped.
fn lacks(source: &Location, capture: &Capture) -> Vec<String> {
    let mut warnings = Vec::new();
    let (untimed, Told { dropped, .. }) = (capture.untimed(), capture.told());
    if untimed > 0 {
        warnings.push(format!(
            "{source}: skipped {} without a capture time that a clock can have",
            count(untimed, "packet")
        ));
    }
    if dropped > 0 {
        warnings.push(format!(
            "{source}: its writer dropped {} beside the {} in it (interface statistics or drop counts); counts may \
             be low; capture with a larger buffer (-B) or a filter",
            count(dropped, "packet"),
            grouped(capture.packets())
        ));
    }
    warnings
}

/// What to do about a source that cannot be opened. Users of other tools write the filter after the file.
fn hint(source: &Location, error: &ReadError) -> &'static str {
    const WORDS: [&str; 9] = ["src", "dst", "host", "net", "port", "portrange", "tcp", "ip", "not"];
    match source {
        Location::Path(path) if WORDS.iter().any(|word| path.as_os_str() == *word) => {
            "; give a filter as one argument: --filter 'src net 10.0.0.0/8'"
        }
        _ => match error {
            ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => "; check the name",
            ReadError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "; read it as its owner or as root"
            }
            _ => "",
        },
    }
}

/// The state of a run.
struct Reading<'a> {
    config: &'a Common,
    /// How many captures there are.
    captures: usize,
    workers: Workers,
    reporter: &'a mut dyn Sink,
    counters: Counters,
    signals: Arc<Signals>,
    ending: Ending,
    silence: Silence,
    /// When somebody waits for an answer.
    deadline: Deadline,
    progress: Progress,
    warnings: Vec<String>,
    /// For the picture of machines' lives.
    reboots: Vec<Event>,
    order: Order,
    window: Window,
    repeats: RefCell<Repeats>,
    /// The range of time that the user wants, as written and, once a packet has told the day, in nanoseconds.
    wanted: (Option<When>, Option<When>),
    range_ns: Option<(u64, u64)>,
    next_review_ns: u64,
    /// When the resolution is to be settled again, engine time.
    next_settling_ns: u64,
    /// The resolution that the engine uses.
    resolution_ns: u64,
    stats: Option<Interval>,
    checked: Instant,
    /// Whether any capture could be opened, and has begun.
    has_any_begun: bool,
    /// What the captures tell of dropped packets; nothing before they were read.
    told: Told,
    /// The screen of `tmap top`, which then hears what the reporter would.
    replay: Option<Replay>,
    /// How that ended.
    closed: anyhow::Result<()>,
    /// Packets from this time on wait until it is their turn, in nanoseconds.
    waits_from_ns: u64,
}

/// The running `--stats` interval.
struct Interval {
    length: Duration,
    began: Instant,
    before: Counters,
}

impl<'a> Reading<'a> {
    fn new(
        config: &'a ReadConfig,
        reporter: &'a mut dyn Sink,
        (signals, ending): (Arc<Signals>, Ending),
        bar: ProgressBar,
        takes_drafts: bool,
    ) -> anyhow::Result<Self> {
        let ReadConfig { common, files, shards, from, to, .. } = config;
        let progress = Progress::new(bar);
        let waiting = Waiting::new(progress.clone(), Arc::clone(&signals), takes_drafts);
        let began = Instant::now();
        let tells = if common.engine.rtt.is_some() { Tells::Tsecr } else { Tells::PayloadBytes };
        Ok(Self {
            config: common,
            captures: files.len(),
            workers: Workers::start(&common.engine, *shards, waiting)?,
            reporter,
            counters: Counters::default(),
            signals,
            ending,
            silence: Silence::default(),
            deadline: Deadline::new(&common.engine.hurry),
            progress,
            warnings: Vec::new(),
            reboots: Vec::new(),
            order: Order::default(),
            window: Window::new(tells),
            repeats: RefCell::default(),
            wanted: (*from, *to),
            range_ns: None,
            next_review_ns: 0,
            next_settling_ns: 0,
            resolution_ns: 0,
            stats: common.stats.map(|length| Interval { length, began, before: Counters::default() }),
            checked: began,
            has_any_begun: false,
            told: Told::NOTHING,
            replay: None,
            closed: Ok(()),
            waits_from_ns: u64::MAX,
        })
    }

    /// Reads all packets, to the end or to where they can't be read any further.
    fn frames(&mut self, frames: &mut impl Frames, name: &str) -> anyhow::Result<()> {
        let mut foreign = BTreeMap::new();
        let read = self.packets(frames, &mut foreign)?;
        self.settle_resolution(frames);
        self.hand_on_all()?;
        self.has_any_begun = frames.has_any_begun();
        self.told = frames.told();
        // Who stops before anything came may have ended its writer, too.
        if self.has_any_begun || !self.signals.stop() || self.ending.was_put_off() {
            if let Err(error) = read {
                self.warn(fault(&name, &error, self.has_any_begun));
            }
            frames.take_faults().into_iter().for_each(|fault| self.warn(fault));
        }
        for (link_type, packets) in foreign {
            let packets = count(packets, "packet");
            self.warn(format!("{name}: skipped {packets} of link type {link_type}, which tmap cannot read"));
        }
        self.warn_of_order(name);
        Ok(())
    }

    /// Warns of times that can't be right.
    fn warn_of_order(&mut self, name: &str) {
        if let Some((late, late_s)) = self.order.late() {
            let (packets, late) = (count(late, "packet"), span(late_s));
            self.warn(format!(
                "{name}: left out {packets} that come up to {late} after later ones; sort the packets: \
                 reordercap IN OUT"
            ));
        }
        if let Some((from_ns, to_ns)) = self.order.leap() {
            let calendar = Calendar { wall: WALL, zone: &self.config.zone };
            let [from, to] = [from_ns, to_ns].map(|ns| calendar.local(ns as f64 / 1e9, 0.0));
            self.warn(format!(
                "{name}: times leap from {from} to {to}; if the clock was set then, read the parts apart: \
                 --from, --to"
            ));
        }
        if let Some((copies, later_s)) = self.repeats.get_mut().found() {
            let (copies, later) = (count(copies, "handshake segment"), span(later_s));
            self.warn(format!(
                "{name}: {copies} come again {later} later, so the same traffic is there twice, by clocks that \
                 differ; counts may be too high; read one of the two"
            ));
        }
    }

    /// Reads packets to the end. The inner result is that of reading, the outer one that of writing.
    fn packets(
        &mut self,
        frames: &mut impl Frames,
        foreign: &mut BTreeMap<LinkType, u64>,
    ) -> anyhow::Result<Result<(), ReadError>> {
        let mut until_look = PACKETS_PER_LOOK;
        loop {
            let frame = match frames.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(Ok(())),
                Err(error) if error.is_idle() => {
                    if !self.pause(frames)? {
                        return Ok(Ok(()));
                    }
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            };
            if frame.time_ns >= self.waits_from_ns && !self.wait_until(frame.time_ns)? {
                return Ok(Ok(()));
            }
            if self.is_in_range(frame.time_ns) && self.order.advance(frame.time_ns) {
                match frame.link {
                    Ok(_) => self.frame(&frame),
                    Err(link_type) => *foreign.entry(link_type).or_default() += 1,
                }
                if self.order.now_ns() >= self.next_settling_ns {
                    self.next_settling_ns = self.order.now_ns().saturating_add(REVIEW_NS);
                    self.settle_resolution(frames);
                }
                self.hand_on(self.order.now_ns())?;
            }
            until_look -= 1;
            if until_look == 0 {
                until_look = PACKETS_PER_LOOK;
                if !self.look()? {
                    return Ok(Ok(()));
                }
            }
        }
    }

    /// Hands on the segments that were held long enough at this engine time, and reviews what is due.
    #[inline(always)]
    fn hand_on(&mut self, now_ns: u64) -> io::Result<()> {
        while let Some(time_ns) = self.window.hand_on(now_ns, &mut self.workers) {
            if time_ns >= self.next_review_ns {
                self.review(time_ns)?;
            }
        }
        // Other packets show the time, too.
        if self.order.now_ns() >= self.next_review_ns && self.window.is_empty() {
            self.review(self.order.now_ns())?;
        }
        Ok(())
    }

    /// Hands on all segments that are held.
    #[inline(never)]
    fn hand_on_all(&mut self) -> io::Result<()> {
        self.hand_on(u64::MAX)
    }

    /// Does what is due where no packet came for a moment. False where reading ends.
    fn pause(&mut self, frames: &mut impl Frames) -> io::Result<bool> {
        if self.window.is_at_rest(Instant::now()) {
            self.hand_on_all()?;
        }
        self.look()?;
        if self.signals.stop() {
            // Where packets wait for their turns, the rest would take too long.
            if self.waits_from_ns == u64::MAX && frames.give_up() {
                self.ending.put_off();
            }
            return Ok(!self.ending.is_due());
        }
        let note = frames.awaited().and_then(|awaited| self.silence.hear(&awaited, Instant::now()));
        note.into_iter().for_each(|note| self.note(&printable(&note)));
        Ok(true)
    }

    /// Checks what is to be checked, if it is time for it. False where the user wants to end.
    #[inline(never)]
    fn look(&mut self) -> io::Result<bool> {
        if self.checked.elapsed() >= CHECK_EVERY {
            self.check()?;
        }
        Ok(!self.ending.is_due())
    }

    /// Whether a packet's time is one that the user wants.
    #[inline(always)]
    fn is_in_range(&mut self, time_ns: u64) -> bool {
        match self.range_ns {
            Some((from_ns, to_ns)) => (from_ns..=to_ns).contains(&time_ns),
            None => self.is_in_first_range(time_ns),
        }
    }

    /// Whether the first packet's time is one that the user wants: it tells the day.
    #[cold]
    fn is_in_first_range(&mut self, first_ns: u64) -> bool {
        let (from, to) = self.wanted;
        let zone = &self.config.zone;
        let from_ns = from.and_then(|from| from.unix_ns(first_ns, None, zone));
        // A range ends after it begins, and after the first packet.
        let to_ns = to.and_then(|to| to.unix_ns(first_ns, from_ns.or(Some(first_ns)), zone));
        self.range_ns = Some((from_ns.unwrap_or(0), to_ns.unwrap_or(u64::MAX)));
        self.is_in_range(first_ns)
    }

    /// Parses and counts one packet, in the steps that the kernel program takes.
    #[inline(always)]
    fn frame(&mut self, frame: &Frame<'_>) {
        self.counters.seen += 1;
        let Ok(link) = frame.link else { return };
        let decap = self.config.decap;
        let (now_ns, window) = (self.order.now_ns(), Cell::new(Some(&mut self.window)));
        let (filter, repeats) = (&self.config.filter, &self.repeats);
        let shards = self.workers.count();
        let visitor = FrameVisitor { frame, filter, repeats, now_ns, shards, window };
        let outcome = fast::visit(frame.bytes, link, decap, &visitor);
        let outcome = outcome.unwrap_or_else(|| visitor.slow_path(link, decap));
        match outcome {
            Ok(()) => self.counters.emitted += 1,
            Err(skip) => self.counters.skipped[reason(skip, frame.is_cut) as usize] += 1,
        }
    }

    fn review(&mut self, now_ns: u64) -> io::Result<()> {
        self.next_review_ns = now_ns.saturating_add(REVIEW_NS);
        self.workers.review(now_ns);
        self.tell_news()
    }

    /// Reports new events.
    fn tell_news(&mut self) -> io::Result<()> {
        let news = self.workers.news();
        if news.is_empty() {
            return Ok(());
        }
        self.progress.found(news.iter().map(|(event, _)| event));
        let reboots =
            news.iter().map(|(event, _)| event).filter(|event| matches!(event, Event::Reboot { .. }));
        self.reboots.extend(reboots.take(MOST_REBOOTS.saturating_sub(self.reboots.len())).cloned());
        if let Some(replay) = &mut self.replay {
            news.into_iter().for_each(|(event, now_ns)| replay.event(event, now_ns));
            return Ok(());
        }
        let reporter = &mut self.reporter;
        let mut tell = || news.iter().try_for_each(|(event, now_ns)| reporter.event(event, *now_ns, WALL));
        self.progress.bar.suspend(&mut tell)
    }

    /// Checks signals, progress and statistics.
    fn check(&mut self) -> io::Result<()> {
        self.checked = Instant::now();
        self.progress.show_if_slow();
        if self.replay.is_some() {
            return self.attend();
        }
        if self.signals.take_summary() {
            self.hand_on_all()?;
            let snapshot = self.workers.snapshot(self.order.now_ns(), self.config.wanted);
            self.write_summary(snapshot)?;
            self.silence.ask();
            if !self.signals.stop() {
                self.deadline.answered();
            }
        }
        let Some(interval) = &mut self.stats else { return Ok(()) };
        if interval.began.elapsed() < interval.length {
            return Ok(());
        }
        let holdings = self.workers.holdings();
        let stats = Stats {
            now_ns: self.order.now_ns(),
            interval_s: interval.began.elapsed().as_secs_f64(),
            counters: self.counters,
            before: interval.before,
            cpus: Vec::new(),
            holdings,
        };
        interval.began = Instant::now();
        interval.before = self.counters;
        let reporter = &mut self.reporter;
        self.progress.bar.suspend(|| reporter.stats(&stats, WALL))
    }

    /// Tells the engine the resolution of the capture times: that of the coarsest file.
    fn settle_resolution(&mut self, frames: &impl Frames) {
        let resolution_ns = frames.resolution_ns();
        if resolution_ns != self.resolution_ns {
            self.resolution_ns = resolution_ns;
            self.workers.set_resolution_ns(resolution_ns);
        }
    }

    fn finish(mut self, canvas: Option<Canvas<'_>>) -> anyhow::Result<Outcome> {
        let outcome = self.report_the_end(canvas);
        // Where the terminal failed, that is why nothing could be written to it.
        self.closed.and(outcome)
    }

    fn report_the_end(&mut self, mut canvas: Option<Canvas<'_>>) -> anyhow::Result<Outcome> {
        let Some(snapshot) = self.conclude(&mut canvas)? else { return Ok(Outcome::Interrupted) };
        self.progress.bar.finish_and_clear();
        let is_whole = snapshot.interrupted() == 0;
        self.late_warnings(&snapshot).into_iter().for_each(|warning| self.warn(warning));
        let warning = self.write(snapshot, &mut canvas.as_mut())?;
        warning.into_iter().for_each(|warning| self.warn(warning));
        Ok(Outcome::new(is_whole, &self.warnings))
    }

    /// Everything known at the end. Where somebody waits, what is known soon is written first. `None` where
    /// that was enough.
    fn conclude(&mut self, canvas: &mut Option<Canvas<'_>>) -> anyhow::Result<Option<Snapshot>> {
        loop {
            let snapshot = self.workers.conclude(self.order.now_ns(), self.config.wanted);
            let snapshot = self.show_the_end(snapshot)?;
            let (open, all) = (snapshot.interrupted(), snapshot.addresses.len());
            if open == 0 || self.signals.stop_now() {
                return Ok(Some(snapshot));
            }
            // What a draft lacks may come. A pipe gets no draft of a picture.
            self.write(snapshot, &mut canvas.as_mut().filter(|canvas| canvas.takes_drafts()))?;
            let mut again = String::new();
            if self.signals.stop() {
                self.signals.has_reported();
                if self.signals.stop_now() {
                    return Ok(None);
                }
                again.push_str("; another ^C stops");
            }
            self.signals.take_summary();
            self.deadline.answered();
            self.note(&format!(
                "finishing {} of {}{again}",
                grouped(open as u64),
                count(all as u64, "address")
            ));
        }
    }

    /// Writes the report and draws the picture. Returns a warning where there is nothing to draw.
    fn write(
        &mut self,
        snapshot: Snapshot,
        canvas: &mut Option<&mut Canvas<'_>>,
    ) -> anyhow::Result<Option<String>> {
        let is_json = self.config.format == Format::Json;
        let Some(canvas) = canvas.as_mut().filter(|canvas| canvas.is_alone()) else {
            let wants_connections = Wanted { connections: true, siblings: false };
            // Where nothing could be read, the error says it all.
            if self.has_any_begun || self.warnings.is_empty() || is_json {
                self.write_summary(snapshot)?;
            }
            let Some(canvas) = canvas else { return Ok(None) };
            let snapshot = self.workers.snapshot(self.order.now_ns(), wants_connections);
            return self.draw(canvas, &snapshot);
        };
        self.tell_news()?;
        self.draw(canvas, &snapshot)
    }

    fn draw(&self, canvas: &mut Canvas<'_>, snapshot: &Snapshot) -> anyhow::Result<Option<String>> {
        if !self.has_any_begun && !self.warnings.is_empty() {
            return Ok(None);
        }
        let calendar = Calendar { wall: WALL, zone: &self.config.zone };
        canvas.draw(snapshot, &self.reboots, &calendar)
    }

    fn write_summary(&mut self, snapshot: Snapshot) -> io::Result<()> {
        // Events come before the summary that includes them.
        self.tell_news()?;
        let summary = self.summary_of(snapshot);
        if self.signals.stop() {
            self.reporter.hurry();
        }
        let reporter = &mut self.reporter;
        self.progress.bar.suspend(|| reporter.summary(&summary))
    }

    /// A snapshot with all that a summary has besides.
    fn summary_of(&mut self, snapshot: Snapshot) -> Summary {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.late_warnings(&snapshot));
        Summary {
            snapshot,
            began_ns: self.order.began_ns(),
            counters: self.counters,
            capturing: Capturing::Before { dropped: self.told.dropped, is_whole: self.told.is_whole },
            holdings: self.workers.holdings(),
            outages: Vec::new(),
            wall: WALL,
            warnings,
        }
    }

    /// Warnings of what was lost so far, and of what failed, unless they were printed already.
    fn late_warnings(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut late = losses::heavy(snapshot, &self.counters);
        late.extend(losses::coarse_round_trips(snapshot, self.resolution_ns));
        late.extend(losses::failures(&self.workers.failed()));
        late.retain(|warning| !self.warnings.contains(warning));
        late
    }

    /// Prints a note, which is no warning.
    fn note(&self, text: &str) {
        if let Some(replay) = &self.replay {
            return replay.say(text, self.order.now_ns());
        }
        self.progress.bar.suspend(|| say(text));
    }

    /// Prints a warning, which also goes into the summary and the exit code.
    fn warn(&mut self, text: String) {
        let text = printable(&with_advice(text, self.captures));
        self.note(&text);
        self.warnings.push(text);
    }
}
