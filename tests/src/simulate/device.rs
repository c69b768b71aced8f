//! Single devices as they are found in the field: one machine each, whatever its counter looks like.
//!
//! A [`Kind`] says what the device is; [`Device::draw`] draws one by a seed, with as many connections, as
//! long, over as long a time and along as bad a path as captures show.

use std::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Segment, Syn};

use super::{Offsets, Random, SHARED, received};
use crate::wire::frame::LINUX_SYN;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Mac or iPhone before 2022: loses part of its ticks, the same offset for all connections.
    OldApple,
    /// A Mac or iPhone since 2022 on Wi-Fi: an offset per connection, stops asleep, late segments.
    NewApple,
    /// A phone with jiffies that stop while it sleeps.
    SleepingPhone,
    /// Windows with 10 or 100 Hz.
    OldWindows,
    /// Linux up to 4.9, at each rate.
    OldLinux,
    /// Linux 4.10: jiffies with an offset per connection.
    Linux410,
    /// Linux up to early 2026: an offset per pair of addresses.
    PairLinux,
    /// Linux since 2026: an offset per connection.
    NewLinux,
    /// A virtual machine with a badly calibrated clock, without random offsets.
    BadClock,
    /// A device seen by a sensor whose own clock leaps from 1970 to today.
    Leap,
    /// A proxy or firewall: many connections of all lengths, without random offsets.
    Proxy,
    /// A scanner: connections of one segment.
    Scanner,
}

/// All kinds, with their names in tables.
pub const KINDS: [(&str, Kind); 12] = [
    ("old Apple", Kind::OldApple),
    ("new Apple", Kind::NewApple),
    ("sleeping phone", Kind::SleepingPhone),
    ("old Windows", Kind::OldWindows),
    ("Linux to 4.9", Kind::OldLinux),
    ("Linux 4.10", Kind::Linux410),
    ("Linux to 2025", Kind::PairLinux),
    ("Linux 2026", Kind::NewLinux),
    ("bad clock", Kind::BadClock),
    ("leap from 1970", Kind::Leap),
    ("proxy", Kind::Proxy),
    ("scanner", Kind::Scanner),
];

/// A device, drawn.
#[derive(Clone, Debug)]
pub struct Device {
    /// In order of arrival.
    pub records: Vec<Record>,
    /// When it booted, in seconds of engine time, where its counter tells. Sleep before its first segment
    /// shows nowhere: it leaves a counter that was zero that much later.
    pub boot_s: Option<f64>,
}

/// Engine time of the first connection, in seconds.
const BEGIN_S: f64 = 1_000_000.0;

/// When the sensor's clock was set, in seconds: from early 1970 to 2023.
const LEAP_S: f64 = 1.699e9;

impl Device {
    /// Draws a device of a kind.
    pub fn draw(kind: Kind, seed: u64) -> Self {
        let mut random = Random(Pcg64::seed_from_u64(seed ^ (kind as u64) << 32));
        let traits = Traits::draw(kind, &mut random);
        let plan = traits.plan(kind, &mut random);
        let (clock, slept) = Clock::draw(&traits, &plan, &mut random);
        let tells_boot = traits.tells_boot && !slept.seen;
        let mut records = Vec::new();
        for (number, (start_s, length_s)) in plan.into_iter().enumerate() {
            let offset = match traits.offsets {
                Offsets::Global => traits.shift,
                Offsets::PerPair => traits.pair_offset(number % traits.peers),
                Offsets::PerConnection => random.0.random(),
            };
            let path = Path { traits: &traits, clock: &clock, number, offset };
            path.connection(start_s, length_s, &mut random, &mut records);
        }
        records.sort_by_key(|record: &Record| record.time_ns);
        let boot_s = tells_boot.then_some(BEGIN_S - traits.up_s + slept.before_s);
        Self { records, boot_s }
    }
}

/// What one device is like.
struct Traits {
    hz: f64,
    skew: f64,
    /// Its skew from boot to the first connection: a disciplined clock has none in the long run.
    long_run_skew: f64,
    offsets: Offsets,
    /// What is added to its counter where offsets are fixed.
    shift: u32,
    /// How long it has been up, in seconds.
    up_s: f64,
    /// Its counter when it booted, in seconds.
    start_s: f64,
    tells_boot: bool,
    /// The range of the share of ticks lost, redrawn every few seconds.
    lost: Range<f64>,
    sleeps: bool,
    peers: usize,
    delay_s: f64,
    /// Extra delay of each peer's path, in seconds.
    late_s: Vec<f64>,
    syn: Syn,
}

impl Traits {
    fn draw(kind: Kind, random: &mut Random) -> Self {
        let disciplined = random.0.random_bool(0.5);
        let skew_ppm = if disciplined { 0.2 * random.normal() } else { 20.0 * random.normal() };
        let pick = |random: &mut Random, from: &[f64]| from[random.0.random_range(0..from.len())];
        let peers = random.0.random_range(1..12);
        let mut traits = Self {
            hz: 1000.0,
            skew: skew_ppm * 1e-6,
            long_run_skew: if disciplined { 0.0 } else { skew_ppm * 1e-6 },
            offsets: Offsets::Global,
            shift: 0,
            up_s: random.uniform(60_f64.ln(), (60.0 * 86_400_f64).ln()).exp(),
            start_s: 0.0,
            tells_boot: false,
            lost: 0.0..0.0,
            sleeps: false,
            peers,
            delay_s: random.uniform(50e-6_f64.ln(), 10e-3_f64.ln()).exp(),
            late_s: (0..peers).map(|_| random.exponential(5e-3)).collect(),
            syn: LINUX_SYN,
        };
        let shift = random.0.random();
        match kind {
            Kind::OldApple => {
                let most = random.uniform(0.005, 0.12);
                (traits.lost, traits.shift) = (0.2 * most..most, shift);
            }
            Kind::NewApple => {
                traits.offsets = Offsets::PerConnection;
                traits.sleeps = true;
                traits.late_s.iter_mut().for_each(|late_s| *late_s += 0.02);
            }
            Kind::SleepingPhone => {
                traits.hz = pick(random, &[100.0, 250.0, 300.0]);
                (traits.start_s, traits.sleeps, traits.tells_boot) = (-300.0, true, true);
            }
            Kind::OldWindows => (traits.hz, traits.tells_boot) = (pick(random, &[10.0, 100.0]), true),
            Kind::OldLinux => {
                traits.hz = pick(random, &[100.0, 250.0, 300.0, 1000.0]);
                (traits.start_s, traits.tells_boot) = (-300.0, true);
                traits.syn = Syn { window: 29_200, ..LINUX_SYN };
            }
            Kind::Linux410 => {
                traits.hz = pick(random, &[100.0, 250.0, 300.0]);
                traits.offsets = Offsets::PerConnection;
            }
            Kind::PairLinux => (traits.offsets, traits.shift) = (Offsets::PerPair, shift),
            Kind::NewLinux | Kind::Leap => traits.offsets = Offsets::PerConnection,
            Kind::BadClock => {
                traits.skew = random.uniform(-1500e-6, 1500e-6);
                traits.long_run_skew = traits.skew;
                traits.tells_boot = true;
            }
            Kind::Proxy => {
                traits.tells_boot = true;
                traits.peers = 40;
                traits.late_s = (0..40).map(|_| random.exponential(20e-3)).collect();
            }
            Kind::Scanner => traits.tells_boot = true,
        }
        traits
    }

    /// The offset of the pair of addresses with a peer: as if drawn at random, like a keyed hash's.
    fn pair_offset(&self, peer: usize) -> u32 {
        Pcg64::seed_from_u64(u64::from(self.shift) << 32 | peer as u64).random()
    }

    /// When connections begin, and how long they take, in seconds.
    fn plan(&self, kind: Kind, random: &mut Random) -> Vec<(f64, f64)> {
        let is_random = self.offsets == Offsets::PerConnection;
        let most: f64 = if is_random { 60.0 } else { 400.0 };
        let count = random.uniform(0.0, most.ln()).exp() as usize + usize::from(kind == Kind::Leap);
        let span_s = random.uniform(60_f64.ln(), (30.0 * 86_400_f64).ln()).exp();
        let mut plan: Vec<(f64, f64)> = (0..count.max(1))
            .map(|_| {
                let length_s = random.uniform(0.2_f64.ln(), 60_f64.ln()).exp();
                let length_s = if kind == Kind::Scanner { 0.0 } else { length_s };
                (BEGIN_S + random.uniform(0.0, span_s), length_s)
            })
            .collect();
        plan.sort_by(|a, b| a.0.total_cmp(&b.0));
        if kind == Kind::Leap {
            let half = plan.len() / 2;
            plan[half..].iter_mut().for_each(|(start_s, _)| *start_s += LEAP_S);
        }
        plan
    }
}

/// The counter of a device, as straight stretches.
struct Clock {
    /// Time in seconds and ticks at the beginning of each stretch.
    nodes: Vec<(f64, f64)>,
    hz: f64,
}

/// When a counter stood still.
#[derive(Clone, Copy, Debug, Default)]
struct Slept {
    /// For how long before its first connection, in seconds.
    before_s: f64,
    /// Whether it did between connections.
    seen: bool,
}

/// Between these, in seconds, a losing clock loses evenly.
const EVEN_S: f64 = 20.0;

/// After this silence a device that sleeps may fall asleep, in seconds.
const AWAKE_S: f64 = 30.0;

impl Clock {
    /// Also returns when it stood still.
    fn draw(traits: &Traits, plan: &[(f64, f64)], random: &mut Random) -> (Self, Slept) {
        let mut slept = Slept::default();
        let hz = traits.hz * (1.0 + traits.skew);
        let ticks = traits.hz * (traits.start_s + (1.0 + traits.long_run_skew) * traits.up_s);
        let mut nodes = vec![(BEGIN_S - 1.0, ticks - hz)];
        let mut busy_until_s = BEGIN_S;
        for (number, &(start_s, length_s)) in plan.iter().enumerate() {
            let asleep = traits.sleeps && start_s - busy_until_s > AWAKE_S && random.0.random_bool(0.7);
            if asleep {
                slept.seen |= number > 0;
                slept.before_s += if number > 0 { 0.0 } else { start_s - 1.0 - busy_until_s - AWAKE_S / 2.0 };
                Self::run(&mut nodes, busy_until_s + AWAKE_S / 2.0, hz, traits, random);
                let (_, ticks) = nodes[nodes.len() - 1];
                nodes.push((start_s - 1.0, ticks));
            }
            busy_until_s = busy_until_s.max(start_s + length_s + 1.0);
            if !traits.lost.is_empty() || asleep {
                Self::run(&mut nodes, start_s, hz, traits, random);
            }
        }
        Self::run(&mut nodes, busy_until_s + 60.0, hz, traits, random);
        (Self { nodes, hz }, slept)
    }

    /// Goes on to `until_s`.
    fn run(nodes: &mut Vec<(f64, f64)>, until_s: f64, hz: f64, traits: &Traits, random: &mut Random) {
        while let Some(&(from_s, ticks)) = nodes.last().filter(|(from_s, _)| *from_s < until_s) {
            let is_even = traits.lost.is_empty();
            // Long silences are one stretch.
            let step_s = if is_even { until_s - from_s } else { EVEN_S.max((until_s - from_s) / 50.0) };
            let lost = if is_even { 0.0 } else { random.uniform(traits.lost.start, traits.lost.end) };
            let to_s = (from_s + step_s).min(until_s);
            nodes.push((to_s, ticks + hz * (1.0 - lost) * (to_s - from_s)));
        }
    }

    fn ticks_at(&self, t_s: f64) -> f64 {
        let next = self.nodes.partition_point(|(from_s, _)| *from_s <= t_s).max(1);
        let (from_s, ticks) = self.nodes[next - 1];
        match self.nodes.get(next) {
            Some((to_s, then)) => ticks + (then - ticks) * (t_s - from_s) / (to_s - from_s),
            None => ticks + self.hz * (t_s - from_s),
        }
    }
}

/// The way of one connection's segments.
struct Path<'a> {
    traits: &'a Traits,
    clock: &'a Clock,
    number: usize,
    offset: u32,
}

impl Path<'_> {
    fn connection(&self, start_s: f64, length_s: f64, random: &mut Random, records: &mut Vec<Record>) {
        let segments = if length_s == 0.0 { 1 } else { random.uniform(1.0, 5.0).exp() as usize + 2 };
        let peer = self.number % self.traits.peers;
        let mut times: Vec<f64> = (1..segments).map(|_| start_s + random.uniform(0.0, length_s)).collect();
        times.push(start_s);
        times.sort_by(f64::total_cmp);
        for (i, sent_s) in times.into_iter().enumerate() {
            // A sleeping radio holds a few segments back.
            let held_s = if random.0.random_bool(0.02) { random.exponential(0.03) } else { 0.0 };
            let delay_s = 1e-3 + self.traits.late_s[peer] + held_s + random.exponential(self.traits.delay_s);
            let tsval = (self.clock.ticks_at(sent_s).floor() as i64 as u32).wrapping_add(self.offset);
            let segment = Segment {
                src: Address::from_ip4(SHARED.octets()),
                dst: Address::from_ip4([203, 0, 113, peer as u8 + 1]),
                src_port: 20_000 + (self.number % 40_000) as u16,
                dst_port: 443,
                flags: if i == 0 { Flags::SYN } else { Flags::ACK },
                hop_limit: 63,
                tsval,
                tsecr: u32::from(i > 0),
                has_payload: i > 0,
                syn: (i == 0).then_some(self.traits.syn),
                ..Segment::default()
            };
            records.push(received(((sent_s + delay_s) * 1e9) as u64, segment));
        }
    }
}
