//! The sensor's own health, as `--stats` shows it.

use std::io::{self, Write};

use tmap_common::{Counters, Skip};

use super::number::{self, Calendar, grouped};
use crate::engine::Holdings;

/// Counters over an interval, and fill levels at its end.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Engine time at the end of the interval.
    pub now_ns: u64,
    /// Length of the interval in seconds.
    pub interval_s: f64,
    /// All frames since the start.
    pub counters: Counters,
    /// The counters at the beginning of the interval.
    pub before: Counters,
    /// Per possible CPU.
    pub cpus: Vec<CpuStats>,
    /// What the engine holds.
    pub holdings: Holdings,
}

/// One CPU's ring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuStats {
    /// The CPU's number.
    pub cpu: usize,
    /// How full its ring is, in percent.
    pub ring_fill_percent: f64,
    /// Records lost because it was full, since the start.
    pub ring_full: u64,
    /// Frames seen since the start.
    pub seen: u64,
}

impl Stats {
    /// A count's growth over the interval, per second.
    pub fn rate(&self, count: impl Fn(&Counters) -> u64) -> f64 {
        count(&self.counters).saturating_sub(count(&self.before)) as f64 / self.interval_s.max(1e-9)
    }

    /// Frames seen but not yet accounted for: in flight while they come in, else 0.
    pub fn in_flight(&self) -> i128 {
        i128::from(self.counters.seen) - i128::from(self.counters.accounted())
    }
}

/// Writes the statistics for people.
pub fn write(out: &mut impl Write, stats: &Stats, calendar: &Calendar<'_>) -> io::Result<()> {
    let Stats { counters, holdings, .. } = stats;
    // Before the first frame of a file there is no time.
    let when = match stats.now_ns {
        0 => String::new(),
        now_ns => format!(" {}", calendar.local(now_ns as f64 / 1e9, 0.0)),
    };
    writeln!(
        out,
        "stats{when}: {} frames/s, {} records/s; {}, {}, {} of memory",
        grouped(stats.rate(|counters| counters.seen).round() as u64),
        grouped(stats.rate(|counters| counters.emitted).round() as u64),
        number::count(holdings.flows as u64, "flow"),
        number::count(holdings.addresses as u64, "address"),
        number::bytes(holdings.memory_bytes as u64),
    )?;
    writeln!(out, "  {}", identity(counters))?;
    if counters.skipped_total() > 0 {
        writeln!(out, "  skipped: {}", skipped(counters))?;
    }
    for cpu in stats.cpus.iter().filter(|cpu| cpu.seen > 0) {
        writeln!(
            out,
            "  CPU {}: {}, ring {:.1} % full, {}",
            cpu.cpu,
            number::count(cpu.seen, "frame"),
            cpu.ring_fill_percent,
            if cpu.ring_full == 0 {
                "none lost".to_owned()
            } else {
                format!("{} LOST", grouped(cpu.ring_full))
            }
        )?;
    }
    Ok(())
}

/// The accounting, as a sum: `10 frames = 3 skipped + 2 repeats + 4 records + 1 lost, all accounted for`.
pub(crate) fn identity(counters: &Counters) -> String {
    let in_flight = i128::from(counters.seen) - i128::from(counters.accounted());
    format!(
        "{} = {} skipped + {} repeats + {} records + {} lost, {}",
        number::count(counters.seen, "frame"),
        grouped(counters.skipped_total()),
        grouped(counters.suppressed),
        grouped(counters.emitted),
        grouped(counters.ring_full),
        if in_flight == 0 { "all accounted for".to_owned() } else { format!("{in_flight} in flight") }
    )
}

/// The reasons that occurred, the most frequent first: `20 not TCP, 3 TCP without timestamps`.
pub fn skipped(counters: &Counters) -> String {
    let mut reasons: Vec<(Skip, u64)> = Skip::ALL
        .iter()
        .map(|&skip| (skip, counters.skipped[skip as usize]))
        .filter(|&(_, count)| count > 0)
        .collect();
    reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let words: Vec<String> =
        reasons.iter().map(|&(skip, count)| format!("{} {}", grouped(count), in_words(skip))).collect();
    words.join(", ")
}

/// What a skipped frame is, after its number: `20 not TCP`. JSON has the labels.
pub(crate) fn in_words(skip: Skip) -> &'static str {
    match skip {
        Skip::NotIp => "not IP",
        Skip::LinkTruncated => "truncated in the link header",
        Skip::VlanTooDeep => "with too many VLAN tags",
        Skip::IpTruncated => "truncated in the IP header",
        Skip::IpMalformed => "with a malformed IP header",
        Skip::ExtensionsTooDeep => "with too many IPv6 extension headers",
        Skip::LaterFragment => "later IP fragments",
        Skip::NotTcp => "not TCP",
        Skip::TunnelTruncated => "truncated in a tunnel header",
        Skip::TunnelTooDeep => "with too many nested tunnels",
        Skip::MacsecEncrypted => "encrypted MACsec",
        Skip::Esp => "encrypted IPsec (ESP)",
        Skip::PppCompressed => "compressed or encrypted PPP",
        Skip::L2tp3 => "L2TPv3",
        Skip::Capwap => "CAPWAP with radio frames, fragments or encryption",
        Skip::TcpTruncated => "truncated in the TCP header",
        Skip::TcpDataOffset => "with an invalid TCP data offset",
        Skip::OptionLength => "with an invalid TCP option length",
        Skip::OptionOverrun => "with a TCP option that overruns the header",
        Skip::OptionsTooMany => "with too many TCP options",
        Skip::NoTimestamps => "TCP without timestamps",
        Skip::SnapCut => "captured too short",
        Skip::Filtered => "excluded by the filter",
    }
}
