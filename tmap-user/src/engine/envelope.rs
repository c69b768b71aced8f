//! The lower envelope of a connection's delays, kept as a convex hull.
//!
//! Segment `i` is stamped `v_i` ticks by its sender and arrives at `a_i`. Network delay and the
//! wait for the next tick only ever make it *late*, so every line `v = rate * a + c` that passes
//! on or above all points `(a_i, v_i)` is a possible clock, and the tightest of them is the best
//! (Moon, Skelly and Towsley 1999; Kohno, Broido and claffy 2005). The points on which such lines
//! can rest are the upper convex hull of `(a, v)`. The hull doesn't depend on the rate, so it is
//! kept in exact integers before the rate is known.

/// A point of the hull: when a TSval first arrived, and its unwrapped value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Arrival, engine time in nanoseconds.
    pub time_ns: u64,
    /// TSval, unwrapped: the first of a connection is its raw value, later ones may pass 2^32.
    pub ticks: i64,
}

/// The most points kept. A hull of n random points has O(log n) corners; beyond this bound the
/// corner that sticks out least is dropped, which can only lower the envelope there.
pub const MAX_POINTS: usize = 32;

/// The upper hull of `(time, ticks)`, streaming: points come in order of time.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    points: Vec<Point>,
    /// Points offered, each a TSval's first arrival.
    offered: u64,
}

impl Envelope {
    /// Adds the first arrival of a TSval. Amortised O(1).
    ///
    /// `point.time_ns` must not lie before an earlier point's; a point that does is ignored.
    pub fn add(&mut self, point: Point) {
        if self.points.last().is_some_and(|last| point.time_ns <= last.time_ns) {
            return;
        }
        self.offered += 1;
        while let [.., a, b] = self.points[..] {
            if !rises_above(a, b, point) {
                break;
            }
            self.points.pop();
        }
        self.points.push(point);
        if self.points.len() > MAX_POINTS {
            self.drop_flattest();
        }
    }

    /// The hull's corners, in order of time.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How many points were offered in all: the `n` of the envelope's expected gap.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// Drops the inner corner that lies closest to the chord of its neighbours.
    fn drop_flattest(&mut self) {
        let height = |window: &[Point]| {
            let [a, b, c] = [window[0], window[1], window[2]];
            let slope = (c.ticks - a.ticks) as f64 / (c.time_ns - a.time_ns) as f64;
            (b.ticks - a.ticks) as f64 - slope * (b.time_ns - a.time_ns) as f64
        };
        let flattest = self
            .points
            .windows(3)
            .enumerate()
            .min_by(|(_, x), (_, y)| height(x).total_cmp(&height(y)))
            .map(|(index, _)| index + 1);
        if let Some(index) = flattest {
            self.points.remove(index);
        }
    }
}

/// Whether `c` lies on or above the line from `a` through `b`, so that `b` is no corner.
fn rises_above(a: Point, b: Point, c: Point) -> bool {
    let dt_b = i128::from(b.time_ns - a.time_ns);
    let dt_c = i128::from(c.time_ns - a.time_ns);
    let dv_b = i128::from(b.ticks - a.ticks);
    let dv_c = i128::from(c.ticks - a.ticks);
    dv_c * dt_b >= dv_b * dt_c
}
