//! Pictures on the page, within a budget of bytes.

use crate::{
    engine::{
        Event, Snapshot,
        snapshot::{AddressReport, ConnectionReport, Regime},
    },
    picture::{self, Kind, svg::Theme},
    report::number::Calendar,
};

/// The kinds, in the order of the page.
const KINDS: [Kind; 6] = [Kind::Offsets, Kind::Phases, Kind::Ports, Kind::Load, Kind::Rtt, Kind::Timeline];

/// The bytes that pictures may take: less than half of a page that opens at once.
const BUDGET: usize = 3 << 20;

/// The most addresses with pictures: more are never looked at.
const MAX_ADDRESSES: usize = 50;

/// The most pictures of one kind for an address: one per tick rate.
const MAX_OF_KIND: usize = 4;

/// A picture.
pub(super) struct Figure {
    /// A name for style sheets and tests.
    pub kind: &'static str,
    /// What to look for, in a sentence.
    pub how_to_read: &'static str,
    /// The picture as SVG.
    pub svg: String,
}

impl Figure {
    /// Whether it shows phases.
    pub(super) fn is_of_phases(&self) -> bool {
        self.kind == name(Kind::Phases)
    }
}

/// What draws the pictures of a page until the budget is spent.
pub(super) struct Illustrator<'a> {
    snapshot: &'a Snapshot,
    reboots: &'a [Event],
    /// The positions of connections, sorted by their address.
    by_address: Vec<usize>,
    left_bytes: usize,
    drawn: usize,
}

impl<'a> Illustrator<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, reboots: &'a [Event]) -> Self {
        let mut by_address: Vec<usize> = (0..snapshot.connections.len()).collect();
        by_address.sort_by_key(|&at| snapshot.connections[at].src);
        Self { snapshot, reboots, by_address, left_bytes: BUDGET, drawn: 0 }
    }

    /// The pictures of an address; `None` where the budget is spent.
    pub(super) fn draw(&mut self, report: &AddressReport, calendar: &Calendar<'_>) -> Option<Vec<Figure>> {
        if self.drawn >= MAX_ADDRESSES {
            return None;
        }
        let own = self.only(report);
        let mut figures = Vec::new();
        for kind in KINDS {
            let address = Some(report.address);
            let charts = match kind {
                Kind::Timeline => picture::timeline(&own, address, calendar, self.reboots),
                _ => picture::charts(kind, &own, address, calendar),
            };
            figures.extend(charts.into_iter().take(MAX_OF_KIND).map(|mut chart| {
                // The section around it says whose it is.
                title(kind).clone_into(&mut chart.title);
                Figure {
                    kind: name(kind),
                    how_to_read: how_to_read(kind, report.regime),
                    svg: picture::svg::svg(&chart, Theme::Page),
                }
            }));
        }
        let bytes: usize = figures.iter().map(|figure| figure.svg.len()).sum();
        if bytes > self.left_bytes {
            // What comes later is of less interest, so it gets none, too.
            self.drawn = MAX_ADDRESSES;
            return None;
        }
        self.left_bytes -= bytes;
        self.drawn += 1;
        Some(figures)
    }

    /// A snapshot of one address: charts then need not search all connections.
    fn only(&self, report: &AddressReport) -> Snapshot {
        let connection = |at: usize| &self.snapshot.connections[at];
        let start = self.by_address.partition_point(|&at| connection(at).src < report.address);
        let end = self.by_address.partition_point(|&at| connection(at).src <= report.address);
        let connections: Vec<ConnectionReport> =
            self.by_address[start..end].iter().map(|&at| connection(at).clone()).collect();
        let rtt = self.snapshot.rtt.as_ref().map(|all| crate::engine::rtt::Report {
            machines: all.machines.iter().filter(|one| one.address == report.address).cloned().collect(),
            ..crate::engine::rtt::Report::default()
        });
        Snapshot {
            now_ns: self.snapshot.now_ns,
            addresses: vec![report.clone()],
            connections,
            rtt,
            ..Snapshot::default()
        }
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Offsets => "offsets",
        Kind::Phases => "phases",
        Kind::Ports => "ports",
        Kind::Rtt => "rtt",
        Kind::Load => "load",
        Kind::Timeline => "timeline",
    }
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Offsets => "Offset against time",
        Kind::Phases => "Phase against time",
        Kind::Ports => "Source ports against time",
        Kind::Rtt => "Round trips",
        Kind::Load => "Shares of the load",
        Kind::Timeline => "Machines over time",
    }
}

fn how_to_read(kind: Kind, regime: Regime) -> &'static str {
    match kind {
        Kind::Offsets => match regime {
            Regime::Global | Regime::Undetermined => {
                "Each machine is a line, because all its connections show one clock. A restart begins a new \
                 line."
            }
            Regime::Mixed => {
                "A machine with a fixed offset is a line, because all its connections show one clock. \
                 Connections with random offsets are scattered."
            }
            Regime::PerPair | Regime::PerConnection => {
                "Offsets are random here, so connections of one machine are scattered. The phases tell \
                 machines apart."
            }
        },
        Kind::Phases => {
            "Each machine is a band, because its ticks fall at one point of the cycle. A slope is its skew."
        }
        Kind::Ports => "Source ports that climb step by step belong to one machine, or to one port counter.",
        Kind::Load => "How many of the connections were each machine's, over time.",
        Kind::Rtt => "How long answers took. A narrow hill is a steady path, a long tail is delay.",
        Kind::Timeline => "When each machine was seen, and what happened to it.",
    }
}
