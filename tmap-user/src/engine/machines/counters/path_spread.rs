//! How much the least delays of a machine's connections differ, as those that share counters show.
//!
//! The way to one peer is longer than to another, and a connection of few segments may have none in time.
//! Both shift a connection against its machine's line. Few connections don't show by how much, and a line
//! fits them in any case; many do.

use std::sync::LazyLock;

/// How much later a connection may show its machine's counter than another one, in seconds: the path to one
/// peer is longer than to another, and a sleeping radio may hold back all segments of a short connection.
pub(in crate::engine::machines) const LATE_PATH_S: f64 = 0.15;

/// Standard deviations that connections may have, in seconds, each with its prior probability: from one wire
/// to radio links.
const SPREADS: [(f64, f64); 5] = [(1e-4, 0.35), (1e-3, 0.25), (3e-3, 0.2), (10e-3, 0.15), (30e-3, 0.05)];

/// The logarithms of their squares: every connection that joins another needs them.
static LN_VARIANCES: LazyLock<[f64; SPREADS.len()]> =
    LazyLock::new(|| SPREADS.map(|(spread_s, _)| (spread_s * spread_s).ln()));

/// A probability whose logarithm is below this is left out: it is lost in any sum with 1.
const LEAST_LN: f64 = -600.0;

/// What connections have shown: the log likelihood of each of [`SPREADS`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::engine::machines) struct PathSpread([f64; SPREADS.len()]);

impl PathSpread {
    /// Takes in a connection that is `off_s` seconds off the line, of which the line's and its own errors
    /// explain `error_s` (one standard error). Spreads below that error are all alike to it: errors are
    /// stated with care, and what falls short of them says nothing of paths.
    pub(in crate::engine::machines) fn observe(&mut self, off_s: f64, error_s: f64) {
        let of_error = error_s.powi(2);
        let ln_of_error = of_error.ln();
        for ((log, (spread_s, _)), ln_of_spread) in self.0.iter_mut().zip(SPREADS).zip(*LN_VARIANCES) {
            let is_wide = error_s > spread_s;
            let (variance, ln) =
                if is_wide { (of_error, ln_of_error) } else { (spread_s * spread_s, ln_of_spread) };
            *log -= 0.5 * (off_s.powi(2) / variance + ln);
        }
    }

    /// Takes in what other connections through the same network have shown.
    pub(in crate::engine::machines) fn absorb(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(log, more)| *log += more);
    }

    /// The standard deviation of a connection's least delay, in seconds: the root of the expected square.
    pub(in crate::engine::machines) fn sigma_s(&self) -> f64 {
        let top = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut total, mut square) = (0.0, 0.0);
        for (log, (spread_s, prior)) in self.0.iter().zip(SPREADS) {
            if log - top > LEAST_LN {
                let weight = prior * (log - top).exp();
                total += weight;
                square += weight * spread_s * spread_s;
            }
        }
        (square / total).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(observations: impl Iterator<Item = (f64, f64)>) -> f64 {
        let mut spread = PathSpread::default();
        observations.for_each(|(off_s, error_s)| spread.observe(off_s, error_s));
        spread.sigma_s()
    }

    #[test]
    fn nothing_seen_leaves_the_prior() {
        assert!((5e-3..10e-3).contains(&after(std::iter::empty())));
        assert!((5e-3..10e-3).contains(&after([(20.0, 15.0)].into_iter())), "the line's error hides it");
    }

    #[test]
    fn many_connections_show_it() {
        let off = |sigma_s: f64| (0..20).map(move |i| (sigma_s * if i % 2 == 0 { 1.0 } else { -1.0 }, 1e-4));
        assert!(after(off(1e-4)) < 3e-4);
        assert!((8e-3..15e-3).contains(&after(off(9e-3))));
    }
}
