//! Machines behind several addresses, in words and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::number::and_more;
use crate::engine::snapshot::{Basis, Sibling};

/// The most lines shown to people.
const MAX_LINES: usize = 20;

/// Writes one line per machine.
pub fn text(out: &mut impl Write, siblings: &[Sibling]) -> io::Result<()> {
    if siblings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nOne clock behind several addresses (one machine, or containers on one machine):")?;
    for sibling in siblings.iter().take(MAX_LINES) {
        let members: Vec<String> =
            sibling.members.iter().map(|(address, machine)| format!("{address} #{machine}")).collect();
        let basis = match sibling.basis {
            Basis::Offset => "equal counters",
            Basis::Phase => "equal phase and skew",
        };
        writeln!(out, "  {} ({basis}, probability {:.3})", members.join(", "), floor(sibling.probability))?;
    }
    if let Some(more) = and_more(MAX_LINES, siblings.len(), "machine") {
        writeln!(out, "  {more}")?;
    }
    Ok(())
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
