//! Rows of real traffic: one name and one [`Web`] each.

use super::{
    Kind, Network, Web,
    ports::Ports,
    stack::{CONNECTION, MAC, PAIR, Stack, UPTIME, WINDOWS, jiffies},
};

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Kind of traffic, machines x connections of each, regime, network.
    pub name: String,
    /// What is simulated, on any seed.
    pub web: Web,
}

/// Back ends of one organisation are disciplined by NTP; clients' skews spread. In ppm.
const SERVER_SPREAD_PPM: f64 = 0.2;
const CLIENT_SPREAD_PPM: f64 = 10.0;

/// Regimes by name.
const REGIMES: [(&str, Stack); 3] = [("global", UPTIME), ("pair", PAIR), ("random", CONNECTION)];

/// Networks by name: "far" has jitter of ten ticks.
const NETWORKS: [(&str, Network); 3] =
    [("LAN", Network::LAN), ("WAN", Network::wan(1e-3)), ("far", Network::wan(10e-3))];

/// Traffic with its name, peers and machines.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    name: &'static str,
    kind: Kind,
    peers: usize,
    is_uneven: bool,
}

const fn traffic(name: &'static str, kind: Kind, peers: usize) -> Traffic {
    Traffic { name, kind, peers, is_uneven: false }
}

const CLIENTS: Traffic = traffic("clients", Kind::Clients, 30);
const UNEVEN_CLIENTS: Traffic = Traffic { name: "uneven clients", is_uneven: true, ..CLIENTS };
const BALANCER: Traffic = traffic("balancer", Kind::Balancer, 1);
const UNEVEN_BALANCER: Traffic = Traffic { name: "uneven balancer", is_uneven: true, ..BALANCER };
const BUSY_BALANCER: Traffic = traffic("busy balancer", Kind::Balancer, 40);
const UNEVEN_BUSY_BALANCER: Traffic =
    Traffic { name: "uneven busy balancer", is_uneven: true, ..BUSY_BALANCER };
const EDGE: Traffic = traffic("edge", Kind::Edge, 0);
const CRAWLER: Traffic = traffic("crawler", Kind::Crawler, 0);
const MAIL: Traffic = traffic("mail", Kind::Mail, 40);
const PROBES: Traffic = traffic("probes", Kind::Probes, 3);
const KEEP_ALIVE: Traffic = traffic("keep-alive", Kind::KeepAlive, 6);
const MIX: Traffic = traffic("mix", Kind::Mix, 30);

const ALL: [Traffic; 8] = [CLIENTS, BALANCER, EDGE, CRAWLER, MAIL, PROBES, KEEP_ALIVE, MIX];

/// All rows.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for regime in REGIMES {
        rows.extend(kinds(regime));
    }
    [rows, rates(), mixtures(), scarce()].concat()
}

/// Rows for source ports: machines whose ports follow Linux's rule, behind NATs that keep a share of them.
/// Machines talk to few services, as those of one household or office do. "NTP" machines have equal skews.
pub fn port_rows() -> Vec<Row> {
    let [lan, wan, _] = NETWORKS;
    let mut rows = Vec::new();
    let mut add = |(place, network): (&str, Network), machines: usize, spread_ppm: f64, kept: f64| {
        let what = Traffic { peers: 6, ..CLIENTS };
        let stacks = vec![CONNECTION; machines];
        let row = mixed(what, 60, ("random", stacks), (place, network));
        let ports = Ports::Walks { kept, addresses: 1 };
        let web = Web { ports, duration_s: 240.0, skew_spread_ppm: spread_ppm, ..row.web };
        rows.push(Row { name: format!("{} kept {kept}", row.name), web });
    };
    for kept in [1.0, 0.95, 0.5, 0.0] {
        for machines in [1, 2, 4, 8, 16, 32] {
            add(lan, machines, CLIENT_SPREAD_PPM, kept);
        }
        for machines in [4, 8] {
            add(wan, machines, CLIENT_SPREAD_PPM, kept);
            add(("NTP", Network::LAN), machines, 0.0, kept);
        }
    }
    rows
}

/// A row of machines that are all alike.
fn row(
    what: Traffic,
    (machines, connections): (usize, usize),
    (regime, stack): (&str, Stack),
    network: (&str, Network),
) -> Row {
    mixed(what, connections, (regime, vec![stack; machines]), network)
}

fn mixed(
    what: Traffic,
    connections: usize,
    (regime, stacks): (&str, Vec<Stack>),
    (place, network): (&str, Network),
) -> Row {
    let name = format!("{} {}x{connections} {regime} {place}", what.name, stacks.len());
    let spread_ppm = if what.kind.opens() { CLIENT_SPREAD_PPM } else { SERVER_SPREAD_PPM };
    let web = Web {
        kind: what.kind,
        connections,
        peers: what.peers,
        peer_stack: stacks[0],
        stacks,
        is_uneven: what.is_uneven,
        network,
        ports: Ports::Drawn,
        duration_s: 600.0,
        skew_spread_ppm: spread_ppm,
        seed: 0,
    };
    Row { name, web }
}

/// Every kind of traffic in one regime.
fn kinds(regime: (&'static str, Stack)) -> Vec<Row> {
    let [lan, wan, far] = NETWORKS;
    let is_random = regime.1 == CONNECTION;
    let mut rows = Vec::new();
    for network in [lan, wan] {
        let mut add = |what: Traffic, machines: &[usize], connections: usize| {
            rows.extend(machines.iter().map(|&count| row(what, (count, connections), regime, network)));
        };
        // Ninety machines can't be told by phase, whoever tries.
        let back_ends: &[usize] = if is_random { &[5, 20] } else { &[5, 20, 90] };
        add(CLIENTS, &[1, 4, 8], 30);
        add(UNEVEN_CLIENTS, &[4], 30);
        add(BALANCER, back_ends, 30);
        add(UNEVEN_BALANCER, &[20], 30);
        add(BUSY_BALANCER, back_ends, 30);
        add(UNEVEN_BUSY_BALANCER, &[20], 30);
        add(EDGE, &[3], 60);
        add(CRAWLER, &[1, 3], 30);
        add(MAIL, &[4], 30);
        add(PROBES, &[1, 3], 30);
        add(KEEP_ALIVE, &[4], 10);
        add(MIX, &[4], 30);
    }
    for connections in [10, 60, 100] {
        rows.push(row(CLIENTS, (4, connections), regime, lan));
        rows.push(row(BALANCER, (5, connections), regime, lan));
    }
    for what in [CLIENTS, BALANCER, MAIL] {
        rows.push(row(what, (4, 30), regime, far));
    }
    rows
}

/// Slower clocks, which show their uptime.
fn rates() -> Vec<Row> {
    let [lan, wan, _] = NETWORKS;
    let mut rows = Vec::new();
    let rates = [
        ("100 Hz", jiffies(100.0)),
        ("250 Hz", jiffies(250.0)),
        ("10 Hz", WINDOWS),
        ("jiffies", jiffies(1000.0)),
    ];
    for rate in rates {
        rows.push(row(CLIENTS, (4, 30), rate, lan));
        rows.push(row(BUSY_BALANCER, (5, 30), rate, wan));
        rows.push(row(MAIL, (4, 30), rate, wan));
    }
    rows
}

/// Machines of several regimes behind one address.
fn mixtures() -> Vec<Row> {
    let [lan, wan, _] = NETWORKS;
    let two_and_five = [vec![PAIR; 2], vec![CONNECTION; 5]].concat();
    let with_mac = [two_and_five.clone(), vec![MAC]].concat();
    let of_each = vec![PAIR, CONNECTION, MAC, UPTIME, jiffies(250.0)];
    let pair_and_mac = vec![PAIR, PAIR, MAC];
    let mut rows = Vec::new();
    for network in [lan, wan] {
        for (name, stacks) in [
            ("2 pair + 5 random", &two_and_five),
            ("2 pair + 5 random + Mac", &with_mac),
            ("one of each", &of_each),
            ("2 pair + Mac", &pair_and_mac),
        ] {
            rows.push(mixed(CLIENTS, 30, (name, stacks.clone()), network));
        }
    }
    rows.push(mixed(CLIENTS, 60, ("2 pair + 5 random", two_and_five.clone()), lan));
    rows.push(mixed(MIX, 60, ("one of each", of_each), lan));
    rows.push(mixed(BALANCER, 60, ("2 pair + 5 random", two_and_five), lan));
    rows
}

/// Too little to tell, which has to be said: one connection, and two of each of three machines.
fn scarce() -> Vec<Row> {
    let [lan, wan, _] = NETWORKS;
    let mut rows = Vec::new();
    for regime in REGIMES {
        for what in ALL {
            let (one, few) = (format!("one connection: {}", what.name), format!("few: {}", what.name));
            let one = Row { name: format!("{one} {}", regime.0), ..row(what, (1, 1), regime, lan) };
            let few = Row { name: format!("{few} {}", regime.0), ..row(what, (3, 2), regime, wan) };
            rows.extend([one, few]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_rows_share_a_name() {
        let rows = rows();
        let names: HashSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
    }
}
