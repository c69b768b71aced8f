//! Lines on a cylinder: a phase is known modulo one tick, and a counter modulo its wrap.

use super::chart::Mark;

/// The most pieces of one line. A clock that goes round more often would fill the picture.
const MOST_PIECES: usize = 200;

/// The pieces of a line that begins at `(from, start)`, rises by `slope` for each unit of x, and ends at
/// `to`, cut where it goes round `period`.
pub(super) fn pieces(from: f64, to: f64, start: f64, slope: f64, period: f64) -> Vec<Mark> {
    let mut pieces = Vec::new();
    let (mut x, mut y) = (from, start.rem_euclid(period));
    for _ in 0..MOST_PIECES {
        let to_edge = if slope > 0.0 { (period - y) / slope } else { y / -slope };
        // Without a slope, the way to the edge is endless.
        let end = if to_edge.is_finite() { (x + to_edge).min(to) } else { to };
        pieces.push(Mark::Line { from: (x, y), to: (end, y + slope * (end - x)) });
        if end >= to {
            break;
        }
        (x, y) = (end, if slope > 0.0 { 0.0 } else { period });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_round() {
        let line = |from, to| Mark::Line { from, to };
        assert_eq!(pieces(0.0, 4.0, 0.5, 0.0, 1.0), [line((0.0, 0.5), (4.0, 0.5))]);
        let up = pieces(0.0, 4.0, 0.5, 0.25, 1.0);
        assert_eq!(up, [line((0.0, 0.5), (2.0, 1.0)), line((2.0, 0.0), (4.0, 0.5))]);
        let down = pieces(0.0, 4.0, 2.5, -0.25, 1.0);
        assert_eq!(down, [line((0.0, 0.5), (2.0, 0.0)), line((2.0, 1.0), (4.0, 0.5))]);
        assert_eq!(pieces(0.0, 1e9, 0.0, 1.0, 1.0).len(), MOST_PIECES);
    }
}
