//! Segments of addresses that are not the victim's: they fill what all share.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Syn};

use super::{Fake, S, Scene, segment};

/// When a flood comes.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Within two seconds before the first segment of the scene.
    Before,
    /// All the time.
    During,
}

/// A SYN of each of so many addresses, with or without time stamps.
pub fn syns(scene: &Scene, sources: u32, when: When, stamped: bool, random: &mut Pcg64) -> Vec<Record> {
    let (begin_ns, end_ns) = match when {
        When::Before => (scene.begin_ns() - 2 * S, scene.begin_ns()),
        When::During => (scene.begin_ns(), scene.end_ns()),
    };
    let step_ns = (end_ns - begin_ns) as f64 / f64::from(sources);
    let syn = |number: u32| {
        let time_ns = begin_ns + (step_ns * f64::from(number)) as u64;
        let ends = (
            (source(number), random.random_range(1024..=u16::MAX)),
            (Address::from_ip4([203, 0, 113, 1]), 80),
        );
        let mut record = segment(time_ns, ends, Flags::SYN, random.random_range(1..u32::MAX));
        if !stamped {
            record.segment.tsval = 0;
            // MSS, NOP, NOP, SACK permitted.
            record.segment.syn = Some(Syn { option_order: 0x4112, ..Syn::default() });
        }
        record
    };
    (0..sources).map(syn).collect()
}

/// So many SYNs a second to the victim, a server, which answers each of them and hears no more.
pub fn half_open(scene: &Scene, per_second: u64, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    let count = (scene.end_ns() - scene.begin_ns()) / S * per_second;
    for number in 0..count {
        let time_ns = scene.begin_ns() + number * S / per_second;
        let client = (source(number as u32), random.random_range(1024..=u16::MAX));
        let server = (scene.victim, 80);
        let syn = segment(time_ns, (client, server), Flags::SYN, random.random_range(1..u32::MAX));
        // Linux sends its SYN-ACK again after one second, and then after two more.
        for after_ns in [200_000, S, 3 * S] {
            let ends = (server, client);
            let tsval = random.random_range(1..u32::MAX);
            let mut answer = segment(time_ns + after_ns, ends, Flags::SYN | Flags::ACK, tsval);
            answer.segment.tsecr = syn.segment.tsval;
            records.push(answer);
        }
        records.push(syn);
    }
    records
}

/// Connections of other addresses, so many of each, of five segments within a few seconds, all the time.
pub fn connections(scene: &Scene, sources: u32, of_each: u16, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    let lasts_ns = (scene.end_ns() - scene.begin_ns()).saturating_sub(4 * S).max(1);
    for number in 0..sources {
        for port in 0..of_each {
            let fake = Fake {
                ends: ((source(number), 1024 + port), (Address::from_ip4([203, 0, 113, 1]), 80)),
                begin_ns: scene.begin_ns() + random.random_range(0..lasts_ns),
                length_ns: 4 * S,
                segments: 5,
                offset: random.random::<u32>().into(),
                epoch_ns: scene.begin_ns(),
                hz: 1000.0,
            };
            fake.send(random, &mut records);
        }
    }
    records
}

/// The `number`-th address of a flood, in 11.0.0.0/8.
fn source(number: u32) -> Address {
    Address::from_ip4((0x0b00_0000 + number).to_be_bytes())
}
