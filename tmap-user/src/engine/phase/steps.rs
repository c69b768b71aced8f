//! Whether a line's phase steps in mid-capture: its machine started anew or slept, or its path became longer.
//!
//! One line through both parts is tilted, and its drift is that of no clock. Whether a step would explain the
//! connections better is told by a score test (Rao 1948) at each moment, with the information of single
//! connections. A search among all moments finds large scores by chance, too (Andrews 1993).

use super::{
    line::WEAK_INFORMATION,
    mixture::{Data, Mixture},
    symmetric::{Numbers, Symmetric},
};

/// A step is taken for real where its score is beyond this, a chi square of one degree of freedom: one line
/// in some hundred reaches it by chance at one of its moments.
const CLEAR: f64 = 14.0;

/// At least so many connections, and this share of them, are on either side of a step.
const FEWEST: usize = 4;
const LEAST_SHARE: f64 = 0.1;

/// Connections that are on the line with less than this probability tell nothing of it.
const LEAST_PROBABILITY: f64 = 0.1;

/// Whether line `j` of a mixture clearly steps.
///
/// O(n p^2) for n connections and p parameters of a line.
pub(super) fn are_in(mixture: &Mixture, data: &Data, j: usize) -> bool {
    let Some(line) = mixture.lines.get(j) else { return false };
    let on_line = data.tracks.iter().enumerate().filter_map(|(track, pieces)| {
        let p = mixture.posterior(track, j);
        let weighted = || {
            let mut own = Numbers::from_elem(0.0, data.knots.parameters());
            line.add_gradient(&data.factors, pieces.clone(), &data.knots, &mut own);
            own.iter_mut().for_each(|derivative| *derivative *= p);
            own
        };
        (p >= LEAST_PROBABILITY && !pieces.is_empty()).then(|| (data.factors.x(pieces.start), weighted()))
    });
    let mut gradients: Vec<(f64, Numbers)> = on_line.collect();
    gradients.sort_by(|a, b| a.0.total_cmp(&b.0));
    largest_score(&gradients.into_iter().map(|(_, gradient)| gradient).collect::<Vec<_>>(), data)
        .is_some_and(|score| score > CLEAR)
}

/// The largest score of a step between two connections, where these are the derivatives of their
/// log-likelihoods, in order of time; `None` where they are too few.
fn largest_score(gradients: &[Numbers], data: &Data) -> Option<f64> {
    let parameters = data.knots.parameters();
    let zero = Numbers::from_elem(0.0, parameters);
    let (mut information, mut total) = (Symmetric::diagonal(&zero), zero.clone());
    for gradient in gradients {
        information.add_square(1.0, gradient);
        total.iter_mut().zip(gradient).for_each(|(sum, own)| *sum += own);
    }
    let weak_drift = WEAK_INFORMATION / data.window.width().powi(2);
    let prior = data.knots.prior(WEAK_INFORMATION, weak_drift);
    let factor = information.plus_diagonal(&prior).factor()?;
    let left = factor.solve(&total);
    let least = FEWEST.max((LEAST_SHARE * gradients.len() as f64) as usize);
    let (mut score, mut variance, mut shared) = (0.0, 0.0, zero);
    let mut largest: Option<f64> = None;
    for (after, gradient) in (1..).zip(gradients.iter().rev()) {
        let by_phase = gradient[0];
        score += by_phase;
        variance += by_phase * by_phase;
        shared.iter_mut().zip(gradient).for_each(|(sum, own)| *sum += by_phase * own);
        if after < least || after + least > gradients.len() {
            continue;
        }
        // What the line's own parameters explain of it is no step.
        let own = score - shared.iter().zip(&left).map(|(a, b)| a * b).sum::<f64>();
        let free = variance - factor.inverse_form(&shared);
        if free > LEAST_FREE * variance {
            largest = Some(largest.unwrap_or(0.0).max(own * own / free));
        }
    }
    largest
}

/// A step tells nothing where the line's own parameters explain more than all but this share of it.
const LEAST_FREE: f64 = 1e-3;
