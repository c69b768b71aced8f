//! A mixture of lines on the cylinder (time, phase modulo one tick), fitted by EM.
//!
//! Every connection belongs to one of the lines, or, with a small probability, to none. Dempster,
//! Laird and Rubin 1977; the M step moves each line by one step of Fisher scoring.

use super::table::{Table, Window};

/// All that the data says, as the mixture needs it.
#[derive(Debug)]
pub struct Data {
    /// Pieces, those of one connection side by side.
    pub pieces: Vec<(f64, Table)>,
    /// The pieces of each connection: a range of `pieces`.
    pub tracks: Vec<std::ops::Range<usize>>,
    /// Drifts that lines may have.
    pub window: Window,
    /// Drifts that machines may have anywhere, in ticks per second.
    pub drift_range: f64,
}

/// A machine's clock: phase at time zero in ticks, drift in ticks per second, share of connections.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Phase at time zero, in ticks.
    pub phase: f64,
    /// Gain over the nominal rate, in ticks per second.
    pub drift: f64,
    /// Share of connections.
    pub weight: f64,
    /// Information (inverse covariance) of phase and drift: pp, pd, dd.
    pub information: [f64; 3],
}

impl Line {
    /// A line that nothing holds yet.
    pub fn at(phase: f64, drift: f64, weight: f64) -> Self {
        Self { phase, drift, weight, information: [1.0, 0.0, 1.0] }
    }

    /// Phase at a time, in ticks, not reduced.
    pub fn phase_at(&self, x: f64) -> f64 {
        self.phase + self.drift * x
    }
}

impl Data {
    /// How much track `t` could gain from a line at best: the mean of its log Bayes factor under its
    /// own posterior. Nothing for a track that fits any line as well.
    pub fn sharpness(&self, t: usize) -> f64 {
        self.pieces[self.tracks[t].clone()].iter().map(|(_, table)| table.sharpness()).fold(0.0, f64::max)
    }

    /// Log Bayes factor of track `t` on a line.
    pub fn factor(&self, t: usize, line: &Line) -> f64 {
        self.pieces[self.tracks[t].clone()]
            .iter()
            .map(|(x, table)| f64::from(table.at(line.phase_at(*x), line.drift)))
            .sum()
    }
}

/// A fitted mixture.
#[derive(Clone, Debug)]
pub struct Mixture {
    /// The lines.
    pub lines: Vec<Line>,
    /// Share of connections that are on no line.
    pub none: f64,
    /// Log likelihood, against "every connection is a clock of its own".
    pub log_likelihood: f64,
    /// Log Bayes factors, track by line: `factors[t * lines + j]`.
    factors: Vec<f64>,
}

/// The share of connections on no line is kept at least this large: real captures always have some.
const MIN_NONE: f64 = 0.005;

/// Prior standard deviation used to keep Fisher steps of nearly empty lines finite.
const WEAK_INFORMATION: f64 = 1.0;

impl Mixture {
    /// A mixture of given lines, not yet fitted.
    pub fn new(data: &Data, lines: Vec<Line>, none: f64) -> Self {
        let mut mixture = Self { lines, none, log_likelihood: 0.0, factors: Vec::new() };
        mixture.evaluate(data, &|_| true);
        mixture
    }

    /// Recomputes the factors of the lines that moved, and the likelihood.
    fn evaluate(&mut self, data: &Data, moved: &impl Fn(usize) -> bool) {
        let count = self.lines.len();
        self.factors.resize(data.tracks.len() * count, 0.0);
        for j in (0..count).filter(|&j| moved(j)) {
            for t in 0..data.tracks.len() {
                self.factors[t * count + j] = data.factor(t, &self.lines[j]);
            }
        }
        self.log_likelihood = (0..data.tracks.len()).map(|t| self.log_density(t)).sum();
    }

    /// Posterior probability of each line for each track, track by track.
    fn posteriors(&self) -> Vec<f64> {
        let count = self.lines.len();
        let mut all = self.factors.clone();
        for (t, row) in all.chunks_exact_mut(count.max(1)).enumerate() {
            let density = self.log_density(t);
            for (p, line) in row.iter_mut().zip(&self.lines) {
                *p = line.weight * (*p - density).exp();
            }
        }
        all
    }

    /// Log of track `t`'s likelihood under the whole mixture.
    pub fn log_density(&self, t: usize) -> f64 {
        let count = self.lines.len();
        let row = &self.factors[t * count..(t + 1) * count];
        let top = row.iter().copied().fold(0.0, f64::max);
        let on_lines: f64 = row.iter().zip(&self.lines).map(|(f, l)| l.weight * (f - top).exp()).sum();
        top + (on_lines + self.none * (-top).exp()).ln()
    }

    /// Posterior probability that track `t` is on line `j`.
    pub fn posterior(&self, t: usize, j: usize) -> f64 {
        let count = self.lines.len();
        self.lines[j].weight * (self.factors[t * count + j] - self.log_density(t)).exp()
    }

    /// Runs EM until the likelihood settles, at most `rounds` rounds.
    pub fn fit(&mut self, data: &Data, rounds: usize) {
        self.fit_some(data, rounds, |_| true);
    }

    /// Runs EM, but leaves the lines for which `moves` is false where they are: a trial change
    /// concerns its neighbours, and the others' factors need no new look-ups.
    pub fn fit_some(&mut self, data: &Data, rounds: usize, moves: impl Fn(usize) -> bool) {
        for _ in 0..rounds {
            let before = self.log_likelihood;
            self.round(data, &moves);
            if self.log_likelihood - before < SETTLED {
                break;
            }
        }
    }

    fn round(&mut self, data: &Data, moves: &impl Fn(usize) -> bool) {
        let tracks = data.tracks.len();
        let count = self.lines.len();
        let posteriors = self.posteriors();
        let mut shares = vec![0.0; count];
        for row in posteriors.chunks_exact(count.max(1)) {
            shares.iter_mut().zip(row).for_each(|(share, p)| *share += p);
        }
        for j in (0..count).filter(|&j| moves(j)) {
            let mut step = Step::default();
            for (t, row) in posteriors.chunks_exact(count).enumerate() {
                if row[j] > NEGLIGIBLE {
                    step.add(data, t, &self.lines[j], row[j]);
                }
            }
            step.apply(&mut self.lines[j], data.window);
        }
        self.reweigh(&shares, tracks as f64);
        self.evaluate(data, moves);
    }

    /// Weights from expected counts, with the mean of a Dirichlet prior of a half each.
    fn reweigh(&mut self, shares: &[f64], tracks: f64) {
        let on_lines: f64 = shares.iter().sum();
        let total = tracks + 0.5 * (shares.len() + 1) as f64;
        let none = (((tracks - on_lines).max(0.0) + 0.5) / total).max(MIN_NONE);
        let scale = (1.0 - none) / (on_lines + 0.5 * shares.len() as f64).max(1e-9);
        for (line, share) in self.lines.iter_mut().zip(shares) {
            line.weight = (share + 0.5) * scale;
        }
        self.none = if shares.is_empty() { 1.0 } else { none };
    }

    /// Log evidence: the likelihood integrated over the parameters of every line.
    ///
    /// Weights: flat prior, integrated exactly for the expected counts. Phases: flat on the circle.
    /// Drifts: [`SPREADS`]. Places by Laplace's approximation, each line on its own.
    pub fn log_evidence(&self, data: &Data) -> f64 {
        let tracks = data.tracks.len() as f64;
        let lines = self.lines.len() as f64;
        let counts: Vec<f64> = self.lines.iter().map(|l| l.weight * tracks).collect();
        let on_none = (tracks - counts.iter().sum::<f64>()).max(0.0);
        let used: f64 = counts
            .iter()
            .zip(&self.lines)
            .map(|(n, l)| (n, l.weight))
            .chain([(&on_none, self.none)])
            .map(|(n, w)| log_gamma(n + 1.0) - n * w.max(1e-9).ln())
            .sum();
        let weights = if self.lines.is_empty() {
            0.0
        } else {
            log_gamma(lines + 1.0) + used - log_gamma(tracks + lines + 1.0)
        };
        // L! equal modes, one for each order of the lines.
        self.log_likelihood + weights + log_gamma(lines + 1.0) + self.log_places(data.drift_range)
            - LINE_COST * lines
    }

    /// Log of prior times posterior volume of all lines' phases and drifts.
    fn log_places(&self, range: f64) -> f64 {
        let count = self.lines.len() as f64;
        if self.lines.is_empty() {
            return 0.0;
        }
        let two_pi = std::f64::consts::TAU;
        let mean = self.lines.iter().map(|l| l.drift).sum::<f64>() / count;
        let squares: f64 = self.lines.iter().map(|l| (l.drift - mean).powi(2)).sum();
        let log_for = |spread: f64| {
            let variance = (spread * range).powi(2);
            // Normal drifts with their common mean integrated out over the range.
            let prior = -0.5 * (count - 1.0) * (two_pi * variance).ln()
                - 0.5 * count.ln()
                - squares / (2.0 * variance)
                - range.ln();
            let volumes: f64 = self
                .lines
                .iter()
                .map(|line| {
                    let [pp, pd, dd] = line.information;
                    // The priors' own information: a line that nothing holds fills its prior, no more.
                    let determinant = (pp + two_pi) * (dd + 1.0 / variance) - pd * pd;
                    two_pi.ln() - 0.5 * determinant.ln()
                })
                .sum();
            prior + volumes
        };
        let logs = SPREADS.map(log_for);
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + (logs.iter().map(|l| (l - top).exp()).sum::<f64>() / SPREADS.len() as f64).ln()
    }
}

/// How alike machines' drifts are beforehand: standard deviations as shares of the whole range, from
/// machines kept alike by NTP to ones that run free, all equally likely. A prior flat over the
/// range would charge every further machine for a freedom that disciplined ones don't use, and miss
/// those whose lines are close.
const SPREADS: [f64; 6] = [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1];

/// Log prior odds against each further machine. Laws of delay are never quite as modelled, and two
/// lines always fit a little better than one; this much better doesn't count.
const LINE_COST: f64 = 1.0;

/// Logarithm of the gamma function for arguments of 1 and more (Lanczos 1964; g = 5, n = 6).
fn log_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let t = x + 5.5;
    let series =
        COEFFICIENTS.iter().enumerate().fold(1.000_000_000_190_015, |s, (i, c)| s + c / (x + 1.0 + i as f64));
    (x + 0.5) * t.ln() - t + (2.506_628_274_631_000_5 * series / x).ln()
}

/// Posteriors below this move no line.
const NEGLIGIBLE: f64 = 1e-3;

/// EM stops when a round gains less than this.
const SETTLED: f64 = 0.02;

/// One step of Fisher scoring for one line.
#[derive(Default)]
struct Step {
    gradient: [f64; 2],
    /// Weighted by p: what the complete data would tell.
    complete: [f64; 3],
    /// Weighted by p squared: what the data tells with memberships unknown.
    observed: [f64; 3],
}

/// Half-width of the difference quotient for the slope of a table, in ticks: one bin.
const SLOPE_TICKS: f64 = 1.0 / super::density::BINS as f64;

impl Step {
    fn add(&mut self, data: &Data, t: usize, line: &Line, p: f64) {
        let mut gradient = [0.0; 2];
        for (x, table) in &data.pieces[data.tracks[t].clone()] {
            let phase = line.phase_at(*x);
            let up = table.at(phase + SLOPE_TICKS, line.drift);
            let down = table.at(phase - SLOPE_TICKS, line.drift);
            let slope = f64::from(up - down) / (2.0 * SLOPE_TICKS);
            gradient[0] += slope;
            gradient[1] += slope * x + table.drift_slope(phase, line.drift);
        }
        let square = [gradient[0] * gradient[0], gradient[0] * gradient[1], gradient[1] * gradient[1]];
        self.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += p * g);
        self.complete.iter_mut().zip(square).for_each(|(sum, s)| *sum += p * s);
        self.observed.iter_mut().zip(square).for_each(|(sum, s)| *sum += p * p * s);
    }

    fn apply(&self, line: &mut Line, window: Window) {
        let weak = [WEAK_INFORMATION, 0.0, WEAK_INFORMATION / (window.width() * window.width())];
        let [a, b, c] = [0, 1, 2].map(|k| self.complete[k] + weak[k]);
        let determinant = a * c - b * b;
        let [g, h] = self.gradient;
        let dp = (c * g - b * h) / determinant;
        let dd = (a * h - b * g) / determinant;
        // A step longer than the width of the law overshoots: derivatives are local.
        let shrink = (0.05 / dp.abs().max(1e-12)).min(1.0);
        line.phase += dp * shrink;
        line.drift = (line.drift + dd * shrink).clamp(window.low, window.high);
        line.information = [0, 1, 2].map(|k| self.observed[k] + weak[k]);
    }
}
