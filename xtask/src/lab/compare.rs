//! A table of the truth and of what tmap found.

use std::fmt::Write as _;

use super::network::Family;
use super::truth::Truth;
use crate::testbed::findings::Findings;
use crate::testbed::matching::ContingencyTable;

/// The tables of a run, one for each address behind which the machines are.
pub(super) fn tables(truth: &Truth, findings: &Findings) -> String {
    let tables = truth.families.iter().map(|&family| table(truth, findings, family));
    tables.collect::<String>()
        + "  The skew that tmap finds is relative to the sensor's clock and includes the machine's \
           calibration error.\n"
}

fn table(truth: &Truth, findings: &Findings, family: Family) -> String {
    let nat = family.nat();
    let owners = truth.joined.by_ends();
    let known = findings.connections.iter().filter(|connection| connection.source.0 == nat);
    let known: Vec<(usize, Option<u64>)> =
        known.filter_map(|one| Some((*owners.get(&(one.source, one.peer))?, one.machine))).collect();
    let table = ContingencyTable::new(known.iter().copied());
    let matches = table.matching();
    let found = findings.addresses.get(&nat).cloned().unwrap_or_default();
    let visible = truth.machines.iter().filter(|machine| machine.spec.timestamps > 0).count();
    let mut text = format!("{nat}: {visible} machines send timestamps");
    if visible < truth.machines.len() {
        let _ = write!(text, " ({} more send none)", truth.machines.len() - visible);
    }
    let count = found.machines.map_or("cannot tell".to_owned(), |machines| machines.to_string());
    let end = |end: Option<u64>| end.map_or("?".to_owned(), |end| end.to_string());
    let (low, high) = (end(found.interval.0), end(found.interval.1));
    let doubt = found.doubt.as_deref().map(|doubt| format!(", {doubt}")).unwrap_or_default();
    let _ = writeln!(text, "; tmap: {count} ({low} to {high}; offsets {}{doubt})", found.regime);
    text += "  machine  kernel:timestamps:ppm  connections  seen  |  no.  skew ppm          assigned right\n";
    for (index, machine) in truth.machines.iter().enumerate() {
        let opened = machine.opened.map_or("?".to_owned(), |count| count.to_string());
        let seen = table.seen.get(&index).copied().unwrap_or(0);
        let spec = machine.spec.to_string();
        let _ = write!(text, "  {index:>7}  {spec:<21}  {opened:>11}  {seen:>4}  |");
        let Some(&id) = matches.get(&index) else {
            text += "    -\n";
            continue;
        };
        let skew = found.list.iter().find(|one| one.id == id).and_then(|one| one.skew);
        let skew = skew.map_or("-".to_owned(), |skew| format!("{:+.2} ± {:.2}", skew.value, skew.sigma));
        let _ = writeln!(text, "  {id:>3}  {skew:<16}  {:>14}", table.shared[&(index, id)]);
    }
    let assigned: u64 = table.shared.values().sum();
    let right: u64 = matches.iter().map(|(&index, &id)| table.shared[&(index, id)]).sum();
    let _ = writeln!(
        text,
        "  {assigned} of {} connections were assigned to a machine, {right} of them to the right one",
        known.len()
    );
    text
}
