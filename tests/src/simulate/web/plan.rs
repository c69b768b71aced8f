//! Who opens which connection when, and what is said on it.

use rand::RngExt;

use super::{
    Kind, Web,
    exchange::{CLIENT, SERVER},
};
use crate::simulate::Random;

/// A connection to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// When its client sends the SYN, in seconds.
    pub(super) begin_s: f64,
    pub(super) machine: usize,
    pub(super) peer: usize,
    pub(super) script: Script,
}

/// What is said on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    /// Questions and answers for so long, in seconds.
    Fetch { length_s: f64 },
    /// SMTP of about two seconds.
    Mail,
    /// One SYN.
    Probe { answered: bool },
    /// Minutes, with pauses.
    KeepAlive,
}

/// One end says something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) side: usize,
    /// After it had heard the other, in seconds.
    pub(super) pause_s: f64,
    /// Segments that leave at once, with one TSval.
    pub(super) segments: usize,
}

impl Script {
    fn fetch(random: &mut Random) -> Self {
        Self::Fetch { length_s: log_uniform(0.05, 0.5, random) }
    }

    /// The turns behind the handshake. A round trip between the ends takes `rtt_s` seconds.
    pub(super) fn turns(&self, rtt_s: f64, random: &mut Random) -> Vec<Turn> {
        match self {
            Self::Fetch { length_s } => fetch(*length_s, rtt_s, random),
            Self::Mail => mail(rtt_s, random),
            Self::Probe { .. } => Vec::new(),
            Self::KeepAlive => keep_alive(random),
        }
    }
}

/// One to three questions; both ends' pauses fill up the length.
fn fetch(length_s: f64, rtt_s: f64, random: &mut Random) -> Vec<Turn> {
    let rounds = random.0.random_range(1..=3_usize);
    let mut pauses = shares((length_s - (rounds + 1) as f64 * rtt_s).max(0.005), 2 * rounds - 1, random);
    let mut turns = Vec::new();
    for round in 0..rounds {
        let ask_s = if round == 0 { 0.0 } else { pauses.pop().unwrap_or_default() };
        turns.push(Turn { side: CLIENT, pause_s: ask_s, segments: 1 });
        let answer_s = pauses.pop().unwrap_or_default();
        turns.push(Turn { side: SERVER, pause_s: answer_s, segments: random.0.random_range(1..=4) });
    }
    turns
}

/// A banner, five commands, the letter, and the end.
fn mail(rtt_s: f64, random: &mut Random) -> Vec<Turn> {
    const COMMANDS: usize = 7;
    let length_s = random.uniform(1.5, 2.5) - (COMMANDS + 1) as f64 * rtt_s;
    let mut pauses = shares(length_s.max(0.2), 2 * COMMANDS + 1, random);
    let mut next_s = || pauses.pop().unwrap_or_default();
    let mut turns = vec![Turn { side: SERVER, pause_s: next_s(), segments: 1 }];
    for command in 1..=COMMANDS {
        let segments = if command == COMMANDS - 1 { random.0.random_range(2..=4) } else { 1 };
        turns.push(Turn { side: CLIENT, pause_s: next_s(), segments });
        turns.push(Turn { side: SERVER, pause_s: next_s(), segments: 1 });
    }
    turns
}

fn keep_alive(random: &mut Random) -> Vec<Turn> {
    let length_s = log_uniform(30.0, 300.0, random);
    let (mut turns, mut t) = (Vec::new(), 0.0);
    while t < length_s {
        let pause_s = random.exponential(8.0);
        turns.push(Turn { side: CLIENT, pause_s, segments: 1 });
        let answer_s = random.exponential(0.01);
        turns.push(Turn { side: SERVER, pause_s: answer_s, segments: random.0.random_range(1..=3) });
        t += pause_s + answer_s;
    }
    turns
}

/// A time in so many parts at random.
fn shares(total_s: f64, parts: usize, random: &mut Random) -> Vec<f64> {
    let drawn: Vec<f64> = (0..parts).map(|_| random.exponential(1.0)).collect();
    let sum: f64 = drawn.iter().sum();
    drawn.into_iter().map(|part| total_s * part / sum).collect()
}

fn log_uniform(low: f64, high: f64, random: &mut Random) -> f64 {
    random.uniform(low.ln(), high.ln()).exp()
}

/// A choice among `0..count`, even or by Zipf's law: the k-th is chosen 1/k times as often as the first.
struct Choice {
    up_to: Vec<f64>,
}

impl Choice {
    fn new(count: usize, is_uneven: bool) -> Self {
        let weights = (0..count).map(|k| if is_uneven { 1.0 / (k + 1) as f64 } else { 1.0 });
        let up_to: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self { up_to }
    }

    fn total(&self) -> f64 {
        self.up_to.last().copied().unwrap_or(0.0)
    }

    /// The share of the k-th.
    fn share(&self, k: usize) -> f64 {
        let before = k.checked_sub(1).map_or(0.0, |before| self.up_to[before]);
        (self.up_to[k] - before) / self.total()
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.uniform(0.0, self.total());
        self.up_to.partition_point(|up_to| *up_to <= at).min(self.up_to.len() - 1)
    }
}

/// Draws all connections.
pub(super) fn draw(web: &Web, random: &mut Random) -> Vec<Opening> {
    let machines = Choice::new(web.stacks.len(), web.is_uneven);
    let all = web.connections * web.stacks.len();
    let peers = Choice::new(web.peers, true);
    match web.kind {
        Kind::Balancer => served(web, all, web.peers, &machines, random),
        // Each client comes twice or so.
        Kind::Edge => served(web, all, (all / 9).max(1), &machines, random),
        Kind::Mail => (0..all)
            .map(|_| Opening {
                begin_s: random.uniform(0.0, web.duration_s),
                machine: machines.draw(random),
                peer: random.0.random_range(0..web.peers),
                script: Script::Mail,
            })
            .collect(),
        Kind::Clients | Kind::Crawler | Kind::Probes | Kind::KeepAlive | Kind::Mix => {
            let mut openings = Vec::new();
            for machine in 0..web.stacks.len() {
                let count = ((all as f64 * machines.share(machine)).round() as usize).max(1);
                openings.extend(opened(web, machine, count, &peers, random));
            }
            openings
        }
    }
}

/// What one machine behind a NAT opens.
fn opened(web: &Web, machine: usize, count: usize, peers: &Choice, random: &mut Random) -> Vec<Opening> {
    let with = |begin_s: f64, peer: usize, script: Script| Opening { begin_s, machine, peer, script };
    match web.kind {
        Kind::Crawler => {
            let begin_s = random.uniform(0.0, 10.0);
            (0..count)
                .scan(begin_s, |t, number| {
                    *t += random.exponential(web.duration_s / count as f64);
                    // Machines share out the peers.
                    Some(with(*t, number * web.stacks.len() + machine, Script::fetch(random)))
                })
                .collect()
        }
        Kind::Probes => probes(machine, count, web.peers, random),
        Kind::KeepAlive => (0..count)
            .map(|_| with(random.uniform(0.0, web.duration_s), peers.draw(random), Script::KeepAlive))
            .collect(),
        Kind::Mix => {
            let part = |share: f64| (share * count as f64) as usize;
            let (pools, letters, checks) = (part(0.1), part(0.1), part(0.1));
            let mut openings = pages(web, count - pools - letters - checks, random, |begin_s, random| {
                with(begin_s, peers.draw(random), Script::fetch(random))
            });
            for script in std::iter::repeat_n(Script::KeepAlive, pools)
                .chain(std::iter::repeat_n(Script::Mail, letters))
            {
                let begin_s = random.uniform(0.0, web.duration_s);
                openings.push(with(begin_s, peers.draw(random), script));
            }
            openings.extend(probes(machine, checks, web.peers, random));
            openings
        }
        _ => pages(web, count, random, |begin_s, random| {
            with(begin_s, peers.draw(random), Script::fetch(random))
        }),
    }
}

/// A SYN every 10 s, to three peers in turn. The first answers.
fn probes(machine: usize, count: usize, peers: usize, random: &mut Random) -> Vec<Opening> {
    let begin_s = random.uniform(0.0, 10.0);
    let opening = |number: usize| {
        let peer = number % peers.min(3);
        let begin_s = begin_s + 10.0 * number as f64 + random.exponential(0.002);
        Opening { begin_s, machine, peer, script: Script::Probe { answered: peer == 0 } }
    };
    (0..count).map(opening).collect()
}

/// What clients ask of a service: whole pages come from one client, each connection goes to any machine.
fn served(web: &Web, count: usize, clients: usize, machines: &Choice, random: &mut Random) -> Vec<Opening> {
    let mut openings = Vec::new();
    let mut client = 0;
    let mut page_s = f64::NEG_INFINITY;
    let drawn = pages(web, count, random, |begin_s, random| {
        let script = Script::fetch(random);
        Opening { begin_s, machine: machines.draw(random), peer: 0, script }
    });
    for opening in drawn {
        // A new page, perhaps of another client.
        if opening.begin_s - page_s > PAGE_S || opening.begin_s < page_s {
            client = random.0.random_range(0..clients);
        }
        page_s = opening.begin_s;
        openings.push(Opening { peer: client, ..opening });
    }
    openings
}

/// Connections of one page begin within about this time of each other, in seconds.
const PAGE_S: f64 = 0.5;

/// Sessions of 1-6 pages with seconds to think in between, each page of 1-8 connections at about one time.
fn pages(
    web: &Web,
    count: usize,
    random: &mut Random,
    opening: impl Fn(f64, &mut Random) -> Opening,
) -> Vec<Opening> {
    let mut openings = Vec::new();
    while openings.len() < count {
        let mut t = random.uniform(0.0, web.duration_s);
        for _ in 0..random.0.random_range(1..=6) {
            for _ in 0..random.0.random_range(1..=8) {
                t += random.exponential(0.02).min(PAGE_S / 2.0);
                openings.push(opening(t, random));
            }
            t += 1.0 + random.exponential(4.0);
        }
    }
    openings.truncate(count);
    openings
}
