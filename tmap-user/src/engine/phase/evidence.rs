//! The evidence for a mixture: its likelihood integrated over everything that isn't known.
//!
//! Comparing maximised likelihoods (or BIC's count of parameters) splits lines or merges them,
//! depending on how much a parameter is worth. Here each is worth what the data says: weights are
//! integrated exactly for the expected counts, places by Laplace's approximation.

use libm::lgamma;

use super::mixture::{Data, Mixture};

/// How alike machines' drifts are beforehand: standard deviations as shares of the whole range, from
/// machines kept alike by NTP to ones that run free, all equally likely. A prior flat over the
/// range would charge every further machine for a freedom that disciplined ones don't use, and miss
/// those whose lines are close.
const SPREADS: [f64; 6] = [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1];

/// Log prior odds of one machine against several: most addresses are one, and a second that isn't
/// there is the worst mistake.
const ONE_MACHINE: f64 = 1.5;

/// Log prior odds against each line. A line that holds nothing has an evidence near 0: without a
/// cost, such lines would pile up.
const LINE_COST: f64 = 1.0;

impl Mixture {
    /// Log evidence, against "every connection is a clock of its own".
    pub fn log_evidence(&self, data: &Data) -> f64 {
        let lines = self.lines.len() as f64;
        // L! equal modes, one for each order of the lines.
        let orders = lgamma(lines + 1.0);
        let prior = -LINE_COST * lines - if lines > 1.0 { ONE_MACHINE } else { 0.0 };
        self.log_likelihood
            + self.log_weights(data)
            + orders
            + self.log_places(data)
            + self.log_looks(data)
            + prior
    }

    /// Log prior of what the machines usually show, which was chosen to fit.
    fn log_looks(&self, data: &Data) -> f64 {
        if !data.looks.differ() {
            return 0.0;
        }
        (0..self.lines.len()).map(|j| data.looks.choice(&self.shown(data, j))).sum()
    }

    /// Log of flat prior times posterior volume of the weights: the integral of the weights to the
    /// powers of the expected counts, over their value at the maximum.
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

    /// Log of prior times posterior volume of all lines' phases, drifts and bends.
    fn log_places(&self, data: &Data) -> f64 {
        if self.lines.is_empty() {
            return 0.0;
        }
        let logs = SPREADS.map(|spread| self.log_places_for(data, spread * data.drift_range));
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + (logs.iter().map(|l| (l - top).exp()).sum::<f64>() / SPREADS.len() as f64).ln()
    }

    /// The same, for drifts that are normal with standard deviation `spread`, their common mean
    /// integrated out over the range.
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
        // The priors' own information: a line that nothing holds fills its prior, no more.
        let prior = data.knots.prior(two_pi, 1.0 / variance);
        let weak = data.knots.prior(0.0, 0.0);
        // Bends' priors are in the lines' information already.
        let more: Vec<f64> = prior.iter().zip(&weak).map(|(all, bends)| all - bends).collect();
        let volumes = self.lines.iter().map(|line| {
            let determinant =
                line.information.plus_diagonal(&more).factor().map_or(f64::INFINITY, |f| f.log_determinant());
            two_pi.ln() - 0.5 * determinant + data.knots.log_prior(line)
        });
        drifts + volumes.sum::<f64>()
    }
}
