//! Whether clocks agree with links. Whoever chooses ports, or times, may link connections of several
//! machines: where clocks contradict links, these are no evidence.

use super::{
    links::{Linked, Links, Reason},
    mixture::{Data, Mixture},
};

/// Clocks agree with links where a link tells at least this share of which line a track is on. In
/// simulations and on virtual machines, right links told 0.3 to 0.6 of it, and ports that deceive 0 to 0.14.
const LEAST_TOLD: f64 = 0.2;

/// How far clocks may contradict links by chance, in nats.
const BY_CHANCE_NATS: f64 = 1.0;

/// How far clocks agree with links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// They agree, or there are no links.
    Clear,
    /// They don't, but rather with links of these reasons.
    Rather(&'static [Reason]),
}

/// How far clocks agree with the links of `data`, which are for these reasons, where `best` are the lines
/// that both show together.
pub(super) fn of(
    best: &Mixture,
    data: &Data,
    linked: &[Linked],
    usable: &[usize],
    reasons: &[Reason],
) -> Agreement {
    if data.links.none() || !best.lines.is_empty() && told(best, &data.links) > LEAST_TOLD {
        return Agreement::Clear;
    }
    let [ports, times] = [Reason::Ports, Reason::Times].map(|reason| Links::of(linked, usable, &[reason]));
    let are_mixed = [&ports, &times].iter().all(|links| links.count() > 0) && reasons.len() > 1;
    Agreement::Rather(match (are_mixed, told(best, &ports) > told(best, &times)) {
        (false, _) => &[],
        (true, true) => &[Reason::Ports],
        (true, false) => &[Reason::Times],
    })
}

/// The share that a link tells of which line a track is on, but for what it may tell by chance.
fn told(best: &Mixture, links: &Links) -> f64 {
    let gain = best.log_likelihood_with(links) - best.log_likelihood_with(&Links::default());
    // What would tell a track's line for sure.
    let open: f64 = -best.lines.iter().map(|line| line.weight * line.weight.ln()).sum::<f64>();
    (gain + BY_CHANCE_NATS) / (open * links.count() as f64).max(f64::MIN_POSITIVE)
}
