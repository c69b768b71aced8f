//! Many short connections and few that show a clock: what can't be told apart is not called one machine.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{
    Engine, Options, Wanted,
    snapshot::{AddressReport, Doubt},
};
use tmap_common::Record;
use tmap_tests::simulate::conversation::acknowledgement;

const MS: u64 = 1_000_000;

/// One connection of a 1 kHz clock with an offset of its own: `segments` of them, `gap_ms` apart.
fn connection(rng: &mut Pcg64, port: u16, segments: u64, gap_ms: u64, records: &mut Vec<Record>) {
    let begin_ns = 1_000 * MS + rng.random_range(0..60_000) * MS;
    let offset: u32 = rng.random();
    for segment in 0..segments {
        let sent_ns = begin_ns + segment * (gap_ms * MS + 370_000);
        let ends = (([198, 51, 100, 1], port), ([203, 0, 113, 9], 443));
        let tsval = offset.wrapping_add((sent_ns / MS) as u32);
        records.push(acknowledgement(sent_ns + rng.random_range(0..50_000), ends, tsval, 1));
    }
}

/// The report on an address with so many machines that each fetch a hundred times, and so many downloads.
/// Offsets are drawn for each connection, so all that tells machines apart is what clocks show.
fn report(machines: u16, downloads: u16) -> AddressReport {
    let mut rng = Pcg64::seed_from_u64(8);
    let mut records = Vec::new();
    (0..machines * 100).for_each(|number| connection(&mut rng, 10_000 + number, 4, 40, &mut records));
    (0..downloads).for_each(|number| connection(&mut rng, 40_000 + number, 60, 45, &mut records));
    records.sort_by_key(|record| record.time_ns);
    let mut engine = Engine::new(Options::default());
    engine.set_resolution_ns(1);
    engine.observe_all(&records);
    let end_ns = records.last().expect("records").time_ns;
    let mut snapshot = engine.snapshot(end_ns, Wanted::default());
    snapshot.addresses.pop().expect("one address")
}

#[test]
fn one_download_beside_a_thousand_fetches_is_at_least_one_machine() {
    for machines in [2, 3, 10] {
        let report = report(machines, 1);
        assert_eq!(report.doubt, Some(Doubt::TooFewSegments), "{machines}");
        assert_eq!(report.machines, None, "{machines}");
        assert_eq!((report.machines_low, report.machines_high), (Some(1), None), "{machines}");
        let unassigned = report.unassigned.expect("the fetches");
        assert_eq!(unassigned.connections, u64::from(machines) * 100);
        assert!(unassigned.longest_s < 1.0, "{}", unassigned.longest_s);
    }
}

#[test]
fn a_dozen_downloads_beside_thousands_of_fetches_bound_nothing() {
    let report = report(40, 12);
    assert_eq!(report.machines, None);
    assert!(report.machines_high.is_none_or(|high| high >= 40), "{:?}", report.machines_high);
}

#[test]
fn fetches_alone_tell_no_number() {
    let report = report(3, 0);
    assert_eq!((report.machines, report.machines_low, report.machines_high), (None, None, None));
}
