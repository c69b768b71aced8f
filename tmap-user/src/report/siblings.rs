//! Machines behind several addresses, in words and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::number::{and_more, count, more_of};
use crate::engine::snapshot::{Basis, Sibling};

/// The most lines shown to people.
const MAX_LINES: usize = 20;

/// The most addresses of one machine shown to people.
const MAX_ADDRESSES: usize = 20;

/// Writes one line per machine, and how many machines were not compared.
pub fn text(out: &mut impl Write, siblings: &[Sibling], uncompared: u64) -> io::Result<()> {
    if siblings.is_empty() && uncompared == 0 {
        return Ok(());
    }
    writeln!(out, "\nOne clock behind several addresses (one machine, or containers on one machine):")?;
    for sibling in siblings.iter().take(MAX_LINES) {
        writeln!(out, "  {}", machine(sibling))?;
    }
    if let Some(more) = and_more(MAX_LINES, siblings.len(), "machine") {
        writeln!(out, "  {more}")?;
    }
    if uncompared > 0 {
        let machines = count(uncompared, "machine");
        writeln!(out, "  Not compared: {machines} (use --filter for fewer addresses)")?;
    }
    Ok(())
}

/// One machine, in words.
fn machine(sibling: &Sibling) -> String {
    let shown = sibling.members.iter().take(MAX_ADDRESSES);
    let members: Vec<String> = shown.map(|(address, machine)| format!("{address} #{machine}")).collect();
    let (mut members, mut hint) = (members.join(", "), "");
    let more = sibling.members.len().saturating_sub(MAX_ADDRESSES) as u64;
    if more > 0 {
        members = format!("{members} and {}", more_of(more, "address"));
        hint = "; all with --json";
    }
    let basis = match sibling.basis {
        Basis::Offset => "equal counters",
        Basis::Phase => "equal phase and skew",
    };
    format!("{members} ({basis}, probability {:.3}{hint})", floor(sibling.probability))
}

/// Three digits, never rounded up to certainty.
fn floor(probability: f64) -> f64 {
    (probability * 1000.0).floor().min(999.0) / 1000.0
}

/// A `sibling` line.
#[derive(Debug, Serialize)]
pub struct Line {
    members: Vec<Member>,
    probability: f64,
    basis: &'static str,
}

#[derive(Debug, Serialize)]
struct Member {
    address: String,
    machine: u32,
}

/// The line for one machine.
pub fn line(sibling: &Sibling) -> Line {
    Line {
        members: sibling
            .members
            .iter()
            .map(|(address, machine)| Member { address: address.to_string(), machine: *machine })
            .collect(),
        probability: sibling.probability,
        basis: match sibling.basis {
            Basis::Offset => "offset",
            Basis::Phase => "phase",
        },
    }
}

#[cfg(test)]
mod tests {
    use tmap_common::Address;

    use super::*;

    #[test]
    fn a_machine_with_many_addresses_is_cut() {
        let of = |addresses: u8| {
            let members = (0..addresses).map(|host| (Address::from_ip4([192, 0, 2, host]), 1)).collect();
            machine(&Sibling { members, probability: 1.0, basis: Basis::Offset })
        };
        assert!(of(20).ends_with("192.0.2.19 #1 (equal counters, probability 0.999)"), "{}", of(20));
        let end = "192.0.2.19 #1 and 4 more addresses (equal counters, probability 0.999; all with --json)";
        assert!(of(24).ends_with(end), "{}", of(24));
    }

    #[test]
    fn machines_that_are_not_compared_are_told() {
        let mut out = Vec::new();
        text(&mut out, &[], 1904).expect("in memory");
        let out = String::from_utf8(out).expect("text");
        let end = "\n  Not compared: 1,904 machines (use --filter for fewer addresses)\n";
        assert!(out.ends_with(end), "{out}");
    }
}
