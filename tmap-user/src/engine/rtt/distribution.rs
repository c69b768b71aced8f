//! The distribution of a quantity: exact while there are few values, then an HDR histogram.

use hdrhistogram::Histogram;

/// The most values that are kept one by one.
const FEW: usize = 64;

/// Significant digits of a histogram: quantiles are right to 1 %.
const DIGITS: u8 = 2;

/// The fewest values that have a 95th percentile below the largest.
const FEWEST_FOR_P95: u64 = 20;

/// Upper edges of [`Distribution::buckets`] grow by this factor.
const BUCKET_GROWTH: f64 = 1.25;

/// A streaming distribution of non-negative values.
///
/// Smallest, largest, mean and jitter are exact. Quantiles are exact up to [`FEW`] values. Beyond that,
/// they come from a high-dynamic-range histogram (1 %) if the caller has room for one, or else from an even
/// selection of at most [`FEW`] values.
#[derive(Clone, Debug)]
pub struct Distribution {
    count: u64,
    min: u64,
    max: u64,
    sum: u128,
    last: Option<u64>,
    /// Sum and number of the absolute differences between successive values.
    steps_sum: u128,
    steps: u64,
    sketch: Sketch,
}

#[derive(Clone, Debug)]
enum Sketch {
    /// Every `stride`-th value.
    Few {
        values: Vec<u64>,
        stride: u64,
    },
    Many(Box<Histogram<u32>>),
}

/// The summary of a distribution, in the unit of its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The number of values.
    pub count: u64,
    /// The smallest value.
    pub min: u64,
    /// Half of the values are at most this.
    pub median: u64,
    /// 95 % of the values are at most this; `None` with fewer than 20, whose largest it would be.
    pub p95: Option<u64>,
    /// The largest value.
    pub max: u64,
    /// The mean of the values.
    pub mean: f64,
    /// Mean absolute difference between one value and the next of the same connection (the quantity that
    /// RFC 3550, section 6.4.1 smooths); `None` for a single value.
    pub jitter: Option<f64>,
}

/// A bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The largest value in the bucket; the smallest is above the previous bucket's.
    pub to: u64,
    /// The number of values in the bucket.
    pub count: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            count: 0,
            min: u64::MAX,
            max: 0,
            sum: 0,
            last: None,
            steps_sum: 0,
            steps: 0,
            sketch: Sketch::Few { values: Vec::new(), stride: 1 },
        }
    }
}

impl Distribution {
    /// Takes in a value; `previous` is the one before it in the same connection. `histograms_left` is the
    /// number of histograms that may still be made.
    pub fn record(&mut self, value: u64, previous: Option<u64>, histograms_left: &mut usize) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += u128::from(value);
        self.last = Some(value);
        if let Some(previous) = previous {
            self.steps_sum += u128::from(value.abs_diff(previous));
            self.steps += 1;
        }
        match &mut self.sketch {
            // A histogram grows with its values; a value that no memory could hold would be lost.
            Sketch::Many(histogram) => {
                let _: Result<(), _> = histogram.record(value);
            }
            Sketch::Few { values, stride } => {
                if self.count.is_multiple_of(*stride) {
                    values.push(value);
                }
            }
        }
        self.make_room(histograms_left);
    }

    /// Bounds the number of kept values: makes a histogram, or drops every other value.
    fn make_room(&mut self, histograms_left: &mut usize) {
        let Sketch::Few { values, stride } = &mut self.sketch else { return };
        if values.len() <= FEW {
            return;
        }
        if *stride == 1 && *histograms_left > 0 {
            *histograms_left -= 1;
            self.sketch = Sketch::Many(Box::new(self.histogram()));
        } else {
            // The values whose number is divisible by the doubled stride are kept: every other one.
            *stride *= 2;
            let mut odd = true;
            values.retain(|_| {
                odd = !odd;
                odd
            });
        }
    }

    /// Adds the values of `other`. The result has a histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let mut histogram = self.histogram();
        other.add_to(&mut histogram);
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.steps_sum += other.steps_sum;
        self.steps += other.steps;
        self.sketch = Sketch::Many(Box::new(histogram));
    }

    /// The number of values taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latest value.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Whether it holds a histogram.
    pub fn has_histogram(&self) -> bool {
        matches!(self.sketch, Sketch::Many(_))
    }

    /// The summary; `None` without values.
    pub fn summary(&self) -> Option<Summary> {
        if self.count == 0 {
            return None;
        }
        let [median, p95] = self.quantiles([0.5, 0.95]);
        Some(Summary {
            count: self.count,
            min: self.min,
            median,
            p95: (self.count >= FEWEST_FOR_P95).then_some(p95),
            max: self.max,
            mean: self.sum as f64 / self.count as f64,
            jitter: (self.steps > 0).then(|| self.steps_sum as f64 / self.steps as f64),
        })
    }

    /// The values as bars, from the first that isn't empty to the last.
    pub fn buckets(&self) -> Vec<Bucket> {
        if self.count == 0 {
            return Vec::new();
        }
        let histogram = self.histogram();
        let first = histogram.min_nz().clamp(1, self.max.max(1));
        // The first step also counts values of 0, which no factor leads to: they have a bar of their own.
        let zeros = u64::from(histogram.count_at(0));
        let mut left = zeros;
        let steps = histogram.iter_log(first, BUCKET_GROWTH).map(|step| {
            let count = step.count_since_last_iteration();
            let taken = left.min(count);
            left -= taken;
            Bucket { to: step.value_iterated_to(), count: count - taken }
        });
        let of_zero = (zeros > 0).then_some(Bucket { to: 0, count: zeros });
        let mut buckets: Vec<Bucket> =
            of_zero.into_iter().chain(steps.skip_while(|bucket| bucket.count == 0)).collect();
        while buckets.last().is_some_and(|bucket| bucket.count == 0) {
            buckets.pop();
        }
        buckets
    }

    /// Heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match &self.sketch {
            Sketch::Few { values, .. } => values.capacity() * size_of::<u64>(),
            Sketch::Many(histogram) => {
                size_of::<Histogram<u32>>() + histogram.distinct_values() * size_of::<u32>()
            }
        }
    }

    /// Nearest-rank quantiles, within the exact bounds.
    fn quantiles<const N: usize>(&self, wanted: [f64; N]) -> [u64; N] {
        match &self.sketch {
            Sketch::Many(histogram) => {
                wanted.map(|q| histogram.value_at_quantile(q).clamp(self.min, self.max))
            }
            Sketch::Few { values, .. } => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                wanted.map(|q| {
                    let rank = (q * sorted.len() as f64).ceil() as usize;
                    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(self.min)
                })
            }
        }
    }

    /// The values as a histogram.
    fn histogram(&self) -> Histogram<u32> {
        let mut histogram = match &self.sketch {
            Sketch::Many(histogram) => return (**histogram).clone(),
            Sketch::Few { .. } => empty(),
        };
        self.add_to(&mut histogram);
        histogram
    }

    fn add_to(&self, histogram: &mut Histogram<u32>) {
        match &self.sketch {
            Sketch::Many(own) => {
                let _: Result<(), _> = histogram.add(&**own);
            }
            Sketch::Few { values, stride } => {
                for &value in values {
                    let weight = u32::try_from(*stride).unwrap_or(u32::MAX);
                    let _: Result<(), _> = histogram.record_n(value, weight);
                }
            }
        }
    }
}

/// A histogram that grows with the values it is given.
fn empty() -> Histogram<u32> {
    Histogram::new(DIGITS).expect("two digits are within the crate's bounds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64], mut histograms: usize) -> Distribution {
        let mut distribution = Distribution::default();
        for &value in values {
            distribution.record(value, distribution.last(), &mut histograms);
        }
        distribution
    }

    #[test]
    fn few_values_are_exact() {
        let summary = of(&[30, 10, 20, 40], 0).summary().unwrap();
        assert_eq!((summary.min, summary.median, summary.max), (10, 20, 40));
        assert_eq!((summary.count, summary.mean), (4, 25.0));
        assert_eq!(summary.jitter, Some((20.0 + 10.0 + 20.0) / 3.0));
        assert_eq!(of(&[7], 0).summary().unwrap().jitter, None);
        assert_eq!(of(&[], 0).summary(), None);
    }

    #[test]
    fn few_values_have_no_95th_percentile() {
        let p95 = |most: u64| of(&(1..=most).collect::<Vec<_>>(), 0).summary().unwrap().p95;
        assert_eq!([p95(2), p95(19), p95(20), p95(40)], [None, None, Some(19), Some(38)]);
    }

    #[test]
    fn many_values_are_right_to_a_percent_with_a_histogram_and_bounded_without() {
        let values: Vec<u64> = (1..=100_000).map(|i| i * 37 % 100_003).collect();
        let with = of(&values, 1).summary().unwrap();
        assert!((with.median as f64 / 50_000.0 - 1.0).abs() < 0.011, "{with:?}");
        assert!((with.p95.unwrap() as f64 / 95_000.0 - 1.0).abs() < 0.011, "{with:?}");
        let without = of(&values, 0);
        assert!(!without.has_histogram() && without.heap_bytes() <= 128 * 8);
        let thinned = without.summary().unwrap();
        assert!((thinned.median as f64 / 50_000.0 - 1.0).abs() < 0.35, "{thinned:?}");
        assert_eq!((thinned.min, thinned.max), (with.min, with.max));
    }

    #[test]
    fn merging_is_like_taking_in_both() {
        let (a, b): (Vec<u64>, Vec<u64>) = ((1..500).collect(), (2000..2300).collect());
        let mut merged = of(&a, 1);
        merged.merge(&of(&b, 0));
        let summary = merged.summary().unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (799, 1, 2299));
        assert!((395..=405).contains(&summary.median), "{summary:?}");
    }

    #[test]
    fn zero_has_a_bar_of_its_own() {
        let bars = |values: &[u64]| -> Vec<(u64, u64)> {
            of(values, 1).buckets().iter().map(|bucket| (bucket.to, bucket.count)).collect()
        };
        assert_eq!(bars(&[0, 0, 0]), [(0, 3)]);
        let mixed = bars(&[0, 0, 10_000, 10_000]);
        assert!(mixed.len() == 2 && mixed[0] == (0, 2) && mixed[1].1 == 2, "{mixed:?}");
    }

    proptest! {
        #[test]
        fn buckets_hold_every_value_once(values in proptest::collection::vec(0u64..20_000_000_000, 1..300)) {
            let distribution = of(&values, 1);
            let buckets = distribution.buckets();
            prop_assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), values.len() as u64);
            prop_assert!(buckets.windows(2).all(|pair| pair[0].to < pair[1].to));
        }

        #[test]
        fn quantiles_lie_between_the_bounds(
            values in proptest::collection::vec(any::<u32>(), 1..500), histograms in 0usize..2,
        ) {
            let values: Vec<u64> = values.into_iter().map(u64::from).collect();
            let summary = of(&values, histograms).summary().unwrap();
            let p95 = summary.p95.unwrap_or(summary.max);
            prop_assert!(summary.min <= summary.median && summary.median <= p95 && p95 <= summary.max);
        }
    }
}
