//! The table of offsets: what captures show, computed without tmap, beside what tmap says. `cargo xtask eval
//! -- --offsets FOLDER`.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
};

use anyhow::Result;
use tmap::engine::{Wanted, snapshot::Regime};
use tmap_common::Address;

use crate::{
    judge::{
        evaluate::{self, Verdict},
        offsets::{self, Clocks, Pattern},
    },
    wire::reader,
};

/// Where tmap contradicts the offsets.
#[derive(Clone, Copy, Debug, Default)]
struct Contradictions {
    /// Offsets within a pair of addresses whose connections tmap gives to several machines.
    split: usize,
    /// Machines of tmap's that hold several offsets of one pair of addresses (or of all, where tmap calls the
    /// regime global), each of which is shared by connections, so that it is a clock and no accident.
    merged: usize,
}

/// Prints each address of each capture. Offsets are computed at `rate_hz`, or at each address's own rate.
///
/// # Errors
/// Where a capture can't be read.
pub fn print(captures: &[(String, PathBuf)], rate_hz: Option<f64>) -> Result<()> {
    println!(
        "{:<16}{:<26}{:>6}{:>7}{:>9}{:>6}{:>7}{:>7}{:>8}  {:<15}| {:<14}{:>5}{:>9}{:>7}{:>7}",
        "capture",
        "address",
        "conns",
        "points",
        "measured",
        "rate",
        "clocks",
        "a pair",
        "shared",
        "offsets",
        "tmap",
        "found",
        "interval",
        "split",
        "merged"
    );
    for (name, path) in captures {
        let clocks = offsets::clocks(&reader::stamped(path)?, rate_hz);
        let (records, resolution_ns) = evaluate::read(path)?;
        let wanted = Wanted { connections: true, ..Wanted::default() };
        let snapshot = evaluate::snapshot(&records, resolution_ns, wanted);
        let (mut answered, mut split, mut merged) = (0, 0, 0);
        for (ip, own) in &clocks {
            let address = Address::from(*ip);
            let verdict = Verdict::of(&snapshot, address, 0.0);
            let report = snapshot.addresses.iter().find(|report| report.address == address);
            let regime = report.map_or(Regime::Undetermined, |report| report.regime);
            let found = contradictions(own, &verdict, regime);
            answered += usize::from(verdict.found.is_some());
            split += found.split;
            merged += found.merged;
            row(name, *ip, own, (regime, &verdict), found);
        }
        println!(
            "{name}: {answered} of {} addresses answered, {split} split, {merged} merged\n",
            clocks.len()
        );
    }
    Ok(())
}

fn row(name: &str, ip: IpAddr, own: &Clocks, (regime, verdict): (Regime, &Verdict), found: Contradictions) {
    let pattern = match own.pattern() {
        Pattern::Unsteady => "unsteady",
        Pattern::Single => "one connection",
        Pattern::One => "one",
        Pattern::Several => "several",
        Pattern::PerPair => "one a pair",
        Pattern::SeveralPerPair => "several a pair",
        Pattern::Random => "random",
        Pattern::Unclear => "no repeats",
    };
    let count = |number: Option<u32>| number.map_or("?".to_owned(), |number| number.to_string());
    print!(
        "{name:<16}{:<26}{:>6}{:>7}{:>9}{:>6}{:>7}{:>7}{:>8}  {pattern:<15}",
        ip.to_string(),
        own.sides.len(),
        own.segments(),
        own.measured_hz.map_or("-".to_owned(), |hz| format!("{hz:.1}")),
        own.rate_hz,
        own.distinct(),
        own.most_in_pair(),
        own.repeating(),
    );
    println!(
        "| {:<14}{:>5}{:>9}{:>7}{:>7}",
        format!("{regime:?}"),
        count(verdict.found),
        format!("{}..{}", verdict.interval.0, count(verdict.interval.1)),
        found.split,
        found.merged
    );
}

fn contradictions(own: &Clocks, verdict: &Verdict, regime: Regime) -> Contradictions {
    if !own.is_steady() {
        return Contradictions::default();
    }
    let pairs = own.by_pair();
    let mut machines: HashMap<(IpAddr, usize), HashSet<u32>> = HashMap::new();
    let mut held: HashMap<(u32, Option<IpAddr>), HashSet<usize>> = HashMap::new();
    for side in &own.sides {
        let (port, peer, peer_port) = side.key;
        let Some(machine) = verdict.given(&(port, peer.into(), peer_port)) else { continue };
        let pair = (peer, side.clock);
        machines.entry(pair).or_default().insert(machine);
        if pairs[&pair] > 1 {
            let within = (regime != Regime::Global).then_some(peer);
            held.entry((machine, within)).or_default().insert(side.clock);
        }
    }
    let merging: HashSet<u32> =
        held.into_iter().filter(|(_, clocks)| clocks.len() > 1).map(|((machine, _), _)| machine).collect();
    Contradictions {
        split: machines.values().filter(|machines| machines.len() > 1).count(),
        merged: merging.len(),
    }
}
