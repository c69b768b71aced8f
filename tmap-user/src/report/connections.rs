//! Connections, for people: which machine sent each, and when.

use std::io::{self, Write};

use super::{
    fold::width,
    number::{Calendar, bytes, grouped, span},
    style::{Styles, paint},
    words,
};
use crate::engine::{snapshot::ConnectionReport, types::seconds_between};

/// Writes one line per connection side.
pub(super) fn write(
    out: &mut impl Write,
    connections: &[&ConnectionReport],
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> io::Result<()> {
    if connections.is_empty() {
        return writeln!(out, "\nNo connection with timestamps matches.");
    }
    let names: Vec<String> = connections.iter().map(|connection| name(connection)).collect();
    let columns = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let heading = format!(
        "{:columns$}  {:14}  {:>8} {:>7} {:>9}  {:6}  Machine",
        "From > to", "First seen", "Lasted", "Segm.", "Data", "Side"
    );
    writeln!(out, "\n{}", paint(styles.heading, &heading))?;
    for (connection, name) in connections.iter().zip(&names) {
        writeln!(
            out,
            "{name:columns$}  {:14}  {:>8} {:>7} {:>9}  {:6}  {}",
            calendar.day_and_second(connection.first_seen_ns),
            span(seconds_between(connection.first_seen_ns, connection.last_seen_ns).max(0.0)),
            grouped(connection.segments),
            bytes(connection.payload_bytes),
            words::side(connection.side),
            paint(styles.strong, &machine(connection))
        )?;
        if let Some(tunnel) = &connection.tunnel {
            writeln!(out, "  in {}", words::tunnel(tunnel))?;
        }
    }
    Ok(())
}

/// `198.51.100.1:53042 > 203.0.113.10:443`.
fn name(connection: &ConnectionReport) -> String {
    let end = |address: tmap_common::Address, port| {
        std::net::SocketAddr::new(std::net::IpAddr::from(address), port).to_string()
    };
    let (from, to) = (end(connection.src, connection.src_port), end(connection.dst, connection.dst_port));
    format!("{from} > {to}")
}

/// `#2`, `#2 (74 %)`, `-`.
fn machine(connection: &ConnectionReport) -> String {
    match (connection.machine, connection.probability) {
        (Some(machine), Some(probability)) if probability < 0.995 => {
            format!("#{machine} ({:.0} %)", 100.0 * probability)
        }
        (Some(machine), _) => format!("#{machine}"),
        (None, _) => "-".to_owned(),
    }
}
