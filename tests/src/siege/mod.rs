//! Attacks on the count of machines, as traffic to mix into sound traffic. The same seed gives the same
//! attack.
//!
//! | attacker | room |
//! |---|---|
//! | knows the ports of a victim's connections, and forges segments of them | [`forged`] |
//! | opens or invents connections of the victim's address | [`invented`] |
//! | sends from ever new addresses | [`flood`] |
//! | spreads or bends clocks, so that analysis is dear | [`dear`] |
//! | writes a capture with wrong times | [`times`] |

use std::{collections::HashMap, path::Path};

use anyhow::Result;
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Segment};

use crate::{
    judge::evaluate,
    simulate::{SHARED, received},
    wire::frame::LINUX_SYN,
};

pub mod dear;
pub mod flood;
pub mod forged;
pub mod invented;
pub mod times;

/// A millisecond, in nanoseconds.
const MS: u64 = 1_000_000;

/// A second, in nanoseconds.
const S: u64 = 1_000 * MS;

/// An address and a port.
type End = (Address, u16);

/// One side of a connection of the victim.
#[derive(Clone, Copy, Debug)]
struct Side {
    from: End,
    to: End,
    /// Time of its first segment, of its last one, and of its last one before its FIN or RST.
    first_ns: u64,
    last_ns: u64,
    open_until_ns: u64,
}

/// Sound traffic, and whom of it an attack is aimed at.
#[derive(Clone, Debug)]
pub struct Scene {
    /// In order of arrival.
    pub records: Vec<Record>,
    /// Resolution of their times, in nanoseconds.
    pub resolution_ns: u64,
    /// Who is attacked.
    pub victim: Address,
    /// The victim's sides of its connections, in order of their first segments.
    sides: Vec<Side>,
}

impl Scene {
    /// A laboratory capture; the address that its machines share is attacked.
    ///
    /// # Errors
    /// Where the capture can't be read.
    pub fn capture(path: &Path) -> Result<Self> {
        let (records, resolution_ns) = evaluate::read(path)?;
        Ok(Self::new(records, resolution_ns, Address::from_ip4(SHARED.octets())))
    }

    /// These records, of which those of `victim` are attacked.
    pub fn new(records: Vec<Record>, resolution_ns: u64, victim: Address) -> Self {
        let sides = sides(&records, victim);
        Self { records, resolution_ns, victim, sides }
    }

    /// Its traffic with an attack mixed in, in order of arrival.
    pub fn with(&self, attack: Vec<Record>) -> Vec<Record> {
        let mut all = attack;
        // Of records of one time, those of the attack come first.
        all.extend(&self.records);
        all.sort_by_key(|record| record.time_ns);
        all
    }

    fn begin_ns(&self) -> u64 {
        self.records[0].time_ns
    }

    fn end_ns(&self) -> u64 {
        self.records[self.records.len() - 1].time_ns
    }
}

/// The victim's sides of its connections with time stamps.
fn sides(records: &[Record], victim: Address) -> Vec<Side> {
    let mut sides: Vec<Side> = Vec::new();
    let mut places = HashMap::new();
    let is_own = |record: &&Record| record.segment.src == victim && record.segment.is_stamped();
    for Record { time_ns, segment, .. } in records.iter().filter(is_own) {
        let (from, to) = ((segment.src, segment.src_port), (segment.dst, segment.dst_port));
        let place = *places.entry((from, to)).or_insert_with(|| {
            sides.push(Side { from, to, first_ns: *time_ns, last_ns: *time_ns, open_until_ns: *time_ns });
            sides.len() - 1
        });
        sides[place].last_ns = *time_ns;
        if !segment.flags.intersects(Flags::FIN | Flags::RST) {
            sides[place].open_until_ns = *time_ns;
        }
    }
    sides
}

/// A segment as an attacker makes it, who doesn't know what the other side sent.
pub(crate) fn segment(time_ns: u64, (from, to): (End, End), flags: Flags, tsval: u32) -> Record {
    let is_syn = flags.intersects(Flags::SYN);
    let segment = Segment {
        src: from.0,
        dst: to.0,
        src_port: from.1,
        dst_port: to.1,
        flags,
        has_payload: flags.intersects(Flags::PSH),
        hop_limit: 63,
        tsval,
        tsecr: u32::from(!is_syn),
        syn: is_syn.then_some(LINUX_SYN),
        ..Segment::default()
    };
    received(time_ns, segment)
}

/// The `number`-th peer that an attack invents.
pub(crate) fn peer(number: usize) -> Address {
    Address::from_ip4([203, 0, 113, 200 + (number % 50) as u8])
}

/// A clock of a constant rate and the times at which its segments are sent: what invented connections show.
#[derive(Clone, Copy, Debug)]
struct Fake {
    ends: (End, End),
    /// Time of its first segment, and for how long it sends.
    begin_ns: u64,
    length_ns: u64,
    segments: usize,
    /// Its counter at `epoch_ns`.
    offset: f64,
    epoch_ns: u64,
    hz: f64,
}

impl Fake {
    /// Its segments: a SYN, and the rest at random times.
    fn send(&self, random: &mut Pcg64, records: &mut Vec<Record>) {
        use rand::RngExt as _;
        let step_ns = self.length_ns as f64 / self.segments as f64;
        for number in 0..self.segments {
            let sent_ns = self.begin_ns + (step_ns * (number as f64 + random.random::<f64>())) as u64;
            let since_s = (sent_ns - self.epoch_ns) as f64 * 1e-9;
            let tsval = (self.offset + self.hz * since_s) as u64 as u32;
            let flags = if number == 0 { Flags::SYN } else { Flags::PSH | Flags::ACK };
            let late_ns = random.random_range(0..200_000);
            records.push(segment(sent_ns + late_ns, self.ends, flags, tsval));
        }
    }
}
