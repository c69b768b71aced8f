//! How likely two clocks behind two addresses are one.

use tmap_common::Address;

use crate::engine::{
    clock::{
        boot::{DISCIPLINED_SHARE, DISCIPLINED_SKEW_SIGMA},
        fit::{Clock, SKEW_PRIOR_SIGMA},
    },
    ports::boundary::{PERIOD_S, Told},
    snapshot::Basis,
    types::{Estimate, NINE_IN_TEN, WRAP_TICKS, seconds_between},
};

/// A machine as seen behind one address.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::machines) struct Candidate {
    /// The address.
    pub address: Address,
    /// The machine's number there.
    pub machine: u32,
    /// Its clock.
    pub clock: Clock,
    /// The probability that the whole ticks of the offset are the machine's own rather than random: 1 in
    /// the global regime, 0 where offsets are random, between where the regime isn't known.
    pub global: f64,
    /// When its walks of source ports begin anew, counted from the clock's reference time; `None` where that
    /// is unknown.
    pub boundary: Option<Told>,
}

/// How far the least delays of paths to different addresses differ, in seconds (one standard deviation).
const PATH_SIGMA_S: f64 = 30e-6;

/// The smallest standard error with which offsets are compared, in ticks, whatever the fits claim.
pub(super) const MIN_OFFSET_SIGMA_TICKS: f64 = 1.0;

/// How many times likelier two clocks are of one machine than of two, and by what.
pub(super) fn same(a: &Candidate, b: &Candidate) -> (f64, Basis) {
    let Estimate { value: ticks, sigma } = a.clock.ahead_of(&b.clock);
    let sigma = sigma.hypot(PATH_SIGMA_S * a.clock.hz);
    let meet = |period: f64, sigma: f64| normal(ticks - period * (ticks / period).round(), sigma) * period;
    let comparable = a.global * b.global;
    let by_offset = comparable * meet(WRAP_TICKS, sigma.max(MIN_OFFSET_SIGMA_TICKS));
    let by_phase = (1.0 - comparable) * meet(1.0, sigma);
    let basis = if by_offset > by_phase { Basis::Offset } else { Basis::Phase };
    let skew_sigma = a.clock.skew.sigma.hypot(b.clock.skew.sigma);
    let by_skew =
        normal(a.clock.skew.value - b.clock.skew.value, skew_sigma) / spread(a.clock.skew.value, skew_sigma);
    let by_ports = by_boundary(a, b);
    ((by_offset + by_phase) * by_skew * by_ports, basis)
}

/// The share of boundaries that are told wrongly: their intervals hold the truth nine times in ten.
const WRONG_BOUNDARY: f64 = 0.1;

/// How many times likelier two boundaries are of one machine than of two; 1 where one is unknown.
fn by_boundary(a: &Candidate, b: &Candidate) -> f64 {
    let meeting_ns = a.clock.meeting_ns(&b.clock);
    let behind = |candidate: &Candidate| {
        let told = candidate.boundary?;
        let since_s = seconds_between(candidate.clock.reference_ns, meeting_ns);
        Some((since_s * (1.0 + candidate.clock.skew.value) - told.at_s, told.within_s / NINE_IN_TEN))
    };
    let (Some((a_s, a_sigma)), Some((b_s, b_sigma))) = (behind(a), behind(b)) else { return 1.0 };
    let apart_s = (a_s - b_s) - PERIOD_S * ((a_s - b_s) / PERIOD_S).round();
    WRONG_BOUNDARY + (1.0 - WRONG_BOUNDARY) * normal(apart_s, a_sigma.hypot(b_sigma)) * PERIOD_S
}

/// Density of the skews of unrelated machines around `skew`, blurred by the measurement. A share of them is
/// disciplined ([`DISCIPLINED_SHARE`]), and the others run free, within [`SKEW_PRIOR_SIGMA`].
pub(super) fn spread(skew: f64, sigma: f64) -> f64 {
    DISCIPLINED_SHARE * normal(skew, sigma.hypot(DISCIPLINED_SKEW_SIGMA))
        + (1.0 - DISCIPLINED_SHARE) * normal(skew, sigma.hypot(SKEW_PRIOR_SIGMA))
}

/// Density of a normal distribution with this standard deviation at `x` from its middle.
pub(super) fn normal(x: f64, sigma: f64) -> f64 {
    (-0.5 * (x / sigma).powi(2)).exp() / (sigma * std::f64::consts::TAU.sqrt())
}
