//! How hosts choose source ports, as the likelihood of a step from one port to the next.

use super::{
    boundary::PERIOD_S,
    hint::Hint,
    opening::{Opening, Place},
};

/// A way of choosing source ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A walk for each service, in steps of 2, 4, ... or 16, begun anew every ten seconds of the host's
    /// clock: Linux since May 2022. See `__inet_hash_connect` in net/ipv4/inet_hashtables.c, and
    /// `secure_ipv4_port_ephemeral` in net/core/secure_seq.c.
    LinuxWalk,
    /// A walk for each service that is never begun anew, nearly always in steps of 2: Linux before.
    OldLinuxWalk,
    /// A walk for each service that is never begun anew, in steps of 2 for each connection to any service:
    /// Linux up to 5.11.
    LinuxHint,
    /// One counter for all services, in steps of 1: macOS and iOS, and NATs that number connections. See
    /// `in_pcbbind` in xnu's bsd/netinet/in_pcb.c.
    Counter,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 4] = [Self::LinuxWalk, Self::OldLinuxWalk, Self::LinuxHint, Self::Counter];

    /// Whether a walk goes to one service; otherwise all services share it.
    pub fn is_per_service(self) -> bool {
        self != Self::Counter
    }

    /// The longest time from one SYN of a walk to the next, in seconds.
    pub fn longest_pause_s(self) -> f64 {
        match self {
            Self::LinuxWalk => PERIOD_S,
            // Nothing ends these, but after so long other hosts' ports lie as near.
            Self::OldLinuxWalk | Self::LinuxHint | Self::Counter => 600.0,
        }
    }

    /// The probability that a host's next port is `step` above its last one, where it opens no connection to
    /// another service meanwhile.
    pub fn step_probability(self, step: u16) -> f64 {
        match self {
            Self::LinuxWalk => even(step).map_or(0.0, |places| likeliest(&LINUX, places)),
            Self::OldLinuxWalk => even(step).map_or(0.0, |places| likeliest(&OLD_LINUX, places)),
            Self::LinuxHint => Steps::of(self).probability(step, 1),
            Self::Counter => likeliest(&COUNTER, usize::from(step)),
        }
    }

    /// The probability that a host which begins a walk chooses a given port: one of those that Linux has by
    /// default (32768 to 60999, even ones first), or Apple's systems (49152 to 65535).
    pub fn any_probability(self) -> f64 {
        match self {
            Self::LinuxWalk | Self::OldLinuxWalk | Self::LinuxHint => 1.0 / 14_116.0,
            Self::Counter => 1.0 / 16_384.0,
        }
    }
}

/// How walks step from one port to the next, and what they go through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Steps {
    /// As the rule says.
    Of(Rule),
    /// Those of Linux's one hint for all services.
    OfHint(Hint),
    /// A counter that goes by one, of whose ports one service sees some: most of them where its host, or the
    /// NAT, opens few connections elsewhere.
    OfCounter {
        /// The probability that the service sees a given port of the counter, above 0 and below 1.
        seen: f64,
    },
}

/// The largest step of a counter that a service sees.
const MOST_UNSEEN: u16 = 64;

impl Steps {
    /// Counters of which nothing is learnt yet.
    pub(super) const OF_COUNTERS: Self = Self::OfCounter { seen: 0.5 };

    /// Steps of a rule of which nothing is learnt yet.
    pub(super) fn of(rule: Rule) -> Self {
        if rule == Rule::LinuxHint { Self::OfHint(Hint::UNKNOWN) } else { Self::Of(rule) }
    }

    pub(super) fn rule(self) -> Rule {
        match self {
            Self::Of(rule) => rule,
            Self::OfHint(_) => Rule::LinuxHint,
            Self::OfCounter { .. } => Rule::Counter,
        }
    }

    /// Whether a walk goes to one service; otherwise all services share it.
    pub(super) fn is_per_service(self) -> bool {
        match self {
            Self::Of(rule) => rule.is_per_service(),
            Self::OfHint(_) | Self::OfCounter { .. } => true,
        }
    }

    /// Where the walk of a SYN goes on.
    pub(super) fn place_of(self, opening: &Opening) -> Place {
        self.is_per_service().then_some(opening.service())
    }

    /// The probability that the next port is `step` above the last one, where the address has sent so many
    /// SYNs from then on, the next one included.
    pub(super) fn probability(self, step: u16, sent: usize) -> f64 {
        match self {
            Self::Of(rule) => rule.step_probability(step),
            Self::OfHint(hint) => even(step).map_or(0.0, |places| hint.probability(places, sent)),
            Self::OfCounter { seen } if (1..=MOST_UNSEEN).contains(&step) => {
                seen * (1.0 - seen).powi(i32::from(step) - 1)
            }
            Self::OfCounter { .. } => 0.0,
        }
    }

    /// What isn't known of steps is learnt from these, each with the SYNs that the address sent meanwhile; a
    /// rule stays as it is.
    pub(super) fn learnt(self, steps: impl Iterator<Item = (u16, usize)>) -> Self {
        match self {
            Self::Of(_) => self,
            Self::OfHint(_) => {
                Self::OfHint(Hint::learnt(steps.map(|(step, sent)| (usize::from(step / 2), sent))))
            }
            Self::OfCounter { .. } => {
                let (count, ports) = steps
                    .fold((0.0, 0.0), |(count, ports), (step, _)| (count + 1.0, ports + f64::from(step)));
                // As if one more step of two had been seen.
                Self::OfCounter { seen: (count + 1.0) / (ports + 2.0) }
            }
        }
    }
}

/// The number of places of an even step.
fn even(step: u16) -> Option<usize> {
    step.is_multiple_of(2).then_some(usize::from(step / 2))
}

fn likeliest(steps: &[f64], places: usize) -> f64 {
    places.checked_sub(1).and_then(|at| steps.get(at)).copied().unwrap_or(0.0)
}

/// The share of steps that pass over one port, or over two, because a connection was not seen or another host
/// behind the NAT has that port.
const ONE_MISSED: f64 = 0.05;
const TWO_MISSED: f64 = 0.02;

/// The most places of a step.
const PLACES: usize = 24;

/// Linux's steps are uniform over one to eight places.
const LINUX: [f64; PLACES] = with_missed({
    let mut steps = [0.0; PLACES];
    let mut places = 0;
    while places < 8 {
        steps[places] = 1.0 / 8.0;
        places += 1;
    }
    steps
});

/// Before, a step was one place unless that port was taken.
const OLD_LINUX: [f64; PLACES] = with_missed(falling(0.95));

/// Apple's counter goes by one, over all services, of which the sensor may see few.
const COUNTER: [f64; PLACES] = with_missed(falling(0.8));

/// Steps of which one place has probability `first`, and each further place a quarter of the one before it.
const fn falling(first: f64) -> [f64; PLACES] {
    let mut steps = [0.0; PLACES];
    steps[0] = first;
    let (mut places, mut probability) = (1, (1.0 - first) * 0.75);
    while places < PLACES {
        steps[places] = probability;
        probability *= 0.25;
        places += 1;
    }
    steps
}

/// These steps where some pass over ports.
const fn with_missed(steps: [f64; PLACES]) -> [f64; PLACES] {
    let twice = sum_of(&steps, &steps);
    let thrice = sum_of(&twice, &steps);
    let mut mixed = [0.0; PLACES];
    let mut places = 0;
    while places < PLACES {
        mixed[places] = (1.0 - ONE_MISSED - TWO_MISSED) * steps[places]
            + ONE_MISSED * twice[places]
            + TWO_MISSED * thrice[places];
        places += 1;
    }
    mixed
}

/// The distribution of the sum of two steps.
const fn sum_of(a: &[f64; PLACES], b: &[f64; PLACES]) -> [f64; PLACES] {
    let mut sums = [0.0; PLACES];
    let mut i = 0;
    while i < PLACES {
        let mut k = 0;
        // Both begin at one place, and so does the sum's first entry.
        while i + k + 1 < PLACES {
            sums[i + k + 1] += a[i] * b[k];
            k += 1;
        }
        i += 1;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_distributions() {
        // One hint has its own test.
        for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::LinuxHint) {
            let sum: f64 = (1..=48).map(|step| rule.step_probability(step)).sum();
            assert!((0.99..=1.000_001).contains(&sum), "{rule:?}: {sum}");
        }
        let sum: f64 = (0..=u16::MAX).map(|step| Steps::OF_COUNTERS.probability(step, 1)).sum();
        assert!((0.99..=1.000_001).contains(&sum), "{sum}");
    }

    #[test]
    fn a_counter_tells_how_much_of_it_a_service_sees() {
        let seen = |steps: &[u16]| Steps::OF_COUNTERS.learnt(steps.iter().map(|step| (*step, 1)));
        assert_eq!(seen(&[]), Steps::OF_COUNTERS);
        assert_eq!(seen(&[1, 1, 1, 3]), Steps::OfCounter { seen: 5.0 / 8.0 });
        assert_eq!(Steps::Of(Rule::LinuxWalk).learnt([(2, 1)].into_iter()), Steps::Of(Rule::LinuxWalk));
    }

    #[test]
    fn each_rule_knows_its_own_steps() {
        let of = |rule: Rule, step| rule.step_probability(step);
        assert!(of(Rule::LinuxWalk, 2) > 0.11 && of(Rule::LinuxWalk, 16) > 0.11);
        assert!(of(Rule::LinuxWalk, 18) < 0.01 && of(Rule::LinuxWalk, 3) == 0.0);
        assert!(of(Rule::OldLinuxWalk, 2) > 0.85 && of(Rule::OldLinuxWalk, 8) < 0.02);
        assert!(of(Rule::Counter, 1) > 0.7 && of(Rule::LinuxWalk, 0) == 0.0);
    }
}
