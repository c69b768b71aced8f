//! A machine's clock as a line that may bend: crystals warm up, and NTP slews.
//!
//! ```text
//! phase(x) = phase + drift x + sum of bend_k max(0, |x| - knot_k)
//! ```
//!
//! with knots on both sides of time zero, the middle of the data. The prior of bends is normal, with the
//! spread of a wandering clock's rate over the time between two knots. So a line is straight unless the
//! data bends it. Short data has no knots at all.

use std::ops::Range;

use smallvec::smallvec;

use super::{
    drift::Window,
    factors::Factors,
    symmetric::{Numbers, Symmetric},
};

/// The knots: the times at which lines may bend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Knots {
    spacing_s: f64,
    each_side: usize,
    /// Standard deviation of a bend, in ticks per second.
    bend: f64,
}

/// Data shorter than this is fitted with straight lines, in seconds: in that time, a clock that wanders by
/// [`WANDER`] deviates from a straight line by a hundredth of a 1 kHz tick.
const STRAIGHT_S: f64 = 700.0;

/// The least time between knots, in seconds.
const LEAST_SPACING_S: f64 = 200.0;

/// The most knots on each side: bounds the work per line.
const MOST_EACH_SIDE: usize = 10;

/// The most parameters of a line.
const MOST_PARAMETERS: usize = 2 + 2 * MOST_EACH_SIDE;

/// How far a rate wanders in ten minutes, as a share: less for undisciplined crystals in a room (0.05
/// ppm), more with NTP's corrections from poll to poll (0.3 ppm).
pub(super) const WANDER: f64 = 0.15e-6;

impl Knots {
    /// Knots for data of `span_s`, of clocks of `hz`.
    pub(super) fn new(span_s: f64, hz: f64) -> Self {
        if span_s < STRAIGHT_S {
            return Self { spacing_s: 1.0, each_side: 0, bend: 1.0 };
        }
        let spacing_s = (span_s / (2 * MOST_EACH_SIDE + 1) as f64).max(LEAST_SPACING_S);
        let each_side = (((span_s / 2.0) / spacing_s - 0.5).floor().max(0.0) as usize).min(MOST_EACH_SIDE);
        Self { spacing_s, each_side, bend: WANDER * hz * (spacing_s / 600.0).sqrt() }
    }

    /// The number of parameters of a line.
    pub(super) fn parameters(&self) -> usize {
        2 + 2 * self.each_side
    }

    /// Whether lines are straight.
    pub(super) fn none(&self) -> bool {
        self.each_side == 0
    }

    fn knot(&self, k: usize) -> f64 {
        (k as f64 + 0.5) * self.spacing_s
    }

    /// Adds what changes at time `x` with each parameter to `own`, by the derivatives by phase and drift.
    #[inline(always)]
    fn add_gradient(&self, x: f64, (by_phase, by_drift): (f64, f64), own: &mut [f64]) {
        let [of_phase, of_drift, bends @ ..] = own else { return };
        *of_phase += by_phase;
        *of_drift += by_phase * x + by_drift;
        let (right, left) = bends.split_at_mut(self.each_side);
        for (side, bends) in [(1.0, right), (-1.0, left)] {
            for (k, bend) in bends.iter_mut().enumerate() {
                let beyond = side * x - self.knot(k);
                if beyond <= 0.0 {
                    break;
                }
                *bend += by_phase * beyond + by_drift * side;
            }
        }
    }

    /// The derivatives of the phase at time `x` by each parameter.
    fn basis(&self, x: f64) -> Numbers {
        let mut basis: Numbers = smallvec![0.0; self.parameters()];
        self.add_gradient(x, (1.0, 0.0), &mut basis);
        basis
    }

    /// Prior information of all parameters: `phase` and `drift` as given, then that of the bends.
    pub(super) fn prior(&self, phase: f64, drift: f64) -> Numbers {
        let mut prior: Numbers = smallvec![1.0 / (self.bend * self.bend); self.parameters()];
        prior[..2].copy_from_slice(&[phase, drift]);
        prior
    }

    /// Log prior density of a line's bends, without the factors of `sqrt(2 pi)`.
    pub(super) fn log_prior(&self, line: &FittedLine) -> f64 {
        line.bends().iter().map(|b| -0.5 * (b / self.bend).powi(2) - self.bend.ln()).sum()
    }
}

/// How far two phases are apart, in ticks: at most half a tick.
pub(super) fn phases_apart(one: f64, other: f64) -> f64 {
    let apart = (one - other).rem_euclid(1.0);
    apart.min(1.0 - apart)
}

/// A machine's clock as a line that may bend, as it is fitted, in ticks. What is told of it is
/// [`super::Line`].
#[derive(Clone, Debug)]
pub(super) struct FittedLine {
    /// Phase at time zero, in ticks; gain over the nominal rate there, in ticks per second; bends.
    parameters: Numbers,
    /// Share of connections.
    pub weight: f64,
    /// Log-likelihood ratio of each kind of evidence; empty where nothing is known of the machine.
    pub kinds: Vec<f64>,
    /// Information (inverse covariance) of the parameters, with uncertain memberships.
    pub information: Symmetric,
}

impl FittedLine {
    /// A straight line without connections.
    pub(super) fn at(phase: f64, drift: f64, weight: f64, knots: &Knots) -> Self {
        let mut parameters: Numbers = smallvec![0.0; knots.parameters()];
        parameters[..2].copy_from_slice(&[phase, drift]);
        let information = Symmetric::diagonal(&knots.prior(WEAK_INFORMATION, WEAK_INFORMATION));
        Self { parameters, weight, kinds: Vec::new(), information }
    }

    /// Phase at time zero.
    pub(super) fn phase(&self) -> f64 {
        self.parameters[0]
    }

    /// Drift at time zero.
    pub(super) fn drift(&self) -> f64 {
        self.parameters[1]
    }

    fn bends(&self) -> &[f64] {
        &self.parameters[2..]
    }

    /// A copy of the line, shifted by `phase` and turned by `drift`.
    pub(super) fn moved(&self, phase: f64, drift: f64) -> Self {
        let mut other = self.clone();
        other.parameters[0] += phase;
        other.parameters[1] += drift;
        other
    }

    /// A copy of the line with this share of its weight.
    pub(super) fn lighter(&self, share: f64) -> Self {
        let mut other = self.clone();
        other.weight *= share;
        other
    }

    /// Phase (not reduced to a tick) and drift at time `x`.
    pub(super) fn at_time(&self, x: f64, knots: &Knots) -> (f64, f64) {
        let [phase, drift, bends @ ..] = &self.parameters[..] else { return (0.0, 0.0) };
        let (right, left) = bends.split_at(knots.each_side);
        let (side, bends) = if x < 0.0 { (-1.0, left) } else { (1.0, right) };
        let mut sum = (phase + drift * x, *drift);
        for (k, bend) in bends.iter().enumerate() {
            let beyond = side * x - knots.knot(k);
            if beyond <= 0.0 {
                break;
            }
            sum.0 += bend * beyond;
            sum.1 += side * bend;
        }
        sum
    }

    /// Adds to `own` the derivatives of the log-likelihood of a connection's pieces by each parameter.
    #[inline(always)]
    pub(super) fn add_gradient(
        &self,
        factors: &Factors,
        pieces: Range<usize>,
        knots: &Knots,
        own: &mut [f64],
    ) {
        for piece in pieces {
            let x = factors.x(piece);
            let (phase, drift) = self.at_time(x, knots);
            knots.add_gradient(x, factors.slopes(piece, phase, drift), own);
        }
    }

    /// Mean drift between two times, with its standard error.
    pub(super) fn mean_drift(&self, from: f64, to: f64, knots: &Knots) -> (f64, f64) {
        let (a, b) = (knots.basis(from), knots.basis(to));
        let contrast: Numbers = a.iter().zip(&b).map(|(a, b)| (b - a) / (to - from)).collect();
        let mean = contrast.iter().zip(&self.parameters).map(|(c, p)| c * p).sum();
        (mean, self.sigma(&contrast))
    }

    /// Standard error of the phase at time zero.
    pub(super) fn phase_sigma(&self) -> f64 {
        let mut unit: Numbers = smallvec![0.0; self.parameters.len()];
        unit[0] = 1.0;
        self.sigma(&unit)
    }

    fn sigma(&self, contrast: &[f64]) -> f64 {
        self.information.factor().map_or(f64::INFINITY, |f| f.inverse_form(contrast).max(0.0).sqrt())
    }
}

/// Prior information on phase and on drift (as a share of the window), which keeps the updates of nearly
/// empty lines finite.
pub(super) const WEAK_INFORMATION: f64 = 1.0;

/// The largest change of a phase in one update, in ticks: derivatives are local, and a change larger than
/// the law's width overshoots.
const LONGEST_STEP: f64 = 0.05;

/// One update of one line by Fisher scoring.
#[derive(Debug)]
pub(super) struct Update<'a> {
    knots: &'a Knots,
    gradient: Numbers,
    /// The information of the complete data: weighted by p.
    complete: Symmetric,
    /// The information with memberships unknown: weighted by p squared (Louis 1982).
    observed: Symmetric,
}

impl<'a> Update<'a> {
    /// An update without connections.
    pub(super) fn new(knots: &'a Knots) -> Self {
        let zero: Numbers = smallvec![0.0; knots.parameters()];
        let none = Symmetric::diagonal(&zero);
        Self { knots, gradient: zero, complete: none.clone(), observed: none }
    }

    /// Adds connections: their pieces, and the probability that they belong to the line.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        factors: &Factors,
        line: &FittedLine,
        connections: impl Iterator<Item = (Range<usize>, f64)>,
    ) {
        if let &[phase, drift] = &line.parameters[..] {
            return self.add_straight(factors, (phase, drift), connections);
        }
        let mut own = [0.0; MOST_PARAMETERS];
        let own = &mut own[..self.knots.parameters()];
        for (pieces, p) in connections {
            own.fill(0.0);
            line.add_gradient(factors, pieces, self.knots, own);
            self.gradient.iter_mut().zip(&*own).for_each(|(sum, g)| *sum += p * g);
            self.complete.add_square(p, own);
            self.observed.add_square(p * p, own);
        }
    }

    /// Likewise, where the line is straight, as most are: the sums then stay in registers.
    #[inline(always)]
    fn add_straight(
        &mut self,
        factors: &Factors,
        (phase, drift): (f64, f64),
        connections: impl Iterator<Item = (Range<usize>, f64)>,
    ) {
        let (mut gradient, mut complete, mut observed) = ([0.0; 2], [0.0; 3], [0.0; 3]);
        for (pieces, p) in connections {
            let (mut a, mut b) = (0.0, 0.0);
            for piece in pieces {
                let x = factors.x(piece);
                let (by_phase, by_drift) = factors.slopes(piece, phase + drift * x, drift);
                a += by_phase;
                b += by_phase * x + by_drift;
            }
            gradient[0] += p * a;
            gradient[1] += p * b;
            for (k, product) in [a * a, a * b, b * b].into_iter().enumerate() {
                complete[k] += p * product;
                observed[k] += p * p * product;
            }
        }
        self.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        self.complete.add_two_by_two(complete);
        self.observed.add_two_by_two(observed);
    }

    /// Applies the update to the line, and sets the line's information.
    pub(super) fn apply(&self, line: &mut FittedLine, window: Window) {
        let weak_drift = WEAK_INFORMATION / (window.width() * window.width());
        let prior = self.knots.prior(WEAK_INFORMATION, weak_drift);
        line.information = self.observed.plus_diagonal(&prior);
        let Some(factor) = self.complete.plus_diagonal(&prior).factor() else { return };
        let mut gradient = self.gradient.clone();
        for (k, bend) in line.bends().iter().enumerate() {
            gradient[k + 2] -= prior[k + 2] * bend;
        }
        let step = factor.solve(&gradient);
        let shrink = (LONGEST_STEP / step[0].abs().max(1e-12)).min(1.0);
        line.parameters.iter_mut().zip(&step).for_each(|(value, step)| *value += step * shrink);
        line.parameters[1] = line.parameters[1].clamp(window.low, window.high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bends_add_up_outwards() {
        let knots = Knots::new(1400.0, 1000.0);
        assert_eq!(knots.each_side, 3);
        let mut line = FittedLine::at(0.25, 0.01, 1.0, &knots);
        line.parameters[2..].copy_from_slice(&[0.001, 0.002, 0.0, -0.001, 0.0, 0.0]);
        let close = |(p, d): (f64, f64), (q, e): (f64, f64)| (p - q).abs() < 1e-12 && (d - e).abs() < 1e-12;
        assert!(close(line.at_time(50.0, &knots), (0.75, 0.01)));
        assert!(close(line.at_time(400.0, &knots), (4.25 + 0.3 + 0.2, 0.013)));
        assert!(close(line.at_time(-200.0, &knots), (-1.75 - 0.1, 0.011)));
    }

    #[test]
    fn basis_is_the_line_s_own() {
        let knots = Knots::new(5000.0, 1000.0);
        let mut line = FittedLine::at(0.1, 0.02, 1.0, &knots);
        for (k, value) in line.parameters.iter_mut().enumerate() {
            *value += 0.001 * k as f64;
        }
        for x in [-2300.0, -100.0, 0.0, 77.0, 1234.0] {
            let mut of_drift = vec![0.0; knots.parameters()];
            knots.add_gradient(x, (0.0, 1.0), &mut of_drift);
            let sum = |basis: &[f64]| basis.iter().zip(&line.parameters).map(|(b, p)| b * p).sum::<f64>();
            let (phase, drift) = line.at_time(x, &knots);
            assert!((sum(&knots.basis(x)) - phase).abs() < 1e-9 && (sum(&of_drift) - drift).abs() < 1e-9);
        }
    }

    #[test]
    fn short_data_is_straight() {
        assert!(Knots::new(600.0, 1000.0).none());
        assert_eq!(Knots::new(1e6, 1000.0).parameters(), 2 + 2 * MOST_EACH_SIDE);
    }
}
