//! Congestion: times when the network was slow for all connections.
//!
//! Congestion delays all connections that overlap it. A machine's connections that live inside an episode
//! look like another machine's, because they are late together. It also shows within connections: in all
//! of them at once, residuals are later than the law predicts. Points of such times get laws of their
//! own, so that a connection inside an episode says little instead of something wrong.

use super::{
    density::{BUSY, Density},
    piece::Piece,
};

/// The shortest time bin, in seconds.
const LEAST_BIN_S: f64 = 1.0;

/// The most time bins: bounds memory for long captures.
const MOST_BINS: usize = 4096;

/// The mean lateness from which a bin is busy, for each class of busy times: against all residuals, in
/// standard deviations of one residual, after shrinking.
const LEVELS: [f64; 2] = [0.35, 1.0];

/// Points of average lateness added to each bin to shrink its mean: a few late points make no episode.
const CALM_POINTS: f64 = 8.0;

/// The largest lateness of one point, in standard deviations: one stalled segment isn't congestion.
const MOST_LATE: f64 = 3.0;

/// How busy the network was, over time.
#[derive(Clone, Debug)]
pub(super) struct Congestion {
    from_s: f64,
    bin_s: f64,
    class: Vec<Option<u8>>,
}

impl Congestion {
    /// Observes residuals of all `pieces` against their own phases.
    pub(super) fn observe<'a>(pieces: impl Iterator<Item = &'a Piece>, density: &Density) -> Self {
        let residuals: Vec<(f64, f64)> = pieces.flat_map(|p| p.residuals(density)).collect();
        let count = residuals.len().max(1) as f64;
        let mean = residuals.iter().map(|r| r.1).sum::<f64>() / count;
        let sigma = (residuals.iter().map(|r| (r.1 - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-3);
        let times = residuals.iter().map(|r| r.0);
        let (low, high) = times.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        let span_s = (high - low).max(0.0);
        let bin_s = (span_s / MOST_BINS as f64).max(LEAST_BIN_S);
        let mut sums = vec![(0.0, 0.0); (span_s / bin_s) as usize + 1];
        for (x, residual) in residuals {
            let bin = &mut sums[((x - low) / bin_s) as usize];
            bin.0 += ((residual - mean) / sigma).min(MOST_LATE);
            bin.1 += 1.0;
        }
        let class =
            (0..sums.len()).map(|i| class_of(&sums[i.saturating_sub(1)..(i + 2).min(sums.len())])).collect();
        Self { from_s: low, bin_s, class }
    }

    /// The class of busy times that `x` is in, if any.
    pub(super) fn at(&self, x: f64) -> Option<u8> {
        let bin = (x - self.from_s) / self.bin_s;
        if bin < 0.0 { None } else { self.class.get(bin as usize).copied().flatten() }
    }

    /// Whether there was any busy time.
    pub(super) fn is_seen(&self) -> bool {
        self.class.iter().any(Option::is_some)
    }
}

/// The class of a bin, from the sums of itself and its neighbours.
fn class_of(sums: &[(f64, f64)]) -> Option<u8> {
    let (late, count) = sums.iter().fold((0.0, 0.0), |(l, c), s| (l + s.0, c + s.1));
    let level = late / (count + CALM_POINTS);
    LEVELS.iter().rposition(|least| level > *least).map(|k| BUSY[k])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_needs_many_late_points() {
        assert_eq!(class_of(&[(0.0, 50.0)]), None);
        assert_eq!(class_of(&[(3.0, 1.0)]), None);
        assert_eq!(class_of(&[(0.0, 10.0), (30.0, 40.0), (0.0, 10.0)]), Some(BUSY[0]));
        assert_eq!(class_of(&[(100.0, 60.0)]), Some(BUSY[1]));
    }
}
