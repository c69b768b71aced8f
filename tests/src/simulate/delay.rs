//! The network's delay above its minimum, by law.

use rand::RngExt;

use super::{Law, Random};

/// Episodes of congestion, which all machines share: a tenth of the time on average. Each has its begin and
/// end, in seconds.
pub(super) fn episodes(law: Law, duration_s: f64, random: &mut Random) -> Vec<(f64, f64)> {
    let until_s = if law == Law::Congestion { duration_s } else { 0.0 };
    now_and_then(until_s, 100.0, (5.0, 20.0), random)
}

/// Stalls of one machine, every second or so. Begin and end, in seconds.
pub(super) fn stalls(law: Law, duration_s: f64, random: &mut Random) -> Vec<(f64, f64)> {
    let until_s = if law == Law::Stalls { duration_s } else { 0.0 };
    now_and_then(until_s, 0.5, (0.0005, 0.01), random)
}

/// Times from 0 until `until_s` that begin after a wait of this mean and last between these bounds, all in
/// seconds.
fn now_and_then(until_s: f64, wait_s: f64, lasts_s: (f64, f64), random: &mut Random) -> Vec<(f64, f64)> {
    let mut times = Vec::new();
    let mut t = 0.0;
    while t < until_s {
        t += random.exponential(wait_s);
        let end = t + random.uniform(lasts_s.0, lasts_s.1);
        times.push((t, end));
        t = end;
    }
    times
}

/// The delays of one machine's segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays<'a> {
    /// Their law.
    pub(super) law: Law,
    /// Their mean (of the calm part), in seconds.
    pub(super) mean_s: f64,
    /// Episodes of congestion, drawn by [`episodes`].
    pub(super) episodes: &'a [(f64, f64)],
    /// Times when the machine stood still, drawn by [`stalls`].
    pub(super) stalls: &'a [(f64, f64)],
}

impl Delays<'_> {
    /// The delay of a segment sent at `sent`, in seconds. `slow_until` is a memory of the connection's.
    pub(super) fn draw(&self, sent: f64, slow_until: &mut f64, random: &mut Random) -> f64 {
        let mean = self.mean_s;
        match self.law {
            Law::Exponential => random.exponential(mean),
            // Shape 2, so that the mean is the scale.
            Law::Pareto => mean * (random.uniform(f64::MIN_POSITIVE, 1.0).powf(-0.5) - 1.0),
            Law::Bursts => {
                if sent > *slow_until && random.0.random_bool(0.01) {
                    *slow_until = sent + random.exponential(1.0);
                }
                random.exponential(if sent < *slow_until { 10.0 * mean } else { mean })
            }
            Law::Congestion => {
                let congested = self.episodes.iter().any(|(from, to)| (*from..*to).contains(&sent));
                random.exponential(if congested { 5.0 * mean } else { mean })
            }
            Law::Stalls => {
                let at = self.stalls.partition_point(|(from, _)| *from <= sent);
                let wait = at.checked_sub(1).map_or(0.0, |k| (self.stalls[k].1 - sent).max(0.0));
                wait + random.exponential(mean)
            }
        }
    }
}
