//! One hint for all destinations: Linux up to 5.11, and before the updates of 2022.
//!
//! `__inet_hash_connect` in net/ipv4/inet_hashtables.c of these kernels adds one hint to the hash of the
//! destination, and two to the hint after each connection, wherever it goes. So a service sees steps of as
//! many places as its client opened connections meanwhile, and nothing ever begins these walks anew. Where
//! the address is one such host, and the sensor sees all its connections, each step is foretold. Where
//! several hosts have the address, a step has fewer places than connections were seen, and where the sensor
//! sees some connections only, it has more.

/// How many places the steps of such walks have, against the SYNs that the address sent meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hint {
    /// The share of steps that have as many places as SYNs were sent, above 0 and below 1.
    exact: f64,
    /// The share of those that have fewer.
    fewer: f64,
}

impl Hint {
    /// Nothing is learnt yet.
    pub(super) const UNKNOWN: Self = Self { exact: 0.4, fewer: 0.4 };

    /// The probability of a step by `places`, where the address has sent so many SYNs from then on, this one
    /// included.
    pub(super) fn probability(self, places: usize, sent: usize) -> f64 {
        match places {
            0 => 0.0,
            _ if places == sent => self.exact,
            _ if places < sent => self.fewer / (sent - 1) as f64,
            // Nobody knows how many connections the sensor misses.
            _ => {
                let unseen = (places - sent) as f64;
                (1.0 - self.exact - self.fewer) / (unseen * (unseen + 1.0))
            }
        }
    }

    /// What steps tell, each with its places and the SYNs that were sent: as if one more of each kind had
    /// been seen.
    pub(super) fn learnt(steps: impl Iterator<Item = (usize, usize)>) -> Self {
        let (mut exact, mut fewer, mut all) = (1.0, 1.0, 3.0);
        for (places, sent) in steps {
            all += 1.0;
            if places == sent {
                exact += 1.0;
            } else if places < sent {
                fewer += 1.0;
            }
        }
        Self { exact: exact / all, fewer: fewer / all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_distributions() {
        for sent in [2, 20] {
            let sum: f64 = (0..=10_000).map(|places| Hint::UNKNOWN.probability(places, sent)).sum();
            assert!((0.99..=1.000_001).contains(&sum), "{sent}: {sum}");
        }
    }

    #[test]
    fn steps_tell_how_much_the_sensor_sees_of_a_host() {
        assert_eq!(Hint::learnt([].into_iter()), Hint { exact: 1.0 / 3.0, fewer: 1.0 / 3.0 });
        let all_seen = Hint::learnt([(1, 1), (7, 7), (3, 3), (2, 5), (6, 1)].into_iter());
        assert_eq!(all_seen, Hint { exact: 0.5, fewer: 0.25 });
    }
}
