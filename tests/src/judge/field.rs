//! The field suite: what tmap says of single devices, where more than one machine is a false one, and of
//! pairs of equal devices.

use tmap::engine::{Wanted, snapshot::AddressReport};

use super::evaluate;
use crate::simulate::device::{Device, Kind};

/// What tmap said of the devices of one kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Devices.
    pub devices: u64,
    /// Those of which it said that they are one machine.
    pub one: u64,
    /// The seeds of those of which it said that they are several: by its count, by the lower end of its
    /// interval, or by what it calls proven.
    pub split: Vec<u64>,
    /// The seeds of those of which it called several proven.
    pub falsely_proven: Vec<u64>,
    /// Boot times that it gave.
    pub boots: u64,
    /// The seeds where a boot time was more than three standard errors off, or given for a counter that has
    /// none.
    pub wrong_boots: Vec<u64>,
    /// The longest time that one device took, in seconds.
    pub longest_s: f64,
}

/// A boot time is printed to the second, so its standard error is at least this, in seconds.
const LEAST_BOOT_SIGMA_S: f64 = 1.0;

/// Judges devices of a kind, one for each seed.
pub fn judge(kind: Kind, seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let device = Device::draw(kind, seed);
        let begin = std::time::Instant::now();
        let snapshot = evaluate::snapshot(&device.records, 1, Wanted::default());
        tally.longest_s = tally.longest_s.max(begin.elapsed().as_secs_f64());
        tally.devices += 1;
        let own = |report: &&AddressReport| report.address == evaluate::shared();
        let Some(report) = snapshot.addresses.iter().find(own) else { continue };
        let counts = [report.machines, report.machines_low, report.machines_proven];
        if counts.iter().any(|count| count.is_some_and(|count| count > 1)) {
            tally.split.push(seed);
        }
        if report.machines_proven.is_some_and(|proven| proven > 1) {
            tally.falsely_proven.push(seed);
        }
        tally.one += u64::from(report.machines == Some(1));
        for boot in report.machine_list.iter().filter_map(|machine| machine.boot) {
            tally.boots += 1;
            let sigma_s = boot.engine_s.sigma.max(LEAST_BOOT_SIGMA_S);
            // The counter's wrap is as uncertain as the rate is.
            let up_s = snapshot.now_ns as f64 * 1e-9 - boot.engine_s.value;
            let wrap_sigma_s = boot.modulus_s * boot.engine_s.sigma / up_s.max(1.0);
            let is_near = |off_s: f64| {
                let wraps = (off_s / boot.modulus_s).round();
                (off_s - boot.modulus_s * wraps).abs() <= 3.0 * (sigma_s + wraps.abs() * wrap_sigma_s)
            };
            let is_right =
                device.boot_s.is_some_and(|boot_s| evaluate::boot_errors_s(&boot, boot_s).any(is_near));
            if !is_right {
                tally.wrong_boots.push(seed);
            }
        }
    }
    tally
}

/// What tmap said of pairs of devices of one kind behind one address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pairs {
    /// Pairs.
    pub pairs: u64,
    /// Those that it told as two machines.
    pub two: u64,
    /// Those that it told as one machine: they are alike, or the data don't tell them apart.
    pub one: u64,
    /// Those that it told as more than two machines.
    pub more: u64,
    /// Those whose interval or bounds hold two.
    pub held: u64,
}

/// How far the source ports of a pair's second device are from the first's: beyond any device's connections.
const PORTS_APART: u16 = 10_000;

/// Judges pairs of devices of a kind, one for each seed. Both are drawn alike, each with its own clock.
pub fn judge_pairs(kind: Kind, seeds: impl Iterator<Item = u64>) -> Pairs {
    let mut pairs = Pairs::default();
    for seed in seeds {
        let mut records = Device::draw(kind, 2 * seed).records;
        records.extend(Device::draw(kind, 2 * seed + 1).records.into_iter().map(|mut record| {
            record.segment.src_port += PORTS_APART;
            record
        }));
        records.sort_by_key(|record| record.time_ns);
        let snapshot = evaluate::snapshot(&records, 1, Wanted::default());
        let own = |report: &&AddressReport| report.address == evaluate::shared();
        let Some(report) = snapshot.addresses.iter().find(own) else { continue };
        pairs.pairs += 1;
        match report.machines {
            Some(1) => pairs.one += 1,
            Some(2) => pairs.two += 1,
            Some(3..) => pairs.more += 1,
            _ => {}
        }
        let (low, high) = (report.machines_low.unwrap_or(0), report.machines_high.unwrap_or(u32::MAX));
        pairs.held += u64::from((low..=high).contains(&2));
    }
    pairs
}
