//! What the block format tells of packets that a capture's writer dropped: interface statistics and the drop
//! counts of packets (draft-ietf-opsawg-pcapng, sections 4.3 and 4.6, and appendix A).

use pcap_parser::{OptionCode, PcapNGOption};

/// What writers that know no number may write all the same: Wireshark's word for it.
const NOT_KNOWN: u64 = u64::MAX;

/// What packet blocks of before 2009 have instead: their drop count has 16 bits.
const NOT_KNOWN_OBSOLETE: u16 = u16::MAX;

/// The option of a packet that counts the packets dropped since the one before it (epb_dropcount). The crate
/// has no name for it.
const DROPPED_BEFORE: OptionCode = OptionCode(4);

/// What a capture tells of the packets that its writer dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Packets dropped, as far as that is told.
    pub dropped: u64,
    /// Whether statistics tell it of every interface. Drop counts don't: what was dropped after the last
    /// packet is in none.
    pub is_whole: bool,
}

impl Told {
    /// What captures without statistics tell.
    pub(crate) const NOTHING: Self = Self { dropped: 0, is_whole: false };

    /// What two interfaces or captures tell together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            dropped: self.dropped.saturating_add(other.dropped),
            is_whole: self.is_whole && other.is_whole,
        }
    }
}

impl Default for Told {
    /// What captures without any interface tell: nothing is missing from it.
    fn default() -> Self {
        Self { dropped: 0, is_whole: true }
    }
}

/// Packets dropped at an interface since capturing began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// By the latest statistics.
    by_interface: Option<u64>,
    /// By the latest statistics.
    by_system: Option<u64>,
    /// The sum of the drop counts of packets.
    before_packets: u64,
}

impl Dropped {
    /// What the options of a block of statistics tell. What is damaged is left out.
    pub(super) fn new(options: &[PcapNGOption<'_>], is_big_endian: bool) -> Self {
        let count = |code| find(options, code).and_then(|option| count(option, is_big_endian));
        Self {
            by_interface: count(OptionCode::IsbIfDrop),
            by_system: count(OptionCode::IsbOsDrop),
            before_packets: 0,
        }
    }

    /// Takes in a later block, which counts from the beginning as the one before did.
    pub(super) fn update(&mut self, later: Self) {
        self.by_interface = later.by_interface.or(self.by_interface);
        self.by_system = later.by_system.or(self.by_system);
    }

    /// Takes in that `dropped` packets were dropped between two packets.
    pub(super) fn add(&mut self, dropped: u64) {
        self.before_packets = self.before_packets.saturating_add(dropped);
    }

    /// What this tells of its interface: the larger number where both tell one, as both may count the same.
    pub(super) fn told(self) -> Told {
        let (by_interface, by_system) = (self.by_interface.unwrap_or(0), self.by_system.unwrap_or(0));
        Told {
            dropped: by_interface.saturating_add(by_system).max(self.before_packets),
            is_whole: self.by_interface.is_some() || self.by_system.is_some(),
        }
    }
}

/// The packets dropped before a packet, as its options tell; 0 where they don't, or are damaged.
pub(super) fn before_packet(options: &[PcapNGOption<'_>], is_big_endian: bool) -> u64 {
    find(options, DROPPED_BEFORE).and_then(|option| count(option, is_big_endian)).unwrap_or(0)
}

/// The packets dropped before a packet of the block of before 2009; 0 where they aren't known.
pub(super) fn before_obsolete_packet(told: u16) -> u64 {
    if told == NOT_KNOWN_OBSOLETE { 0 } else { told.into() }
}

/// The first option of a kind, unless the list ends before it.
fn find<'a, 'b>(options: &'a [PcapNGOption<'b>], code: OptionCode) -> Option<&'a PcapNGOption<'b>> {
    let mut told = options.iter().take_while(|option| option.code != OptionCode::EndOfOpt);
    told.find(|option| option.code == code)
}

/// The number that an option holds, unless it is damaged or not known. Read here and not by the crate: its
/// 0.17 takes numbers for little-endian in a big-endian section.
fn count(option: &PcapNGOption<'_>, is_big_endian: bool) -> Option<u64> {
    let bytes = <[u8; 8]>::try_from(option.as_bytes().ok()?).ok()?;
    let count = if is_big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
    (count != NOT_KNOWN).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options by code and value.
    fn options<'a>(options: &[(u16, &'a [u8])]) -> Vec<PcapNGOption<'a>> {
        let option = |&(code, value): &(u16, &'a [u8])| PcapNGOption {
            code: OptionCode(code),
            len: value.len() as u16,
            value: value.into(),
        };
        options.iter().map(option).collect()
    }

    /// What a block tells by these options: code and value, little-endian.
    fn told(list: &[(u16, &[u8])]) -> Told {
        Dropped::new(&options(list), false).told()
    }

    #[test]
    fn both_kinds_of_drops_add_up() {
        let [nine, forty] = [9u64, 40].map(u64::to_le_bytes);
        assert_eq!(told(&[(4, &forty), (5, &nine)]), Told { dropped: 9, is_whole: true });
        assert_eq!(told(&[(2, b"odd"), (7, &nine), (5, &forty)]), Told { dropped: 49, is_whole: true });
        assert_eq!(told(&[(5, &[0; 8])]), Told { dropped: 0, is_whole: true });
        assert_eq!(told(&[(4, &forty)]), Told::NOTHING);
        let most = (u64::MAX - 1).to_le_bytes();
        assert_eq!(told(&[(5, &most), (7, &most)]).dropped, u64::MAX);
    }

    #[test]
    fn later_numbers_replace_earlier_ones_where_they_are_told() {
        let mut all = Dropped { by_interface: Some(9), ..Dropped::default() };
        all.update(Dropped { by_interface: Some(12), by_system: Some(1), ..Dropped::default() });
        all.update(Dropped { by_system: Some(2), ..Dropped::default() });
        assert_eq!(all.told(), Told { dropped: 14, is_whole: true });
    }

    #[test]
    fn drop_counts_of_packets_add_up_and_the_larger_number_is_told() {
        let mut all = Dropped::default();
        [40, 0, 60].into_iter().for_each(|dropped| all.add(dropped));
        assert_eq!(all.told(), Told { dropped: 100, is_whole: false });
        all.update(Dropped { by_interface: Some(90), by_system: Some(9), ..Dropped::default() });
        assert_eq!(all.told(), Told { dropped: 100, is_whole: true });
        all.update(Dropped { by_system: Some(11), ..Dropped::default() });
        assert_eq!(all.told(), Told { dropped: 101, is_whole: true });
        all.add(u64::MAX);
        assert_eq!(all.told().dropped, u64::MAX);
    }

    #[test]
    fn drop_counts_that_are_damaged_or_not_known_are_left_out() {
        let (little, big) = (9u64.to_le_bytes(), 9u64.to_be_bytes());
        assert_eq!(before_packet(&options(&[(2, &[0; 4]), (4, &little)]), false), 9);
        assert_eq!(before_packet(&options(&[(4, &big)]), true), 9);
        assert_eq!(before_packet(&options(&[(0, &[]), (4, &little)]), false), 0, "after the end");
        for damaged in [&[][..], &[1; 4], &[1; 9], &[0xff; 8]] {
            assert_eq!(before_packet(&options(&[(4, damaged)]), false), 0, "{damaged:?}");
        }
        assert_eq!([0, 9, u16::MAX - 1, u16::MAX].map(before_obsolete_packet), [0, 9, 65_534, 0]);
    }

    #[test]
    fn what_is_damaged_or_not_known_is_left_out() {
        let nine = 9u64.to_le_bytes();
        for damaged in [&[][..], &[1; 4], &[1; 7], &[1; 9], &[0xff; 8]] {
            assert_eq!(told(&[(5, damaged)]), Told::NOTHING, "{damaged:?}");
            assert_eq!(told(&[(5, damaged), (7, &nine)]).dropped, 9, "{damaged:?}");
        }
        assert_eq!(told(&[(0, &[]), (5, &nine)]), Told::NOTHING, "after the end");
        // Longer than its block, as the crate never hands it out, and short with padding, as it does.
        for len in [5, 100] {
            let option = PcapNGOption { code: OptionCode(5), len, value: (&nine).into() };
            assert_eq!(Dropped::new(&[option], false).told(), Told::NOTHING, "{len}");
        }
    }
}
