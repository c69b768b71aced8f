//! The true resolution of capture times.
//!
//! A phase finer than the resolution is an artefact, so the engine must know it. The header states one;
//! rewritten or merged captures often hold coarser times. These are multiples of it; and where only some
//! times of a capture are coarse, more of them are multiples of it than chance explains.

/// Distinct stamps needed before they are believed to be coarse where all are: that 32 stamps of a
/// microsecond clock all fall on multiples of 10 µs has a probability of 1e-32.
const ENOUGH: u32 = 32;

/// Distinct stamps that are looked at, and the fewest of which a part tells something.
const SAMPLED: u32 = 4_096;
const ENOUGH_FOR_PARTS: u32 = 256;

/// Stamps of this share are enough to spoil phases.
const SOME: f64 = 0.2;

/// Of stamps that are multiples of a power of ten, one in ten is one of the next power by chance. With this
/// share, it is no chance.
const CLEARLY: f64 = 0.5;

/// The resolution of times that are all alike, in nanoseconds: too coarse for any clock.
const STILL_NS: u64 = 1_000_000_000;

/// Powers of ten up to a second.
const POWERS: usize = 9;

/// The resolution, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Resolution {
    declared_ns: u64,
    last_ns: u64,
    /// Packets, up to [`ENOUGH`].
    packets: u32,
    /// Distinct stamps, up to [`SAMPLED`].
    distinct: u32,
    /// Of them, the multiples of 10 ns, 100 ns and so on.
    multiples: [u32; POWERS],
}

impl Resolution {
    /// The resolution that the file's header declares.
    pub fn new(declared_ns: u64) -> Self {
        Self { declared_ns, last_ns: 0, packets: 0, distinct: 0, multiples: [0; POWERS] }
    }

    /// Adds the resolution of another interface: the coarsest counts.
    pub fn declare(&mut self, declared_ns: u64) {
        self.declared_ns = self.declared_ns.max(declared_ns);
    }

    /// Takes in a capture time.
    #[inline]
    pub fn observe(&mut self, time_ns: u64) {
        self.packets = (self.packets + 1).min(ENOUGH);
        if self.distinct < SAMPLED && time_ns != self.last_ns {
            self.sample(time_ns);
        }
    }

    fn sample(&mut self, time_ns: u64) {
        self.last_ns = time_ns;
        self.distinct += 1;
        let mut power_ns = 10;
        for multiples in &mut self.multiples {
            if !time_ns.is_multiple_of(power_ns) {
                return;
            }
            *multiples += 1;
            power_ns *= 10;
        }
    }

    /// The resolution, in nanoseconds: as declared, or the coarser power of ten that all stamps are
    /// multiples of, or more of them than chance explains.
    pub fn ns(&self) -> u64 {
        if self.packets == ENOUGH && self.distinct <= 1 {
            return STILL_NS;
        }
        let is_coarse = |multiples: u32, finer: u32| match self.distinct {
            ..ENOUGH => false,
            ENOUGH..ENOUGH_FOR_PARTS => multiples == self.distinct,
            ENOUGH_FOR_PARTS.. => {
                let multiples = f64::from(multiples);
                multiples >= SOME * f64::from(self.distinct) && multiples >= CLEARLY * f64::from(finer)
            }
        };
        let (mut finer, mut power_ns, mut found_ns) = (self.distinct, 1, 1);
        for multiples in self.multiples {
            power_ns *= 10;
            if is_coarse(multiples, finer) {
                found_ns = power_ns;
            }
            finer = multiples;
        }
        self.declared_ns.max(found_ns)
    }
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
    fn times_that_stand_still_have_no_resolution() {
        for time_ns in [0, 1, 1_764_000_000_123_456_789] {
            let mut resolution = Resolution::new(1_000);
            (1..ENOUGH).for_each(|_| resolution.observe(time_ns));
            assert_eq!(resolution.ns(), 1_000);
            resolution.observe(time_ns);
            assert_eq!(resolution.ns(), STILL_NS);
            resolution.observe(time_ns + 1_000);
            resolution.observe(time_ns + 2_000);
            assert_eq!(resolution.ns(), 1_000, "they went on");
        }
    }

    #[test]
    fn coarse_stamps_in_a_fine_file_are_found_out() {
        assert_eq!(shown(1, 1_000, 100), 1_000);
        assert_eq!(shown(1_000, 1_000_000, 100), 1_000_000);
        assert_eq!(shown(1_000, 1_000, 100), 1_000);
        assert_eq!(shown(1, 37, 100), 1);
    }

    #[test]
    fn few_stamps_prove_nothing() {
        assert_eq!(shown(1_000, 1_000_000, 20), 1_000);
    }

    /// The resolution of a microsecond's stamps of which every `n`-th is fine, and the others coarse.
    fn mixed(n: u64, coarse_ns: u64) -> u64 {
        let mut resolution = Resolution::new(1_000);
        let mut time_ns = 1_000_000_000_000;
        for i in 0..5_000 {
            time_ns += 7_000 * (1 + i * i % 9_973);
            let grain_ns = if i % n == 0 { 1_000 } else { coarse_ns };
            resolution.observe(time_ns - time_ns % grain_ns);
        }
        resolution.ns()
    }

    #[test]
    fn a_few_fine_stamps_hide_no_coarse_ones() {
        assert_eq!(mixed(2, 1_000_000), 1_000_000);
        assert_eq!(mixed(2_000, 1_000_000), 1_000_000);
        assert_eq!(mixed(1, 1_000_000), 1_000, "all are fine");
    }
}
