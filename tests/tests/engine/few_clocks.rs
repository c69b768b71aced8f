//! Many short connections and few long ones: what can't be told apart is not called one machine.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{Wanted, snapshot::AddressReport};
use tmap_common::Record;
use tmap_tests::{judge::evaluate, simulate::conversation::acknowledgement};

const MS: u64 = 1_000_000;

/// One connection of a machine's clock of 1 kHz, with an offset of its own: so many segments, so many
/// milliseconds apart.
fn connection(
    rng: &mut Pcg64,
    machine: u64,
    port: u16,
    (segments, gap_ms): (u64, u64),
    records: &mut Vec<Record>,
) {
    let begin_ns = 1_000 * MS + rng.random_range(0..60_000) * MS;
    let offset: u32 = rng.random();
    for segment in 0..segments {
        let sent_ns = begin_ns + segment * (gap_ms * MS + 370_000);
        let ends = (([198, 51, 100, 1], port), ([203, 0, 113, 9], 443));
        // Ticks of the machines fall at times of their own.
        let ticks = (sent_ns + machine * 618_034 % MS) / MS;
        let tsval = offset.wrapping_add(ticks as u32);
        // Delays are far longer than a tick, so phases tell nothing.
        records.push(acknowledgement(sent_ns + rng.random_range(0..20_000_000), ends, tsval, 1));
    }
}

/// The report on an address with so many machines that each fetch a hundred times, and so many downloads.
/// Offsets are drawn for each connection, so all that tells machines apart is what clocks show.
fn report(machines: u16, downloads: u16) -> AddressReport {
    let mut rng = Pcg64::seed_from_u64(8);
    let mut records = Vec::new();
    let mut connect = |number: u16, port, shape| {
        connection(&mut rng, u64::from(number % machines), port, shape, &mut records);
    };
    (0..machines * 100).for_each(|number| connect(number, 10_000 + number, (4, 40)));
    (0..downloads).for_each(|number| connect(number, 40_000 + number, (60, 45)));
    records.sort_by_key(|record| record.time_ns);
    let mut snapshot = evaluate::snapshot(&records, 1, Wanted::default());
    snapshot.addresses.pop().expect("one address")
}

/// The count is left open, and no bound is below the truth.
fn check(machines: u16, downloads: u16) {
    let report = report(machines, downloads);
    assert_eq!(report.machines, None, "{machines} machines, {downloads} downloads: {:?}", report.doubt);
    assert_eq!(report.machines_low, Some(1), "{machines}");
    let high = report.machines_high;
    assert!(high.is_none_or(|high| high >= u32::from(machines)), "{machines}: {high:?}");
}

#[test]
fn one_download_beside_a_thousand_fetches_is_at_least_one_machine() {
    [2, 3, 10].into_iter().for_each(|machines| check(machines, 1));
}

#[test]
fn a_dozen_downloads_beside_thousands_of_fetches_bound_nothing() {
    check(40, 12);
}

#[test]
fn fetches_alone_tell_no_number() {
    check(3, 0);
}
