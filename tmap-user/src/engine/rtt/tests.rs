use proptest::prelude::*;
use tmap_common::{Address, Record};

use super::{
    paws::Cause,
    report::SideClock,
    testing::{Made, segment},
    *,
};
use crate::engine::types::FlowKey;

const MS: u64 = 1_000_000;
const US: u64 = 1_000;

fn run(options: Options, segments: &[Made]) -> RttEngine {
    let mut engine = RttEngine::new(options);
    for made in segments {
        engine.observe(&made.record());
    }
    engine.settle(u64::MAX);
    engine
}

fn samples(segments: &[Made]) -> Vec<Sample> {
    run(Options::default(), segments).samples
}

/// Round trips in milliseconds.
fn rtts(segments: &[Made]) -> Vec<u64> {
    samples(segments).iter().map(|sample| sample.rtt_ns / MS).collect()
}

fn counts(segments: &[Made]) -> Counts {
    run(Options::default(), segments).counts
}

/// The case that shows how the network's measure and the host's differ.
#[test]
fn network_31_ms_host_100_ms() {
    let server = segment(1_282 * MS, 1_965_828).echo(1_957_100).back();
    let client = segment(1_313 * MS, 1_957_200).echo(1_965_828).bare();
    let [sample] = samples(&[server, client])[..] else { panic!("one sample") };
    assert_eq!(sample.rtt_ns, 31 * MS);
    assert_eq!(sample.host_ticks, Some(100), "100 ms at 1 kHz");
    assert_eq!(sample.key, FlowKey::of(&client.record().segment));
    assert_eq!(sample.tsval, 1_965_828);
}

#[test]
fn a_handshake_gives_a_round_trip_to_each_side() {
    let segments = [
        segment(0, 100).flags(0x02),
        segment(20 * MS, 7_000).echo(100).back().flags(0x12),
        segment(25 * MS, 125).echo(7_000).bare(),
    ];
    assert_eq!(rtts(&segments), [20, 5]);
    let hosts: Vec<_> = samples(&segments).iter().map(|sample| sample.key.src_port).collect();
    assert_eq!(hosts, [443, 40_000]);
    // The client's TCP measures from its SYN: 25 ticks, the sensor being at neither end.
    assert_eq!(samples(&segments)[1].host_ticks, Some(25));
}

#[test]
fn the_first_carrier_and_the_first_echo_count() {
    let segments = [
        segment(0, 100),
        segment(MS / 2, 100),
        segment(30 * MS, 7_000).echo(100).back().bare(),
        segment(31 * MS, 7_001).echo(100).back().bare(),
    ];
    assert_eq!(rtts(&segments), [30]);
}

#[test]
fn a_delayed_acknowledgement_echoes_the_earliest() {
    let segments = [segment(0, 100), segment(10 * MS, 110), segment(50 * MS, 7_000).echo(100).back().bare()];
    assert_eq!(rtts(&segments), [50], "the delay is in the sample");
    let skipped = [segment(0, 100), segment(10 * MS, 110), segment(50 * MS, 7_000).echo(110).back().bare()];
    assert_eq!(rtts(&skipped), [40]);
    assert_eq!(counts(&skipped).passed_over, 1);
}

#[test]
fn a_bare_acknowledgement_asks_for_nothing() {
    let segments = [segment(0, 100).bare(), segment(30_000 * MS, 37_000).echo(100).back()];
    assert_eq!(rtts(&segments), [] as [u64; 0], "30 s of silence are no round trip");
    assert_eq!(counts(&segments).unasked, 1);
    let soon = [segment(0, 100).bare(), segment(30 * MS, 37_000).echo(100).back()];
    let quiet = run(Options { quiet: true, ..Options::default() }, &soon);
    assert_eq!(quiet.samples.len(), 1, "taken where asked for");
}

/// Round trips in microseconds.
fn rtts_us(segments: &[Made]) -> Vec<u64> {
    samples(segments).iter().map(|sample| sample.rtt_ns / US).collect()
}

#[test]
fn data_under_the_tick_of_a_bare_acknowledgement_is_what_is_answered() {
    let within = |gap_us: u64, answer: Made| [segment(0, 100).bare(), segment(gap_us * US, 100), answer];
    let answer = |at_us: u64| segment(at_us * US, 5).echo(100).back();
    assert_eq!(rtts_us(&within(900, answer(950).bare())), [50]);
    assert_eq!(rtts_us(&within(900, answer(950))), [50], "the peer was silent until asked");
    assert_eq!(rtts_us(&within(8_000, answer(8_050).bare())), [50], "a coarse clock");
    // Within a long tick the peer may well send something of its own.
    let coarse = within(8_000, answer(9_000));
    assert_eq!((rtts_us(&coarse), counts(&coarse).ambiguous), (vec![], 1));
}

/// A peer that sends all the time echoes bare acknowledgements, too.
#[test]
fn data_that_is_under_way_answers_nothing() {
    let stream = |gap_us: u64, rtt_us: u64| {
        vec![
            segment(0, 90),
            segment(rtt_us * US, 5).echo(90).back().bare(),
            segment(9 * MS, 100).bare(),
            segment(9 * MS + 100 * US, 14).echo(90).back(),
            segment(9 * MS + gap_us * US, 100),
            segment(9 * MS + rtt_us * US, 15).echo(100).back(),
        ]
    };
    assert_eq!(rtts_us(&stream(900, 3_000)), [3_000], "2.1 ms would be too short");
    assert_eq!(counts(&stream(900, 3_000)).ambiguous, 1);
    assert_eq!(rtts_us(&stream(200, 3_000)), [3_000, 3_000], "a tenth at most: from the earlier one");
    let mut later = stream(900, 3_000);
    later[5] = segment(13 * MS, 18).echo(100).back();
    assert_eq!(rtts_us(&later), [3_000, 3_100], "as long as the shortest: it may be the answer");
}

#[test]
fn what_is_doubtful_is_no_yardstick() {
    let mut segments = vec![segment(0, 90), segment(3 * MS, 5).echo(90).back().bare()];
    // Within a tick, answered by a bare acknowledgement after 1 ms: taken.
    segments.extend([segment(9 * MS, 100).bare(), segment(9 * MS + 500 * US, 100)]);
    segments.push(segment(10 * MS + 500 * US, 15).echo(100).back().bare());
    // Under way: 1.5 ms is more than 1 ms, but that was doubtful.
    segments.extend([segment(20 * MS, 111).bare(), segment(20 * MS + 100 * US, 25).echo(100).back()]);
    segments.extend([segment(20 * MS + 500 * US, 111), segment(22 * MS, 26).echo(111).back()]);
    assert_eq!(rtts_us(&segments), [3_000, 1_000]);
}

#[test]
fn bare_acknowledgements_where_they_are_taken_give_way_to_data() {
    let options = || Options { quiet: true, ..Options::default() };
    let segments = [
        segment(0, 100).bare(),
        segment(900 * US, 100),
        segment(950 * US, 5).echo(100).back(),
        segment(2 * MS, 102).bare(),
        segment(4 * MS, 9).echo(102).back(),
    ];
    let engine = run(options(), &segments);
    let found: Vec<u64> = engine.samples.iter().map(|sample| sample.rtt_ns / US).collect();
    assert_eq!(found, [50, 2_000]);
    assert_eq!(engine.waiting(), 2, "each side's latest");
}

#[test]
fn a_retransmission_with_a_new_stamp_is_as_good_as_any() {
    // The first was lost behind the sensor.
    let segments = [segment(0, 100), segment(300 * MS, 400), segment(320 * MS, 5).echo(400).back()];
    assert_eq!(rtts(&segments), [20]);
}

#[test]
fn a_retransmission_with_the_old_stamp_is_ambiguous() {
    let segments = [
        segment(0, 100),
        segment(10 * MS, 110),
        segment(250 * MS, 100),
        segment(270 * MS, 5).echo(100).back(),
        segment(271 * MS, 6).echo(110).back(),
    ];
    assert_eq!(rtts(&segments), [261]);
    assert_eq!((counts(&segments).ambiguous, counts(&segments).reordered), (1, 1));
    let coarse = [segment(0, 100), segment(300 * MS, 100), segment(320 * MS, 5).echo(100).back()];
    assert_eq!(rtts(&coarse), [] as [u64; 0], "a clock of some Hz hides the retransmission");
}

#[test]
fn a_segment_seen_on_its_way_in_and_out_counts_once() {
    let twice: Vec<Made> = [
        segment(0, 100),
        segment(1_000, 101),
        segment(20 * MS, 5).echo(100).back(),
        segment(21 * MS, 6).echo(101).back(),
    ]
    .into_iter()
    .flat_map(|made| {
        let mut copy = made.record();
        copy.time_ns += 3_000;
        [made.record(), copy]
    })
    .map(Made::from)
    .collect();
    assert_eq!(rtts(&twice), [20, 20]);
    let counts = counts(&twice);
    assert_eq!((counts.ambiguous, counts.back, counts.leaps), (0, 0, 0));
}

#[test]
fn an_echo_after_a_newer_one_is_late() {
    let segments = [
        segment(0, 100),
        segment(10 * MS, 110),
        segment(30 * MS, 5).echo(110).back(),
        segment(31 * MS, 5).echo(100).back(),
    ];
    assert_eq!(rtts(&segments), [20]);
    assert_eq!(counts(&segments).late_echoes, 1);
}

#[test]
fn tsecr_means_nothing_without_ack_in_rst_and_at_zero() {
    let segments = [
        segment(0, 100),
        segment(1, 5).echo(100).back().flags(0x02),
        segment(2, 6).echo(100).back().flags(0x14),
        segment(3, 7).echo(0).back(),
    ];
    assert_eq!(rtts(&segments), [] as [u64; 0]);
}

#[test]
fn a_fin_asks_and_answers_and_a_reset_does_neither() {
    let fins = [
        segment(0, 100).flags(0x11),
        segment(20 * MS, 7_000).echo(100).back().flags(0x11),
        segment(25 * MS, 125).echo(7_000).bare(),
    ];
    assert_eq!(rtts(&fins), [20, 5]);
    let reset = [segment(0, 100).flags(0x14), segment(20 * MS, 7_000).echo(100).back().bare()];
    assert_eq!(rtts(&reset), [] as [u64; 0]);
}

/// The number that a SYN cookie is set to is echoed like any other.
#[test]
fn a_syn_cookie_asks_as_well_as_any_syn_ack() {
    let segments = [
        segment(0, 100).flags(0x02),
        segment(20 * MS, 7_000 - 63).echo(100).back().flags(0x12),
        segment(25 * MS, 125).echo(7_000 - 63),
        segment(45 * MS, 7_026).echo(125).back().bare(),
    ];
    assert_eq!(rtts(&segments), [20, 5, 20]);
}

#[test]
fn tsval_zero_is_no_clock() {
    let segments = [segment(0, 0), segment(MS, 5).echo(0).back(), segment(2 * MS, 0).echo(5)];
    assert_eq!(rtts(&segments), [1], "its echo of the other side counts");
}

#[test]
fn a_keep_alive_gives_its_answerers_nothing_and_itself_no_minute() {
    let minute = 60_000 * MS;
    let segments = [
        segment(0, 100).bare(),
        segment(10 * MS, 5_000).echo(100).back().bare(),
        segment(minute, 60_100).echo(5_000).bare(),
        segment(minute + 10 * MS, 65_000).echo(60_100).back().bare(),
    ];
    assert_eq!(rtts(&segments), [] as [u64; 0]);
}

#[test]
fn echoes_across_the_wrap_and_after_expiry() {
    let wrapping = [
        segment(0, u32::MAX),
        segment(5 * MS, 4),
        segment(20 * MS, 1).echo(u32::MAX).back(),
        segment(25 * MS, 2).echo(4).back(),
    ];
    assert_eq!(rtts(&wrapping), [20, 20]);
    let late = [segment(0, 100), segment(11_000 * MS, 5).echo(100).back()];
    assert_eq!((rtts(&late).len(), counts(&late).expired), (0, 1));
}

#[test]
fn an_echo_that_overtakes_in_the_rings_is_put_right() {
    let segments = [segment(500_000, 5).echo(100).back(), segment(0, 100)];
    assert_eq!(samples(&segments)[0].rtt_ns, 500_000);
}

#[test]
fn one_direction_says_so() {
    let mut engine = run(Options::default(), &[segment(0, 100), segment(MS, 101), segment(2 * MS, 102)]);
    let report = engine.report(3 * MS, |_| SideClock::default());
    assert_eq!((report.connections, report.one_way, report.total), (1, 1, None));
}

/// A segment under the addresses outside of a NAT that translates the client's end.
fn outside(made: Made) -> Made {
    let mut record = made.record();
    record.segment.dst = Address::from_ip4([203, 0, 113, 9]);
    record.segment.dst_port = 61_000;
    record.into()
}

/// The client's segments are seen inside, the server's outside.
#[test]
fn both_sides_of_a_nat_are_one_connection() {
    let segments = [
        segment(0, 100).flags(0x02),
        outside(segment(10 * MS, 7_000).echo(100).back().flags(0x12)),
        segment(11 * MS, 111).echo(7_000),
        outside(segment(25 * MS, 7_015).echo(111).back()),
        segment(26 * MS, 126).echo(7_015).bare(),
    ];
    let mut engine = run(Options::default(), &segments);
    let report = engine.report(30 * MS, |_| SideClock::default());
    assert_eq!((report.connections, report.one_way, report.counts.translated), (1, 0, 1));
    let rtts: Vec<u64> = samples(&segments).iter().map(|sample| sample.rtt_ns / MS).collect();
    assert_eq!(rtts, [10, 1, 14, 1]);
    let keys: Vec<FlowKey> = report.directions.iter().map(|direction| direction.key).collect();
    let inside = FlowKey::of(&segments[0].record().segment);
    let outside = FlowKey::of(&segments[1].record().segment);
    assert_eq!(keys, [inside, outside], "each as it was seen");
    assert_eq!(report.anomalies.len(), 0);
}

/// Two clients with one clock open at once: whose answer it is can't be told.
#[test]
fn two_syns_with_one_tsval_are_not_joined_to_an_answer() {
    let segments = [
        segment(0, 100).flags(0x02),
        segment(1, 100).flags(0x02).port(40_001),
        outside(segment(10 * MS, 7_000).echo(100).back().flags(0x12)),
    ];
    let mut engine = run(Options::default(), &segments);
    let report = engine.report(30 * MS, |_| SideClock::default());
    assert_eq!((report.connections, report.one_way, report.counts.translated), (3, 3, 0));
}

/// Nor is an answer of another server, or one to a SYN that was answered under its own addresses.
#[test]
fn other_answers_are_not_joined() {
    let mut other = segment(10 * MS, 7_000).echo(100).back().flags(0x12).record();
    other.segment.src = Address::from_ip4([198, 51, 100, 77]);
    other.segment.dst_port = 61_000;
    let answered = segment(5 * MS, 7_000).echo(100).back().flags(0x12);
    for segments in [
        vec![segment(0, 100).flags(0x02), other.into()],
        vec![
            segment(0, 100).flags(0x02),
            answered,
            outside(segment(10 * MS, 1).echo(100).back().flags(0x12)),
        ],
    ] {
        let mut engine = run(Options::default(), &segments);
        let report = engine.report(30 * MS, |_| SideClock::default());
        assert_eq!((report.connections, report.counts.translated), (2, 0));
    }
}

#[test]
fn impossible_echoes_are_anomalies_once_each_connection() {
    let mut segments = vec![segment(0, 100_000).flags(0x02)];
    for i in 1..6 {
        segments.push(segment(i * 10 * MS, 5 + i as u32).echo(3_000_000_000).back());
    }
    let mut engine = run(Options::default(), &segments);
    let report = engine.report(MS, |_| SideClock::default());
    assert_eq!((report.counts.never_sent, report.anomalies.len()), (5, 1));
    assert_eq!(report.anomalies[0].oddity.cause, Cause::Middlebox);
    assert_eq!(report.counts.anomalies_unlisted, 4);
}

/// Two SYNs on one port, of which the second has an older value: an anomaly.
fn reused(at_ms: u64, port: u16) -> [Made; 2] {
    [9_000_000, 4_000_000].map(|tsval| segment(at_ms * MS, tsval).flags(0x02).port(port))
}

/// Whoever forges a thousand segments must not hide what comes after them.
#[test]
fn anomalies_are_handed_out_after_the_list_is_full() {
    let mut engine = RttEngine::new(Options::default());
    let mut handed_out = |second: u64, ports: std::ops::Range<u16>| {
        for made in ports.flat_map(|port| reused(1_000 * second, port)) {
            engine.observe(&made.record());
        }
        let news = engine.review((second + 1) * 1_000 * MS);
        (news.anomalies.len(), engine.report(0, |_| SideClock::default()))
    };
    let (first, report) = handed_out(1, 1_000..2_500);
    assert_eq!((first, report.anomalies.len(), report.counts.anomalies_unlisted), (1_000, 1_000, 500));
    let (later, report) = handed_out(3, 3_000..3_007);
    assert_eq!((later, report.anomalies.len(), report.counts.anomalies_unlisted), (7, 1_000, 507));
    assert_eq!(report.counts.reused_back, 1_507);
}

/// Only connections that were active are spared; those that are over don't count.
#[test]
fn an_active_connection_outlasts_an_idle_one_behind_many_that_are_over() {
    let mut engine = RttEngine::new(Options { max_connections: 12, ..Options::default() });
    let mut second = 0;
    let mut see = |engine: &mut RttEngine, port: u16, flags: u8| {
        second += 1;
        engine.observe(&segment(second * 1_000 * MS, 1_000 * second as u32).flags(flags).port(port).record());
    };
    let (over, active, idle, later) = (1..11, 20, 21, 31..41);
    over.clone().for_each(|port| see(&mut engine, port, 0x11));
    [active, idle].iter().for_each(|&port| see(&mut engine, port, 0x10));
    (0..16).for_each(|_| drop(engine.review(30_000 * MS)));
    assert_eq!(engine.queues.lengths().1, over.len());
    later.for_each(|port| see(&mut engine, port, 0x10));
    for (_, connection) in &mut engine.connections {
        connection.active = [connection.key.src_port, connection.key.dst_port].contains(&active);
    }
    see(&mut engine, 50, 0x10);
    engine.settle(u64::MAX);
    let is_open = |port: u16| engine.open.keys().any(|key| key.src_port == port || key.dst_port == port);
    assert!(is_open(active) && !is_open(idle));
}

#[test]
fn a_reopened_connection_starts_afresh() {
    let segments = [
        segment(0, 9_000_000).flags(0x02),
        segment(10 * MS, 70).echo(9_000_000).back().flags(0x12),
        segment(20 * MS, 9_000_020).echo(70).flags(0x11),
        segment(900 * MS, 4_000_000).flags(0x02),
        segment(915 * MS, 3_000).echo(4_000_000).back().flags(0x12),
    ];
    assert_eq!(rtts(&segments), [10, 10, 15]);
    let mut engine = run(Options::default(), &segments);
    let report = engine.report(1_000 * MS, |_| SideClock::default());
    assert_eq!((report.connections, report.counts.reused_back), (2, 1));
    assert_eq!(report.anomalies[0].oddity.cause, Cause::PortReuse);
}

#[test]
fn machines_gather_their_connections_and_prefixes_their_hosts() {
    let mut segments = Vec::new();
    for (port, rtt_ms) in [(1, 10), (2, 20), (3, 30)] {
        segments.push(segment(u64::from(port) * 100 * MS, 100).port(port));
        segments.push(segment((u64::from(port) * 100 + rtt_ms) * MS, 5).echo(100).back().port(port).bare());
    }
    let mut engine = run(Options::default(), &segments);
    let report = engine.report(0, |key| SideClock {
        machine: Some(if key.dst_port == 3 { 2 } else { 1 }),
        tick_hz: Some(1000.0),
    });
    let found: Vec<_> =
        report.machines.iter().map(|m| (m.machine, m.connections, m.rtt.min / MS, m.rtt.max / MS)).collect();
    assert_eq!(found, [(Some(1), 2, 10, 20), (Some(2), 1, 30, 30)]);
    assert_eq!(report.prefixes.len(), 1);
    assert_eq!(report.prefixes[0].0.to_string(), "198.51.100.0/24");
    assert_eq!(report.prefixes[0].1.count, 3);
}

/// Exchanges of 30 a second at 1 kHz, in which the server's clock stamps `ahead_ms` late and answers come
/// after 20 ms; `port` is the client's. The client's echoes come 1 ms after the server's segments.
fn stamped_by_two_clocks(port: u16, exchanges: u64, ahead_ms: u64) -> Vec<Made> {
    let mut segments = Vec::new();
    for i in 1..=exchanges {
        let at_ms = 33 * i + u64::from(port) * 10_000;
        let (asked, answered) = (at_ms as u32, 5_000_000 + at_ms as u32 + 20);
        segments.push(segment(at_ms * MS, asked).echo(answered - 33).port(port));
        segments.push(segment((at_ms + 20 + ahead_ms) * MS, answered).echo(asked).back().port(port));
        segments.push(segment((at_ms + 21) * MS, asked + 21).echo(answered).bare().port(port));
    }
    segments.sort_by_key(|made| made.record().time_ns);
    segments
}

fn report_of(segments: &[Made]) -> Report {
    run(Options::default(), segments).report(u64::MAX, |_| SideClock::default())
}

#[test]
fn round_trips_that_two_clocks_stamped_are_left_out() {
    for ahead_ms in [5, 50] {
        let report = report_of(&stamped_by_two_clocks(1, 60, ahead_ms));
        let two_clocks = report.two_clocks.expect("told");
        assert_eq!((two_clocks.connections, two_clocks.ahead_ns), (1, (ahead_ms - 1) * MS));
        assert!(report.counts.disordered > 40, "{:?}", report.counts);
        assert!(report.counts.unseen < 20, "{:?}", report.counts);
        assert!(report.directions.iter().all(|direction| direction.rtt.is_none()));
        assert!(report.machines.is_empty() && report.prefixes.is_empty() && report.total.is_none());
    }
    // The other way, or with one clock, nothing tells it.
    assert_eq!(report_of(&stamped_by_two_clocks(1, 60, 0)).two_clocks, None);
}

#[test]
fn connections_of_one_clock_stay_beside_those_of_two() {
    let client = segment(0, 0).record().segment.src;
    let elsewhere = |made: &Made| {
        let mut record = made.record();
        for address in [&mut record.segment.src, &mut record.segment.dst] {
            *address = Address::from_ip4(if *address == client { [192, 0, 2, 1] } else { [203, 0, 113, 1] });
        }
        Made::from(record)
    };
    let mut segments = stamped_by_two_clocks(1, 60, 5);
    segments.extend(stamped_by_two_clocks(2, 60, 0).iter().map(elsewhere));
    let report = report_of(&segments);
    assert_eq!(report.two_clocks.map(|told| told.connections), Some(1));
    let total = report.total.expect("of the other connection");
    assert_eq!((total.count, total.min / MS, total.max / MS), (120, 1, 20));
    assert_eq!(report.prefixes.iter().map(|(_, rtt, _)| rtt.count).sum::<u64>(), 120);
    assert_eq!(report.machines.iter().map(|machine| machine.rtt.count).sum::<u64>(), 120);
}

#[test]
fn short_connections_tell_two_clocks_together() {
    let segments: Vec<Made> = (1..=5).flat_map(|port| stamped_by_two_clocks(port, 4, 15)).collect();
    assert_eq!(report_of(&segments).two_clocks.map(|told| told.connections), Some(5));
    assert_eq!(report_of(&segments[..12]).two_clocks, None, "fewer than ten echoes");
}

/// Exchanges of 30 a second, each segment captured once more `later_ms` later, three hops on.
fn captured_at_two_places(exchanges: u64, later_ms: u64) -> Vec<Made> {
    let again = |made: &Made| {
        let mut record = made.record();
        record.time_ns += later_ms * MS;
        record.segment.hop_limit -= 3;
        Made::from(record)
    };
    let once = stamped_by_two_clocks(1, exchanges, 0);
    let mut segments: Vec<Made> = once.iter().chain(&once).copied().collect();
    segments.iter_mut().skip(once.len()).for_each(|made| *made = again(made));
    segments.sort_by_key(|made| made.record().time_ns);
    segments
}

#[test]
fn round_trips_of_connections_that_were_captured_at_two_places_are_left_out() {
    for later_ms in [2, 10, 60] {
        let report = report_of(&captured_at_two_places(60, later_ms));
        assert_eq!((report.two_places, report.two_clocks), (1, None), "{later_ms} ms");
        assert!(report.machines.is_empty() && report.total.is_none());
    }
    // On its way into a router and out of it, a segment takes the same round trip.
    let report = report_of(&captured_at_two_places(60, 0));
    assert_eq!((report.two_places, report.total.map(|total| total.count)), (0, Some(120)));
}

/// A capture that has one segment in so many: echoes then often come before another segment of their tick.
#[test]
fn segments_that_share_a_tick_and_are_not_captured_are_no_second_clock() {
    let mut segments = Vec::new();
    for tick in 0..200u32 {
        let at_ns = u64::from(tick) * 10 * MS;
        segments.push(segment(at_ns + 2 * MS, 9_000 + tick).echo(100 + tick).back().bare());
        segments.push(segment(at_ns + 9 * MS, 100 + tick));
    }
    let report = report_of(&segments);
    assert_eq!((report.two_clocks, report.counts.disordered), (None, 0));
    assert!(report.counts.unseen > 150, "{:?}", report.counts);
}

#[test]
fn prefixes_of_both_versions_and_of_any_length() {
    let of = |text: &str, ip4, ip6| {
        Prefix::of(text.parse::<std::net::IpAddr>().unwrap().into(), ip4, ip6).to_string()
    };
    assert_eq!(of("203.0.113.77", 24, 48), "203.0.113.0/24");
    assert_eq!(of("203.0.113.77", 32, 48), "203.0.113.77/32");
    assert_eq!(of("203.0.113.77", 0, 48), "0.0.0.0/0");
    assert_eq!(of("2001:db8:1:2::3", 24, 48), "2001:db8:1::/48");
    assert_eq!(of("2001:db8:1:2::3", 24, 0), "::/0");
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let options = Options { max_connections: 50, max_waiting: 8, max_prefixes: 4, ..Options::default() };
    let mut engine = RttEngine::new(options);
    for i in 0..20_000u32 {
        let made = segment(u64::from(i) * 100_000, i * 7).port((i % 5_000) as u16);
        engine.observe(&made.record());
    }
    assert!(engine.connections.len() <= 50 && engine.waiting() <= 50 * 2 * 8);
    assert!(engine.counts.connections_forgotten > 0);
    engine.review(2_000 * MS);
    let (entries, _) = engine.queues.lengths();
    assert!(entries <= 4 * 50, "{entries}");
    let mut one = RttEngine::new(Options { max_waiting: 8, ..Options::default() });
    for i in 0..1_000 {
        one.observe(&segment(i * MS, i as u32 + 1).record());
    }
    assert_eq!(one.waiting(), 8);
    assert!(one.counts.untracked > 900);
}

prop_compose! {
    /// A segment of one of three connections, in any order, sensible or not.
    fn any_segment()(
        time_ms in 0u64..40_000, port in 0u16..3, back: bool, bare: bool,
        flags in prop_oneof![Just(0x10u8), Just(0x10), Just(0x02), Just(0x12), Just(0x11), Just(0x14)],
        tsval in prop_oneof![0u32..60_000, any::<u32>()], tsecr in prop_oneof![0u32..60_000, any::<u32>()],
        hop_limit in 60u8..66,
    ) -> Record {
        let made = segment(time_ms * MS, tsval).echo(tsecr).port(port).hop_limit(hop_limit);
        let made = if flags == 0x10 { made } else { made.flags(flags) };
        let made = if bare { made.bare() } else { made };
        (if back { made.back() } else { made }).record()
    }
}

proptest! {
    #[test]
    fn anything_goes(mut records in proptest::collection::vec(any_segment(), 1..300), sorted: bool) {
        if sorted {
            records.sort_by_key(|record| record.time_ns);
        }
        let observe = || {
            let mut engine = RttEngine::new(Options { max_waiting: 16, ..Options::default() });
            let mut samples = Vec::new();
            let mut now_ns = 0;
            for record in &records {
                engine.observe(record);
                now_ns = now_ns.max(record.time_ns);
                samples.extend(engine.review(now_ns).samples);
            }
            let report = engine.report(now_ns, |_| SideClock::default());
            (samples, report, engine)
        };
        let (samples, report, engine) = observe();
        prop_assert!(samples.len() <= records.len());
        prop_assert_eq!(samples.len() as u64, report.counts.samples);
        prop_assert!(samples.iter().all(|sample| sample.rtt_ns <= engine.options.expire_ns));
        prop_assert!(engine.waiting() <= engine.connections.len() * 2 * 16);
        let summed_up = report.total.map_or(0, |total| total.count);
        // Those of two clocks or of two places are left out.
        let leaves_some_out = report.two_clocks.is_some() || report.two_places > 0;
        let left_out = report.counts.samples.checked_sub(summed_up);
        prop_assert!(left_out.is_some_and(|left_out| left_out == 0 || leaves_some_out));
        let (again, report_again, _) = observe();
        prop_assert_eq!(samples, again, "deterministic");
        prop_assert_eq!(format!("{report:?}"), format!("{report_again:?}"));
    }

    /// Two hosts, any path and pace: every sample is at least the true round trip, and every
    /// segment that asks and is answered at once gives exactly it.
    #[test]
    fn samples_are_the_round_trip(
        pauses in proptest::collection::vec(1u64..400, 1..60), rtt_ms in 0u64..300, start: u32,
    ) {
        let mut segments = Vec::new();
        let mut now_ms = 0u64;
        for pause_ms in pauses {
            now_ms += pause_ms;
            segments.push(segment(now_ms * MS, start.wrapping_add(now_ms as u32).max(1)));
        }
        let answers: Vec<Made> = segments
            .iter()
            .map(|asked| {
                let record = asked.record();
                let time_ns = record.time_ns + rtt_ms * MS;
                segment(time_ns, (time_ns / MS) as u32 + 9).echo(record.segment.tsval).back().bare()
            })
            .collect();
        let asked = segments.len();
        segments.extend(answers);
        segments.sort_by_key(|made| made.record().time_ns);
        let found = samples(&segments);
        prop_assert!(found.iter().all(|sample| sample.rtt_ns == rtt_ms * MS), "{found:?}");
        prop_assert_eq!(found.len(), asked);
    }
}
