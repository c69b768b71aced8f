//! The table against a simple model: a map of [`Flow`]s.

use std::collections::HashMap;

use super::*;
use crate::engine::{
    rtt::paws::{Cause, Seen, Tsvals},
    types::Point,
};
use proptest::prelude::*;
use tmap_common::{
    Syn,
    record::{Direction, Tells},
};

const PLENTY: usize = 64 << 20;

fn record(flow: u8, time_ns: u64, tsval: u32, flags: u8) -> Record {
    let src = if flow % 3 == 2 {
        Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flow])
    } else {
        Address::from_ip4([192, 0, 2, flow])
    };
    let flags = Flags(flags);
    Record {
        time_ns,
        direction: Direction::Ingress,
        suppressed: flow & 1,
        segment: Segment {
            src,
            dst: Address::from_ip4([198, 51, 100, 1]),
            src_port: 40_000 + u16::from(flow),
            dst_port: 443,
            flags,
            has_payload: false,
            payload_bytes: tsval & 1_023,
            hop_limit: 64 - flow,
            tsval,
            tsecr: 0,
            syn: flags.intersects(Flags::SYN).then(|| Syn { window: u16::from(flow), ..Syn::default() }),
            tunnel: (flow % 2 == 1).then(|| Tunnel {
                kind: tmap_common::tunnel::Kind(1 + (tsval & 1) as u8),
                id: u32::from(flow),
                is_over_ip: true,
                src,
                dst: src,
            }),
        },
    }
}

/// One act of a sender.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Sends the clock's value after a pause, minus some ticks of lateness.
    Send { after_ns: u64, late: u32 },
    /// Sends many segments at a fixed interval, as a large transfer does.
    Burst { count: u16, every_ns: u64 },
    /// Sends with a flag.
    Flag { after_ns: u64, flags: u8 },
    /// The clock jumps.
    Leap { ticks: u32 },
    /// Sends a value that isn't the clock's.
    Stray { tsval: u32 },
    /// The sensor's time runs back a little, as with another queue.
    Back { ns: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..200_000_000_u64, 0..4_u32).prop_map(|(after_ns, late)| Act::Send { after_ns, late }),
        2 => (0..40_000_000_000_u64, 0..4_u32).prop_map(|(after_ns, late)| Act::Send { after_ns, late }),
        2 => (1..300_u16, 0..30_000_000_u64).prop_map(|(count, every_ns)| Act::Burst { count, every_ns }),
        1 => (0..50_000_000_u64, prop_oneof![Just(0x12_u8), Just(0x11), Just(0x04), Just(0x14)])
            .prop_map(|(after_ns, flags)| Act::Flag { after_ns, flags }),
        1 => any::<u32>().prop_map(|ticks| Act::Leap { ticks }),
        1 => prop_oneof![any::<u32>(), Just(0)].prop_map(|tsval| Act::Stray { tsval }),
        1 => (0..3_000_000_u64).prop_map(|ns| Act::Back { ns }),
    ]
}

/// Runs acts of several flows, one after the other in time, into `each`.
fn play(acts: &[(u8, Act)], hz: u64, mut each: impl FnMut(&Record)) {
    let mut now_ns = 1_000_000_000_000_u64;
    let mut offsets = [4_294_000_000_u32, 77, 1_000_000, 5, 3_000_000_000, 1];
    for &(flow, act) in acts {
        let slot = usize::from(flow) % offsets.len();
        let tsval = |now_ns: u64, offset: u32| {
            ((u128::from(now_ns) * u128::from(hz) / 1_000_000_000) as u32).wrapping_add(offset)
        };
        match act {
            Act::Send { after_ns, late } => {
                now_ns += after_ns;
                each(&record(flow, now_ns, tsval(now_ns, offsets[slot]).wrapping_sub(late), 0x10));
            }
            Act::Burst { count, every_ns } => {
                for _ in 0..count {
                    now_ns += every_ns;
                    each(&record(flow, now_ns, tsval(now_ns, offsets[slot]), 0x10));
                }
            }
            Act::Flag { after_ns, flags } => {
                now_ns += after_ns;
                each(&record(flow, now_ns, tsval(now_ns, offsets[slot]), flags));
            }
            Act::Leap { ticks } => offsets[slot] = offsets[slot].wrapping_add(ticks),
            Act::Stray { tsval } => each(&record(flow, now_ns, tsval, 0x10)),
            Act::Back { ns } => now_ns -= ns,
        }
    }
}

/// Takes in a record; about every other plain record goes by the fast path.
fn observe(table: &mut Table, record: &Record) -> u32 {
    let hash = table.prepare(&record.segment);
    if let Some(plain) = Plain::of(&record.first_slot(Tells::PayloadBytes))
        && table.len() > 0
        && (record.time_ns ^ u64::from(record.segment.tsval)).count_ones().is_multiple_of(2)
    {
        assert_eq!(table.prepare_plain(&plain), hash);
        let place = table.find_plain(hash, &plain, table.guess(hash));
        assert_eq!(place, table.find(hash, &record.segment, NOWHERE));
        if place != NOWHERE {
            table.observe_plain(place, &plain, || *record);
            return place;
        }
    }
    let guess = table.guess(hash);
    let mut place = table.find(hash, &record.segment, guess);
    if place == NOWHERE {
        place = table.insert(hash, record);
    }
    table.observe(place, record);
    place
}

/// One step of a clock that is set once, as segments show it.
fn shown() -> impl Strategy<Value = (u64, i64, Option<u32>)> {
    let after_ns = prop_oneof![8 => 0..300_000_000_u64, 1 => 0..60_000_000_000_u64];
    let late = prop_oneof![6 => Just(0_i64), 2 => 0..200_i64, 1 => 0..8_000_i64];
    (after_ns, late, prop::option::weighted(0.05, any::<u32>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The table shows exactly what a [`Flow`] shows, to the bit.
    #[test]
    fn shows_what_a_flow_shows(
        acts in proptest::collection::vec((0_u8..6, act()), 1..120),
        hz in prop_oneof![Just(10_u64), Just(100), Just(1000), Just(1_000_000)],
    ) {
        let mut table = Table::new(16, PLENTY);
        let mut places = HashMap::new();
        let mut model: HashMap<SideKey, Flow> = HashMap::new();
        play(&acts, hz, |record| {
            let key = SideKey::of(&record.segment);
            model.entry(key).or_insert_with(|| Flow::new(record)).observe(record);
            places.insert(key, observe(&mut table, record));
        });
        prop_assert_eq!(table.len(), model.len());
        for (key, flow) in &model {
            let place = places[key];
            prop_assert_eq!(table.side_key(place), *key);
            let thawed = table.thaw(place);
            prop_assert_eq!(thawed.envelope.points(), flow.envelope.points());
            prop_assert_eq!(thawed.envelope.offered(), flow.envelope.offered());
            prop_assert_eq!(thawed.envelope.mean(0), flow.envelope.mean(0));
            let (mut copy, packed) = table.copy(place);
            copy.extend_envelope(packed.points());
            prop_assert_eq!(copy.envelope.points(), flow.envelope.points());
            prop_assert_eq!(copy.envelope.mean(0), flow.envelope.mean(0));
            prop_assert_eq!(copy.newest(), flow.newest());
            prop_assert_eq!(thawed.sample.points(), flow.sample.points());
            prop_assert_eq!(thawed.sample.offered(), flow.sample.offered());
            prop_assert_eq!(thawed.newest(), flow.newest());
            prop_assert_eq!(thawed.jumps, flow.jumps);
            prop_assert_eq!(thawed.segments, flow.segments);
            prop_assert_eq!(thawed.side, flow.side);
            prop_assert_eq!(thawed.fingerprint, flow.fingerprint);
            prop_assert_eq!(thawed.tunnel, flow.tunnel);
            prop_assert_eq!(thawed.hop_limit, flow.hop_limit);
            prop_assert_eq!(thawed.closed_ns.is_some(), flow.closed_ns.is_some());
            // After the sensor's time ran back, the first record may be later than the first point.
            prop_assert!(thawed.first_ns.abs_diff(flow.first_ns) <= 400_000_000);
            prop_assert!(thawed.last_ns <= flow.last_ns && flow.last_ns - thawed.last_ns <= 65_536);
        }
    }

    /// Without memory for histories, every flow still has a clock, from a subsample of its points.
    #[test]
    fn thinned_flows_keep_true_points(
        acts in proptest::collection::vec((0_u8..6, act()), 1..120), history_bytes in 0_usize..2_000,
    ) {
        let mut table = Table::new(16, history_bytes);
        let mut seen = HashMap::<u32, Vec<(u64, u32)>>::new();
        play(&acts, 1000, |record| {
            let place = observe(&mut table, record);
            seen.entry(place).or_default().push((record.time_ns, record.segment.tsval));
        });
        for (place, seen) in seen {
            let flow = table.thaw(place);
            for point in flow.envelope.points() {
                prop_assert!(seen.contains(&(point.time_ns, point.ticks as u32)), "{point:?}");
            }
        }
        prop_assert!(table.histories.heap_bytes() <= history_bytes + 6 * 1024);
    }

    /// Connection sides are added and removed: a removed one isn't found and leaves nothing behind.
    #[test]
    fn places_are_reused(steps in proptest::collection::vec((0_u8..40, 0_u8..4), 1..300)) {
        let mut table = Table::new(32, PLENTY);
        let mut model: HashMap<u8, u32> = HashMap::new();
        for (at, (flow, step)) in steps.into_iter().enumerate() {
            let record = record(flow, at as u64 * 1_000_000_000, at as u32 * 1000 + 1, 0x10);
            let hash = table.prepare(&record.segment);
            let found = table.find(hash, &record.segment, table.guess(hash));
            prop_assert_eq!(found, model.get(&flow).copied().unwrap_or(NOWHERE));
            match (found, step) {
                (NOWHERE, _) if table.is_full() => {}
                (NOWHERE, _) => { model.insert(flow, observe(&mut table, &record)); }
                (_, 0) => { table.remove(found); model.remove(&flow); }
                _ => { observe(&mut table, &record); }
            }
            prop_assert_eq!(table.len(), model.len());
        }
        for place in model.into_values() {
            table.remove(place);
        }
        prop_assert_eq!((table.len(), table.wide.len(), table.open()), (0, 0, 0));
        prop_assert_eq!(table.histories.used_bytes(), 0);
    }

    /// The flow table, a flow and the round trips agree on which TSvals one clock can have shown.
    #[test]
    fn all_agree_on_what_one_clock_can_show(
        steps in proptest::collection::vec(shown(), 2..80),
        hz in prop_oneof![Just(10_u64), Just(100), Just(1000), Just(1_000_000)],
        set_at in 0..80_usize,
        set_by in any::<i32>(),
    ) {
        agree_on_one_clock(&steps, hz, set_at, set_by)?;
    }
}

/// Shows one clock to the flow table, to a flow and to the round trips, and compares what they hold.
/// `steps` are (nanoseconds since the step before, ticks late, another TSval in its place).
fn agree_on_one_clock(
    steps: &[(u64, i64, Option<u32>)],
    hz: u64,
    set_at: usize,
    set_by: i32,
) -> Result<(), TestCaseError> {
    let mut table = Table::new(16, PLENTY);
    let (mut flow, mut tsvals, mut now_ns) = (None::<Flow>, Tsvals::default(), 1_000_000_000_000_u64);
    for (i, &(after_ns, late, stray)) in steps.iter().enumerate() {
        now_ns += after_ns;
        let set = if i >= set_at { i64::from(set_by) } else { 0 };
        let ticks = (u128::from(now_ns) * u128::from(hz) / 1_000_000_000) as i64 + set - late;
        let tsval = stray.unwrap_or(ticks as u32).max(1);
        let record = record(0, now_ns, tsval, 0x10);
        let place = observe(&mut table, &record);
        let flow = flow.get_or_insert_with(|| Flow::new(&record));
        flow.observe(&record);
        let (_, oddity) = tsvals.see(&Seen::of(&record));
        if oddity.is_some_and(|oddity| oddity.cause == Cause::OtherMachine) {
            // Round trips know the clock that was left, and return to it at once.
            break;
        }
        if flow.jumps > 0 {
            // Round trips go on with the other clock; a flow waits until that has shown as much.
            break;
        }
        let raw = |newest: Option<Point>| newest.map(|point| (point.time_ns, point.ticks as u32));
        prop_assert_eq!(raw(tsvals.newest()), raw(flow.newest()));
        prop_assert_eq!(raw(table.thaw(place).newest()), raw(flow.newest()));
    }
    Ok(())
}

/// A pace that is found while a long step is taken in must know of that step, too.
#[test]
fn a_long_step_counts_for_the_pace() {
    let steps = [
        (0, 30, None),
        (160_041_219, 0, None),
        (239_958_781, 0, None),
        (17_179_869_184, 0, None),
        (0, 149, None),
        (100_000_000, 118, None),
    ];
    agree_on_one_clock(&steps, 10, 6, 0).unwrap();
}
