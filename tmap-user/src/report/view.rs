//! What a report shows, in which order, and how much of it.

use std::{cmp::Reverse, net::IpAddr};

use tmap_common::Address;

use crate::engine::snapshot::{AddressReport, ConnectionReport};

/// The most addresses that a text report lists, where the user gives no other number: two screens.
const TOP: usize = 40;

/// The order of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Most machines first, then most connections.
    #[default]
    Machines,
    /// Most connections first.
    Connections,
    /// By address.
    Address,
    /// The latest seen first.
    Seen,
    /// The longest up first; those without a boot time last.
    Uptime,
}

impl Sort {
    /// Sorts addresses in this order.
    pub(super) fn apply(self, listed: &mut [&AddressReport]) {
        // 10^18 is beyond any time, and a whole number can be compared.
        let boot_ns =
            |report: &AddressReport| boot_s(report).map_or(i64::MAX, |boot_s| (boot_s * 1e9) as i64);
        match self {
            Self::Machines => {
                listed
                    .sort_by_key(|report| (Reverse((machines(report), report.connections)), report.address));
            }
            Self::Connections => listed.sort_by_key(|report| (Reverse(report.connections), report.address)),
            Self::Address => listed.sort_by_key(|report| report.address),
            Self::Seen => listed.sort_by_key(|report| (Reverse(report.last_seen_ns), report.address)),
            Self::Uptime => listed.sort_by_key(|report| (boot_ns(report), report.address)),
        }
    }
}

/// What a report shows.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The order of addresses; `None`: the usual one of the format.
    pub sort: Option<Sort>,
    /// The most addresses listed; `None`: the usual number of the format.
    pub top: Option<usize>,
    /// Addresses with fewer machines are left out.
    pub min_machines: u32,
    /// Whether everything is told of each machine.
    pub verbose: bool,
    /// Whether text summaries tell machines even where round trips were measured.
    pub hides_round_trips: bool,
    /// Whether events are left out of text reports.
    pub hides_events: bool,
    /// Whether text is coloured.
    pub colour: bool,
    /// The end of connections that alone are of interest; `None` for all.
    pub end: Option<End>,
}

/// One end of a connection: an address, or an address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The address.
    pub address: Address,
    /// The port; `None` for any.
    pub port: Option<u16>,
}

impl std::str::FromStr for End {
    type Err = String;

    /// `198.51.100.1:53042`, `198.51.100.1`, `[2001:db8::1]:443`, `2001:db8::1`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
            return Ok(Self { address: socket.ip().into(), port: Some(socket.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Ok(Self { address: address.into(), port: None }),
            Err(_) => Err("expected an address and a port, such as 198.51.100.1:53042".to_owned()),
        }
    }
}

impl End {
    /// Whether a connection side was sent from here.
    pub fn sent(&self, connection: &ConnectionReport) -> bool {
        connection.src == self.address && self.port.is_none_or(|port| connection.src_port == port)
    }
}

/// The addresses that a report lists.
pub(crate) struct Chosen<'a> {
    /// In the order in which they are listed.
    pub listed: Vec<&'a AddressReport>,
    /// How many were left out because only so many are listed.
    pub more: usize,
    /// How many were left out because they have fewer machines than asked for.
    pub too_few: usize,
}

impl View {
    /// The addresses of a text report.
    pub(crate) fn of_text<'a>(&self, all: &'a [AddressReport]) -> Chosen<'a> {
        self.choose(all, self.sort.unwrap_or_default(), self.top.unwrap_or(TOP))
    }

    /// The addresses of a JSON report: all, by address, unless the user asks for something else.
    pub(crate) fn of_json<'a>(&self, all: &'a [AddressReport]) -> Chosen<'a> {
        let usual = if self.top.is_some() { Sort::Machines } else { Sort::Address };
        self.choose(all, self.sort.unwrap_or(usual), self.top.unwrap_or(usize::MAX))
    }

    fn choose<'a>(&self, all: &'a [AddressReport], sort: Sort, top: usize) -> Chosen<'a> {
        let is_wanted = |report: &&AddressReport| self.end.is_none_or(|end| end.address == report.address);
        let (mut listed, few): (Vec<_>, Vec<_>) =
            all.iter().filter(is_wanted).partition(|report| machines(report) >= self.min_machines);
        sort.apply(&mut listed);
        let more = listed.len().saturating_sub(top);
        listed.truncate(top);
        Chosen { listed, more, too_few: few.len() }
    }
}

/// The machines of an address: the best count or, without one, the fewest that there can be.
pub(crate) fn machines(report: &AddressReport) -> u32 {
    report.machines.or(report.machines_low).unwrap_or(0)
}

/// The earliest boot of an address's machines, engine time in seconds.
fn boot_s(report: &AddressReport) -> Option<f64> {
    report.machine_list.iter().filter_map(|m| Some(m.boot?.engine_s.value)).min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_addresses_with_or_without_a_port() {
        let end = |text: &str| text.parse::<End>().map(|end| (end.address.to_string(), end.port));
        assert_eq!(end("198.51.100.1:53042"), Ok(("198.51.100.1".to_owned(), Some(53042))));
        assert_eq!(end("198.51.100.1"), Ok(("198.51.100.1".to_owned(), None)));
        assert_eq!(end("[2001:db8::1]:443"), Ok(("2001:db8::1".to_owned(), Some(443))));
        assert_eq!(end("2001:db8::1"), Ok(("2001:db8::1".to_owned(), None)));
        assert_eq!(end("[2001:db8::1]"), Ok(("2001:db8::1".to_owned(), None)));
        for text in ["", "host", "198.51.100.1:", "198.51.100.1:70000", ":80"] {
            assert!(end(text).is_err(), "{text}");
        }
    }
}
