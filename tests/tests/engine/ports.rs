//! Source ports as a second witness: what they add, and that they do no harm.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tmap::engine::{
    Options,
    ports::{self, Opening, rule::Rule},
    snapshot::PortCount,
};
use tmap_common::Address;
use tmap_tests::{
    judge::web::{self, Outcome},
    simulate::web::{Web, grid, ports::Ports},
};

/// The row of source ports with this in its name, with these ports, on some seeds, with each of these
/// settings.
pub(crate) fn judged_with<const N: usize>(
    name: &str,
    ports: Ports,
    seeds: u64,
    options: [Options; N],
) -> [Vec<Outcome>; N] {
    let row = grid::port_rows().into_iter().find(|row| row.name.contains(name)).expect("a row");
    options.map(|options| {
        let web = |seed| Web { seed, ports, ..row.web.clone() };
        (0..seeds).map(|seed| web::judge_with(&web(seed), options.clone())).collect()
    })
}

/// The row of source ports with this in its name, with these ports, on some seeds: with this evidence, and
/// without.
fn judged(name: &str, ports: Ports, seeds: u64) -> [Vec<Outcome>; 2] {
    judged_with(name, ports, seeds, [true, false].map(|ports| Options { ports, ..Options::default() }))
}

pub(crate) fn right(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().map(|outcome| outcome.right).sum::<f64>() / outcomes.len() as f64
}

const KEPT: Ports = Ports::Walks { kept: 1.0, addresses: 1 };

#[test]
fn walks_tell_more_connections_apart() {
    // What pages tell would hide some of it.
    let options = [true, false].map(|ports| Options { ports, pages: false, ..Options::default() });
    let [with, without] = judged_with("clients 4x60 random LAN", KEPT, 6, options);
    assert!(right(&with) > right(&without) + 0.1, "{} {}", right(&with), right(&without));
    assert!(with.iter().all(Outcome::covers) && !with.iter().any(Outcome::is_falsely_proven));
}

#[test]
fn drawn_ports_change_nothing() {
    let [with, without] = judged("clients 4x60 random LAN", Ports::Drawn, 4);
    for (with, without) in with.iter().zip(&without) {
        assert_eq!((with.found, with.interval, with.right), (without.found, without.interval, without.right));
    }
}

#[test]
fn one_machine_is_never_split() {
    let several = Ports::Walks { kept: 1.0, addresses: 4 };
    for ports in [KEPT, several, Ports::Walks { kept: 0.5, addresses: 1 }, Ports::Counters { kept: 1.0 }] {
        let [with, _] = judged("clients 1x60 random LAN", ports, 6);
        assert!(!with.iter().any(|o| o.is_split() || o.is_falsely_proven()), "{ports:?}: {with:?}");
        assert!(with.iter().all(Outcome::covers), "{ports:?}");
    }
}

#[test]
fn clocks_overturn_ports_that_deceive() {
    for ports in [Ports::Joined, Ports::Counters { kept: 1.0 }] {
        let [with, without] = judged("clients 4x60 random LAN", ports, 6);
        assert!(right(&with) > right(&without) - 0.05, "{ports:?}: {} {}", right(&with), right(&without));
        let exact = |outcomes: &[Outcome]| outcomes.iter().filter(|o| o.found == Some(4)).count();
        assert!(exact(&with) + 1 >= exact(&without), "{ports:?}");
        // They are 90 % intervals.
        assert!(with.iter().filter(|outcome| outcome.covers()).count() >= 5, "{ports:?}: {with:?}");
    }
}

/// The row of as many machines, with these ports, on some seeds: what is told without timestamps.
fn without_timestamps(machines: usize, ports: Ports) -> Vec<Option<PortCount>> {
    let name = format!("clients {machines}x60 random LAN");
    let row = grid::port_rows().into_iter().find(|row| row.name.contains(&name)).expect("a row");
    (0..6).map(|seed| web::count_without_timestamps(&Web { seed, ports, ..row.web.clone() }, true)).collect()
}

#[test]
fn machines_without_timestamps_are_counted_within_their_interval() {
    for machines in [1, 4, 16] {
        for told in without_timestamps(machines, KEPT).into_iter().flatten() {
            assert!(told.low as usize <= machines, "{machines}: {told:?}");
            assert!(told.high.is_none_or(|high| high as usize >= machines), "{machines}: {told:?}");
            assert!(told.ports.hosts_at_once as usize <= machines, "{machines}: {told:?}");
        }
    }
    let told = without_timestamps(4, KEPT);
    assert!(told.iter().filter(|told| told.is_some()).count() >= 5, "{told:?}");
}

#[test]
fn several_addresses_of_one_machine_are_one_machine() {
    let told = without_timestamps(1, Ports::Walks { kept: 1.0, addresses: 4 });
    assert!(told.iter().flatten().all(|told| told.low == 1), "{told:?}");
}

#[test]
fn nothing_is_told_of_machines_without_timestamps_where_ports_are_drawn() {
    assert!(without_timestamps(4, Ports::Drawn).iter().all(Option::is_none));
    assert!(without_timestamps(4, Ports::Counters { kept: 1.0 }).iter().all(Option::is_none));
}

/// Hosts that open 40 connections each to one server within 300 s, from ports one after the other: `step`
/// from one to the next, and each next one skipped with probability `skipped`, for a connection elsewhere.
fn to_one_server(hosts: usize, step: u16, skipped: f64, random: &mut Pcg64) -> Vec<Opening> {
    let (peer, peer_port) = (Address::from_ip4([203, 0, 113, 1]), 8_080);
    let mut openings = Vec::new();
    for _ in 0..hosts {
        let mut times_ns: Vec<u64> = (0..40).map(|_| random.random_range(0..300_000_000_000)).collect();
        times_ns.sort_unstable();
        let mut port = 32_768 + 2 * random.random_range(0..14_000_u16);
        for time_ns in times_ns {
            port += step;
            while random.random::<f64>() < skipped {
                port += step;
            }
            openings.push(Opening { time_ns, peer, peer_port, port });
        }
    }
    openings
}

fn read(mut openings: Vec<Opening>) -> ports::Ports {
    openings.sort_by_key(|opening| opening.time_ns);
    ports::Ports::read(openings)
}

#[test]
fn a_counter_before_one_server_is_no_two_walks() {
    for (hosts, skipped) in [(1, 0.0), (1, 0.2), (1, 0.6), (3, 0.0), (3, 0.2), (3, 0.6)] {
        for seed in 0..6 {
            let told = read(to_one_server(hosts, 1, skipped, &mut Pcg64::seed_from_u64(seed)));
            assert_eq!(told.most_at_once(), 0, "{hosts} hosts, {skipped}, seed {seed}");
            assert!((0..told.openings.len()).all(|at| told.link(at).is_none()), "{hosts} hosts, {skipped}");
        }
    }
}

#[test]
fn walks_in_steps_of_two_are_told_beside_counters() {
    for (walking, counting, missed) in [(1, 0, 0.0), (3, 0, 0.0), (3, 0, 0.1), (2, 1, 0.0)] {
        for seed in 0..6 {
            let random = &mut Pcg64::seed_from_u64(seed);
            let walks = to_one_server(walking, 2, missed, random);
            let told = read([walks, to_one_server(counting, 1, 0.2, random)].concat());
            assert_eq!(told.most_at_once(), walking, "beside {counting} counters, {missed}, seed {seed}");
        }
    }
}

/// The services that [`one_hint`] and [`walking`] talk to.
const SERVICES: u8 = 4;

/// A host without timestamps that visits services for 900 s, with one, two or four connections each time. It
/// takes its ports from `next_port`.
fn visits(random: &mut Pcg64, mut next_port: impl FnMut(u8, u64, &mut Pcg64) -> u16) -> Vec<Opening> {
    let (mut openings, mut time_ns) = (Vec::new(), random.random_range(0..5_000_000_000));
    while time_ns < 900_000_000_000 {
        let service = random.random_range(0..SERVICES);
        for _ in 0..[1, 2, 4][random.random_range(0..3)] {
            let port = next_port(service, time_ns, random);
            let peer = Address::from_ip4([203, 0, 113, service]);
            openings.push(Opening { time_ns, peer, peer_port: 443, port });
            time_ns += random.random_range(50_000_000..1_000_000_000);
        }
        time_ns += random.random_range(0..8_000_000_000);
    }
    openings
}

/// A host with Linux up to 5.11: one hint for all services, which goes by two with each connection.
fn one_hint(random: &mut Pcg64) -> Vec<Opening> {
    let of_service: [u32; SERVICES as usize] = std::array::from_fn(|_| random.random_range(0..28_232));
    let mut hint = random.random_range(0..28_232);
    visits(random, |service, _, _| {
        let port = 32_768 + (((of_service[usize::from(service)] + hint) % 28_232) & !1);
        hint += 2;
        port as u16
    })
}

/// A host with Linux since 2022: a walk for each service, which begins anew every ten seconds.
fn walking(random: &mut Pcg64) -> Vec<Opening> {
    let boundary_ns = random.random_range(0..10_000_000_000);
    let mut walks = [(u64::MAX, 0); SERVICES as usize];
    visits(random, |service, time_ns, random| {
        let period = (time_ns + boundary_ns) / 10_000_000_000;
        let (of_period, port) = &mut walks[usize::from(service)];
        if *of_period != period {
            (*of_period, *port) = (period, 32_768 + 2 * random.random_range(0..14_000_u16));
        }
        *port += 2 * random.random_range(1..=8);
        *port
    })
}

fn rules(told: &ports::Ports) -> Vec<Rule> {
    told.walks.iter().map(|walks| walks.rule).filter(|rule| rule.is_per_service()).collect()
}

#[test]
fn one_hint_for_all_services_is_one_machine() {
    for seed in 0..20 {
        let told = read(one_hint(&mut Pcg64::seed_from_u64(seed)));
        // Walks of this rule have no boundary of ten seconds.
        assert_eq!(rules(&told), [Rule::LinuxHint], "seed {seed}");
        assert!(told.fewest_machines() <= 1 && told.most_at_once() == 1, "seed {seed}");
    }
}

#[test]
fn one_hint_beside_walks_makes_no_more_machines() {
    for (hints, walks) in [(1, 1), (1, 2), (2, 1), (3, 0)] {
        for seed in 0..10 {
            let random = &mut Pcg64::seed_from_u64(seed);
            let old = (0..hints).flat_map(|_| one_hint(random)).collect::<Vec<_>>();
            let since = (0..walks).flat_map(|_| walking(random)).collect::<Vec<_>>();
            let told = read([old, since].concat());
            let most = hints + walks;
            assert!(told.fewest_machines() <= most, "{hints} and {walks}, seed {seed}");
            assert!(told.most_at_once() <= most, "{hints} and {walks}, seed {seed}");
        }
    }
}

#[test]
fn walks_since_2022_are_told_by_their_own_rule() {
    for hosts in 1..=3 {
        for seed in 0..10 {
            let random = &mut Pcg64::seed_from_u64(seed);
            let told = read((0..hosts).flat_map(|_| walking(random)).collect());
            assert_eq!(rules(&told), [Rule::LinuxWalk], "{hosts} hosts, seed {seed}");
        }
    }
}
