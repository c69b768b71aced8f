//! Captures with a list of which machine each connection was of.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::Result;
use tmap::engine::Wanted;
use tmap_common::Address;

use crate::{
    judge::{
        evaluate::{self, Verdict},
        score::agreement,
        truth_list,
    },
    simulate::ConnectionKey,
};

/// How tmap did on one address of such a capture.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The address, with several machines behind it.
    pub address: Address,
    /// Machines that the list names for it.
    pub machines: usize,
    /// Machines found; `None` where tmap can't tell.
    pub found: Option<u32>,
    /// The interval given.
    pub interval: (u32, Option<u32>),
    /// Connections of the list that are in the capture.
    pub connections: usize,
    /// Share of them given to the right machine, under the best one-to-one naming.
    pub right: f64,
    /// For each machine of the list, its connections, and how many of them are with one found machine of
    /// which most are its.
    pub of_machine: BTreeMap<usize, (usize, usize)>,
}

/// Scores each address of a capture that has a list, in order; `None` where it has none. `name` is the file's
/// without its endings; where it begins with "lb", machines are the servers', else the clients'.
///
/// # Errors
/// Where a file can't be read.
pub fn judge(capture: &Path, name: &str) -> Result<Option<Vec<Labelled>>> {
    let Some(machine_of) = truth_list::beside(capture, name)? else { return Ok(None) };
    let is_servers = name.starts_with("lb");
    let (records, resolution_ns) = evaluate::read(capture)?;
    // By address, each side of the list that shows a clock: its key and its machine.
    let mut sides: BTreeMap<Address, BTreeMap<ConnectionKey, usize>> = BTreeMap::new();
    for segment in records.iter().map(|record| &record.segment) {
        let key = (segment.src_port, segment.dst, segment.dst_port);
        let asked = if is_servers { (segment.dst_port, segment.src, segment.src_port) } else { key };
        if let Some(machine) = machine_of.get(&asked) {
            sides.entry(segment.src).or_default().insert(key, *machine);
        }
    }
    let wanted = Wanted { connections: true, ..Wanted::default() };
    let snapshot = evaluate::snapshot(&records, resolution_ns, wanted);
    let labelled = sides.into_iter().map(|(address, machine_of)| {
        let verdict = Verdict::of(&snapshot, address, 0.0);
        let pairings: Vec<_> =
            machine_of.iter().map(|(key, machine)| (*machine, verdict.given(key))).collect();
        let of_machine = of_machine(&pairings);
        Labelled {
            address,
            machines: of_machine.len(),
            found: verdict.found,
            interval: verdict.interval,
            connections: pairings.len(),
            right: agreement(&pairings).accuracy,
            of_machine,
        }
    });
    Ok(Some(labelled.collect()))
}

/// For each machine, its connections, and those of them in the found machine that holds most of them, where
/// most of that are its own.
fn of_machine(pairings: &[(usize, Option<u32>)]) -> BTreeMap<usize, (usize, usize)> {
    let mut cells: HashMap<(usize, u32), usize> = HashMap::new();
    let mut found_size: HashMap<u32, usize> = HashMap::new();
    let mut machines: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (machine, found) in pairings {
        machines.entry(*machine).or_default().0 += 1;
        if let Some(found) = found {
            *cells.entry((*machine, *found)).or_default() += 1;
            *found_size.entry(*found).or_default() += 1;
        }
    }
    for ((machine, found), count) in cells {
        let (_, best) = machines.entry(machine).or_default();
        if 2 * count > found_size[&found] {
            *best = count.max(*best);
        }
    }
    machines
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{simulate::web::grid, wire::capture};

    #[test]
    fn a_listed_capture_is_scored_by_its_list() {
        let row = grid::rows().into_iter().find(|row| row.name == "mail 4x30 global LAN").expect("a row");
        let simulation = row.web.run().simulation;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lb.pcap");
        fs::write(&path, capture::plain(&simulation.records)).expect("written");
        assert!(judge(&path, "lb").expect("read").is_none(), "no list yet");
        let mut text = "sport,dst,dport,isn,machine\n".to_owned();
        for ((service, _, port), machine) in &simulation.truth.machine_of {
            text += &format!("{port},198.51.100.1,{service},0,{machine}\n");
        }
        fs::write(path.with_file_name("lb.truth.csv"), text).expect("written");
        let labelled = judge(&path, "lb").expect("read").expect("a list");
        let [labelled] = &labelled[..] else { panic!("one address: {labelled:?}") };
        assert_eq!((labelled.machines, labelled.found), (4, Some(4)));
        assert!(labelled.right > 0.95, "{labelled:?}");
        assert!(labelled.of_machine.values().all(|(all, right)| 10 * right >= 9 * all), "{labelled:?}");
    }
}
