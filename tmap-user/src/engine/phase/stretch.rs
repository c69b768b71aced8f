//! The hours of a long capture in which clocks are followed.
//!
//! Rates wander, and a line bends at a few knots only ([`super::line`]). Over a day, its bends can't follow a
//! clock any more: lines would pass between phases, at skews that no clock has. So lines are fitted to the
//! busiest hours alone.

use super::{Track, coherence_s};

/// How many times [`coherence_s`] clocks are followed: knots are then half that time apart. At 1 kHz, that is
/// four hours.
const FOLLOWED: f64 = 12.0;

/// Those of the tracks `usable` that lie in the busiest hours, where the capture is longer; of hours that are
/// equally busy, the latest.
pub(super) fn busiest(tracks: &[Track<'_>], usable: &[usize], hz: f64) -> Option<Vec<usize>> {
    let most_ns = (FOLLOWED * coherence_s(hz) * 1e9) as u64;
    let mut middles: Vec<(u64, usize)> =
        usable.iter().filter_map(|&track| Some((middle_of(&tracks[track])?, track))).collect();
    middles.sort_unstable();
    let (first, last) = (middles.first()?.0, middles.last()?.0);
    if last - first <= most_ns {
        return None;
    }
    let held = |from: usize| middles.partition_point(|(at, _)| *at <= middles[from].0 + most_ns) - from;
    let (from, count) = (0..middles.len()).map(|from| (from, held(from))).max_by_key(|(_, count)| *count)?;
    let mut busiest: Vec<usize> = middles[from..from + count].iter().map(|(_, track)| *track).collect();
    busiest.sort_unstable();
    Some(busiest)
}

/// The middle of a track's time, in nanoseconds of engine time.
fn middle_of(track: &Track<'_>) -> Option<u64> {
    let (first, last) = (track.hull.first()?.time_ns, track.hull.last()?.time_ns);
    Some(first + (last - first) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{os::likeness::Evidence, types::Point};

    /// Tracks of a second each that begin at these seconds; those of a stretch that is cut out.
    fn busiest_of(begins_s: &[u64], hz: f64) -> Option<Vec<usize>> {
        let hulls: Vec<[Point; 2]> = begins_s
            .iter()
            .map(|s| [0, 1].map(|more| Point { time_ns: (s + more) * 1_000_000_000, ticks: 0 }))
            .collect();
        let tracks: Vec<Track<'_>> = hulls
            .iter()
            .map(|hull| Track {
                hull,
                sample: &[],
                offered: 2,
                shown: Evidence::new(None, None, None, 64),
                path: 0,
            })
            .collect();
        busiest(&tracks, &(0..tracks.len()).collect::<Vec<_>>(), hz)
    }

    #[test]
    fn hours_are_followed_whole() {
        assert_eq!(busiest_of(&[0, 10, 14_000], 1000.0), None);
        assert_eq!(busiest_of(&[], 1000.0), None);
        // A slow clock's phase can be foretold for longer.
        assert_eq!(busiest_of(&[0, 10, 30_000], 250.0), None);
    }

    #[test]
    fn the_busiest_hours_of_days_are_taken_the_latest_of_equal_ones() {
        let (hour, day) = (3_600, 86_400);
        let begins = [0, hour, day, day + hour, day + 2 * hour, 3 * day];
        assert_eq!(busiest_of(&begins, 1000.0), Some(vec![2, 3, 4]));
        assert_eq!(busiest_of(&[0, hour, day, day + hour], 1000.0), Some(vec![2, 3]));
    }
}
