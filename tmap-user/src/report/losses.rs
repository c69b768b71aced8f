//! What was lost, evicted, ignored or not readable, and what helps.

use std::io::{self, Write};

use tmap_common::{Counters, Skip};

use crate::engine::{
    Snapshot,
    failures::Failed,
    rtt::{Counts, report::TwoClocks},
};

use super::{
    Summary,
    number::{count, span},
    style::{Styles, paint},
};

/// Bytes of a frame that hold TCP's options in any case: Ethernet with three VLAN tags, IPv6, and the longest
/// TCP header are 126.
const ENOUGH_BYTES: u32 = 128;

/// Bytes of a frame that hold them in a tunnel as well: 184 in VXLAN over IPv6.
const ENOUGH_BYTES_IN_TUNNELS: u32 = 256;

/// A share of the records, in percent: where more are lost, a report is not what it seems.
const HEAVY_PERCENT: f64 = 1.0;

/// What is known of packets that were lost before tmap had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capturing {
    /// tmap's sensor captured them, and its counters tell what it lost.
    BySensor {
        /// Whether it was asked for outgoing segments, too.
        egress: bool,
    },
    /// Others captured them before.
    Before {
        /// How many they dropped, as far as the captures tell.
        dropped: u64,
        /// Whether all captures tell that.
        is_whole: bool,
    },
}

/// Warnings of losses that make a report untrue: addresses that are missing from it although they showed
/// something, more than [`HEAVY_PERCENT`] of the records, or of the connections of `tmap rtt` while they were
/// active, and round trips that two clocks or two places make wrong.
pub(crate) fn heavy(snapshot: &Snapshot, counters: &Counters) -> Vec<String> {
    let losses = &snapshot.losses;
    let (kept, lost) = (counters.emitted, counters.ring_full);
    let mut warnings = Vec::new();
    if let Some(share) = heavy_share(lost, kept + lost) {
        warnings.push(format!(
            "{share} of the records were lost, because rings were full; raise --ring-size or --shards, or filter"
        ));
    }
    let told = losses.addresses_forgotten - losses.unproven_addresses_forgotten;
    if told > 0 {
        warnings.push(format!(
            "{} that showed something made room for others; raise --memory or --max-addresses, or filter by \
             your own networks",
            count(told, "address")
        ));
    }
    if let Some(rtt) = &snapshot.rtt {
        let connections = rtt.connections + rtt.counts.connections_forgotten;
        warnings.extend(heavy_share(rtt.counts.active_forgotten, connections).map(active_forgotten));
        warnings.extend(rtt.two_clocks.map(two_clocks));
        warnings.extend((rtt.two_places > 0).then(|| two_places(rtt.two_places)));
    }
    if let Some(share) = heavy_share(losses.records_refused, kept) {
        warnings.push(format!(
            "{share} of the records were of connections for which there was no room; raise --max-flows or \
             --max-connections, or filter"
        ));
    }
    warnings
}

/// Capture times that are coarser than this part of the median round trip, one in so many, falsify it. Finer
/// ones than this, in nanoseconds, do so no more than the capturing does.
const NOTABLE_PART: u64 = 10;
const LEAST_NOTABLE_NS: u64 = 100_000;

/// The warning of capture times of `resolution_ns` that are too coarse for the round trips.
pub(crate) fn coarse_round_trips(snapshot: &Snapshot, resolution_ns: u64) -> Option<String> {
    let median_ns = snapshot.rtt.as_ref()?.total?.median;
    let is_notable =
        resolution_ns >= LEAST_NOTABLE_NS && resolution_ns.saturating_mul(NOTABLE_PART) > median_ns;
    is_notable.then(|| {
        format!(
            "the capture times move in steps of {}, so round trips are right to that only; capture with finer \
             times",
            span(resolution_ns as f64 / 1e9)
        )
    })
}

/// The number of connections with round trips that made room for others; `None` without any.
fn proven_forgotten(counts: &Counts) -> Option<u64> {
    Some(counts.connections_forgotten - counts.unproven_forgotten).filter(|&forgotten| forgotten > 0)
}

/// The warning of this share of connections that made room for others while they were active.
fn active_forgotten(share: String) -> String {
    format!(
        "{share} of the connections had round trips and made room for others while they were active, so rows of \
         connections and machines lack them; raise --rtt-connections, or filter"
    )
}

/// The warning of connections whose directions were stamped by two clocks.
fn two_clocks(TwoClocks { connections, ahead_ns }: TwoClocks) -> String {
    format!(
        "the round trips of {} are left out, because the two directions were stamped by two clocks: echoes \
         come up to {} before what they echo; capture both directions with one clock",
        count(connections, "connection"),
        span(ahead_ns as f64 / 1e9)
    )
}

/// The warning of so many connections that were captured at two places.
fn two_places(connections: u64) -> String {
    format!(
        "the round trips of {} are left out, because their segments were captured at two places: they come again \
         later; read or watch one place alone",
        count(connections, "connection")
    )
}

/// The share of `lost` in `all`, where it is heavy: `12 %`.
fn heavy_share(lost: u64, all: u64) -> Option<String> {
    let percent = 100.0 * lost as f64 / all.max(1) as f64;
    (percent > HEAVY_PERCENT).then(|| format!("{percent:.0} %"))
}

/// Warnings of panics.
pub(crate) fn failures(failed: &Failed) -> Vec<String> {
    const REPORT: &str = "please report this, with the message above";
    let mut warnings: Vec<String> = failed
        .addresses
        .iter()
        .map(|address| format!("the analysis of {address} failed, so it is missing or incomplete; {REPORT}"))
        .collect();
    if failed.more > 0 {
        warnings.push(format!("the analysis of {} more failed", count(failed.more, "address")));
    }
    if failed.elsewhere > 0 {
        warnings.push(format!("a part of tmap failed, so addresses and segments are missing; {REPORT}"));
    }
    warnings
}

/// Frames whose segments can't be read, and why: what was cut off when they were captured, and what is
/// encrypted or doesn't tell where its payload begins.
pub(crate) fn unread(out: &mut impl Write, counters: &Counters) -> io::Result<()> {
    let sum = |skips: &[Skip]| skips.iter().map(|&skip| counters.skipped[skip as usize]).sum::<u64>();
    let cut = sum(&[Skip::SnapCut]);
    if cut > 0 {
        writeln!(
            out,
            "Snap length too short: {} cut off before the TCP timestamps. Capture at least {ENOUGH_BYTES} bytes \
             of each frame (tcpdump -s {ENOUGH_BYTES}), or {ENOUGH_BYTES_IN_TUNNELS} in tunnels.",
            count(cut, "frame")
        )?;
    }
    let closed = sum(&[Skip::Esp, Skip::MacsecEncrypted, Skip::PppCompressed, Skip::L2tp3, Skip::Capwap]);
    if closed > 0 {
        writeln!(
            out,
            "Cannot read what is inside {} (encrypted, compressed, or of an unknown layout; see the skipped \
             frames). Machines in there are not counted.",
            count(closed, "frame")
        )?;
    }
    Ok(())
}

/// Records that the kernel had to drop.
pub(crate) fn lost_records(out: &mut impl Write, lost: u64, styles: &Styles) -> io::Result<()> {
    if lost == 0 {
        return Ok(());
    }
    let text = format!("LOST: {}, because a ring buffer was full; raise --ring-size.", count(lost, "record"));
    writeln!(out, "{}", paint(styles.alarm, &text))
}

/// Everything that went wrong on the way; standard error has it too.
pub(crate) fn warnings(out: &mut impl Write, warnings: &[String], styles: &Styles) -> io::Result<()> {
    let word = paint(styles.alarm, "warning");
    warnings.iter().try_for_each(|warning| writeln!(out, "{word}: {warning}"))
}

/// What the limits on memory cost.
pub(crate) fn of_engine(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let losses = summary.snapshot.losses;
    // A full table and a full address both evict open flows, and nothing counts them apart.
    evicted(out, losses.flows_evicted, "open flow", "limits --max-flows, --max-connections")?;
    let finished = losses.connections_forgotten.saturating_sub(losses.flows_evicted);
    let finished = finished.saturating_sub(losses.unproven_evicted);
    evicted(out, finished, "finished connection", "limits --max-flows, --max-connections")?;
    if losses.unproven_evicted > 0 {
        writeln!(
            out,
            "Evicted {} that showed nothing, as scans and floods leave them. Other results stand.",
            count(losses.unproven_evicted, "connection")
        )?;
    }
    let addresses = losses.addresses_forgotten + summary.snapshot.unstamped.forgotten;
    if addresses > 0 {
        writeln!(
            out,
            "Forgot {} to make room for others (limit --max-addresses). Those that showed least went first.",
            count(addresses, "address")
        )?;
    }
    if losses.records_refused > 0 {
        writeln!(
            out,
            "Ignored {} of new connections, because busy connections filled the table. Other results \
             stand. Raise --max-flows or --max-connections.",
            count(losses.records_refused, "record")
        )?;
    }
    if losses.flows_thinned > 0 {
        writeln!(
            out,
            "History was thinned {} (every other point dropped; limit --history-memory). Standard errors \
             allow for it. Raise --history-memory where clocks are missing.",
            count(losses.flows_thinned, "time")
        )?;
    }
    Ok(())
}

/// What the limit on the connections of round trips cost.
pub(crate) fn of_round_trips(out: &mut impl Write, counts: &Counts) -> io::Result<()> {
    if let Some(forgotten) = proven_forgotten(counts) {
        writeln!(
            out,
            "Evicted {} with round trips (limit --rtt-connections); counts above may be low.",
            count(forgotten, "connection")
        )?;
    }
    if counts.unproven_forgotten > 0 {
        writeln!(
            out,
            "Evicted {} that showed no round trip, or a SYN-ACK's only, as scans and floods leave them. \
             Other results stand.",
            count(counts.unproven_forgotten, "connection")
        )?;
    }
    Ok(())
}

/// `Evicted 12 open flows (limits --max-flows, --max-connections); counts above may be low.`
pub(crate) fn evicted(out: &mut impl Write, evicted: u64, one: &str, limits: &str) -> io::Result<()> {
    if evicted == 0 {
        return Ok(());
    }
    writeln!(out, "Evicted {} ({limits}); counts above may be low.", count(evicted, one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rtt;

    #[test]
    fn more_than_a_percent_is_heavy_and_so_is_a_missing_address() {
        let warnings = |ring_full, addresses_forgotten, records_refused| {
            let mut snapshot = Snapshot::default();
            (snapshot.losses.addresses_forgotten, snapshot.losses.records_refused) =
                (addresses_forgotten, records_refused);
            heavy(&snapshot, &Counters { emitted: 9_900, ring_full, ..Counters::default() })
        };
        assert!(warnings(0, 0, 0).is_empty() && warnings(100, 0, 99).is_empty());
        assert!(warnings(101, 0, 0)[0].starts_with("1 % of the records were lost"));
        assert!(warnings(0, 1, 0)[0].starts_with("1 address that showed something made room"));
        assert!(warnings(0, 0, 5_000)[0].starts_with("51 % of the records were of connections"));
        assert_eq!(warnings(1_000_000, 1, 5_000).len(), 3);
    }

    #[test]
    fn connections_with_round_trips_that_make_room_are_a_warning_where_many_were_active() {
        let told = |connections_forgotten, unproven_forgotten, active_forgotten| {
            let counts =
                Counts { connections_forgotten, unproven_forgotten, active_forgotten, ..Counts::default() };
            let mut out = Vec::new();
            of_round_trips(&mut out, &counts).expect("memory takes it");
            let rtt = Some(rtt::Report { counts, connections: 100, ..rtt::Report::default() });
            let warnings = heavy(&Snapshot { rtt, ..Snapshot::default() }, &Counters::default());
            (String::from_utf8(out).expect("text"), warnings)
        };
        assert_eq!(told(0, 0, 0), (String::new(), Vec::new()));
        let (text, warnings) = told(9, 9, 0);
        assert!(text.starts_with("Evicted 9 connections that showed no round trip") && warnings.is_empty());
        // Those that were over or silent are counted, as those of `live` and `read` are.
        let (text, warnings) = told(900, 0, 10);
        assert!(
            text.starts_with("Evicted 900 connections with round trips (limit --rtt-connections)"),
            "{text}"
        );
        assert!(warnings.is_empty(), "{warnings:?}");
        let (_, warnings) = told(900, 0, 30);
        assert!(warnings[0].starts_with("3 % of the connections had round trips"), "{warnings:?}");
        assert!(warnings[0].contains("raise --rtt-connections"), "{warnings:?}");
    }
}
