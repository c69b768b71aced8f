//! The lower envelope of a connection's delays, kept as a convex hull.
//!
//! Segment `i` is stamped `v_i` ticks by its sender and arrives at `a_i`. Network delay and the
//! wait for the next tick only ever make it *late*, so every line `v = rate * a + c` that passes
//! on or above all points `(a_i, v_i)` is a possible clock, and the tightest of them is the best
//! (Moon, Skelly and Towsley 1999; Kohno, Broido and claffy 2005). The points on which such lines
//! can rest are the upper convex hull of `(a, v)`. The hull doesn't depend on the rate, so it is
//! kept in exact integers before the rate is known.

use crate::engine::types::{Point, seconds_between};

/// The most points kept. A hull of n random points has O(log n) corners; beyond this bound the
/// corner that sticks out least is dropped, which lowers the envelope there by the least.
pub const MAX_POINTS: usize = 32;

/// The upper hull of `(time, ticks)`, streaming: points come in order of time.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    points: Vec<Point>,
    sums: Sums,
}

/// Sums for the mean of all points.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Points offered, each a TSval's first arrival.
    offered: u64,
    /// The first point offered: sums are taken relative to it, to keep their precision.
    origin: Option<Point>,
    time_s: f64,
    ticks: f64,
}

impl Envelope {
    /// Adds the first arrival of a TSval. Amortised O(1).
    ///
    /// A point that comes before the last one in time is ignored: it arrived out of order between
    /// two queues, and the hull is built from left to right.
    pub fn add(&mut self, point: Point) {
        if self.points.last().is_some_and(|last| point.time_ns < last.time_ns) {
            return;
        }
        self.sums.count(point);
        let mut hull = Hull::of(&self.points);
        hull.push(point);
        self.points.clear();
        self.points.extend_from_slice(hull.corners());
    }

    /// Adds many points, with the result of [`Envelope::add`] for each but at less cost.
    pub fn extend(&mut self, mut points: impl Iterator<Item = Point>) {
        let Some(first) = points.next() else { return };
        self.add(first);
        let Some(origin) = self.sums.origin else { return };
        let (mut hull, mut sums) = (Hull::of(&self.points), self.sums);
        for point in points {
            if hull.corners().last().is_none_or(|last| point.time_ns >= last.time_ns) {
                sums.count_from(origin, point);
                hull.push(point);
            }
        }
        self.sums = sums;
        if hull.len > self.points.capacity() {
            // Allocates exactly what is needed, because many connections are held at a time.
            self.points = hull.corners().to_vec();
        } else {
            self.points.clear();
            self.points.extend_from_slice(hull.corners());
        }
    }

    /// Takes in the points of another envelope of the same clock, `shift` ticks added to each to bring
    /// them to this one's unwrapped scale.
    pub fn absorb(&mut self, other: &Self, shift: i64) {
        self.sums.absorb(&other.sums, shift);
        let theirs = || other.points.iter().map(|p| Point { ticks: p.ticks + shift, ..*p });
        let Some(first) = theirs().next() else { return };
        // Own corners before the other's first one are a hull already.
        let key = |p: &Point| (p.time_ns, p.ticks);
        let kept = self.points.partition_point(|p| key(p) <= key(&first));
        let mut hull = Hull::of(&self.points[..kept]);
        let mut rest = self.points[kept..].iter().peekable();
        for point in theirs() {
            while let Some(own) = rest.next_if(|own| key(own) <= key(&point)) {
                hull.push(*own);
            }
            hull.push(point);
        }
        rest.for_each(|own| hull.push(*own));
        self.points.clear();
        self.points.extend_from_slice(hull.corners());
    }

    /// The hull's corners, in order of time.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How many points were offered in all: the `n` of the envelope's expected gap.
    pub fn offered(&self) -> u64 {
        self.sums.offered
    }

    /// Heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }

    /// Time from the first corner to the last, in seconds.
    pub fn span_s(&self) -> f64 {
        match self.points[..] {
            [first, .., last] => (last.time_ns - first.time_ns) as f64 * 1e-9,
            _ => 0.0,
        }
    }

    /// Mean of all offered points: seconds after `origin_ns`, and ticks.
    pub fn mean(&self, origin_ns: u64) -> Option<(f64, f64)> {
        let Sums { offered, origin, time_s, ticks } = self.sums;
        let (origin, n) = (origin?, offered as f64);
        let shift_s = seconds_between(origin_ns, origin.time_ns);
        Some((shift_s + time_s / n, origin.ticks as f64 + ticks / n))
    }

    /// The edge on which the tightest line rests: the one that spans the mean time. Minimising the
    /// sum of distances to a line above all points is a linear programme, and its optimum touches
    /// the hull at the mean (Moon et al. 1999). `None` for fewer than two corners.
    pub fn spanning_edge(&self) -> Option<(Point, Point)> {
        let first = self.points.first()?;
        let (mean_s, _) = self.mean(first.time_ns)?;
        let spans = |b: &Point| seconds_between(first.time_ns, b.time_ns) >= mean_s;
        let right = self.points.iter().skip(1).position(spans).map_or(self.points.len() - 1, |i| i + 1);
        Some((*self.points.get(right.checked_sub(1)?)?, *self.points.get(right)?))
    }

    /// The height of the tightest line of the given rate, in ticks at `at_ns`: the smallest value
    /// that keeps the line on or above every point. `None` without points.
    pub fn support(&self, rate_hz: f64, at_ns: u64) -> Option<f64> {
        self.points
            .iter()
            .map(|p| p.ticks as f64 + rate_hz * seconds_between(p.time_ns, at_ns))
            .reduce(f64::max)
    }
}

impl Sums {
    #[inline(always)]
    fn count(&mut self, point: Point) {
        let origin = *self.origin.get_or_insert(point);
        self.count_from(origin, point);
    }

    #[inline(always)]
    fn count_from(&mut self, origin: Point, point: Point) {
        self.offered += 1;
        self.time_s += seconds_between(origin.time_ns, point.time_ns);
        self.ticks += (point.ticks - origin.ticks) as f64;
    }

    /// Adds the sums of other points, `shift` ticks further on.
    fn absorb(&mut self, other: &Self, shift: i64) {
        let Some(from) = other.origin else { return };
        let from = Point { ticks: from.ticks + shift, ..from };
        let origin = *self.origin.get_or_insert(from);
        let n = other.offered as f64;
        self.offered += other.offered;
        self.time_s += other.time_s + n * seconds_between(origin.time_ns, from.time_ns);
        self.ticks += other.ticks + n * (from.ticks - origin.ticks) as f64;
    }
}

/// A hull under construction, with room for one corner more than is kept.
struct Hull {
    room: [Point; MAX_POINTS + 1],
    len: usize,
}

impl Hull {
    /// Starts with the corners of a hull.
    #[inline(always)]
    fn of(corners: &[Point]) -> Self {
        let mut room = [Point::default(); MAX_POINTS + 1];
        room[..corners.len()].copy_from_slice(corners);
        Self { room, len: corners.len() }
    }

    #[inline(always)]
    fn corners(&self) -> &[Point] {
        &self.room[..self.len]
    }

    /// Adds a point.
    #[inline(always)]
    fn push(&mut self, point: Point) {
        let mut kept = self.corners();
        if let [before @ .., last] = kept
            && last.time_ns == point.time_ns
        {
            if last.ticks >= point.ticks {
                return;
            }
            kept = before;
        }
        while let [before @ .., b] = kept
            && let [.., a] = before
            && rises_above(*a, *b, point)
        {
            kept = before;
        }
        self.len = kept.len() + 1;
        self.room[self.len - 1] = point;
        if self.len > MAX_POINTS {
            self.drop_flattest();
        }
    }

    /// Drops the inner corner that lies closest to the chord of its neighbours.
    #[cold]
    fn drop_flattest(&mut self) {
        let height = |window: &[Point]| {
            let [a, b, c] = [window[0], window[1], window[2]];
            let slope = (c.ticks - a.ticks) as f64 / (c.time_ns - a.time_ns) as f64;
            (b.ticks - a.ticks) as f64 - slope * (b.time_ns - a.time_ns) as f64
        };
        let flattest = self
            .corners()
            .windows(3)
            .enumerate()
            .min_by(|(_, x), (_, y)| height(x).total_cmp(&height(y)))
            .map(|(index, _)| index + 1);
        if let Some(index) = flattest {
            self.room.copy_within(index + 1..self.len, index);
            self.len -= 1;
        }
    }
}

/// Whether `c` lies on or above the line from `a` through `b`, so that `b` is no corner. The three are
/// in order of time.
#[inline(always)]
fn rises_above(a: Point, b: Point, c: Point) -> bool {
    let (dt_b, dt_c) = (b.time_ns - a.time_ns, c.time_ns - a.time_ns);
    let (dv_b, dv_c) = (i128::from(b.ticks - a.ticks), i128::from(c.ticks - a.ticks));
    match i64::try_from(dt_c) {
        // A product of signed 64-bit numbers is one multiplication.
        Ok(dt_c) => dv_c * i128::from(dt_b.cast_signed()) >= dv_b * i128::from(dt_c),
        Err(_) => dv_c * i128::from(dt_b) >= dv_b * i128::from(dt_c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(points: &[(u64, i64)]) -> Envelope {
        let mut envelope = Envelope::default();
        for &(time_ns, ticks) in points {
            envelope.add(Point { time_ns, ticks });
        }
        envelope
    }

    #[test]
    fn late_points_are_no_corners() {
        let hull = envelope(&[(0, 0), (10, 4), (20, 20), (30, 25), (40, 40)]);
        assert_eq!(hull.points(), &[Point { time_ns: 0, ticks: 0 }, Point { time_ns: 40, ticks: 40 }]);
        assert_eq!(hull.offered(), 5);
    }

    #[test]
    fn the_spanning_edge_holds_the_mean_time() {
        let hull = envelope(&[(0, 0), (10, 100), (20, 150), (30, 160)]);
        let (a, b) = hull.spanning_edge().unwrap();
        assert_eq!((a.time_ns, b.time_ns), (10, 20));
    }

    #[test]
    fn the_bound_holds_and_ends_stay() {
        // A concave curve: every point is a corner.
        let points: Vec<(u64, i64)> =
            (0..1000).map(|i| (i * 1000, 2_000_000 - (1000 - i as i64).pow(2))).collect();
        let hull = envelope(&points);
        assert_eq!(hull.points().len(), MAX_POINTS);
        assert_eq!(hull.points()[0].time_ns, 0);
        assert_eq!(hull.points().last().unwrap().time_ns, 999_000);
    }

    proptest! {
        /// No point lies above the supporting line, and the line touches one: for any rate.
        #[test]
        fn support_is_tight(
            steps in proptest::collection::vec((1u64..5_000_000, 0i64..9), 1..300),
            rate_hz in 1.0..5000.0f64,
        ) {
            let mut at = Point { time_ns: 1_700_000_000_000_000_000, ticks: 4_000_000_000 };
            let mut hull = Envelope::default();
            let mut all = Vec::new();
            for (dt, dv) in steps {
                at = Point { time_ns: at.time_ns + dt, ticks: at.ticks + dv };
                hull.add(at);
                all.push(at);
            }
            let reference_ns = all[0].time_ns;
            let best = all.iter()
                .map(|p| p.ticks as f64 - rate_hz * seconds_between(reference_ns, p.time_ns))
                .fold(f64::MIN, f64::max);
            let support = hull.support(rate_hz, reference_ns).unwrap();
            prop_assert!(support <= best + 1e-4);
            // Dropping flattest corners may lower the envelope, never by more than a tick or so.
            prop_assert!(hull.points().len() == MAX_POINTS || support >= best - 1e-4);
        }

        #[test]
        fn merging_equals_adding(
            steps in proptest::collection::vec((1u64..5_000_000, 0i64..9), 2..100), cut in 0.0..1.0f64,
        ) {
            let mut at = Point { time_ns: 5, ticks: 7 };
            let all: Vec<Point> = steps.into_iter().map(|(dt, dv)| {
                at = Point { time_ns: at.time_ns + dt, ticks: at.ticks + dv };
                at
            }).collect();
            let cut = (cut * all.len() as f64) as usize;
            let build = |points: &[Point], shift: i64| {
                let mut e = Envelope::default();
                for p in points { e.add(Point { ticks: p.ticks - shift, ..*p }); }
                e
            };
            let whole = build(&all, 0);
            let (left, right) = (build(&all[..cut], 0), build(&all[cut..], 1 << 32));
            let mut merged = left;
            merged.absorb(&right, 1 << 32);
            prop_assert_eq!(merged.points(), whole.points());
            let (a, b) = (merged.mean(0).unwrap(), whole.mean(0).unwrap());
            prop_assert!((a.0 - b.0).abs() < 1e-9 && (a.1 - b.1).abs() < 1e-6);
        }
    }
}
