//! The true resolution of capture times.
//!
//! A phase finer than the resolution is an artefact, so the engine must know it. The header states one;
//! rewritten or merged captures often hold coarser times, which share a common divisor.

/// Distinct stamps needed before their common divisor is believed: that 32 stamps of a microsecond
/// clock all fall on multiples of 10 µs has a probability of 1e-32.
const ENOUGH: u32 = 32;

/// The resolution, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Resolution {
    declared_ns: u64,
    /// Greatest common divisor of all stamps; 0 before the first.
    divisor_ns: u64,
    /// Whether the times have shown that they are as fine as declared, so that nothing is left to learn.
    is_settled: bool,
    last_ns: u64,
    distinct: u32,
}

impl Resolution {
    /// The resolution that the file's header declares.
    pub fn new(declared_ns: u64) -> Self {
        Self { declared_ns, divisor_ns: 0, is_settled: false, last_ns: 0, distinct: 0 }
    }

    /// Adds the resolution of another interface: the coarsest counts.
    pub fn declare(&mut self, declared_ns: u64) {
        self.declared_ns = self.declared_ns.max(declared_ns);
    }

    /// Takes in a capture time.
    #[inline]
    pub fn observe(&mut self, time_ns: u64) {
        if self.is_settled || time_ns == self.last_ns {
            return;
        }
        self.last_ns = time_ns;
        self.distinct = self.distinct.saturating_add(1);
        // Nearly always divisible, so nearly always one division.
        if self.divisor_ns == 0 {
            self.divisor_ns = time_ns;
        } else if !time_ns.is_multiple_of(self.divisor_ns) {
            self.divisor_ns = gcd(self.divisor_ns, time_ns);
        }
        // The divisor only gets smaller, and what is declared only coarser.
        self.is_settled = self.distinct >= ENOUGH && self.shown_ns() <= self.declared_ns;
    }

    /// The resolution, in nanoseconds: as declared, or the coarser power of ten that all stamps are
    /// multiples of.
    pub fn ns(&self) -> u64 {
        if self.distinct < ENOUGH {
            return self.declared_ns;
        }
        self.declared_ns.max(self.shown_ns())
    }

    /// The power of ten that all stamps are multiples of.
    fn shown_ns(&self) -> u64 {
        let mut shown_ns = 1;
        while shown_ns < 1_000_000_000 && self.divisor_ns.is_multiple_of(shown_ns * 10) {
            shown_ns *= 10;
        }
        shown_ns
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(declared_ns: u64, step_ns: u64, count: u64) -> u64 {
        let mut resolution = Resolution::new(declared_ns);
        // Steps with a common divisor of step_ns only: 7 and 11 are coprime.
        (0..count).for_each(|i| resolution.observe(1_000_000_000 + step_ns * (7 * i + 11 * (i / 3))));
        resolution.ns()
    }

    #[test]
    fn coarse_stamps_in_a_fine_file_are_found_out() {
        assert_eq!(shown(1, 1_000, 100), 1_000);
        assert_eq!(shown(1_000, 1_000_000, 100), 1_000_000);
        assert_eq!(shown(1_000, 1_000, 100), 1_000);
        assert_eq!(shown(1, 37, 100), 1);
    }

    #[test]
    fn few_stamps_prove_nothing_and_repeats_are_no_stamps() {
        assert_eq!(shown(1_000, 1_000_000, 20), 1_000);
        let mut resolution = Resolution::new(1_000);
        (0..1000).for_each(|_| resolution.observe(5_000_000_000));
        assert_eq!(resolution.ns(), 1_000);
    }
}
