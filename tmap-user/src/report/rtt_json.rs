//! Round trips as JSON lines: one object a line, told apart by `type`. Fields are only ever added.
//!
//! Times are RFC 3339 in UTC; durations are in the unit that their name ends with. `null` means
//! that the data cannot tell.
//!
//! A *distribution* is an object of `samples`, `min_us`, `median_us`, `p95_us`, `max_us`, `mean_us`
//! and `jitter_us` (mean difference between successive round trips of a connection). A *histogram*
//! is a list of `[to_us, count]`: `count` values were at most `to_us`, and above the entry before.
//! Quantiles and histograms are right to 1 %.
//!
//! # `rtt`: a round trip, as it happens (not with `--summary`)
//!
//! | field | |
//! |---|---|
//! | `time` | when the echo was seen |
//! | `host`, `port` | the end that answered: the round trip is from the sensor to this host and back |
//! | `peer`, `peer_port` | the end that was answered |
//! | `rtt_us` | the round trip |
//! | `tsval` | the TSval that was echoed |
//! | `host_ticks`, `host_ms` | what the host's own TCP computes: in its ticks, and in time once its tick rate is known |
//! | `tick_hz` | that rate |
//!
//! # `rtt_interval`: every `--every`
//!
//! `from`, `to`, `rtt` (a distribution, or null) and `histogram`.
//!
//! # `rtt_connection`: one line per answering side of a connection, in summaries
//!
//! `host`, `port`, `peer`, `peer_port`, `machine` (an id within `host`), `segments` (time-stamped,
//! from the host), `peer_segments` (0: only one direction was seen), `rtt` (a distribution, or
//! null), `host_min_ticks`, `host_median_ticks`, `host_min_ms`, `host_median_ms`, `tick_hz`,
//! `anomalies`.
//!
//! # `rtt_machine` and `rtt_prefix`: round trips by machine and by prefix, in summaries
//!
//! `address` and `machine` (null: connections that no machine is known for), or `prefix`; then
//! `rtt`, `histogram`; for machines `connections`, `tick_hz`, `host_min_ms`, `host_median_ms`, too.
//!
//! # `rtt_anomaly`: implausible timestamps, as they happen and again in summaries
//!
//! `time`, `host`, `port`, `peer`, `peer_port` (the sender is `host`), `kind` (`tsval_back`,
//! `tsval_leap`, `reused_ports_back`, `echo_never_sent`), `cause` (`spoofed`, `corrupted`,
//! `other_machine`, `syn_proxy`, `middlebox`, `reboot`, `port_reuse`; the likely one), `value` (the odd
//! TSval or TSecr), `newest` (the newest TSval before it), `listed_before` (true in summaries).
//!
//! # `rtt_summary`: the last line of a summary
//!
//! `time`, `rtt`, `histogram`, `connections`, `one_way` (connections seen in one direction only),
//! `counts` (an object of what became of segments and echoes: the fields of
//! [`Counts`]), `packets_seen`, `ring_full`, `memory_bytes`, `interfaces_down`, `warnings`.

use std::io::{self, Write};

use serde::Serialize;

use super::{Outage, Summary as Whole, number::Calendar};
use crate::engine::{
    rtt::{
        Counts, Interval, News, Report, Sample,
        paws::{Anomaly, Cause, Kind},
        report::{Bucket, Direction, Machine, Prefix, Summary},
    },
    types::FlowKey,
};

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Rtt(SampleLine),
    RttInterval(IntervalLine),
    RttConnection(ConnectionLine),
    RttMachine(MachineLine),
    RttPrefix(PrefixLine),
    RttAnomaly(AnomalyLine),
    RttSummary(SummaryLine<'a>),
}

/// The two ends of a connection, the answering one first.
#[derive(Serialize)]
struct Ends {
    host: String,
    port: u16,
    peer: String,
    peer_port: u16,
}

#[derive(Serialize)]
struct Distribution {
    samples: u64,
    min_us: f64,
    median_us: f64,
    p95_us: Option<f64>,
    max_us: f64,
    mean_us: f64,
    jitter_us: Option<f64>,
}

#[derive(Serialize)]
struct SampleLine {
    time: Option<String>,
    #[serde(flatten)]
    ends: Ends,
    rtt_us: f64,
    tsval: u32,
    host_ticks: Option<u32>,
    host_ms: Option<f64>,
    tick_hz: Option<f64>,
}

#[derive(Serialize)]
struct IntervalLine {
    from: Option<String>,
    to: Option<String>,
    rtt: Option<Distribution>,
    histogram: Vec<(f64, u64)>,
}

#[derive(Serialize)]
struct ConnectionLine {
    #[serde(flatten)]
    ends: Ends,
    machine: Option<u32>,
    segments: u64,
    peer_segments: u64,
    rtt: Option<Distribution>,
    host_min_ticks: Option<u64>,
    host_median_ticks: Option<u64>,
    host_min_ms: Option<f64>,
    host_median_ms: Option<f64>,
    tick_hz: Option<f64>,
    anomalies: u64,
}

#[derive(Serialize)]
struct MachineLine {
    address: String,
    machine: Option<u32>,
    connections: u64,
    tick_hz: Option<f64>,
    rtt: Distribution,
    host_min_ms: Option<f64>,
    host_median_ms: Option<f64>,
    histogram: Vec<(f64, u64)>,
}

#[derive(Serialize)]
struct PrefixLine {
    prefix: String,
    rtt: Distribution,
    histogram: Vec<(f64, u64)>,
}

#[derive(Serialize)]
struct AnomalyLine {
    time: Option<String>,
    #[serde(flatten)]
    ends: Ends,
    kind: &'static str,
    cause: &'static str,
    value: u32,
    newest: u32,
    listed_before: bool,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    time: Option<String>,
    rtt: Option<Distribution>,
    histogram: Vec<(f64, u64)>,
    connections: u64,
    one_way: u64,
    counts: CountsObject,
    packets_seen: u64,
    ring_full: u64,
    memory_bytes: usize,
    interfaces_down: &'a [Outage],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct CountsObject {
    segments: u64,
    samples: u64,
    unasked: u64,
    passed_over: u64,
    ambiguous: u64,
    expired: u64,
    late_echoes: u64,
    unseen: u64,
    untracked: u64,
    reordered: u64,
    disordered: u64,
    back: u64,
    leaps: u64,
    reused_back: u64,
    never_sent: u64,
    translated: u64,
    connections_forgotten: u64,
    unproven_forgotten: u64,
    active_forgotten: u64,
    prefixes_unplaced: u64,
    samples_unshown: u64,
    anomalies_unlisted: u64,
}

/// Writes round trips, anomalies and intervals as they come.
pub fn news(out: &mut impl Write, news: &News, calendar: &Calendar<'_>) -> io::Result<()> {
    for sample in &news.samples {
        line(out, &Line::Rtt(sample_line(sample, calendar)))?;
    }
    for anomaly in &news.anomalies {
        line(out, &Line::RttAnomaly(anomaly_line(anomaly, false, calendar)))?;
    }
    if let Some(interval) = &news.interval {
        line(out, &Line::RttInterval(interval_line(interval, calendar)))?;
    }
    Ok(())
}

/// Writes a summary: connections, machines, prefixes, anomalies, then the totals.
pub fn summary(
    out: &mut impl Write,
    whole: &Whole,
    report: &Report,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    for direction in &report.directions {
        line(out, &Line::RttConnection(connection_line(direction)))?;
    }
    for machine in &report.machines {
        line(out, &Line::RttMachine(machine_line(machine)))?;
    }
    for (prefix, rtt, buckets) in &report.prefixes {
        line(out, &Line::RttPrefix(prefix_line(*prefix, rtt, buckets)))?;
    }
    for anomaly in &report.anomalies {
        line(out, &Line::RttAnomaly(anomaly_line(anomaly, true, calendar)))?;
    }
    line(
        out,
        &Line::RttSummary(SummaryLine {
            time: calendar.report_time(whole.snapshot.now_ns),
            rtt: report.total.as_ref().map(distribution),
            histogram: histogram(&report.histogram),
            connections: report.connections,
            one_way: report.one_way,
            counts: counts_object(report.counts),
            packets_seen: whole.counters.seen,
            ring_full: whole.counters.ring_full,
            memory_bytes: whole.holdings.memory_bytes,
            interfaces_down: &whole.outages,
            warnings: &whole.warnings,
        }),
    )
}

fn line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn ends(key: &FlowKey) -> Ends {
    Ends { host: key.src.to_string(), port: key.src_port, peer: key.dst.to_string(), peer_port: key.dst_port }
}

fn sample_line(sample: &Sample, calendar: &Calendar<'_>) -> SampleLine {
    SampleLine {
        time: calendar.rfc3339(sample.time_ns),
        ends: ends(&sample.key),
        rtt_us: us(sample.rtt_ns),
        tsval: sample.tsval,
        host_ticks: sample.host_ticks,
        host_ms: sample.host_ms(),
        tick_hz: sample.tick_hz,
    }
}

fn interval_line(interval: &Interval, calendar: &Calendar<'_>) -> IntervalLine {
    IntervalLine {
        from: calendar.rfc3339(interval.began_ns),
        to: calendar.rfc3339(interval.ended_ns),
        rtt: interval.rtt.as_ref().map(distribution),
        histogram: histogram(&interval.histogram),
    }
}

fn connection_line(direction: &Direction) -> ConnectionLine {
    ConnectionLine {
        ends: ends(&direction.key),
        machine: direction.clock.machine,
        segments: direction.segments,
        peer_segments: direction.peer_segments,
        rtt: direction.rtt.as_ref().map(distribution),
        host_min_ticks: direction.host_ticks.map(|host| host.min),
        host_median_ticks: direction.host_ticks.map(|host| host.median),
        host_min_ms: direction.host_min_ms(),
        host_median_ms: direction.host_median_ms(),
        tick_hz: direction.clock.tick_hz,
        anomalies: direction.anomalies,
    }
}

fn machine_line(machine: &Machine) -> MachineLine {
    MachineLine {
        address: machine.address.to_string(),
        machine: machine.machine,
        connections: machine.connections,
        tick_hz: machine.tick_hz,
        rtt: distribution(&machine.rtt),
        host_min_ms: machine.host_min_ms(),
        host_median_ms: machine.host_median_ms(),
        histogram: histogram(&machine.histogram),
    }
}

fn prefix_line(prefix: Prefix, rtt: &Summary, buckets: &[Bucket]) -> PrefixLine {
    PrefixLine { prefix: prefix.to_string(), rtt: distribution(rtt), histogram: histogram(buckets) }
}

fn anomaly_line(anomaly: &Anomaly, listed_before: bool, calendar: &Calendar<'_>) -> AnomalyLine {
    let Anomaly { key, oddity } = anomaly;
    AnomalyLine {
        time: calendar.rfc3339(oddity.time_ns),
        ends: ends(key),
        kind: kind(oddity.kind),
        cause: cause(oddity.cause),
        value: oddity.value,
        newest: oddity.newest,
        listed_before,
    }
}

fn distribution(summary: &Summary) -> Distribution {
    Distribution {
        samples: summary.count,
        min_us: us(summary.min),
        median_us: us(summary.median),
        p95_us: summary.p95.map(us),
        max_us: us(summary.max),
        mean_us: summary.mean / 1e3,
        jitter_us: summary.jitter.map(|jitter_ns| jitter_ns / 1e3),
    }
}

fn histogram(buckets: &[Bucket]) -> Vec<(f64, u64)> {
    buckets.iter().map(|bucket| (us(bucket.to), bucket.count)).collect()
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Names every field, so that none that the engine comes to count can stay out of the summary.
fn counts_object(counts: Counts) -> CountsObject {
    let Counts {
        segments,
        samples,
        unasked,
        passed_over,
        ambiguous,
        expired,
        late_echoes,
        unseen,
        untracked,
        reordered,
        disordered,
        back,
        leaps,
        reused_back,
        never_sent,
        translated,
        connections_forgotten,
        unproven_forgotten,
        active_forgotten,
        prefixes_unplaced,
        samples_unshown,
        anomalies_unlisted,
    } = counts;
    CountsObject {
        segments,
        samples,
        unasked,
        passed_over,
        ambiguous,
        expired,
        late_echoes,
        unseen,
        untracked,
        reordered,
        disordered,
        back,
        leaps,
        reused_back,
        never_sent,
        translated,
        connections_forgotten,
        unproven_forgotten,
        active_forgotten,
        prefixes_unplaced,
        samples_unshown,
        anomalies_unlisted,
    }
}

/// The kind's name in JSON.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Back => "tsval_back",
        Kind::Leap => "tsval_leap",
        Kind::ReusedBack => "reused_ports_back",
        Kind::NeverSent => "echo_never_sent",
    }
}

/// The cause's name in JSON.
fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Spoofed => "spoofed",
        Cause::Corrupted => "corrupted",
        Cause::OtherMachine => "other_machine",
        Cause::SynProxy => "syn_proxy",
        Cause::Middlebox => "middlebox",
        Cause::Reboot => "reboot",
        Cause::PortReuse => "port_reuse",
    }
}
