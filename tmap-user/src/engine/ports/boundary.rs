//! The boundary of a Linux host: when its walks begin anew, modulo ten seconds.
//!
//! Linux adds `jiffies / (10 HZ)` to the hash that places a walk (`EPHEMERAL_PORT_SHUFFLE_PERIOD` in
//! net/core/secure_seq.c), so every walk of a host breaks at the same moment of its clock modulo ten seconds.
//! Between two SYNs of one walk there is no boundary; where a SYN does not go on from the one before it,
//! there most likely is one.

use crate::engine::types::seconds_between;

/// The time from one boundary to the next, in seconds of the host's clock.
pub const PERIOD_S: f64 = 10.0;

/// Places on the circle of ten seconds: 20 ms each.
const PLACES: usize = 500;

/// The likelihood of a wrong link, at least: somebody may choose ports on purpose.
const WRONG_LINK: f64 = 0.01;

/// The likelihood that a SYN does not go on although nothing broke its walk, at least.
const LOST_LINK: f64 = 0.02;

/// The probability of a told interval.
const COVERED: f64 = 0.9;

/// The longest interval that is told, in seconds: a longer one tells little.
const LONGEST_TOLD_S: f64 = 2.0;

/// What one host's SYNs tell of its boundary.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// The log-likelihood of each place on the circle.
    nats: Vec<f64>,
    reference_ns: u64,
    /// Seconds of the host's clock in a second of engine time.
    rate: f64,
    /// Links and breaks that told something.
    pub links: usize,
    /// Breaks between two SYNs to one service.
    pub breaks: usize,
}

/// A boundary, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// The middle of its interval: seconds after the reference, modulo ten seconds of the host's clock.
    pub at_s: f64,
    /// Half of the length of the 90 % interval, in seconds.
    pub within_s: f64,
}

impl Boundary {
    /// Nothing is known yet. `skew` is that of the host's clock, as a share; times count from `reference_ns`.
    pub fn new(reference_ns: u64, skew: f64) -> Self {
        Self { nats: vec![0.0; PLACES], reference_ns, rate: 1.0 + skew, links: 0, breaks: 0 }
    }

    /// Takes in two successive SYNs of the host to one service, less than a period apart. `linked` is the
    /// probability that the second goes on from the first, `share` that of SYNs that go on where nothing
    /// breaks their walk, and `weight` the probability that both are of this host.
    pub fn add(&mut self, (from_ns, to_ns): (u64, u64), linked: Option<f64>, share: f64, weight: f64) {
        let (from_s, to_s) = (self.place_s(from_ns), self.place_s(to_ns));
        let pause_s = to_s - from_s;
        if !(0.0..PERIOD_S).contains(&pause_s) {
            return;
        }
        // The likelihood of what was seen if the boundary lies between the SYNs, against that if it doesn't.
        let ratio = match linked {
            Some(probability) => (1.0 - probability).max(WRONG_LINK),
            None => 1.0 / (1.0 - share).max(LOST_LINK),
        };
        *(if linked.is_some() { &mut self.links } else { &mut self.breaks }) += 1;
        let nats = (weight * ratio + 1.0 - weight).ln();
        for (place, sum) in self.nats.iter_mut().enumerate() {
            let after_s = (middle_s(place) - from_s).rem_euclid(PERIOD_S);
            if after_s < pause_s {
                *sum += nats;
            }
        }
    }

    /// The probability of each place.
    fn probabilities(&self) -> Vec<f64> {
        let top = self.nats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let likelihoods: Vec<f64> = self.nats.iter().map(|nats| (nats - top).exp()).collect();
        let total: f64 = likelihoods.iter().sum();
        likelihoods.into_iter().map(|likelihood| likelihood / total).collect()
    }

    /// The boundary with its 90 % interval; `None` where that is longer than two seconds.
    pub fn told(&self) -> Option<Told> {
        let probabilities = self.probabilities();
        let (mut sum, mut last) = (0.0, 0);
        let mut shortest: Option<(usize, usize)> = None;
        for first in 0..PLACES {
            while sum < COVERED && last < first + PLACES {
                sum += probabilities[last % PLACES];
                last += 1;
            }
            if sum >= COVERED && shortest.is_none_or(|(a, b)| last - first < b - a) {
                shortest = Some((first, last));
            }
            sum -= probabilities[first];
        }
        let (first, last) = shortest?;
        let step_s = PERIOD_S / PLACES as f64;
        let length_s = (last - first) as f64 * step_s;
        let at_s = ((first + last) as f64 / 2.0 * step_s).rem_euclid(PERIOD_S);
        (length_s <= LONGEST_TOLD_S).then_some(Told { at_s, within_s: length_s / 2.0 })
    }

    /// Seconds of the host's clock since the reference.
    fn place_s(&self, time_ns: u64) -> f64 {
        seconds_between(self.reference_ns, time_ns) * self.rate
    }
}

/// The middle of a place on the circle, in seconds.
fn middle_s(place: usize) -> f64 {
    (place as f64 + 0.5) * PERIOD_S / PLACES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SYNs every 0.7 s for a minute, whose walk breaks at 3.3 s modulo ten.
    fn broken_at_3_3(boundary: &mut Boundary, weight: f64) {
        let place = |time_ms: u64| (time_ms + 6_700) / 10_000;
        for k in 0..85_u64 {
            let (from_ms, to_ms) = (700 * k, 700 * (k + 1));
            let linked = (place(from_ms) == place(to_ms)).then_some(0.99);
            boundary.add((from_ms * 1_000_000, to_ms * 1_000_000), linked, 0.95, weight);
        }
    }

    #[test]
    fn breaks_and_links_tell_the_boundary() {
        let mut boundary = Boundary::new(0, 0.0);
        assert_eq!(boundary.told(), None);
        broken_at_3_3(&mut boundary, 1.0);
        let told = boundary.told().expect("told");
        assert!((told.at_s - 3.3).abs() <= told.within_s && told.within_s < 0.1, "{told:?}");
        assert_eq!((boundary.links, boundary.breaks), (79, 6));
    }

    #[test]
    fn strangers_tell_nothing() {
        let mut boundary = Boundary::new(0, 0.0);
        broken_at_3_3(&mut boundary, 0.0);
        assert_eq!(boundary.told(), None);
    }
}
