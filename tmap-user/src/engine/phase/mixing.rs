//! What a mixture makes of the Bayes factors of its lines: likelihoods of tracks, and the shares that lines
//! have in them.
//!
//! Tracks are done side by side. Their number is rounded up to [`LANES`], and nobody looks at those beyond.

use multiversion::multiversion;

use super::elementary::{exp, ln};

/// Tracks that are done side by side.
pub(super) const LANES: usize = 16;

/// The least likelihood whose logarithm is taken: below it, a float has few digits left.
const LEAST: f32 = 1e-37;

/// Fills `logs` with each track's log likelihood under lines of these weights, where `none` is the share of
/// tracks on no line. `factors` are the log Bayes factors, line by line, each as long as `logs`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn log_likelihoods(factors: &[f32], weights: &[f32], none: f32, logs: &mut [f32]) {
    let tracks = logs.len();
    for (number, logs) in logs.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let of_line = |line: usize| {
            let from = line * tracks + number * LANES;
            &factors[from..from + LANES]
        };
        let mut tops = [0.0_f32; LANES];
        for line in 0..weights.len() {
            for (top, factor) in tops.iter_mut().zip(of_line(line)) {
                *top = if *factor > *top { *factor } else { *top };
            }
        }
        let mut sums = tops.map(|top| none * exp(-top));
        for (line, weight) in weights.iter().enumerate() {
            for ((sum, top), factor) in sums.iter_mut().zip(&tops).zip(of_line(line)) {
                *sum += weight * exp(factor - top);
            }
        }
        for ((log, sum), top) in logs.iter_mut().zip(&sums).zip(&tops) {
            *log = top + ln(if *sum > LEAST { *sum } else { LEAST });
        }
    }
}

/// Fills `posteriors` with the probability of each track to be on a line of this weight. `factors` are its
/// log Bayes factors on that line, `logs` its log likelihoods under the whole mixture.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn posteriors(factors: &[f32], weight: f32, logs: &[f32], posteriors: &mut [f32]) {
    for ((posterior, factor), log) in posteriors.iter_mut().zip(factors).zip(logs) {
        *posterior = weight * exp(factor - log);
    }
}

/// Adds the log likelihoods of a track to `sums`, if these are its log Bayes factors on the only line.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn add_log_likelihoods_of_one(factors: &[f32], none: f32, sums: &mut [f64]) {
    for (sum, factor) in sums.iter_mut().zip(factors) {
        let top = if *factor > 0.0 { *factor } else { 0.0 };
        *sum += f64::from(top + ln((1.0 - none) * exp(factor - top) + none * exp(-top)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_and_posteriors_by_hand() {
        let mut factors = [0.0; 2 * LANES];
        factors[..3].copy_from_slice(&[3.0, -2.0, 60.0]);
        factors[LANES..LANES + 3].copy_from_slice(&[1.0, -3.0, -90.0]);
        let (weights, none) = ([0.5, 0.3], 0.2);
        let mut logs = [0.0; LANES];
        log_likelihoods(&factors, &weights, none, &mut logs);
        let exact = |t: usize| {
            let of = |line: usize| f64::from(weights[line]) * f64::from(factors[line * LANES + t]).exp();
            (of(0) + of(1) + f64::from(none)).ln()
        };
        let mut shares = [0.0; LANES];
        posteriors(&factors[..LANES], weights[0], &logs, &mut shares);
        for t in 0..3 {
            assert!((f64::from(logs[t]) - exact(t)).abs() < 1e-5, "{t}: {} {}", logs[t], exact(t));
            let share = 0.5 * (f64::from(factors[t]) - exact(t)).exp();
            assert!((f64::from(shares[t]) - share).abs() < 1e-5, "{t}: {} {share}", shares[t]);
        }
        assert_eq!(logs[3], 0.0, "tracks that are all alike on lines and off them");
    }

    #[test]
    fn one_line_is_a_mixture_of_one() {
        let mut factors = [0.0; LANES];
        factors[..3].copy_from_slice(&[3.0, -2.0, 60.0]);
        let (mut logs, mut sums) = ([0.0; LANES], [0.0; LANES]);
        log_likelihoods(&factors, &[0.9], 0.1, &mut logs);
        add_log_likelihoods_of_one(&factors, 0.1, &mut sums);
        assert!(logs.iter().zip(&sums).all(|(log, sum)| (f64::from(*log) - sum).abs() < 1e-5));
    }
}
