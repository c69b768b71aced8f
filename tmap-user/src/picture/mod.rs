//! Pictures: a snapshot as charts, in the data's own units.
//!
//! One chart is drawn three ways, so that a page, a file and the screen show the same: as SVG, as PNG and in
//! a terminal. What a chart shows is decided here, and how it looks there.

mod axis;
pub mod chart;
mod cylinder;
mod load;
mod offsets;
pub mod palette;
mod phases;
pub mod png;
mod ports;
mod rtt;
mod source;
pub mod svg;
mod timeline;

use tmap_common::Address;

use crate::{
    engine::{Event, Snapshot},
    report::number::Calendar,
};
use chart::Chart;

/// The most charts below each other in one picture.
pub const MOST_STACKED: usize = 8;

/// The most reboots that are kept for a picture of machines' lives.
pub const MOST_REBOOTS: usize = 1_000;

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
    kind: Kind,
    snapshot: &Snapshot,
    address: Option<Address>,
    calendar: &Calendar<'_>,
) -> Vec<Chart> {
    match kind {
        Kind::Offsets => offsets::charts(snapshot, address, calendar),
        Kind::Phases => phases::charts(snapshot, address, calendar),
        Kind::Ports => ports::charts(snapshot, address, calendar),
        Kind::Rtt => rtt::charts(snapshot, address, calendar),
        Kind::Load => load::charts(snapshot, address, calendar),
        Kind::Timeline => timeline(snapshot, address, calendar, &[]),
    }
}

/// The charts of [`Kind::Timeline`] with what happened: of these events, the reboots.
pub fn timeline(
    snapshot: &Snapshot,
    address: Option<Address>,
    calendar: &Calendar<'_>,
    events: &[Event],
) -> Vec<Chart> {
    timeline::charts(snapshot, address, calendar, events)
}
