//! Round trips for people.

use std::{
    cmp::Reverse,
    io::{self, Write},
    net::IpAddr,
};

use tmap_common::Address;

use super::{
    Capturing, Summary as Whole,
    losses::{lost_records, of_round_trips, unread, warnings},
    number::{self, Calendar, and_more, count, grouped},
    outages,
    style::Styles,
};
use crate::engine::{
    rtt::{
        Counts, Interval, News, Report, Sample,
        paws::{Anomaly, Cause, Kind, Oddity},
        report::{Bucket, Summary},
    },
    types::FlowKey,
};

/// The most rows of a table; the others are only counted.
const MAX_ROWS: usize = 20;

/// The most bars of a histogram: neighbours are added up.
const MAX_BARS: usize = 16;

/// Length of the longest bar.
const BAR: usize = 40;

/// Writes round trips, implausible timestamps and intervals as they come.
pub fn news(out: &mut impl Write, news: &News, calendar: &Calendar<'_>) -> io::Result<()> {
    for sample in &news.samples {
        writeln!(out, "{}", sample_line(sample, calendar))?;
    }
    for anomaly in &news.anomalies {
        writeln!(out, "{}", anomaly_line(anomaly, calendar))?;
    }
    if let Some(interval) = &news.interval {
        interval_lines(out, interval, calendar)?;
    }
    Ok(())
}

/// Writes a summary of round trips.
pub fn summary(
    out: &mut impl Write,
    whole: &Whole,
    report: &Report,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    writeln!(out)?;
    connections(out, report)?;
    machines(out, report)?;
    prefixes(out, report)?;
    anomalies(out, report, calendar)?;
    if let Some(total) = &report.total {
        writeln!(out, "All round trips:")?;
        bars(out, &report.histogram)?;
        writeln!(out, "  {}", in_words(total))?;
    }
    explain(out, report, whole.capturing)?;
    out.write_all(outages::line(&whole.outages).as_bytes())?;
    unread(out, &whole.counters)?;
    lost_records(out, whole.counters.ring_full, &Styles::default())?;
    warnings(out, &whole.warnings, &Styles::default())
}

/// `12:00:01.313000  203.0.113.7:443 answers 198.51.100.1:40000 in 31.0 ms; host 100 ms`.
fn sample_line(sample: &Sample, calendar: &Calendar<'_>) -> String {
    let host = match (sample.host_ticks, sample.host_ms()) {
        (None, _) => String::new(),
        (Some(ticks), None) => format!("; host {}", count(ticks.into(), "tick")),
        (Some(_), Some(ms)) => format!("; host {}", number::span(ms / 1e3)),
    };
    let key = &sample.key;
    format!("{}  {} in {}{host}", calendar.time_of_day(sample.time_ns), answers(key), span(sample.rtt_ns))
}

fn answers(key: &FlowKey) -> String {
    format!("{} answers {}", end(key.src, key.src_port), end(key.dst, key.dst_port))
}

fn interval_lines(out: &mut impl Write, interval: &Interval, calendar: &Calendar<'_>) -> io::Result<()> {
    let (from, to) = (calendar.time_of_day(interval.began_ns), calendar.time_of_day(interval.ended_ns));
    let Some(rtt) = &interval.rtt else { return writeln!(out, "{from} to {to}: no round trips") };
    writeln!(out, "{from} to {to}: {}", in_words(rtt))?;
    bars(out, &interval.histogram)
}

fn connections(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut directions: Vec<_> =
        report.directions.iter().filter_map(|direction| Some((direction, direction.rtt?))).collect();
    directions.sort_by_key(|(direction, rtt)| (Reverse(rtt.count), direction.key));
    let rows = directions.iter().map(|(direction, rtt)| {
        let host = match (direction.host_ticks, direction.clock.tick_hz) {
            (Some(host), Some(tick_hz)) => of_ticks(host.median, tick_hz),
            (Some(host), None) => count(host.median, "tick"),
            (None, _) => "-".to_owned(),
        };
        (answers(&direction.key), *rtt, host)
    });
    table(out, "Connections, answering side first", "connection side", rows.collect())
}

fn machines(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let rows = report.machines.iter().map(|machine| {
        let name = match machine.machine {
            Some(number) => format!("{} machine {number}", machine.address),
            None => format!("{} (machine unknown)", machine.address),
        };
        let host = machine.host_ticks.zip(machine.tick_hz);
        let host = host.map_or("-".to_owned(), |(host, tick_hz)| of_ticks(host.median, tick_hz));
        (name, machine.rtt, host)
    });
    table(out, "Machines", "machine", rows.collect())
}

/// A time that a host measures in its own ticks: `12 ms`, or `< 1 ms` where it has seen none pass.
fn of_ticks(ticks: u64, tick_hz: f64) -> String {
    match ticks {
        0 => format!("< {}", number::span(1.0 / tick_hz)),
        ticks => number::span(ticks as f64 / tick_hz),
    }
}

fn prefixes(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let rows = report.prefixes.iter().map(|(prefix, rtt, _)| (prefix.to_string(), *rtt, String::new()));
    table(out, "Prefixes", "prefix", rows.collect())
}

/// Rows of a name, a distribution and the host's own median, those with the most samples first.
fn table(
    out: &mut impl Write,
    title: &str,
    one: &str,
    mut rows: Vec<(String, Summary, String)>,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_key(|(_, rtt, _)| Reverse(rtt.count));
    let more = and_more(MAX_ROWS, rows.len(), one);
    rows.truncate(MAX_ROWS);
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max(title.len());
    let host = if rows.iter().any(|(.., host)| !host.is_empty()) { "host" } else { "" };
    let head = format!(
        "{title:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {host:>9}",
        "samples", "min", "median", "p95", "jitter"
    );
    writeln!(out, "{}", head.trim_end())?;
    for (name, rtt, host) in &rows {
        let jitter = rtt.jitter.map_or("-".to_owned(), |jitter_ns| number::span(jitter_ns / 1e9));
        let row = format!(
            "{name:width$} {:>9} {:>9} {:>9} {:>9} {jitter:>9} {host:>9}",
            grouped(rtt.count),
            span(rtt.min),
            span(rtt.median),
            rtt.p95.map_or("-".to_owned(), span)
        );
        writeln!(out, "{}", row.trim_end())?;
    }
    if let Some(more) = more {
        writeln!(out, "{more}")?;
    }
    writeln!(out)
}

fn anomalies(out: &mut impl Write, report: &Report, calendar: &Calendar<'_>) -> io::Result<()> {
    let Counts { back, leaps, reused_back, never_sent, .. } = report.counts;
    if back + leaps + reused_back + never_sent == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "Implausible timestamps: {}, {}, {} on reused ports, {} echoed but never sent",
        count(back, "backward step"),
        count(leaps, "forward leap"),
        count(reused_back, "backward step"),
        count(never_sent, "value")
    )?;
    for anomaly in report.anomalies.iter().take(MAX_ROWS) {
        writeln!(out, "  {}", anomaly_line(anomaly, calendar))?;
    }
    if let Some(more) = and_more(MAX_ROWS, report.anomalies.len(), "timestamp") {
        writeln!(out, "  {more}")?;
    }
    writeln!(out)
}

fn anomaly_line(anomaly: &Anomaly, calendar: &Calendar<'_>) -> String {
    let Anomaly { key, oddity: Oddity { time_ns, kind, cause, value, newest } } = anomaly;
    let what = match kind {
        Kind::Back => format!("TSval goes back from {newest} to {value}"),
        Kind::Leap => format!("TSval leaps from {newest} to {value}"),
        Kind::ReusedBack => format!("ports reused with TSval {value} after {newest}"),
        Kind::NeverSent => format!("echoes {value}, which was never sent (newest {newest})"),
    };
    let (from, to) = (end(key.src, key.src_port), end(key.dst, key.dst_port));
    format!("{}  {from} to {to}: {what}; probably {}", calendar.time_of_day(*time_ns), cause_in_words(*cause))
}

fn cause_in_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Spoofed => "a spoofed segment (one segment, with another TTL)",
        Cause::Corrupted => "a corrupted or spoofed segment (one segment, with the usual TTL)",
        Cause::OtherMachine => "another machine behind the same addresses and ports",
        Cause::SynProxy => "a middlebox that answers handshakes (SYN proxy)",
        Cause::Middlebox => "a middlebox that rewrites timestamps, or a fail-over to another machine",
        Cause::Reboot => "a reboot",
        Cause::PortReuse => "a random offset per connection, or another machine behind a NAT",
    }
}

/// What the figures are based on, and what is missing.
fn explain(out: &mut impl Write, report: &Report, capturing: Capturing) -> io::Result<()> {
    let counts = &report.counts;
    writeln!(
        out,
        "{} in {} with timestamps gave {}.",
        count(counts.segments, "segment"),
        count(report.connections + counts.connections_forgotten, "connection"),
        count(counts.samples, "round trip")
    )?;
    let reasons: Vec<String> = [
        (counts.unasked, "echoes of segments that need no answer"),
        (counts.passed_over, "TSvals covered by a later acknowledgement"),
        (counts.ambiguous, "echoes of repeated TSvals"),
        (counts.expired, "TSvals not echoed within --max-rtt"),
        (counts.late_echoes, "echoes out of order"),
        (counts.unseen, "echoes of segments that were not seen"),
        (counts.untracked, "TSvals beyond the limit per connection"),
        (counts.disordered, "echoes captured before the segments that they echo"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{what} ({})", grouped(number)))
    .collect();
    if !reasons.is_empty() {
        writeln!(out, "Not measured: {}.", reasons.join(", "))?;
    }
    if report.one_way > 0 {
        writeln!(
            out,
            "{} of {} seen in one direction only, which gives no round trips. {}",
            grouped(report.one_way),
            count(report.connections, "connection"),
            advice_for_one_way(capturing)
        )?;
    }
    if counts.translated > 0 {
        writeln!(
            out,
            "{} joined across a NAT: each direction was seen under other addresses. -i wan --egress shows \
             both under the same.",
            count(counts.translated, "connection")
        )?;
    }
    if counts.samples_unshown > 0 {
        writeln!(
            out,
            "{} not printed one by one, because there were too many at once.",
            count(counts.samples_unshown, "round trip")
        )?;
    }
    if counts.prefixes_unplaced > 0 {
        writeln!(
            out,
            "{} missing from the prefixes, because there are too many prefixes; use a shorter --prefix4 or \
             --prefix6.",
            count(counts.prefixes_unplaced, "round trip")
        )?;
    }
    of_round_trips(out, counts)
}

/// How to see both directions of connections of which one was seen.
fn advice_for_one_way(capturing: Capturing) -> &'static str {
    match capturing {
        Capturing::BySensor { egress: false } => {
            "To see both, add --egress or another -i (across a NAT, other interfaces help only from the next \
             handshake on), or drop src and dst from the filter."
        }
        Capturing::BySensor { egress: true } => {
            "Scans and floods that nobody answers leave such connections. To see both directions of others, \
             add another -i (across a NAT, other interfaces help only from the next handshake on), or drop \
             src and dst from the filter."
        }
        Capturing::Before { .. } => {
            "Scans and floods that nobody answers leave such connections. To see both directions of others, \
             capture both, or drop src and dst from the filter."
        }
    }
}

fn bars(out: &mut impl Write, buckets: &[Bucket]) -> io::Result<()> {
    let rows: Vec<Bucket> = buckets
        .chunks(buckets.len().div_ceil(MAX_BARS).max(1))
        .map(|chunk| Bucket {
            to: chunk.iter().map(|bucket| bucket.to).max().unwrap_or(0),
            count: chunk.iter().map(|bucket| bucket.count).sum(),
        })
        .collect();
    let most = rows.iter().map(|row| row.count).max().unwrap_or(0).max(1);
    for Bucket { to, count } in rows {
        let bar = "#".repeat((count as usize * BAR).div_ceil(most as usize));
        writeln!(out, "{}", format!("  to {:>8} {:>9} {bar}", span(to), grouped(count)).trim_end())?;
    }
    Ok(())
}

fn in_words(rtt: &Summary) -> String {
    let jitter = rtt.jitter.map_or(String::new(), |ns| format!(", jitter {}", number::span(ns / 1e9)));
    let p95 = rtt.p95.map_or(String::new(), |ns| format!(", p95 {}", span(ns)));
    format!(
        "{}: min {}, median {}{p95}, max {}{jitter}",
        count(rtt.count, "round trip"),
        span(rtt.min),
        span(rtt.median),
        span(rtt.max)
    )
}

fn span(ns: u64) -> String {
    number::span(ns as f64 / 1e9)
}

/// `198.51.100.1:443`, `[2001:db8::1]:443`.
fn end(address: Address, port: u16) -> String {
    std::net::SocketAddr::new(IpAddr::from(address), port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egress_is_no_advice_where_it_is_on_or_means_nothing() {
        let advice = |capturing| advice_for_one_way(capturing).contains("--egress");
        assert!(advice(Capturing::BySensor { egress: false }));
        assert!(!advice(Capturing::BySensor { egress: true }));
        assert!(!advice(Capturing::Before { dropped: 0, is_whole: false }));
    }
}
