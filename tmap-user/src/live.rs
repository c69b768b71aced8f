//! `tmap live`: the sensor, the threads that take records in, and the control loop.
//!
//! ```text
//! kernel -> rings -> shard's thread (Flows)         <- requests - control loop -> reports (Sink)
//!                      | frozen sources  ^ outcomes                  ^
//!                      v                 |                           |
//!                    analysis threads (Analyst) -- events -----------'
//! ```
//!
//! With several shards, each has a share of the addresses and analysis threads of its own, and one more
//! thread empties the rings and distributes the records. The threads that take records in never wait for
//! analysis or output. Events that can't be passed on are counted, requests are answered between batches,
//! and all analysis runs on other threads, on frozen copies. The control loop owns the sensor's control
//! half. Another thread writes the reports, so the control loop waits for nobody who reads them, but for a
//! summary at the end; nor does it wait for whoever reads standard error.

mod analysis;
mod common;
mod drain;
mod intake;
mod news;
mod on_screen;
mod orders;
mod priority;
mod progress;
mod reports;
mod schedule;
mod shard;
mod sharer;

use std::{
    future::pending,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use tmap_common::{Counters, record::Slot};
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep};

use crate::{
    Outcome,
    capture::xdp::{self, Change, ChangeKind, Sensor, offload},
    config::{LiveConfig, TopConfig},
    deadline::Deadline,
    engine::{Holdings, Snapshot},
    printable,
    report::{
        Capturing, Outage, Sink, Stats, Summary, losses,
        number::{Calendar, count, first_of, grouped, span},
        sensor::{Heartbeat, Notice},
        stats::CpuStats,
    },
    sandbox::{self, Needs, Role, folder_of},
    say_if_read,
    screen::terminal,
    signals::{Caught, Signals},
    time::{WallClock, is_namespace_known, now_ns},
};
use drain::Drain;
use news::News;
use on_screen::{OnScreen, ScreenWake};
use orders::{Orders, Progress};
use reports::Reports;

/// How often anomalies are reported, and failures of threads noticed.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often interfaces and programs are checked where no news of interfaces came: the kernel says nothing of
/// programs. Where no news can come, they are checked more often.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const CHECK_WITHOUT_NEWS_EVERY: Duration = Duration::from_millis(500);

/// The pause between two checks of which the first left something to the second: what else waits comes first.
const CHECK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The most interfaces that a line names.
const MAX_NAMED: usize = 4;

/// How often it is looked whether somebody doesn't want to wait any longer.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is known comes within this time, unless a thread is stuck.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// The most warnings kept for the summary: an interface may come and go for months.
const MAX_WARNINGS: usize = 100;

/// The time after which no packet is left inside a program that was detached.
const IN_FLIGHT: Duration = Duration::from_millis(5);

/// Watches the interfaces until told to stop, and hands reports to `sink`.
///
/// # Errors
/// If the sensor can't be attached, a report can't be written, or a thread that takes records in failed.
pub fn run(config: &LiveConfig, sink: &mut (dyn Sink + Send)) -> anyhow::Result<Outcome> {
    run_with(config, None, sink)
}

/// Watches the interfaces and shows what is found on a screen until told to stop; then hands a summary to
/// `sink`.
///
/// # Errors
/// As [`run`]; also if standard output is no terminal.
pub fn run_on_screen(
    config: &LiveConfig,
    top: &TopConfig,
    sink: &mut (dyn Sink + Send),
) -> anyhow::Result<Outcome> {
    if !terminal::is_there() {
        bail!("standard output is no terminal; use `tmap live` to watch without a screen");
    }
    run_with(config, Some(top), sink)
}

fn run_with(
    config: &LiveConfig,
    top: Option<&TopConfig>,
    sink: &mut (dyn Sink + Send),
) -> anyhow::Result<Outcome> {
    if !is_namespace_known() {
        bail!(
            "tmap was started in the time namespace of its parent; start it as a child: unshare --time --fork"
        );
    }
    let caught = Caught::new()?;
    // Before interfaces are listed: what changes from then on is news.
    let news = xdp::News::open();
    let (sensor, rings) = Sensor::open(&sensor_config(config))?;
    let notes = enter_sandbox(config, top.is_some());
    let signals = caught.listen()?;
    let mut said: Vec<String> = sensor.attachments().iter().map(ToString::to_string).collect();
    if top.is_none() {
        said.push(how_it_ends(config));
    }
    said.extend(warnings_of_merging(&sensor.watched()));
    said.extend(notes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // The screen's timers begin here.
    let _inside = runtime.enter();
    let deadline = Deadline::new(&config.common.engine.hurry);
    // A screen has no summary on request.
    deadline.follow(&signals, top.is_none(), sink.takes_drafts());
    let drain = Drain::start(rings, &config.common.engine, config.shards)?;
    // After the other threads, which would begin with the same priority.
    priority::hurry();
    sandbox::settle();
    let screen = top.map(|top| OnScreen::open(config, top, &signals)).transpose()?;
    thread::scope(|scope| {
        let (reports, writer) = Reports::start(scope, sink)?;
        let control = Control {
            config,
            reports,
            deadline,
            drain,
            began_ns: now_ns(),
            before: Counters::default(),
            stats_began: Instant::now(),
            beat: (Instant::now(), 0),
            warnings: Vec::new(),
            warnings_left_out: 0,
            sensor,
            news: News::of(news),
            orders: Orders::default(),
            screen,
        };
        said.iter().for_each(|line| control.say(line));
        reports::joined(writer, runtime.block_on(control.run(signals)))
    })
}

/// When the report is written: at ^C or a signal and, with `--duration`, by itself.
fn how_it_ends(config: &LiveConfig) -> String {
    let (ends, now) = match config.common.page {
        Some(_) => ("writes the page", "writes it now"),
        None => ("ends with a summary", "prints one now"),
    };
    let by_itself = config.duration.map_or_else(String::new, |duration| {
        format!(", and so does the end of --duration in {}", span(duration.as_secs_f64()))
    });
    format!("^C {ends}{by_itself}; kill -USR1 {} {now}", std::process::id())
}

/// Gives up what watching doesn't take from now on. Returns what this system can't do.
fn enter_sandbox(config: &LiveConfig, has_screen: bool) -> Vec<String> {
    if !config.common.sandbox {
        return Vec::new();
    }
    let page = config.common.page.as_ref().and_then(|page| page.path.as_deref()).map(folder_of);
    // A screen saves pages here.
    let here = has_screen.then(|| ".".into());
    sandbox::enter(&Needs {
        role: Role::Sensor,
        reads: Vec::new(),
        writes: page.into_iter().chain(here).collect(),
    })
}

/// `wan, lan`, `a, b, c, d and 3 more`.
fn named(names: &[&str]) -> String {
    first_of(&names[..names.len().min(MAX_NAMED)], names.len())
}

/// Warnings of interfaces that merge segments, because their arrival times are then too late.
fn warnings_of_merging(interfaces: &[&str]) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in interfaces {
        // Where the kernel doesn't report the features, there is no warning.
        for feature in offload::merging(name).unwrap_or_default() {
            warnings.push(format!(
                "{name}: {feature} merges segments, which makes clocks and round trips less exact; \
                 turn it off with `ethtool -K {name} {feature} off`"
            ));
        }
    }
    warnings
}

/// The part of the configuration that concerns the sensor.
fn sensor_config(config: &LiveConfig) -> xdp::Config {
    xdp::Config {
        interfaces: config.interfaces.clone(),
        wait: config.wait,
        promiscuous: config.promiscuous,
        xdp_mode: config.xdp_mode,
        egress: config.egress,
        decap: config.common.decap,
        every_packet: config.every_packet,
        round_trips: config.common.engine.rtt.is_some(),
        filter: config.common.filter.tests().to_vec(),
        ring_slots: config
            .ring_bytes
            .map(|bytes| bytes.div_ceil(size_of::<Slot>()).try_into().unwrap_or(u32::MAX)),
        ..xdp::Config::default()
    }
}

/// The control loop's state.
struct Control<'a> {
    config: &'a LiveConfig,
    reports: Reports,
    /// When somebody waits for an answer.
    deadline: Deadline,
    drain: Drain,
    /// Engine time when watching began, in nanoseconds.
    began_ns: u64,
    /// The counters at the beginning of the current `--stats` interval, and its time.
    before: Counters,
    stats_began: Instant,
    /// The beginning of the current `--every` interval, and the frames seen until then.
    beat: (Instant, u64),
    warnings: Vec<String>,
    /// Warnings beyond [`MAX_WARNINGS`].
    warnings_left_out: u64,
    sensor: Sensor,
    news: News,
    orders: Orders,
    /// The screen of `tmap top`, which then hears of events.
    screen: Option<OnScreen>,
}

/// The reason why the control loop woke.
enum Wake {
    Signal,
    Event(Option<common::Timed>),
    Stats,
    Heartbeat,
    Housekeeping,
    Interfaces,
    TimeUp,
    Order(Progress),
    /// No report will be written any more.
    Unwritten,
    Screen(ScreenWake),
}

impl Control<'_> {
    async fn run(mut self, signals: Arc<Signals>) -> anyhow::Result<Outcome> {
        let mut stats = self.config.common.stats.map(ticks);
        let mut every = self.config.every.map(ticks);
        let mut housekeeping = ticks(HOUSEKEEPING);
        let mut check = ticks(if self.news.is_heard() { CHECK_EVERY } else { CHECK_WITHOUT_NEWS_EVERY });
        let time_up = time_up(self.config.duration);
        tokio::pin!(time_up);
        self.check_interfaces()?;
        loop {
            let wake = tokio::select! {
                () = signals.changed() => Wake::Signal,
                event = next_event(&self.reports, &mut self.drain.events) => Wake::Event(event),
                () = tick(&mut stats) => Wake::Stats,
                () = tick(&mut every) => Wake::Heartbeat,
                _ = housekeeping.tick() => Wake::Housekeeping,
                _ = check.tick() => Wake::Interfaces,
                () = self.news.come() => Wake::Interfaces,
                () = &mut time_up => Wake::TimeUp,
                progress = self.orders.next() => Wake::Order(progress),
                () = self.reports.closed() => Wake::Unwritten,
                wake = on_screen::next(&mut self.screen) => Wake::Screen(wake),
            };
            match wake {
                Wake::Signal if signals.stop() => return self.finish(&signals).await,
                Wake::Signal => {
                    if signals.take_summary() && !self.refresh_screen() {
                        self.order_summary();
                    }
                }
                Wake::TimeUp => return self.finish(&signals).await,
                Wake::Order(progress) => self.deliver(progress, &signals)?,
                Wake::Unwritten => return Err(reports::over()),
                Wake::Event(Some(event)) => self.event(event)?,
                // All threads have failed.
                Wake::Event(None) => return self.finish(&signals).await,
                Wake::Stats => self.stats().await?,
                Wake::Heartbeat => self.heartbeat().await?,
                Wake::Housekeeping => {
                    if self.drain.has_failed() {
                        return self.finish(&signals).await;
                    }
                    for line in self.sensor.anomalies() {
                        self.say(&line);
                    }
                }
                Wake::Interfaces => {
                    if self.check_interfaces()? {
                        return self.finish(&signals).await;
                    }
                    if self.sensor.is_unfinished() {
                        check.reset_after(CHECK_AGAIN_AFTER);
                    }
                }
                Wake::Screen(wake) => {
                    if self.attend_screen(wake).await {
                        return self.finish(&signals).await;
                    }
                }
            }
        }
    }

    /// Tells the user a line: on standard error or, where there is a screen, on that.
    fn say(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.say(text),
            None => say_if_read(text),
        }
    }

    fn event(&mut self, event: common::Timed) -> anyhow::Result<()> {
        if let Some(screen) = &mut self.screen {
            screen.event(&event);
            return Ok(());
        }
        self.reports.event(event)
    }

    /// Says what became of interfaces. True where none is left to watch.
    fn check_interfaces(&mut self) -> anyhow::Result<bool> {
        let changes = self.sensor.check(Instant::now());
        let is_empty = self.sensor.watched().is_empty() && !self.sensor.is_unfinished();
        let is_over = is_empty && !self.config.wait;
        for change in &changes {
            self.change(change, is_over)?;
        }
        Ok(is_over)
    }

    fn change(&mut self, change: &Change, is_over: bool) -> anyhow::Result<()> {
        let Change { interface, kind, text } = change;
        let outlook = match kind {
            ChangeKind::Gone | ChangeKind::Failed if is_over => "; ending with what was seen".to_owned(),
            ChangeKind::Gone | ChangeKind::Failed => match &self.sensor.watched()[..] {
                [] => "; waiting until it can be watched".to_owned(),
                others => format!("; going on with {} until it can be watched", named(others)),
            },
            _ => String::new(),
        };
        let text = format!("{text}{outlook}");
        let now_ns = now_ns();
        let calendar = Calendar { wall: WallClock::of_live(), zone: &self.config.common.zone };
        let line = format!("{}  {text}", calendar.local(now_ns as f64 / 1e9, 0.0));
        if kind.is_loss() {
            self.warn(line);
        } else {
            self.say(&line);
        }
        self.reports.notice(Notice { now_ns, interface: interface.clone(), change: kind.name(), text })
    }

    async fn heartbeat(&mut self) -> anyhow::Result<()> {
        let holdings = self.drain.holdings().await;
        let counters = self.sensor.statistics().total();
        let (began, before) = std::mem::replace(&mut self.beat, (Instant::now(), counters.seen));
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let beat = Heartbeat {
            now_ns: now_ns(),
            interval_s: began.elapsed().as_secs_f64(),
            counters,
            seen: counters.seen.saturating_sub(before),
            holdings,
            watched: names(self.sensor.watched()),
            unwatched: names(self.sensor.unwatched()),
        };
        if self.reports.wants_changes {
            return self.order_changes(beat);
        }
        self.reports.heartbeat(beat, None)
    }

    async fn stats(&mut self) -> anyhow::Result<()> {
        let stats = self.take_stats().await;
        self.reports.stats(stats)
    }

    /// The statistics since they were last taken.
    async fn take_stats(&mut self) -> Stats {
        let state = self.drain.holdings().await;
        let statistics = self.sensor.statistics();
        let counters = statistics.total();
        let slots = f64::from(statistics.ring_slots.max(1));
        let cpu = |(cpu, of_cpu): (usize, &xdp::CpuStatistics)| CpuStats {
            cpu,
            ring_fill_percent: of_cpu.ring_fill as f64 / slots * 100.0,
            ring_full: of_cpu.counters.ring_full,
            seen: of_cpu.counters.seen,
        };
        let stats = Stats {
            now_ns: now_ns(),
            interval_s: self.stats_began.elapsed().as_secs_f64(),
            counters,
            before: self.before,
            cpus: statistics.cpus.iter().enumerate().map(cpu).collect(),
            holdings: state,
        };
        self.before = counters;
        self.stats_began = Instant::now();
        stats
    }

    /// Writes a summary. Returns how many addresses were not analysed to the end, and how many there are.
    async fn write(&mut self, found: (Snapshot, Holdings)) -> anyhow::Result<(usize, usize)> {
        let summary = self.summary_of(found);
        let counts = (summary.snapshot.interrupted(), summary.snapshot.addresses.len());
        self.reports.summary(summary).await?;
        Ok(counts)
    }

    /// Writes the last summary. Where somebody waits, one with what is known soon comes first, and that is
    /// what was found. Returns whether all was analysed to the end.
    async fn conclude(&mut self, found: (Snapshot, Holdings), signals: &Signals) -> anyhow::Result<bool> {
        let (mut open, mut all) = self.write_last(found).await?;
        while open > 0 {
            let mut again = String::new();
            if signals.stop() {
                signals.has_reported();
                if signals.stop_now() {
                    return Ok(false);
                }
                again.push_str("; another ^C stops");
            }
            self.deadline.answered();
            let of_all = count(all as u64, "address");
            self.say(&format!("finishing {} of {of_all}{again}", grouped(open as u64)));
            let snapshot = self.drain.snapshot(self.config.common.wanted, patience(signals));
            let found = self.drain.analysed.show(all, snapshot).await;
            (open, all) = self.write_last(found).await?;
        }
        Ok(true)
    }

    /// Writes a summary after the end, and warns of what it lacks.
    async fn write_last(&mut self, found: (Snapshot, Holdings)) -> anyhow::Result<(usize, usize)> {
        let late = self.late_warnings(&found.0, &self.sensor.statistics().total());
        late.into_iter().for_each(|warning| self.warn(warning));
        self.write(found).await
    }

    /// Warnings of what was lost so far, and of what failed, unless they were printed already.
    fn late_warnings(&self, snapshot: &Snapshot, counters: &Counters) -> Vec<String> {
        let mut late = losses::heavy(snapshot, counters);
        late.extend(losses::failures(&self.drain.failed()));
        if self.drain.gave_up() {
            late.push(
                "a part of tmap did not answer, so addresses are missing; please report this".to_owned(),
            );
        }
        late.retain(|warning| !self.warnings.contains(warning));
        late
    }

    /// A snapshot with all that a summary has besides.
    fn summary_of(&self, (snapshot, holdings): (Snapshot, Holdings)) -> Summary {
        let counters = self.sensor.statistics().total();
        let mut warnings = self.warnings_so_far();
        warnings.extend(self.late_warnings(&snapshot, &counters));
        let (began_ns, wall) = (self.began_ns, WallClock::of_live());
        let capturing = Capturing::BySensor { egress: self.config.egress };
        let outages = self.sensor.outages(Instant::now()).into_iter().map(outage).collect();
        Summary { snapshot, began_ns, counters, capturing, holdings, outages, wall, warnings }
    }

    /// Detaches the sensor, takes in the records that are still in the rings, and writes the summary.
    async fn finish(mut self, signals: &Signals) -> anyhow::Result<Outcome> {
        // First, so that the user sees what comes, and can interrupt it.
        let closed = self.close_screen();
        // Before any reader is waited for: what comes after the end isn't counted.
        self.sensor.detach();
        sleep(IN_FLIGHT).await;
        let outcome = self.report_the_end(signals).await;
        // Where the terminal failed, that is why nothing could be written to it.
        closed.and(outcome)
    }

    async fn report_the_end(&mut self, signals: &Signals) -> anyhow::Result<Outcome> {
        let found = self.take_the_last(signals).await?;
        self.pass_on_the_rest(signals).await?;
        self.warn_of_what_is_not_written();
        let is_complete = self.conclude(found, signals).await?;
        Ok(Outcome::new(is_complete, &self.warnings))
    }

    /// Takes in the rest and then a snapshot, while a summary that was ordered before is written: its reader
    /// may take hours.
    async fn take_the_last(&mut self, signals: &Signals) -> anyhow::Result<(Snapshot, Holdings)> {
        self.deliver_what_is_under_way(signals).await?;
        let writing = self.orders.take_writing();
        let written = async {
            tokio::select! {
                written = writing => written,
                () = patience(signals) => Ok(()),
            }
        };
        let last = async {
            self.drain.take_in_the_rest(patience(signals)).await;
            let found = self.drain.snapshot(self.config.common.wanted, patience(signals)).await;
            // From here on a reader is waited for, and no analysis.
            self.deadline.answered();
            Ok(found)
        };
        tokio::try_join!(written, last).map(|((), found)| found)
    }

    /// Passes on the events that are left. Where nobody reads and the user doesn't wait any longer, the
    /// others count as missed.
    async fn pass_on_the_rest(&mut self, signals: &Signals) -> anyhow::Result<()> {
        while let Ok(event) = self.drain.events.try_recv() {
            tokio::select! {
                () = self.reports.have_room() => self.event(event)?,
                () = patience(signals) => self.drain.leave_out(&event),
            }
        }
        Ok(())
    }

    fn warn_of_what_is_not_written(&mut self) {
        let missed = self.drain.events_missed();
        if missed > 0 {
            self.warn(format!(
                "{missed} events were not printed: they came faster than they could be written; see the summary"
            ));
        }
        match self.reports.left_out() {
            0 => {}
            1 => self.warn("1 report was not written: nobody read those before it".to_owned()),
            more => self.warn(format!("{more} reports were not written: nobody read those before them")),
        }
    }

    fn warn(&mut self, text: String) {
        let text = printable(&text);
        self.say(&text);
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(text);
        } else {
            self.warnings_left_out += 1;
        }
    }

    /// The first warnings, and how many more there were.
    fn warnings_so_far(&self) -> Vec<String> {
        let more = self.warnings_left_out;
        let more = (more > 0).then(|| format!("{more} more warnings, which standard error had"));
        self.warnings.iter().cloned().chain(more).collect()
    }
}

/// An interface that was down, for a report.
fn outage(outage: xdp::Outage) -> Outage {
    let xdp::Outage { interface, times, down_s, is_down } = outage;
    Outage { interface, times, down_s, is_down }
}

/// The next event, once there is room to pass it on.
async fn next_event(
    reports: &Reports,
    events: &mut tokio::sync::mpsc::Receiver<common::Timed>,
) -> Option<common::Timed> {
    reports.have_room().await;
    events.recv().await
}

/// A timer whose first tick comes after one period; missed ticks are skipped.
fn ticks(period: Duration) -> Interval {
    let mut interval = interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Waits for the next tick of a timer, or for ever if there is none.
async fn tick(timer: &mut Option<Interval>) {
    match timer {
        Some(timer) => {
            timer.tick().await;
        }
        None => pending().await,
    }
}

/// Waits until a second request to stop was made, and then as long as answers take that come at all.
async fn patience(signals: &Signals) {
    while !signals.stop_now() {
        sleep(LOOK_EVERY).await;
    }
    sleep(ANSWERS_WITHIN).await;
}

/// Waits until the run's duration is over, or forever without one.
async fn time_up(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => pending().await,
    }
}
