//! Interleaved rounds: contestants take turns, so that whatever else the machine does falls on all
//! of them; then medians.

use anyhow::Result;
use serde::Serialize;

/// A baseline whose median moved by more than this between the halves of a run says that the machine
/// was busy with something else.
pub const MAX_DRIFT: f64 = 0.10;

/// A measured quantity: the median over rounds, and how far rounds lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Median over rounds.
    pub median: f64,
    /// Half of the range that the middle half of the rounds takes.
    pub spread: f64,
    /// Rounds.
    pub rounds: usize,
}

impl Figure {
    /// The figure of these rounds.
    ///
    /// # Panics
    /// Without rounds.
    pub fn of(values: &[f64]) -> Self {
        assert!(!values.is_empty(), "a figure takes at least one round");
        Self {
            median: quantile(values, 0.5),
            spread: (quantile(values, 0.75) - quantile(values, 0.25)) / 2.0,
            rounds: values.len(),
        }
    }

    /// A figure that was counted, not measured.
    pub fn exact(value: f64) -> Self {
        Self { median: value, spread: 0.0, rounds: 1 }
    }
}

/// What one contestant showed, round by round.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// One value per round.
    pub values: Vec<f64>,
}

impl Series {
    /// Its figure.
    pub fn figure(&self) -> Figure {
        Figure::of(&self.values)
    }

    /// How much it is above `baseline`, round by round.
    pub fn over(&self, baseline: &Self) -> Figure {
        self.minus(baseline).figure()
    }

    /// How many times `baseline` it is, round by round.
    pub fn ratio(&self, baseline: &Self) -> Figure {
        self.with(baseline, |own, base| own / base).figure()
    }

    /// What is left without `other`, round by round.
    pub fn minus(&self, other: &Self) -> Self {
        self.with(other, |own, other| own - other)
    }

    /// Both together, round by round.
    pub fn sum(&self, other: &Self) -> Self {
        self.with(other, |own, other| own + other)
    }

    fn with(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self { values: self.values.iter().zip(&other.values).map(|(a, b)| of(*a, *b)).collect() }
    }

    /// How far the median of the second half lies from that of the first, relative.
    pub fn drift(&self) -> f64 {
        let (early, late) = self.values.split_at(self.values.len() / 2);
        if early.is_empty() {
            return 0.0;
        }
        (quantile(late, 0.5) / quantile(early, 0.5) - 1.0).abs()
    }
}

/// Lets `contestants` take turns, `rounds` times: forwards, then backwards, so that none is always
/// behind the same one. `measure` gives one contestant's value for one round.
///
/// # Errors
/// Those of `measure`.
pub fn interleave<C>(
    rounds: usize,
    contestants: &mut [C],
    mut measure: impl FnMut(&mut C) -> Result<f64>,
) -> Result<Vec<Series>> {
    let mut series = vec![Series::default(); contestants.len()];
    for round in 0..rounds {
        let count = contestants.len();
        for turn in 0..count {
            let index = if round % 2 == 0 { turn } else { count - 1 - turn };
            series[index].values.push(measure(&mut contestants[index])?);
        }
    }
    Ok(series)
}

/// The value below which the part `share` of `values` lies, interpolated.
///
/// # Panics
/// Without values.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        let figure = Figure::of(&[5.0, 1.0, 2.0, 100.0, 3.0]);
        assert_eq!((figure.median, figure.spread), (3.0, 1.5));
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
    }

    #[test]
    fn everybody_has_a_turn_in_every_round() {
        let mut contestants = vec![Vec::new(), Vec::new()];
        let mut turn = 0.0;
        let series = interleave(3, &mut contestants, |own| {
            turn += 1.0;
            own.push(turn);
            Ok(turn)
        });
        let series = series.unwrap();
        assert_eq!(series[0].values, [1.0, 4.0, 5.0]);
        assert_eq!(series[1].values, [2.0, 3.0, 6.0]);
        assert_eq!(contestants[1], series[1].values);
    }

    #[test]
    fn drift_compares_the_halves() {
        let steady = Series { values: vec![10.0, 11.0, 10.0, 10.0, 11.0, 10.0] };
        assert!(steady.drift() < MAX_DRIFT);
        let moved = Series { values: vec![10.0, 10.0, 10.0, 12.0, 12.0, 12.0] };
        assert!((moved.drift() - 0.2).abs() < 1e-9);
        assert_eq!(moved.ratio(&steady).rounds, 6);
    }
}
