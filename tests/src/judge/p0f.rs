//! p0f as the judge: what the best known passive fingerprinter makes of the same captures.
//!
//! p0f 3 compares the time stamps (and more) of one SYN with those of the address's earlier ones; what
//! doesn't fit scores, and the score makes it say "host change" or, above a threshold, "ip sharing". It
//! gives no count. An uptime it takes from two time stamps of neighbouring handshakes.

use std::{collections::BTreeMap, fs::File, io::Read, net::IpAddr, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use jiff::civil::DateTime;
use tmap::{
    capture::file::{Location, Room, Stop},
    engine::os::signature::Fingerprint,
};
use tmap_common::parse;

use crate::simulate::{Offsets, Scenario};

/// What p0f logged about one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// "ip sharing" alarms.
    pub sharing: usize,
    /// "host change" notes, the weaker form.
    pub changes: usize,
    /// SYNs fingerprinted.
    pub syns: usize,
    /// Uptimes printed.
    pub uptimes: usize,
    /// Boots that these uptimes amount to: those that lie within [`SAME_BOOT_S`] are one.
    pub boots: usize,
}

/// p0f prints uptimes to the minute, cut off; boots that differ by no more than this are one, in seconds.
const SAME_BOOT_S: i64 = 120;

/// The scenarios that are compared, with their names: the same number of connections each.
pub fn scenarios() -> Vec<(String, Scenario)> {
    let each = [(Offsets::Global, "one offset each"), (Offsets::PerConnection, "random offsets")];
    let scenario = |machines, offsets, words: &str| {
        let noun = if machines == 1 { "machine" } else { "machines" };
        let scenario = Scenario { machines, offsets, connections: 240 / machines, ..Scenario::default() };
        (format!("{machines} {noun}, {words}"), scenario)
    };
    each.iter()
        .flat_map(|&(offsets, words)| [1, 10].map(|machines| scenario(machines, offsets, words)))
        .collect()
}

/// Runs p0f on `capture` (pcap or pcapng, plain or gzip) and tells what it says of `address`.
///
/// # Errors
/// Where p0f isn't installed (Debian's package p0f), or fails.
pub fn p0f(capture: &Path, address: IpAddr) -> Result<Findings> {
    Ok(findings(&log(capture)?, &address.to_string()))
}

/// p0f's log of a capture.
fn log(capture: &Path) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (plain, log) = (folder.path().join("plain.pcap"), folder.path().join("p0f.log"));
    let mut bytes = Vec::new();
    let file = File::open(capture).with_context(|| format!("can't open {}", capture.display()))?;
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).or_else(|_| {
        bytes.clear();
        File::open(capture)?.read_to_end(&mut bytes)
    })?;
    std::fs::write(&plain, bytes)?;
    let mut command = Command::new("p0f");
    command.arg("-r").arg(&plain).arg("-o").arg(&log).env("TZ", "UTC");
    // Where Debian puts it isn't in everybody's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    let output = command.output().context("can't run p0f: is Debian's package p0f installed?")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "p0f failed on {}: {said}", capture.display());
    Ok(std::fs::read_to_string(log)?)
}

/// Handshake signatures with how often each occurs.
pub type Signatures = BTreeMap<String, usize>;

/// p0f's signatures of SYNs, and of those SYN-ACKs that have time stamps.
///
/// # Errors
/// Where p0f isn't installed, or fails.
pub fn signatures(capture: &Path) -> Result<Signatures> {
    let mut signatures = Signatures::new();
    for line in log(capture)?.lines() {
        let Some((_, signature)) = line.split_once("|raw_sig=") else { continue };
        let options = signature.split(':').nth(5).unwrap_or_default();
        let is_stamped = options.split(',').any(|option| option == "ts");
        if line.contains("] mod=syn|") || line.contains("] mod=syn+ack|") && is_stamped {
            *signatures.entry(signature.to_owned()).or_default() += 1;
        }
    }
    Ok(signatures)
}

/// tmap's signatures of the same handshakes.
///
/// # Errors
/// Where the capture can't be read.
pub fn own_signatures(capture: &Path) -> Result<Signatures> {
    let mut capture =
        Location::new(capture).open(&Stop::new(|| false), Room::default(), |reader, _| reader)?;
    let mut signatures = Signatures::new();
    while let Ok(Some(frame)) = capture.next_frame() {
        let Ok(link) = frame.link else { continue };
        if let Ok(segment) = parse(frame.bytes, link, true)
            && let Some(fingerprint) = Fingerprint::of(&segment)
        {
            *signatures.entry(fingerprint.to_string()).or_default() += 1;
        }
    }
    Ok(signatures)
}

/// Checks that tmap has each of p0f's signatures at least as often. p0f sees fewer: it wants the SYN
/// before the SYN-ACK, and gives up flows that misbehave. Returns how many handshakes p0f saw.
///
/// # Errors
/// Where tmap has fewer, or p0f can't be run.
pub fn compare_signatures(capture: &Path) -> Result<usize> {
    let own = own_signatures(capture)?;
    let mut compared = 0;
    for (signature, times) in signatures(capture)? {
        let found = own.get(&signature).copied().unwrap_or_default();
        let name = capture.display();
        ensure!(found >= times, "{name}: p0f has {signature} {times} times, tmap {found}");
        compared += times;
    }
    Ok(compared)
}

/// Counts the lines of a log whose subject is `address`.
fn findings(log: &str, address: &str) -> Findings {
    let mut found = Findings::default();
    let mut boots = Vec::new();
    for line in log.lines() {
        let Some((stamp, said)) = line.trim_start_matches('[').split_once("] ") else { continue };
        let field = |name: &str| said.split('|').find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
        let subject = field("subj").and_then(field).and_then(|s| Some(s.rsplit_once('/')?.0));
        if subject != Some(address) {
            continue;
        }
        match field("mod") {
            Some("ip sharing") => found.sharing += 1,
            Some("host change") => found.changes += 1,
            Some("syn") => found.syns += 1,
            Some("uptime") => boots.extend(boot_s(stamp, field("uptime").unwrap_or_default())),
            _ => {}
        }
    }
    boots.sort_unstable();
    found.uptimes = boots.len();
    found.boots = boots.chunk_by(|a, b| b - a <= SAME_BOOT_S).count();
    found
}

/// `2026/11/22 03:00:00` less `3 days 4 hrs 5 min (modulo 49 days)`, in Unix seconds.
fn boot_s(stamp: &str, uptime: &str) -> Option<i64> {
    let at = DateTime::strptime("%Y/%m/%d %H:%M:%S", stamp).ok()?.in_tz("UTC").ok()?;
    let mut words = uptime.split(' ').filter_map(|word| word.parse::<i64>().ok());
    let (days, hours, minutes) = (words.next()?, words.next()?, words.next()?);
    Some(at.timestamp().as_second() - 60 * (minutes + 60 * (hours + 24 * days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[2026/11/22 03:00:10] mod=syn|cli=192.0.2.1/1025|srv=198.51.100.1/80|subj=cli|os=Linux|raw_sig=4:64
[2026/11/22 03:00:10] mod=uptime|cli=192.0.2.1/1025|srv=198.51.100.1/80|\
    subj=cli|uptime=1 days 2 hrs 3 min (modulo 49 days)|raw_freq=1000.00 Hz
[2026/11/22 03:01:10] mod=uptime|cli=192.0.2.1/1026|srv=198.51.100.1/80|\
    subj=cli|uptime=1 days 2 hrs 4 min (modulo 49 days)|raw_freq=1000.00 Hz
[2026/11/22 03:01:10] mod=uptime|cli=192.0.2.1/1026|srv=198.51.100.1/80|\
    subj=srv|uptime=9 days 2 hrs 4 min (modulo 49 days)|raw_freq=1000.00 Hz
[2026/11/22 03:01:20] mod=uptime|cli=192.0.2.1/1027|srv=198.51.100.1/80|\
    subj=cli|uptime=7 days 0 hrs 4 min (modulo 49 days)|raw_freq=990.00 Hz
[2026/11/22 03:01:20] mod=host change|cli=192.0.2.1/1027|srv=198.51.100.1/80|\
    subj=cli|reason=tstamp|raw_hits=0,1,1,1
[2026/11/22 03:01:30] mod=ip sharing|cli=192.0.2.1/1027|srv=198.51.100.1/80|\
    subj=cli|reason=tstamp port|raw_hits=0,5,5,5
";

    #[test]
    fn a_log_is_counted_for_its_subject() {
        let client = Findings { sharing: 1, changes: 1, syns: 1, uptimes: 3, boots: 2 };
        assert_eq!(findings(LOG, "192.0.2.1"), client);
        assert_eq!(findings(LOG, "198.51.100.1"), Findings { uptimes: 1, boots: 1, ..Findings::default() });
    }
}
