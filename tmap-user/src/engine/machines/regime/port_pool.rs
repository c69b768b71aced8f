//! Balancers that draw source ports: they draw a port again sooner or later, and the server behind them then
//! draws the same offset again.
//!
//! A pool of M ports of which each of N connections draws one has ports that were drawn k times in the
//! numbers of Poisson's law. So the ports that were drawn once and twice tell its size (Chao 1984), and the
//! size tells how often any port may have been drawn. What repeats more often is a machine's fixed offset,
//! and so is what repeats in a pool smaller than balancers have: then it has as many machines as the pool
//! would have ports.

use libm::lgamma;

use crate::engine::machines::counters::sharing::Sharing;

/// The fewest ports from which a balancer draws.
const LEAST_PORTS: f64 = 1_000.0;

/// A port is drawn so often where this many ports are expected to be.
const EXPECTED: f64 = 0.01;

/// Leaves one connection of each cluster that several peers see and the pool of a balancer explains. Clusters
/// whose connections surely had other addresses and ports are none. What repeats with one peer only is left
/// to those who ask whether offsets are drawn by pair.
pub(in crate::engine::machines) fn leave_out_redrawn(clusters: &mut [Sharing]) {
    let once = clusters.iter().filter(|cluster| cluster.contacts.len() == 1).count();
    let twice =
        clusters.iter().filter(|cluster| cluster.contacts.len() == 2 && may_be_redrawn(cluster)).count();
    let most = most_drawn(once as f64, twice as f64);
    for cluster in clusters.iter_mut().filter(|cluster| may_be_redrawn(cluster)) {
        if cluster.contacts.len() <= most {
            cluster.contacts.truncate(1);
        }
    }
}

fn may_be_redrawn(Sharing { contacts, is_sure }: &Sharing) -> bool {
    !is_sure && contacts.iter().any(|contact| contact.peer != contacts[0].peer)
}

/// How often a port may have been drawn, where so many were drawn once and twice.
fn most_drawn(once: f64, twice: f64) -> usize {
    let ports = once * once / (2.0 * twice);
    if twice == 0.0 || ports < LEAST_PORTS {
        return 1;
    }
    let mean = 2.0 * twice / once;
    let expected = |times: usize| {
        let times = times as f64;
        (ports.ln() - mean + times * mean.ln() - lgamma(times + 1.0)).exp()
    };
    (2..).take_while(|&times| expected(times) >= EXPECTED).last().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_tells_how_often_a_port_is_drawn() {
        assert_eq!(most_drawn(964.0, 18.0), 3, "26,000 ports");
        assert_eq!(most_drawn(1_459.0, 500.0), 7, "2,100 ports");
        assert_eq!(most_drawn(964.0, 0.0), 1, "none was drawn again");
        assert_eq!(most_drawn(14.0, 20.0), 1, "a balancer has more ports");
    }
}
