//! Offsets of connections, computed from a capture alone: nothing of tmap is used, so that its claims can be
//! checked by them.
//!
//! A clock of H ticks a second with offset K shows `floor(H t) + K` at its time t and arrives later, so the
//! largest `TSval - H * arrival` of a connection is its offset, but for the least delay. Connections whose
//! offsets are nearly equal, of 2^32 possible ones, have one clock.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::wire::reader::Stamped;

/// Tick rates that a clock is taken to have, in Hz.
const RATES_HZ: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 250.0, 300.0, 500.0, 1000.0];

/// Offsets this near are one, in seconds: delay and drift. At 1000 Hz, 300 random ones meet with a
/// probability of 0.2 %.
const NEAR_S: f64 = 0.1;

/// The least such difference, in ticks.
const NEAR_TICKS: f64 = 2.0;

/// Ticks after which TSval wraps.
const WRAP: f64 = 4_294_967_296.0;

/// Silences of more than this many seconds tell no rate: a port may have been used again.
const MAX_GAP_S: f64 = 10.0;

/// The fastest clock that is believed, in Hz, and how many ticks a delay may add.
const MAX_HZ: f64 = 1500.0;
const SLACK_TICKS: f64 = 300.0;

/// Rates may be mistaken for each other whose ratio has at most this logarithm.
const MISTAKEN: f64 = 0.4;

/// A rate measured over so many seconds that is off by this share belongs to no steady clock.
const STEADY_S: f64 = 20.0;
const MAX_OFF: f64 = 0.02;

/// Sender's port, peer, peer's port.
pub type Key = (u16, IpAddr, u16);

/// One connection side.
#[derive(Clone, Debug)]
pub struct Side {
    /// Which one.
    pub key: Key,
    /// TSvals by time in seconds, in order of arrival.
    points: Vec<(f64, u32)>,
    /// Offset in ticks, from 0 to 2^32.
    pub offset_ticks: f64,
    /// The clock: sides of one address with (nearly) one offset have one number.
    pub clock: usize,
}

/// What the connections of one address show.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// Ticks per second, over all connections together; `None` where no counter moved.
    pub measured_hz: Option<f64>,
    /// The time over which it was measured, in seconds.
    pub measured_s: f64,
    /// The rate by which offsets were computed.
    pub rate_hz: f64,
    /// Its connection sides.
    pub sides: Vec<Side>,
}

/// How offsets are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The clock doesn't tick at a known rate.
    Unsteady,
    /// There is one connection.
    Single,
    /// All connections have one offset.
    One,
    /// Several offsets, at least one of them shared by connections to several peers.
    Several,
    /// Each pair of addresses has one offset, none has another's, and some pairs repeat.
    PerPair,
    /// No two connections share an offset, although pairs of addresses repeat.
    Random,
    /// Offsets are shared within pairs of addresses only, and some pairs have several.
    SeveralPerPair,
    /// No two connections are of one pair of addresses, and no offset is shared.
    Unclear,
}

/// The clocks of each sender in a capture. Offsets are computed at `rate_hz`, or at the nominal rate that is
/// nearest to the measured one. SYN-ACKs (which may hold a cookie), RSTs and TSval 0 show no clock.
pub fn clocks(segments: &[Stamped], rate_hz: Option<f64>) -> BTreeMap<IpAddr, Clocks> {
    let begin_ns = segments.first().map_or(0, |segment| segment.time_ns);
    let mut points: BTreeMap<IpAddr, BTreeMap<Key, Vec<(f64, u32)>>> = BTreeMap::new();
    for segment in segments {
        let sides = points.entry(segment.src.0).or_default();
        let is_clock = segment.tsval != 0 && segment.flags & 4 == 0 && segment.flags & 0x12 != 0x12;
        if is_clock {
            let time_s = (i128::from(segment.time_ns) - i128::from(begin_ns)) as f64 * 1e-9;
            let key = (segment.src.1, segment.dst.0, segment.dst.1);
            sides.entry(key).or_default().push((time_s, segment.tsval));
        }
    }
    points.into_iter().map(|(address, sides)| (address, Clocks::new(sides, rate_hz))).collect()
}

impl Clocks {
    fn new(points: BTreeMap<Key, Vec<(f64, u32)>>, rate_hz: Option<f64>) -> Self {
        let (measured_hz, measured_s) = measured(points.values());
        let distance = |hz: &f64| (measured_hz.unwrap_or(1000.0) / hz).ln().abs();
        let mut rates = rate_hz.map_or(RATES_HZ.to_vec(), |rate_hz| vec![rate_hz]);
        rates.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        let at = |rate_hz: f64| Self::at(points.clone(), rate_hz, (measured_hz, measured_s));
        // Offsets that meet at a rate tell it better than a few short connections' slopes do.
        let others = rates.iter().skip(1).filter(|rate_hz| distance(rate_hz) < MISTAKEN);
        others.fold(at(rates[0]), |best, rate_hz| {
            let other = at(*rate_hz);
            if other.distinct() < best.distinct() { other } else { best }
        })
    }

    fn at(
        points: BTreeMap<Key, Vec<(f64, u32)>>,
        rate_hz: f64,
        (measured_hz, measured_s): (Option<f64>, f64),
    ) -> Self {
        let side = |(key, points): (Key, Vec<(f64, u32)>)| {
            let offset_ticks = offset_ticks(&points, rate_hz);
            Side { key, points, offset_ticks, clock: 0 }
        };
        let mut sides: Vec<Side> = points.into_iter().map(side).collect();
        number(&mut sides, NEAR_TICKS.max(NEAR_S * rate_hz));
        Self { measured_hz, measured_s, rate_hz, sides }
    }

    /// Time-stamped segments that show a clock.
    pub fn segments(&self) -> usize {
        self.sides.iter().map(|side| side.points.len()).sum()
    }

    /// Distinct offsets.
    pub fn distinct(&self) -> usize {
        self.sides.iter().map(|side| side.clock + 1).max().unwrap_or(0)
    }

    /// Whether the clock ticks at its rate, as far as it was measured: if not, its offsets tell nothing.
    pub fn is_steady(&self) -> bool {
        let off = self.measured_hz.map_or(0.0, |hz| (hz / self.rate_hz - 1.0).abs());
        self.measured_s < STEADY_S || off < MAX_OFF
    }

    /// Connections of each pair of a peer and a clock.
    pub fn by_pair(&self) -> HashMap<(IpAddr, usize), usize> {
        let mut pairs = HashMap::new();
        self.sides.iter().for_each(|side| *pairs.entry((side.key.1, side.clock)).or_default() += 1);
        pairs
    }

    /// The most distinct offsets that one peer meets.
    pub fn most_in_pair(&self) -> usize {
        let mut clocks: HashMap<IpAddr, usize> = HashMap::new();
        self.by_pair().keys().for_each(|(peer, _)| *clocks.entry(*peer).or_default() += 1);
        clocks.into_values().max().unwrap_or(0)
    }

    /// Connections that share their offset with another one.
    pub fn repeating(&self) -> usize {
        let mut members = vec![0; self.distinct()];
        self.sides.iter().for_each(|side| members[side.clock] += 1);
        members.into_iter().filter(|count| *count > 1).sum()
    }

    /// How offsets are shared.
    pub fn pattern(&self) -> Pattern {
        let pairs = self.by_pair();
        let mut peers_of: HashMap<usize, usize> = HashMap::new();
        pairs.keys().for_each(|(_, clock)| *peers_of.entry(*clock).or_default() += 1);
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        self.sides.iter().for_each(|side| *of_peer.entry(side.key.1).or_default() += 1);
        let repeats = of_peer.values().any(|count| *count > 1);
        match (self.sides.len(), self.distinct()) {
            _ if !self.is_steady() => Pattern::Unsteady,
            (0 | 1, _) => Pattern::Single,
            (_, 1) => Pattern::One,
            _ if peers_of.values().any(|count| *count > 1) => Pattern::Several,
            _ if !repeats => Pattern::Unclear,
            _ if self.repeating() == 0 => Pattern::Random,
            _ if self.most_in_pair() == 1 => Pattern::PerPair,
            _ => Pattern::SeveralPerPair,
        }
    }
}

/// Ticks over seconds, summed over the steps of all connections, and the seconds. Steps that no clock takes
/// are left out.
fn measured<'a>(sides: impl Iterator<Item = &'a Vec<(f64, u32)>>) -> (Option<f64>, f64) {
    let (mut ticks, mut seconds) = (0.0, 0.0);
    for points in sides {
        for (before, after) in points.iter().zip(&points[1..]) {
            let step_s = after.0 - before.0;
            let step_ticks = f64::from(after.1.wrapping_sub(before.1).cast_signed());
            if (0.0..MAX_GAP_S).contains(&step_s) && step_ticks.abs() <= MAX_HZ * step_s + SLACK_TICKS {
                ticks += step_ticks;
                seconds += step_s;
            }
        }
    }
    ((seconds > 0.0 && ticks > 0.0).then(|| ticks / seconds), seconds)
}

/// The largest distance of a TSval above the clock that shows 0 at time 0, modulo 2^32.
fn offset_ticks(points: &[(f64, u32)], rate_hz: f64) -> f64 {
    let above = |(time_s, tsval): &(f64, u32)| (f64::from(*tsval) - rate_hz * time_s).rem_euclid(WRAP);
    let first = points.first().map_or(0.0, above);
    let most = points.iter().map(|point| nearest(above(point) - first)).fold(0.0, f64::max);
    (first + most).rem_euclid(WRAP)
}

/// A difference modulo 2^32 as the equivalent nearest to zero.
fn nearest(ticks: f64) -> f64 {
    ticks - WRAP * (ticks / WRAP).round()
}

/// Numbers clocks: by single linkage on the circle of offsets.
fn number(sides: &mut [Side], near_ticks: f64) {
    let mut order: Vec<usize> = (0..sides.len()).collect();
    order.sort_by(|a, b| sides[*a].offset_ticks.total_cmp(&sides[*b].offset_ticks));
    let mut clock = 0;
    for pair in order.windows(2) {
        let gap = sides[pair[1]].offset_ticks - sides[pair[0]].offset_ticks;
        clock += usize::from(gap > near_ticks);
        sides[pair[1]].clock = clock;
    }
    // The last and the first may be neighbours across the wrap.
    let (Some(first), Some(last)) = (order.first(), order.last()) else { return };
    let is_around = WRAP + sides[*first].offset_ticks - sides[*last].offset_ticks <= near_ticks;
    if clock > 0 && is_around {
        sides.iter_mut().filter(|side| side.clock == clock).for_each(|side| side.clock = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        simulate::{SHARED, web::grid},
        wire::{capture, reader},
    };

    /// What the shared address shows in the first row with this in its name, by way of a capture file.
    fn shared(row: &str) -> Clocks {
        let row = grid::rows().into_iter().find(|candidate| candidate.name.contains(row)).expect("a row");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made.pcap");
        std::fs::write(&path, capture::plain(&row.web.run().simulation.records)).expect("written");
        clocks(&reader::stamped(&path).expect("read"), None).remove(&SHARED.into()).expect("the address")
    }

    #[test]
    fn patterns_of_simulated_traffic_are_recognised() {
        let (global, pair, random) = (
            shared("clients 4x30 global WAN"),
            shared("balancer 20x30 pair WAN"),
            shared("clients 4x30 random WAN"),
        );
        assert_eq!((global.pattern(), global.distinct()), (Pattern::Several, 4));
        assert_eq!((pair.pattern(), pair.most_in_pair()), (Pattern::SeveralPerPair, 20));
        assert_eq!((random.pattern(), random.distinct()), (Pattern::Random, 120));
        assert_eq!(shared("crawler 1x30 pair").pattern(), Pattern::Unclear);
        assert_eq!(shared("clients 1x30 pair").pattern(), Pattern::PerPair);
        assert_eq!(shared("clients 1x30 global").pattern(), Pattern::One);
        assert_eq!(shared("mail 4x30 100 Hz").rate_hz, 100.0);
    }

    #[test]
    fn the_wrap_parts_no_clock() {
        let side =
            |offset_ticks| Side { key: (1, SHARED.into(), 1), points: Vec::new(), offset_ticks, clock: 0 };
        let mut sides = [side(3.0), side(70_000.0), side(WRAP - 5.0)];
        number(&mut sides, 20.0);
        assert_eq!(sides[0].clock, sides[2].clock);
        assert_ne!(sides[0].clock, sides[1].clock);
    }
}
