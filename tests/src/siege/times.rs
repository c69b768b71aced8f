//! Captures with wrong times.

use rand::{RngExt, seq::SliceRandom};
use rand_pcg::Pcg64;

use super::S;
use crate::wire::capture::Packet;

/// The beginning of the year 2100, Unix time in nanoseconds.
const FUTURE_NS: u64 = 4_102_444_800 * S;

/// What is wrong with the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One packet is of the year 2100.
    OneInFuture,
    /// Two packets are, one behind the other.
    TwoInFuture,
    /// Two packets in the middle are.
    TwoInFutureInTheMiddle,
    /// Two packets have time 0.
    TwoAtZero,
    /// The clock is set back by an hour in the middle.
    SetBack,
    /// The clock is set forward by an hour in the middle.
    SetForward,
    /// The clock is set forward by 0.4 s in the middle.
    Stepped,
    /// The packets are in any order.
    Shuffled,
    /// The packets are in reversed order.
    Reversed,
    /// Each packet is there twice.
    Doubled,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 10] = [
        Self::OneInFuture,
        Self::TwoInFuture,
        Self::TwoInFutureInTheMiddle,
        Self::TwoAtZero,
        Self::SetBack,
        Self::SetForward,
        Self::Stepped,
        Self::Shuffled,
        Self::Reversed,
        Self::Doubled,
    ];

    /// The packets of a sound capture with this fault.
    pub fn apply(self, sound: &[Packet], random: &mut Pcg64) -> Vec<Packet> {
        let mut packets = sound.to_vec();
        let middle = packets.len() / 2;
        let (early, late) = packets.split_at_mut(middle);
        let at = random.random_range(5..20);
        match self {
            Self::OneInFuture => early[at].time_ns = FUTURE_NS,
            Self::TwoInFuture => early[at..at + 2].iter_mut().for_each(|packet| packet.time_ns = FUTURE_NS),
            Self::TwoInFutureInTheMiddle => {
                late[..2].iter_mut().for_each(|packet| packet.time_ns = FUTURE_NS);
            }
            Self::TwoAtZero => early[at..at + 2].iter_mut().for_each(|packet| packet.time_ns = 0),
            Self::SetBack => late.iter_mut().for_each(|packet| packet.time_ns -= 3_600 * S),
            Self::SetForward => late.iter_mut().for_each(|packet| packet.time_ns += 3_600 * S),
            Self::Stepped => late.iter_mut().for_each(|packet| packet.time_ns += 2 * S / 5),
            Self::Shuffled => packets.shuffle(random),
            Self::Reversed => packets.reverse(),
            Self::Doubled => {
                packets = packets.into_iter().flat_map(|packet| [packet.clone(), packet]).collect();
            }
        }
        packets
    }
}
