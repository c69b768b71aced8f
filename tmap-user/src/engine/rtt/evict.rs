//! Eviction: which connection makes room for a new one.
//!
//! What showed least goes first. A connection is *proven* by a round trip that isn't that of a SYN-ACK. Scans
//! and floods leave none: each forged SYN opens a connection, and a server answers it at most. The first of
//! these classes that has a connection is evicted from:
//!
//! | class | proven | and |
//! |---|---|---|
//! | 0 | no | finished |
//! | 1 | no | open, where these have more than one place in [`NEWCOMERS_PART`] |
//! | 2 | yes | finished |
//! | 3 | yes | open, and silent for [`IDLE_NS`] |
//! | 4 | no | open |
//! | 5 | yes | open |
//!
//! Within a class, the oldest is evicted. Of open connections, those that were active lately are spared,
//! [`MOST_SPARED`] at a time.
//!
//! A new connection is unproven for a round trip. So unproven ones keep a part of the table where all others
//! are proven: else each newcomer would push out the one before it.

use super::{connection::Connection, engine::RttEngine};

/// Unproven connections may push out proven ones that are over or idle, up to one place in so many. At 65,536
/// places, 1,000 forged SYNs a second then leave each new connection 8 s to show a round trip.
const NEWCOMERS_PART: usize = 8;

/// How long an open connection may be silent before it is idle, in nanoseconds.
const IDLE_NS: u64 = 30_000_000_000;

/// The most connections that an eviction spares because they were active.
const MOST_SPARED: usize = 8;

impl RttEngine {
    /// Makes room for one more connection, which begins at `now_ns`.
    pub(super) fn make_room(&mut self, now_ns: u64) {
        // Each turn forgets a finished connection, or finishes an open one.
        while self.connections.len() >= self.options.max_connections.max(1) {
            if !self.take_a_step(now_ns) {
                return;
            }
        }
    }

    /// Forgets a finished connection or finishes an open one; false where there is none.
    fn take_a_step(&mut self, now_ns: u64) -> bool {
        if self.forget(false) {
            return true;
        }
        let most = (self.options.max_connections / NEWCOMERS_PART).max(1);
        if self.queues.newcomers > most {
            return self.finish_first(false).is_some();
        }
        self.forget(true)
            || self.finish_an_idle(now_ns)
            || self.finish_first(false).is_some()
            || self.cut_off_first(now_ns)
    }

    /// Forgets the oldest finished connection.
    fn forget(&mut self, is_proven: bool) -> bool {
        let Some((place, _)) = self.queues.pop_finished(is_proven) else { return false };
        let connection = self.connections.remove(place);
        self.counts.connections_forgotten += 1;
        self.counts.unproven_forgotten += u64::from(!is_proven);
        self.counts.active_forgotten += u64::from(connection.is_cut_off);
        for side in &connection.halves {
            self.histograms_left += usize::from(side.rtt.has_histogram());
            self.histograms_left += usize::from(side.host.has_histogram());
        }
        true
    }

    /// Finishes an open, proven connection that is silent, if one of the first few is.
    fn finish_an_idle(&mut self, now_ns: u64) -> bool {
        for _ in 0..MOST_SPARED {
            let Some(entry) = self.queues.pop_open(true, &self.connections) else { return false };
            if is_idle(&self.connections[entry.0], now_ns) {
                self.finish(entry.0);
                return true;
            }
            self.queues.put_back(true, entry);
        }
        false
    }

    /// Finishes an open, proven connection, and notes whether more was to come of it.
    fn cut_off_first(&mut self, now_ns: u64) -> bool {
        let Some(place) = self.finish_first(true) else { return false };
        let connection = &mut self.connections[place];
        connection.is_cut_off = connection.closed_ns.is_none() && !is_idle(connection, now_ns);
        true
    }

    /// Finishes an open connection: the first that was idle since it was last spared. Returns its place.
    fn finish_first(&mut self, is_proven: bool) -> Option<usize> {
        let mut spared = 0;
        while let Some(entry) = self.queues.pop_open(is_proven, &self.connections) {
            let connection = &mut self.connections[entry.0];
            if !connection.active || spared == MOST_SPARED {
                self.finish(entry.0);
                return Some(entry.0);
            }
            spared += 1;
            connection.active = false;
            self.queues.put_back(is_proven, entry);
        }
        None
    }
}

/// Whether a connection was silent for long at `now_ns`.
fn is_idle(connection: &Connection, now_ns: u64) -> bool {
    now_ns.saturating_sub(connection.last_ns) > IDLE_NS
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::{
        super::{
            Options, Report,
            report::SideClock,
            testing::{Made, segment},
        },
        *,
    };

    const MS: u64 = 1_000_000;

    fn engine(max_connections: usize) -> RttEngine {
        RttEngine::new(Options { max_connections, ..Options::default() })
    }

    fn observe(engine: &mut RttEngine, segments: &[Made]) {
        segments.iter().for_each(|made| engine.observe(&made.record()));
    }

    /// A handshake with a round trip of 20 ms to the server and 5 ms to the client.
    fn handshake(at_ns: u64, port: u16) -> [Made; 3] {
        let tsval = u32::from(port) * 1_000;
        [
            segment(at_ns, tsval).flags(0x02).port(port),
            segment(at_ns + 20 * MS, 7_000).echo(tsval).back().flags(0x12).port(port),
            segment(at_ns + 25 * MS, tsval + 25).echo(7_000).bare().port(port),
        ]
    }

    /// One SYN from each port, every millisecond; a server may answer it.
    fn flood(engine: &mut RttEngine, from_ns: u64, ports: Range<u16>, is_answered: bool) {
        for (port, at_ms) in ports.zip(0..) {
            let at_ns = from_ns + at_ms * MS;
            let syn = segment(at_ns, 50_000).flags(0x02).port(port);
            let answer = segment(at_ns + MS / 2, 7_000).echo(50_000).back().flags(0x12).port(port);
            observe(engine, &[syn, answer][..1 + usize::from(is_answered)]);
            if at_ms % 1_000 == 0 {
                engine.review(at_ns);
            }
        }
    }

    fn report_of(engine: &mut RttEngine) -> Report {
        engine.report(u64::MAX, |_| SideClock::default())
    }

    /// Rows of connections, machines and prefixes with round trips: of clients' sides, whose handshakes no
    /// flood completes, or of all.
    fn rows(report: &Report, all: bool) -> String {
        let is_shown = |port: u16| all || port != 443;
        let sides = report.directions.iter().filter(|one| one.rtt.is_some() && is_shown(one.key.src_port));
        let sides: Vec<_> = sides.map(|one| (one.key, one.rtt, one.segments)).collect();
        if all {
            format!("{sides:?} {:?} {:?}", report.machines, report.prefixes)
        } else {
            format!("{sides:?}")
        }
    }

    #[test]
    fn a_flood_of_syns_leaves_round_trips_as_they_were() {
        for is_answered in [false, true] {
            let seen = |is_flooded| {
                let mut engine = engine(64);
                // The first ten are closed and finished, the next ten silent, and the last ten go on.
                for port in 1..31 {
                    observe(&mut engine, &handshake(u64::from(port) * 100 * MS, port));
                }
                for port in 1..11 {
                    let fin = segment(3_200 * MS, u32::from(port) * 1_000 + 50).flags(0x11).port(port);
                    observe(&mut engine, &[fin]);
                }
                (0..16).for_each(|_| drop(engine.review(20_000 * MS)));
                for second in 0..10u32 {
                    let from_ns = (21_000 + u64::from(second) * 1_000) * MS;
                    let ports = 1_000 + second as u16 * 900;
                    if is_flooded {
                        flood(&mut engine, from_ns, ports..ports + 900, is_answered);
                    }
                    for port in 21..31u16 {
                        let tsval = u32::from(port) * 1_000 + 21_000 + second * 1_000;
                        let asked = segment(from_ns + 950 * MS, tsval).echo(7_000).port(port);
                        let answer = segment(from_ns + 970 * MS, 28_000 + second * 1_000);
                        observe(&mut engine, &[asked, answer.echo(tsval).back().bare().port(port)]);
                    }
                }
                report_of(&mut engine)
            };
            let (calm, flooded) = (seen(false), seen(true));
            assert_eq!(calm.machines.iter().map(|one| one.connections).sum::<u64>(), 60);
            // Answers to SYNs are round trips to the server, too.
            assert_eq!(rows(&calm, !is_answered), rows(&flooded, !is_answered));
            let counts = flooded.counts;
            assert_eq!((counts.connections_forgotten, counts.unproven_forgotten), (8_966, 8_966));
        }
    }

    #[test]
    fn newcomers_show_round_trips_where_all_others_have_shown_some() {
        let mut engine = engine(16);
        for port in 1..17 {
            observe(&mut engine, &handshake(u64::from(port) * 100 * MS, port));
        }
        // Two at a time, which would push each other out of a single place.
        for pair in 0..50u16 {
            let at_ns = (100_000 + u64::from(pair) * 5_000) * MS;
            let [first, second] = [100 + 2 * pair, 101 + 2 * pair].map(|port| handshake(at_ns, port));
            first.into_iter().zip(second).for_each(|(a, b)| observe(&mut engine, &[a, b]));
        }
        let counts = report_of(&mut engine).counts;
        assert_eq!((counts.samples, counts.unproven_forgotten), (2 * 116, 0));
    }

    #[test]
    fn open_connections_with_round_trips_make_room_for_one_syn_alone() {
        let mut engine = engine(16);
        for port in 1..17 {
            observe(&mut engine, &handshake(u64::from(port) * 100 * MS, port));
        }
        flood(&mut engine, 2_000 * MS, 1_000..3_000, false);
        let counts = report_of(&mut engine).counts;
        assert_eq!(counts.connections_forgotten - counts.unproven_forgotten, 1);
        assert_eq!(counts.active_forgotten, 1);
    }

    #[test]
    fn only_connections_that_went_on_count_as_active() {
        let forgotten = |closes: bool, pause_ms: u64| {
            let mut engine = engine(16);
            for port in 1..101u16 {
                let at_ns = u64::from(port) * pause_ms * MS;
                observe(&mut engine, &handshake(at_ns, port));
                let fin = segment(at_ns + 30 * MS, u32::from(port) * 1_000 + 30).flags(0x11).port(port);
                observe(&mut engine, &[fin][..usize::from(closes)]);
            }
            let counts = report_of(&mut engine).counts;
            assert_eq!((counts.connections_forgotten, counts.unproven_forgotten), (84, 0));
            counts.active_forgotten
        };
        // Closed ones, those that were silent for half a minute, and those that had a segment just before.
        assert_eq!([forgotten(true, 100), forgotten(false, 10_000), forgotten(false, 100)], [0, 0, 84]);
    }
}
