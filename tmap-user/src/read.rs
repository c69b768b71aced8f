//! `tmap read`: capture files through the same parser and engine as live traffic.
//!
//! One thread reads and parses; the engine runs on other threads ([`worker`]).

mod worker;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tmap_common::{Counters, Link, Record, Segment, Skip, fast, parse, record::Direction};

use crate::{
    Outcome,
    capture::file::{Capture, Frame, LinkType, Location, ReadError},
    config::{Common, ReadConfig},
    engine::{Snapshot, Wanted},
    filter::Program,
    report::{
        Reporter, Stats, Summary,
        number::{Calendar, count},
        plot,
    },
    signals::Signals,
    time::WallClock,
};
use worker::Workers;

/// How often the engine reviews what changed, in capture time.
const REVIEW_NS: u64 = 1_000_000_000;

/// A larger step in time is believed only when the next packet confirms it.
const LEAP_NS: u64 = 3_600 * 1_000_000_000;

/// Packets between two checks of signals, progress and the wall clock.
const PACKETS_PER_CHECK: u32 = 8_192;

/// A file that takes no longer than this to read needs no progress bar.
const PROGRESS_AFTER: Duration = Duration::from_millis(700);

/// Captures carry wall-clock time themselves.
const WALL: WallClock = WallClock { unix_minus_engine_ns: 0 };

/// Reads all files and writes reports to `out`.
///
/// # Errors
/// If a file cannot be opened (checked before anything is read), or `out` cannot be written. A fault in the
/// content of a file is a warning: the packets before it are reported.
pub fn run(config: &ReadConfig, out: impl Write) -> anyhow::Result<Outcome> {
    let plot = config.plot.as_deref().map(create).transpose()?;
    for source in &config.files {
        if let Err(error) = source.open() {
            anyhow::bail!("{source}: {error}{}", hint(source, &error));
        }
    }
    let mut reading = Reading::new(&config.common, config.shards, out)?;
    for source in &config.files {
        reading.file(source)?;
        if reading.signals.stop() {
            break;
        }
    }
    reading.finish(plot)
}

/// Creates the picture's file before hours are spent on its content.
fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot write the plot to {}", path.display()))
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
struct Reading<'a, W> {
    config: &'a Common,
    workers: Workers,
    reporter: Reporter<W>,
    counters: Counters,
    signals: std::sync::Arc<Signals>,
    progress: Progress,
    warnings: Vec<String>,
    /// The latest time seen: packets may come out of order, the engine's time never runs back.
    now_ns: u64,
    /// The time of the last packet, even where it was an outlier.
    last_ns: u64,
    next_review_ns: u64,
    /// The resolution that the engine uses, and the coarsest of the files already read.
    resolution_ns: u64,
    coarsest_ns: u64,
    stats: Option<Interval>,
}

/// The parser's visitor: it passes a frame's segment through the filter to the engine.
struct FrameVisitor<'a> {
    frame: &'a Frame<'a>,
    filter: &'a Program,
    /// Taken when the segment is passed on, which happens once: a frame holds one segment at most.
    workers: Cell<Option<&'a mut Workers>>,
}

/// The reason to count for a frame that the parser skipped: one that was cut when captured isn't malformed.
fn reason(skip: Skip, is_cut: bool) -> Skip {
    let ends_early =
        matches!(skip, Skip::LinkTruncated | Skip::IpTruncated | Skip::TunnelTruncated | Skip::TcpTruncated);
    if is_cut && ends_early { Skip::SnapCut } else { skip }
}

impl FrameVisitor<'_> {
    /// Parses what the fast path leaves: handshakes, tunnels, whatever is rare.
    #[inline(never)]
    fn slow_path(&self, link: Link, decap: bool) -> Result<(), Skip> {
        self.take(parse::walk(self.frame.bytes, link, decap)?)
    }

    #[inline(always)]
    fn take(&self, segment: Segment) -> Result<(), Skip> {
        if !self.filter.accepts(&segment) {
            return Err(Skip::Filtered);
        }
        if let Some(workers) = self.workers.take() {
            let Frame { time_ns, .. } = *self.frame;
            workers.observe(&Record { time_ns, direction: Direction::Ingress, suppressed: 0, segment });
        }
        Ok(())
    }
}

impl fast::Visitor for FrameVisitor<'_> {
    type Outcome = Result<(), Skip>;

    #[inline(always)]
    fn segment(&self, offsets: &fast::HeaderOffsets) -> Self::Outcome {
        self.take(offsets.segment(self.frame.bytes).ok_or(Skip::TcpTruncated)?)
    }

    #[inline(always)]
    fn skip(&self, skip: Skip) -> Self::Outcome {
        Err(skip)
    }
}

/// The running `--stats` interval.
struct Interval {
    length: Duration,
    began: Instant,
    before: Counters,
}

impl<'a, W: Write> Reading<'a, W> {
    fn new(config: &'a Common, shards: Option<usize>, out: W) -> anyhow::Result<Self> {
        Ok(Self {
            config,
            workers: Workers::start(&config.engine, shards)?,
            reporter: Reporter::new(out, config.format, config.zone.clone()).with_view(config.view.clone()),
            counters: Counters::default(),
            signals: Signals::listen()?,
            progress: Progress::new(),
            warnings: Vec::new(),
            now_ns: 0,
            last_ns: 0,
            next_review_ns: 0,
            resolution_ns: 0,
            coarsest_ns: 0,
            stats: config.stats.map(|length| Interval {
                length,
                began: Instant::now(),
                before: Counters::default(),
            }),
        })
    }

    /// Reads one file to its end, or to where it can't be read any further.
    fn file(&mut self, source: &Location) -> anyhow::Result<()> {
        let began_ns = self.now_ns;
        let mut foreign = BTreeMap::new();
        let mut first_ns = None;
        let opened = self.open(source);
        match opened {
            Err(error) => self.warn(format!("{source}: {error}")),
            Ok(mut capture) => {
                let result = self.packets(&mut capture, &mut foreign, &mut first_ns)?;
                if let Err(error) = result {
                    self.warn(format!("{source}: {error}; the packets before it are reported"));
                }
                if capture.untimed() > 0 {
                    let packets = count(capture.untimed(), "packet");
                    self.warn(format!("{source}: skipped {packets} without a capture time"));
                }
                self.settle_resolution(&capture);
                self.coarsest_ns = self.resolution_ns;
            }
        }
        for (link_type, packets) in foreign {
            let packets = count(packets, "packet");
            self.warn(format!(
                "{source}: skipped {packets} of link type {link_type}, which tmap cannot read"
            ));
        }
        if first_ns.is_some_and(|first_ns| first_ns.saturating_add(REVIEW_NS) < began_ns) {
            self.warn(format!(
                "{source} begins before the previous file ends; name the files in order of time, each once"
            ));
        }
        Ok(())
    }

    /// Maps a file, or reads what can't be mapped.
    fn open(&self, source: &Location) -> Result<Capture, ReadError> {
        let (reader, length) = source.open()?;
        self.progress.file(source, length);
        match source.map()? {
            Some(capture) => Ok(capture),
            None => Capture::new(self.progress.count(reader)),
        }
    }

    /// Reads packets to the end. The inner result is that of reading, the outer one that of writing.
    fn packets(
        &mut self,
        capture: &mut Capture,
        foreign: &mut BTreeMap<LinkType, u64>,
        first_ns: &mut Option<u64>,
    ) -> anyhow::Result<Result<(), ReadError>> {
        let mut until_check = PACKETS_PER_CHECK;
        loop {
            let frame = match capture.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            first_ns.get_or_insert(frame.time_ns);
            self.advance(frame.time_ns);
            match frame.link {
                Ok(_) => self.frame(&frame),
                Err(link_type) => *foreign.entry(link_type).or_default() += 1,
            }
            if self.now_ns >= self.next_review_ns {
                self.settle_resolution(capture);
                self.review()?;
            }
            until_check -= 1;
            if until_check == 0 {
                until_check = PACKETS_PER_CHECK;
                if let Some(offset) = capture.mapped_offset() {
                    self.progress.bar.set_position(offset);
                }
                self.check()?;
                if self.signals.stop() {
                    return Ok(Ok(()));
                }
            }
        }
    }

    /// Advances engine time. One absurd time must not carry it off into the future, so a leap is believed
    /// only when the next packet confirms it.
    fn advance(&mut self, time_ns: u64) {
        let leaps = time_ns > self.now_ns.saturating_add(LEAP_NS);
        if !leaps || self.now_ns == 0 || time_ns.abs_diff(self.last_ns) <= LEAP_NS {
            self.now_ns = self.now_ns.max(time_ns);
        }
        self.last_ns = time_ns;
    }

    /// Parses and counts one packet, in the steps that the kernel program takes.
    #[inline(always)]
    fn frame(&mut self, frame: &Frame<'_>) {
        self.counters.seen += 1;
        let Ok(link) = frame.link else { return };
        let decap = self.config.decap;
        let workers = Cell::new(Some(&mut self.workers));
        let visitor = FrameVisitor { frame, filter: &self.config.filter, workers };
        let outcome = fast::visit(frame.bytes, link, decap, &visitor);
        let outcome = outcome.unwrap_or_else(|| visitor.slow_path(link, decap));
        match outcome {
            Ok(()) => self.counters.emitted += 1,
            Err(skip) => self.counters.skipped[reason(skip, frame.is_cut) as usize] += 1,
        }
    }

    fn review(&mut self) -> io::Result<()> {
        self.next_review_ns = self.now_ns.saturating_add(REVIEW_NS);
        self.workers.review(self.now_ns);
        self.tell_news()
    }

    /// Reports new events.
    fn tell_news(&mut self) -> io::Result<()> {
        let news = self.workers.news();
        if news.is_empty() {
            return Ok(());
        }
        let reporter = &mut self.reporter;
        let mut tell = || news.iter().try_for_each(|(event, now_ns)| reporter.event(event, *now_ns, WALL));
        self.progress.bar.suspend(&mut tell)
    }

    /// Checks signals and statistics.
    fn check(&mut self) -> io::Result<()> {
        self.progress.show_if_slow();
        if self.signals.take_summary() {
            let snapshot = self.workers.snapshot(self.now_ns, self.config.wanted);
            self.write_summary(snapshot)?;
        }
        let Some(interval) = &mut self.stats else { return Ok(()) };
        if interval.began.elapsed() < interval.length {
            return Ok(());
        }
        let holdings = self.workers.holdings();
        let stats = Stats {
            now_ns: self.now_ns,
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
    fn settle_resolution(&mut self, capture: &Capture) {
        let resolution_ns = self.coarsest_ns.max(capture.resolution_ns());
        if resolution_ns != self.resolution_ns {
            self.resolution_ns = resolution_ns;
            self.workers.set_resolution_ns(resolution_ns);
        }
    }

    fn finish(mut self, plot: Option<File>) -> anyhow::Result<Outcome> {
        let snapshot = self.workers.conclude(self.now_ns, self.config.wanted);
        self.progress.bar.finish_and_clear();
        self.write_summary(snapshot)?;
        if let Some(file) = plot {
            self.draw(file)?;
        }
        Ok(if self.warnings.is_empty() { Outcome::Fine } else { Outcome::Warned })
    }

    fn write_summary(&mut self, snapshot: Snapshot) -> io::Result<()> {
        // Events come before the summary that includes them.
        self.tell_news()?;
        let summary = Summary {
            snapshot,
            counters: self.counters,
            holdings: self.workers.holdings(),
            wall: WALL,
            warnings: self.warnings.clone(),
        };
        let reporter = &mut self.reporter;
        self.progress.bar.suspend(|| reporter.summary(&summary))
    }

    /// Draws the clocks.
    fn draw(&mut self, file: File) -> anyhow::Result<()> {
        let wanted = Wanted { connections: true, siblings: false };
        let snapshot = self.workers.snapshot(self.now_ns, wanted);
        let mut out = BufWriter::new(file);
        let calendar = Calendar { wall: WALL, zone: &self.config.zone };
        if plot::svg(&mut out, &snapshot, &calendar)? == 0 {
            self.warn("the plot is empty, because no connection shows a steady clock".to_owned());
        }
        out.flush().context("cannot write the plot")
    }

    /// Prints a note, which is no warning.
    fn note(&self, text: &str) {
        self.progress.bar.suspend(|| eprintln!("tmap: {text}"));
    }

    /// Prints a warning, which also goes into the summary and the exit code.
    fn warn(&mut self, text: String) {
        self.note(&text);
        self.warnings.push(text);
    }
}

/// A progress bar on standard error, if that is a terminal and reading takes long.
struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { bar, began: Instant::now(), shown: false }
    }

    /// Begins a new file.
    fn file(&self, source: &Location, bytes: Option<u64>) {
        self.bar.reset();
        let template = match bytes {
            Some(bytes) => {
                self.bar.set_length(bytes);
                "{msg} [{bar:30}] {percent} %, {binary_bytes_per_sec}, {eta} left"
            }
            None => "{msg} {binary_bytes}, {binary_bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_message(source.to_string());
    }

    /// Counts what is read from the file itself, packed or not.
    fn count(&self, reader: Box<dyn Read>) -> Box<dyn Read> {
        Box::new(self.bar.wrap_read(reader))
    }

    fn show_if_slow(&mut self) {
        if !self.shown && self.began.elapsed() > PROGRESS_AFTER {
            self.shown = true;
            // It stays hidden if standard error is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}
