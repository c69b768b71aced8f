//! The evidence for a mixture: its likelihood integrated over all unknown parameters.
//!
//! Comparing maximised likelihoods (or BIC's count of parameters) splits or merges lines, depending on the
//! cost of a parameter. Here the data decides that cost: weights are integrated exactly for the expected
//! counts, phases and drifts by Laplace's approximation.

use libm::lgamma;

use super::{
    mixture::{Data, Mixture},
    symmetric::Numbers,
};
use crate::engine::types::log_mean_exp;

/// The prior of the spread of machines' drifts: standard deviations as shares of the whole range, all
/// equally likely, from machines kept alike by NTP to free-running ones. A prior flat over the range
/// would charge each further machine for a freedom that disciplined machines don't use, and would miss
/// machines whose lines are close.
const SPREADS: [f64; 6] = [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1];

/// Log prior odds of one machine against several: most addresses have one machine, and a false second one
/// is the worst mistake.
const ONE_MACHINE: f64 = 1.5;

/// Log prior odds against each line. A line without connections has an evidence near 0, so without this
/// cost such lines would accumulate.
const LINE_COST: f64 = 1.0;

impl Mixture {
    /// Log evidence, against "every connection is a clock of its own".
    pub(super) fn log_evidence(&self, data: &Data) -> f64 {
        let lines = self.lines.len() as f64;
        // There are L! equal modes, one for each order of the lines.
        let orders = lgamma(lines + 1.0);
        let prior = -LINE_COST * lines - if lines > 1.0 { ONE_MACHINE } else { 0.0 };
        self.log_likelihood
            + self.log_weights(data)
            + orders
            + self.log_places(data)
            + self.log_kinds(data)
            + prior
    }

    /// Log prior of the machines' usual kinds of evidence, which were chosen to fit.
    fn log_kinds(&self, data: &Data) -> f64 {
        if !data.kinds.differ() {
            return 0.0;
        }
        (0..self.lines.len()).map(|j| data.kinds.choice(&self.shown(data, j))).sum()
    }

    /// Log of the weights' flat prior times their posterior volume: the integral of the weights to the powers
    /// of the expected counts, divided by the value at the maximum.
    fn log_weights(&self, data: &Data) -> f64 {
        if self.lines.is_empty() {
            return 0.0;
        }
        let tracks = data.tracks.len() as f64;
        let lines = self.lines.len() as f64;
        let on_none = (self.none * tracks, self.none);
        let used: f64 = self
            .lines
            .iter()
            .map(|line| (line.weight * tracks, line.weight))
            .chain([on_none])
            .map(|(count, weight)| lgamma(count + 1.0) - count * weight.max(1e-9).ln())
            .sum();
        lgamma(lines + 1.0) + used - lgamma(tracks + lines + 1.0)
    }

    /// Log of the prior times the posterior volume of all lines' phases, drifts and bends.
    fn log_places(&self, data: &Data) -> f64 {
        if self.lines.is_empty() {
            return 0.0;
        }
        log_mean_exp(&SPREADS.map(|spread| self.log_places_for(data, spread * data.drift_range)))
    }

    /// [`Mixture::log_places`] for one spread: drifts are normal with standard deviation `spread`, and their
    /// common mean is integrated over the range.
    fn log_places_for(&self, data: &Data, spread: f64) -> f64 {
        let two_pi = std::f64::consts::TAU;
        let count = self.lines.len() as f64;
        let variance = spread * spread;
        let mean = self.lines.iter().map(|l| l.drift()).sum::<f64>() / count;
        let squares: f64 = self.lines.iter().map(|l| (l.drift() - mean).powi(2)).sum();
        let drifts = -0.5 * (count - 1.0) * (two_pi * variance).ln()
            - 0.5 * count.ln()
            - squares / (2.0 * variance)
            - data.drift_range.ln();
        // The priors' own information: a line without connections has the volume of its prior.
        let prior = data.knots.prior(two_pi, 1.0 / variance);
        let weak = data.knots.prior(0.0, 0.0);
        // Bends' priors are in the lines' information already.
        let more: Numbers = prior.iter().zip(&weak).map(|(all, bends)| all - bends).collect();
        let volumes = self.lines.iter().map(|line| {
            let determinant = line.information.log_determinant_with(&more);
            two_pi.ln() - 0.5 * determinant + data.knots.log_prior(line)
        });
        drifts + volumes.sum::<f64>()
    }
}
