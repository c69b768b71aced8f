//! One machine with clocks of two rates: Linux since 6.7 stamps in microseconds on the routes that ask for it
//! (`features tcp_usec_ts`, `net/ipv4/tcp_output.c`), and in milliseconds on others.
//!
//! Both clocks are one crystal's, so their skews agree. What one rate shows is no proof of a machine beside
//! those of the other.

use crate::engine::{
    machines::group::{Count, Group},
    types::{Estimate, joint},
};

/// The two rates, in Hz.
const COARSE_HZ: f64 = 1e3;
const FINE_HZ: f64 = 1e6;

/// Skews of one crystal differ by no more than this many joint standard errors, and this.
const MAX_DEVIATION: f64 = 3.0;
const WANDER_PPM: f64 = 0.1;

/// A skew that is known worse than this agrees with any.
const KNOWN_PPM: f64 = 3.0;

/// The machines of 1 kHz at an address.
#[derive(Debug, Default)]
pub(in crate::engine::machines) struct Coarse {
    count: Option<Count>,
    skews_ppm: Vec<Estimate>,
}

impl Coarse {
    /// Notes the machines of a rate, and returns how many they are beside those of the other rate that may be
    /// the same.
    pub(in crate::engine::machines) fn beside(&mut self, hz: f64, count: Count, groups: &[Group]) -> Count {
        let skews_ppm: Vec<Estimate> = groups.iter().filter_map(|group| group.skew_ppm).collect();
        if hz == COARSE_HZ {
            *self = Self { count: Some(count), skews_ppm };
            return count;
        }
        let Some(coarse) = self.count.filter(|_| hz == FINE_HZ) else { return count };
        let same = common(&self.skews_ppm, &skews_ppm);
        Count {
            best: count.best.map(|best| best - same.min(best)),
            low: count.low.saturating_sub(coarse.low),
            high: count.high,
            proven: count.proven.saturating_sub(coarse.proven),
        }
    }
}

/// How many of the skews agree, each with another one.
fn common(of_one: &[Estimate], of_other: &[Estimate]) -> u32 {
    let mut left: Vec<&Estimate> = of_one.iter().collect();
    let mut common = 0;
    for skew in of_other {
        let agrees = |other: &&Estimate| {
            joint(skew.sigma, other.sigma) > KNOWN_PPM || skew.may_equal(**other, WANDER_PPM, MAX_DEVIATION)
        };
        if let Some(at) = left.iter().position(agrees) {
            left.swap_remove(at);
            common += 1;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skews(ppm: &[f64]) -> Vec<Estimate> {
        ppm.iter().map(|&value| Estimate { value, sigma: 0.1 }).collect()
    }

    #[test]
    fn skews_that_agree_are_one_machine_s() {
        assert_eq!(common(&skews(&[5.0, -12.0, 30.0]), &skews(&[-11.8, 5.2])), 2);
        assert_eq!(common(&skews(&[5.0]), &skews(&[5.1, 4.9])), 1, "each with another one");
        assert_eq!(common(&skews(&[5.0]), &skews(&[9.0])), 0);
    }

    #[test]
    fn another_rate_proves_no_machine() {
        let count = Count { best: Some(3), low: 3, high: Some(3), proven: 3 };
        let mut coarse = Coarse::default();
        assert_eq!(coarse.beside(COARSE_HZ, count, &[]), count);
        let beside = coarse.beside(FINE_HZ, Count { best: Some(4), low: 4, high: Some(5), proven: 3 }, &[]);
        assert_eq!(beside, Count { best: Some(4), low: 1, high: Some(5), proven: 0 });
        assert_eq!(coarse.beside(100.0, count, &[]), count, "no machine ticks at 100 Hz and at 1 kHz");
    }
}
