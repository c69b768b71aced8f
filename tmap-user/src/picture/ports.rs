//! Source ports against time: a client's system chooses them in its own way, often one after the other. Lines
//! join the SYNs of a walk.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    axis::{Time, numbers},
    chart::{Chart, Mark, Owner},
    source::{MOST_CONNECTIONS, Source, drawn_of, name, owner, series, sources, thinned, weight, words},
};
use crate::{
    engine::snapshot::{Side, Snapshot},
    report::number::{Calendar, count},
};

/// The largest port.
const LAST_PORT: f64 = 65_535.0;

/// A chart of each address with client connections, those with most connections first.
pub(super) fn charts(snapshot: &Snapshot, address: Option<Address>, calendar: &Calendar<'_>) -> Vec<Chart> {
    sources(snapshot, address).iter().filter_map(|source| chart(source, calendar)).collect()
}

fn chart(source: &Source<'_>, calendar: &Calendar<'_>) -> Option<Chart> {
    let clients: Vec<_> = source.connections.iter().filter(|c| c.side == Side::Client).collect();
    let servers = source.connections.len() - clients.len();
    let (clients, total) = thinned(clients, MOST_CONNECTIONS);
    let first_ns = clients.iter().map(|c| c.first_seen_ns).min()?;
    let last_ns = clients.iter().map(|c| c.first_seen_ns).max()?;
    let lowest = f64::from(clients.iter().map(|c| c.src_port).min()?);
    let highest = f64::from(clients.iter().map(|c| c.src_port).max()?);
    let time = Time::new(first_ns, last_ns);
    let mut marks: BTreeMap<Owner, Vec<Mark>> = BTreeMap::new();
    let mut walks = 0;
    for connection in &clients {
        let at = (time.x(connection.first_seen_ns), f64::from(connection.src_port));
        let of_owner = marks.entry(owner(connection)).or_default();
        if let Some(step) = connection.goes_on_from.filter(|step| step.time_ns >= first_ns) {
            of_owner.push(Mark::Line { from: (time.x(step.time_ns), f64::from(step.port)), to: at });
            walks += 1;
        }
        of_owner.push(Mark::Point { at, weight: weight(connection), text: words(connection) });
    }
    let room = (0.04 * (highest - lowest)).max(2.0);
    let mut subtitle =
        format!("Source ports of {}, when first seen", drawn_of(clients.len(), total, "client connection"));
    if walks > 0 {
        subtitle += "; lines join the SYNs of a walk";
    }
    if servers > 0 {
        subtitle += &format!("; {} left out", count(servers as u64, "server connection"));
    }
    Some(Chart {
        title: source.title(),
        subtitle,
        x: time.axis(calendar),
        y: numbers("source port".to_owned(), (lowest - room).max(0.0), (highest + room).min(LAST_PORT)),
        series: series(marks, name),
    })
}
