//! Nanoseconds per record from the ring's slots into the flow table, and bytes per flow.
//!
//! Records come in batches as the drain thread takes them; making them isn't timed. Time is that of
//! the thread, so that other work on the CPU counts only by the caches that it empties.

use anyhow::Result;
use nix::time::ClockId;
use tmap::engine::{Engine, Options};
use tmap_common::{Record, record::Slot};

use super::{
    Figure, Report, Series, Settings,
    machine::Pinned,
    report::Limit,
    rounds::interleave,
    stream::{Shares, Stream},
};

/// Records handed over at once, as in the drain thread.
const BATCH: usize = 256;

/// The link that flows share: at this rate 1M flows send ten packets a second each.
pub const PACKETS_PER_S: f64 = 10e6;

/// An engine under load.
pub struct Load {
    /// The engine; none where records are only taken out of the ring.
    engine: Option<Engine>,
    stream: Stream,
    slots: Vec<Slot>,
    records: Vec<Record>,
}

impl Load {
    /// An engine that knows all flows of the stream, one record of each.
    pub fn new(flows: u64, addresses: u64, shares: Shares) -> Self {
        let mut load = Self::bare(flows, addresses, shares);
        let options = Options {
            max_flows: usize::try_from(flows).unwrap_or(usize::MAX),
            max_connections_per_address: usize::MAX,
            ..Options::default()
        };
        load.engine = Some(Engine::new(options));
        load.open();
        load
    }

    /// An engine that ran for a while, and then lost all its flows to new ones: those find the memory of
    /// the others, which the kernel needn't clear for them.
    fn used(flows: u64, addresses: u64, shares: Shares, batches: usize) -> Result<Self> {
        let mut load = Self::new(flows, addresses, shares);
        load.run(batches)?;
        load.stream.replace_flows();
        load.open();
        Ok(load)
    }

    /// Opens all flows.
    fn open(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let mut batch = Vec::with_capacity(BATCH);
        for record in self.stream.openings() {
            batch.push(record);
            if batch.len() == BATCH {
                engine.observe_all(&batch);
                batch.clear();
            }
        }
        engine.observe_all(&batch);
    }

    /// No engine: what it costs to take records out of slots.
    fn bare(flows: u64, addresses: u64, shares: Shares) -> Self {
        Self {
            engine: None,
            stream: Stream::new(flows, addresses, shares, PACKETS_PER_S),
            slots: Vec::with_capacity(BATCH),
            records: Vec::with_capacity(BATCH),
        }
    }

    /// Nanoseconds per record, over `batches` batches.
    pub fn run(&mut self, batches: usize) -> Result<f64> {
        let mut spent_ns = 0.0;
        for _ in 0..batches {
            self.slots.clear();
            let stream = &mut self.stream;
            self.slots.extend((0..BATCH).map(|_| stream.next_slot()));
            let began = cpu_ns()?;
            match &mut self.engine {
                Some(engine) => engine.observe_slots(&self.slots),
                None => {
                    self.records.clear();
                    self.records
                        .extend(self.slots.iter().map(|slot| Record::from_slots(slot, Slot::default)));
                    std::hint::black_box(&self.records);
                }
            }
            spent_ns += cpu_ns()? - began;
        }
        Ok(spent_ns / (batches * BATCH) as f64)
    }

    /// Bytes held per flow.
    pub fn bytes_per_flow(&self) -> f64 {
        let Some(engine) = &self.engine else { return 0.0 };
        let holdings = engine.holdings();
        holdings.memory_bytes as f64 / holdings.connections.max(1) as f64
    }
}

/// Time that this thread has run, in nanoseconds.
fn cpu_ns() -> Result<f64> {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now()?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// Runs the benchmark.
///
/// # Errors
/// Where the thread can't be pinned or its time not read.
pub fn run(settings: &Settings) -> Result<Report> {
    let _pinned = Pinned::to(0)?;
    let million = if settings.quick { 100_000 } else { 1_000_000 };
    let addresses = 10_000;
    let batches = if settings.quick { 200 } else { 4_000 };
    let all_batches = settings.rounds * batches;
    let used = |shares| Load::used(million, addresses, shares, all_batches);
    let mut contestants = vec![
        ("slots into records only", 0.0, Load::bare(million, addresses, Shares::Uniform)),
        ("1k flows, uniform", 0.0, Load::new(1_000, 100, Shares::Uniform)),
        ("64k flows, uniform", 0.0, Load::new(64_000, 1_000, Shares::Uniform)),
        ("1M flows, Zipf", 0.0, Load::new(million, addresses, Shares::Zipf)),
        ("1M flows, uniform", 0.0, Load::new(million, addresses, Shares::Uniform)),
        ("1M flows, Zipf, memory in use before", 0.0, used(Shares::Zipf)?),
        ("1M flows, uniform, memory in use before", 0.0, used(Shares::Uniform)?),
    ];
    for (_, opened, load) in &mut contestants {
        *opened = load.bytes_per_flow();
    }
    let series = interleave(settings.rounds, &mut contestants, |(_, _, load)| load.run(batches))?;
    let columns = ["ns per record", "M records/s", "bytes/flow, opened", "bytes/flow, in the end"];
    let mut report = Report::new("engine", &columns, &series[0]);
    for ((name, opened, load), own) in contestants.iter().zip(&series) {
        let held = load.engine.is_some();
        report.row(
            name,
            &[
                Some(own.figure()),
                Some(rate(own)),
                held.then(|| Figure::exact(*opened)),
                held.then(|| Figure::exact(load.bytes_per_flow())),
            ],
        );
    }
    report.bar("1M flows, Zipf, M records/s", Limit::AtLeast(30.0), rate(&series[3]));
    report.bar("1M flows, uniform, M records/s", Limit::AtLeast(15.0), rate(&series[4]));
    report.bar_counted("bytes per flow, opened", Limit::AtMost(128.0), contestants[4].1);
    let records = all_batches * BATCH;
    report.note(format!(
        "{records} records each at {} M/s of 1 kHz clocks: nearly every one of uniform flows is the first \
         of its TSval, and remembered",
        PACKETS_PER_S / 1e6
    ));
    Ok(report)
}

/// Nanoseconds as millions per second.
fn rate(series: &Series) -> Figure {
    Figure::of(&series.values.iter().map(|ns| 1e3 / ns).collect::<Vec<_>>())
}
