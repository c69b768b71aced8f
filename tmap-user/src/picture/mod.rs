//! Pictures: a snapshot as charts, in the data's own units.
//!
//! One chart is drawn three ways, so that a page, a file and the screen show the same: as SVG, as PNG and in
//! a terminal. What a chart shows is decided here, and how it looks there.

pub mod chart;

use tmap_common::Address;

use crate::{engine::Snapshot, report::number::Calendar};
use chart::Chart;

/// What a picture shows of the connections of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The uptime that counters tell, against time: each machine is a line, and lines are parallel.
    Offsets,
    /// The phase of a tick, against time: each machine is a line round a cylinder.
    Phases,
    /// Source ports, against time.
    Ports,
    /// How often round trips took how long.
    Rtt,
    /// Each machine's share of the connections, over time.
    Load,
    /// When each machine was seen, and what happened.
    Timeline,
}

/// The charts of one kind: one per address, or per address and tick rate; those with most to show first. With
/// an `address`, only its own.
pub fn charts(
    _kind: Kind,
    _snapshot: &Snapshot,
    _address: Option<Address>,
    _calendar: &Calendar<'_>,
) -> Vec<Chart> {
    Vec::new()
}
