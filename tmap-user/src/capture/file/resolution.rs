//! The true resolution of capture times.
//!
//! A phase finer than the resolution is an artefact, so the engine must know it. The header states one;
//! rewritten or merged captures often hold coarser times. These are multiples of it; and where only some
//! times of a capture are coarse, more of them are multiples of it than chance explains. Times of a clock
//! that steps lie whole steps apart.

use super::step::Steps;

/// Distinct stamps needed before they are believed to be coarse where all are: that 32 stamps of a
/// microsecond clock all fall on multiples of 10 µs has a probability of 1e-32.
const ENOUGH: u32 = 32;

/// Distinct stamps that are looked at, and the fewest of which a part tells something.
const SAMPLED: u32 = 4_096;
const ENOUGH_FOR_PARTS: u32 = 256;

/// Distinct stamps before a step is sought, and the part by which they grow until it is sought again.
const FIRST_SEARCH: u32 = 32;
const GROWTH: u32 = 4;

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
#[derive(Clone, Debug)]
pub struct Resolution {
    declared_ns: u64,
    last_ns: u64,
    /// Packets, up to the last of the distinct stamps.
    packets: u32,
    /// Distinct stamps, up to [`SAMPLED`].
    distinct: u32,
    /// Of them, the multiples of 10 ns, 100 ns and so on.
    multiples: [u32; POWERS],
    /// The step by which the stamps move, as it was found last, in nanoseconds.
    step_ns: Option<u64>,
    steps: Steps,
    /// Distinct stamps when it is sought next.
    next_search: u32,
}

impl Resolution {
    /// The resolution that the file's header declares.
    pub fn new(declared_ns: u64) -> Self {
        Self {
            declared_ns,
            last_ns: 0,
            packets: 0,
            distinct: 0,
            multiples: [0; POWERS],
            step_ns: None,
            steps: Steps::default(),
            next_search: FIRST_SEARCH,
        }
    }

    /// Adds the resolution of another interface: the coarsest counts.
    pub fn declare(&mut self, declared_ns: u64) {
        self.declared_ns = self.declared_ns.max(declared_ns);
    }

    /// Takes in a capture time.
    #[inline]
    pub fn observe(&mut self, time_ns: u64) {
        if self.distinct < SAMPLED {
            self.packets = self.packets.saturating_add(1);
            if time_ns != self.last_ns {
                self.sample(time_ns);
            }
        }
    }

    fn sample(&mut self, time_ns: u64) {
        self.steps.observe(time_ns.abs_diff(self.last_ns));
        self.last_ns = time_ns;
        self.distinct += 1;
        let mut power_ns = 10;
        for multiples in &mut self.multiples {
            if !time_ns.is_multiple_of(power_ns) {
                break;
            }
            *multiples += 1;
            power_ns *= 10;
        }
        if self.distinct == self.next_search {
            self.search_step();
        }
    }

    /// Looks for a step, and says when to look again. After the last stamp, what it was sought in is let go.
    #[cold]
    fn search_step(&mut self) {
        let grain_ns = self.grain_ns();
        let (packets, distinct) = (self.packets, self.distinct);
        let mut find = |unit_ns| self.steps.find(packets, distinct, unit_ns);
        // A step of 4 ms sharp has multiples of a millisecond, which is no rounding of a finer clock.
        self.step_ns = find(grain_ns).or_else(|| find(self.declared_ns));
        self.next_search = (self.distinct + self.distinct / GROWTH).min(SAMPLED);
        if self.distinct == SAMPLED {
            self.steps = Steps::default();
        }
    }

    /// The resolution, in nanoseconds: that of which stamps are multiples, or the coarser step by which they
    /// move.
    pub fn ns(&self) -> u64 {
        if self.packets >= ENOUGH && self.distinct <= 1 {
            return STILL_NS;
        }
        self.grain_ns().max(self.step_ns.unwrap_or(0))
    }

    /// The resolution of which stamps are multiples, in nanoseconds: as declared, or the coarser power of ten
    /// that all stamps are multiples of, or more of them than chance explains.
    fn grain_ns(&self) -> u64 {
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

    /// The resolution that times show in a capture of microseconds.
    fn of(times_ns: impl Iterator<Item = u64>) -> u64 {
        let mut resolution = Resolution::new(1_000);
        times_ns.for_each(|time_ns| resolution.observe(time_ns / 1_000 * 1_000));
        resolution.ns()
    }

    /// Numbers that are as good as random, below `bound`, always the same ones.
    fn random(bound: u64) -> impl FnMut() -> u64 {
        let mut state = 88_172_645_463_325_252_u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        }
    }

    /// Times of so many requests: a segment, its answer after 4.2 ms, and acknowledgements a little later.
    fn requests(count: usize) -> Vec<u64> {
        let (mut pause_ns, mut late_ns) = (random(200_000_000), random(60_000));
        let mut time_ns = 1_790_000_000_000_000_000;
        let mut times_ns = Vec::new();
        for _ in 0..count {
            time_ns += 20_000_000 + pause_ns();
            for after_ns in [0, 130_000, 4_200_000, 4_330_000] {
                times_ns.push(time_ns + after_ns + late_ns());
            }
        }
        times_ns
    }

    #[test]
    fn clocks_that_step_are_found_out() {
        for (step_ns, phase_ns, told_ns) in [
            (4_000_068, 1_720_000, 4_000_000),
            (4_000_000, 0, 4_000_000),
            (15_625_000, 3_720_000, 15_600_000),
            (15_600_100, 3_720_000, 15_600_000),
            (10_000_000, 3_720_000, 10_000_000),
            (3_333_390, 1_000_000, 3_330_000),
            (1_000_017, 300_000, 1_000_000),
        ] {
            let stepped = |time_ns: u64| (time_ns - phase_ns) / step_ns * step_ns + phase_ns;
            for count in [200, 5_000] {
                let times_ns = requests(count);
                assert_eq!(of(times_ns.iter().copied()), 1_000, "they are fine");
                assert_eq!(of(times_ns.into_iter().map(stepped)), told_ns, "{step_ns} ns, {count} requests");
            }
        }
    }

    #[test]
    fn fine_times_show_no_step() {
        let mut pause_ns = random(20_000_000);
        let mut time_ns = 1_790_000_000_000_000_000;
        let mut after = |ns: u64| {
            time_ns += ns;
            time_ns
        };
        assert_eq!(of((0..5_000).map(|_| after(pause_ns()))), 1_000, "random");
        let mut late_ns = random(40_000);
        assert_eq!(of((0..5_000).map(|_| after(9_980_000 + late_ns()))), 1_000, "question and answer");
        let mut late_ns = random(10_000);
        let start_ns = after(0);
        let mut paced = |i: u64| start_ns + i * 10_000_000 + late_ns();
        assert_eq!(of((0..5_000).map(&mut paced)), 1_000, "a paced sender");
        assert_eq!(of((0..10_000).map(|i| paced(i / 2))), 1_000, "one that sends by twos");
        assert_eq!(of((0..5_000).map(|i| start_ns + i * 10_000_200)), 1_000, "one that is paced by hardware");
    }

    #[test]
    fn few_stamps_show_no_step() {
        assert_eq!(of((0..60).map(|i: u64| 1_000_000_000 + i / 4 * 4_000_068)), 1_000);
        assert_eq!(of((0..160).map(|i: u64| 1_000_000_000 + i / 4 * 4_000_068)), 4_000_000);
    }
}
