//! Features that many connections share, each combination held once: millions share a few hundred.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tmap_common::Tunnel;

use crate::engine::os::signature::Fingerprint;

/// The features of a connection side that others share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Features {
    /// The handshake's fingerprint, if it was seen.
    pub fingerprint: Option<Fingerprint>,
    /// The tunnel that the first segment came in.
    pub tunnel: Option<Tunnel>,
}

/// The largest number: three bytes.
const MAX_NUMBER: usize = 0xff_ffff;

/// Numbered features with the count of their users: unused numbers are used again.
#[derive(Debug, Default)]
pub(super) struct FeatureTable {
    numbers: HashMap<Features, u32, RandomState>,
    /// Features and the count of their users, indexed by number - 1.
    held: Vec<(Features, u32)>,
    free: Vec<u32>,
}

impl FeatureTable {
    /// The number of `features`, with one more user counted. 0 where there are none, or where no more
    /// numbers are free: the features are then lost.
    pub(super) fn take(&mut self, features: Features) -> u32 {
        if features == Features::default() {
            return 0;
        }
        if let Some(&number) = self.numbers.get(&features) {
            self.held[number as usize - 1].1 += 1;
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.held[number as usize - 1] = (features, 1);
                number
            }
            None if self.held.len() >= MAX_NUMBER => return 0,
            None => {
                self.held.push((features, 1));
                self.held.len() as u32
            }
        };
        self.numbers.insert(features, number);
        number
    }

    /// Counts one user less.
    pub(super) fn give(&mut self, number: u32) {
        let Some(place) = (number as usize).checked_sub(1) else { return };
        let (features, users) = &mut self.held[place];
        *users -= 1;
        if *users == 0 {
            self.numbers.remove(features);
            self.free.push(number);
        }
    }

    /// The features of a number; none for number 0.
    pub(super) fn get(&self, number: u32) -> Features {
        let place = (number as usize).checked_sub(1);
        place.and_then(|place| self.held.get(place)).map_or(Features::default(), |held| held.0)
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.held.capacity() * size_of::<(Features, u32)>()
            + self.numbers.capacity() * (size_of::<(Features, u32)>() + 1)
            + self.free.capacity() * size_of::<u32>()
    }
}
