//! Connections of one address whose analysis is dear: in time, or in memory.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Address, Record};

use super::{Fake, S, peer};
use crate::simulate::{SHARED, conversation::START_NS};

/// Connections of [`SHARED`].
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Machines that have them, each of the same skew and phase; 0 where each connection is a machine's of
    /// its own.
    pub machines: usize,
    /// How many connections one after the other share their offset, as those of one machine with a fixed one
    /// do.
    pub shared: usize,
    /// Connections.
    pub connections: usize,
    /// Segments of each.
    pub segments: usize,
    /// How long each lasts, in seconds.
    pub length_s: f64,
    /// Within which time they all are, in seconds.
    pub span_s: f64,
    /// Tick rate, in Hz.
    pub hz: f64,
    /// The largest skew, in ppm.
    pub skew_ppm: f64,
    /// Whether their SYNs are seen.
    pub has_syns: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            machines: 0,
            shared: 1,
            connections: 200,
            segments: 20,
            length_s: 5.0,
            span_s: 3_600.0,
            hz: 1000.0,
            skew_ppm: 0.0,
            has_syns: true,
        }
    }
}

impl Load {
    /// Its traffic, in order of arrival.
    pub fn records(&self, random: &mut Pcg64) -> Vec<Record> {
        let mut skew = || self.hz * (1.0 + 1e-6 * self.skew_ppm * (2.0 * random.random::<f64>() - 1.0));
        let rates: Vec<f64> = (0..self.machines).map(|_| skew()).collect();
        let phases: Vec<f64> = (0..self.machines).map(|_| random.random()).collect();
        let (mut records, mut offset) = (Vec::new(), 0);
        for number in 0..self.connections {
            let any_hz = self.hz * (1.0 + 1e-6 * self.skew_ppm * (2.0 * random.random::<f64>() - 1.0));
            let (hz, phase) = match self.machines {
                0 => (any_hz, random.random::<f64>()),
                machines => (rates[number % machines], phases[number % machines]),
            };
            if number % self.shared == 0 {
                offset = random.random::<u32>();
            }
            let begin_s = random.random::<f64>() * (self.span_s - self.length_s).max(0.0);
            let fake = Fake {
                ends: (
                    (Address::from_ip4(SHARED.octets()), 1_024 + number as u16),
                    (peer(number + (number >> 16)), 80),
                ),
                begin_ns: START_NS + (begin_s * S as f64) as u64,
                length_ns: (self.length_s * S as f64) as u64,
                segments: self.segments,
                offset: f64::from(offset) + phase,
                epoch_ns: START_NS,
                hz,
            };
            fake.send(random, &mut records);
        }
        records.retain(|record: &Record| self.has_syns || !record.segment.flags.is_syn());
        records.sort_by_key(|record| record.time_ns);
        records
    }
}
