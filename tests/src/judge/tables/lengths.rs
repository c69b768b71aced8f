//! The table of lengths: how many machines are found, by the length and the number of their connections.
//! `cargo xtask eval -- --lengths`.

use std::ops::Range;

use crate::{
    judge::evaluate::{self, Outcome},
    simulate::{Offsets, Scenario},
};

/// Lengths of connections, in seconds: two of them on either side of 2 s, where shorter connections once
/// counted for nothing. Those of a millisecond are servers' among each other.
const LENGTHS_S: [f64; 10] = [0.001, 0.002, 0.01, 0.05, 0.2, 0.5, 1.0, 1.9, 2.05, 30.0];

/// Connections of each machine.
const CONNECTIONS: [usize; 6] = [3, 5, 10, 20, 50, 200];

/// Machines behind the address.
const MACHINES: usize = 3;

/// Segments of a connection, each with a TSval of its own in most connections.
const SEGMENTS: f64 = 12.0;

/// How offsets are drawn, by name.
const REGIMES: [(&str, Offsets); 3] = [
    ("random offsets", Offsets::PerConnection),
    ("offsets by pair", Offsets::PerPair),
    ("fixed offsets", Offsets::Global),
];

/// Prints one table for each regime whose name contains `only`.
pub fn print(only: &str, seeds: &Range<u64>) {
    for (name, offsets) in REGIMES.into_iter().filter(|(name, _)| name.contains(only)) {
        print!("{name:<18}");
        CONNECTIONS.iter().for_each(|count| print!("{count:>12}"));
        println!();
        let (mut runs, mut held) = (0, 0);
        for length_s in LENGTHS_S {
            print!("{:<18}", format!("{length_s} s"));
            for connections in CONNECTIONS {
                let outcomes = judge(offsets, length_s, connections, seeds);
                runs += outcomes.len();
                held += outcomes.iter().filter(|outcome| outcome.covers()).count();
                print!("{:>12}", cell(&outcomes));
            }
            println!();
        }
        println!("{held} of {runs} intervals hold the truth\n");
    }
}

/// Three machines on a quiet LAN, for ten minutes, on each seed.
fn judge(offsets: Offsets, length_s: f64, connections: usize, seeds: &Range<u64>) -> Vec<Outcome> {
    let scenario = Scenario {
        machines: MACHINES,
        offsets,
        connections,
        segments: (SEGMENTS, SEGMENTS),
        length_s: Some(length_s),
        closes: true,
        ..Scenario::default()
    };
    seeds.clone().map(|seed| evaluate::simulated(&Scenario { seed, ..scenario.clone() })).collect()
}

/// The medians of the count and of its interval's ends: `3 (3..4)`; `?` for a count that isn't told, and
/// nothing for an end that is open.
fn cell(outcomes: &[Outcome]) -> String {
    let median = |of: &dyn Fn(&Outcome) -> u32| {
        let mut values: Vec<u32> = outcomes.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    let found = median(&|outcome| outcome.found.unwrap_or(0)).filter(|found| *found > 0);
    let low = median(&|outcome| outcome.interval.0).unwrap_or(0);
    let high = median(&|outcome| outcome.interval.1.unwrap_or(u32::MAX)).filter(|high| *high < u32::MAX);
    let text = |count: Option<u32>, none: &str| count.map_or(none.to_owned(), |count| count.to_string());
    format!("{} ({low}..{})", text(found, "?"), text(high, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_medians() {
        let outcome = |found, interval| Outcome { machines: 3, found, interval, ..Outcome::default() };
        let sure = outcome(Some(3), (3, Some(4)));
        assert_eq!(cell(&[sure, outcome(Some(2), (2, Some(9))), sure]), "3 (3..4)");
        assert_eq!(cell(&[outcome(None, (1, None)), sure, outcome(None, (1, None))]), "? (1..)");
    }

    /// The connections of a row last as long as the row says, with as many segments.
    #[test]
    fn connections_are_as_long_as_the_row_says() {
        for length_s in LENGTHS_S {
            let segments = (SEGMENTS, SEGMENTS);
            let records =
                Scenario { length_s: Some(length_s), segments, connections: 5, ..Scenario::default() }
                    .run()
                    .records;
            let port = records[0].segment.src_port;
            let times: Vec<u64> =
                records.iter().filter(|r| r.segment.src_port == port).map(|r| r.time_ns).collect();
            let lasted_s = (times[times.len() - 1] - times[0]) as f64 * 1e-9;
            assert_eq!(times.len(), SEGMENTS as usize);
            // A timer may hold a segment back for a tick, and the path by some jitters.
            assert!((lasted_s - length_s).abs() < 2e-3, "{lasted_s} for {length_s}");
        }
    }
}
