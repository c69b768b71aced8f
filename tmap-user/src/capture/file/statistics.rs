//! Interface statistics of the block format: how many packets a capture's writer dropped
//! (draft-ietf-opsawg-pcapng, section 4.6).

use pcap_parser::{OptionCode, PcapNGOption};

/// What writers that know no number may write all the same: Wireshark's word for it.
const NOT_KNOWN: u64 = u64::MAX;

/// What a capture tells of the packets that its writer dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Packets dropped, as far as that is told.
    pub dropped: u64,
    /// Whether it is told of every interface.
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

/// Packets dropped at an interface since capturing began: the latest numbers told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    by_interface: Option<u64>,
    by_system: Option<u64>,
}

impl Dropped {
    /// What the options of a block of statistics tell. What is damaged is left out.
    pub(super) fn new(options: &[PcapNGOption<'_>], is_big_endian: bool) -> Self {
        let count = |code| {
            let mut told = options.iter().take_while(|option| option.code != OptionCode::EndOfOpt);
            count(told.find(|option| option.code == code)?, is_big_endian)
        };
        Self { by_interface: count(OptionCode::IsbIfDrop), by_system: count(OptionCode::IsbOsDrop) }
    }

    /// Takes in a later block, which counts from the beginning as the one before did.
    pub(super) fn update(&mut self, later: Self) {
        self.by_interface = later.by_interface.or(self.by_interface);
        self.by_system = later.by_system.or(self.by_system);
    }

    /// What this tells of its interface.
    pub(super) fn told(self) -> Told {
        let (by_interface, by_system) = (self.by_interface.unwrap_or(0), self.by_system.unwrap_or(0));
        Told {
            dropped: by_interface.saturating_add(by_system),
            is_whole: self.by_interface.is_some() || self.by_system.is_some(),
        }
    }
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

    /// What a block tells by these options: code and value, little-endian.
    fn told(options: &[(u16, &[u8])]) -> Told {
        let options: Vec<PcapNGOption<'_>> = options
            .iter()
            .map(|&(code, value)| PcapNGOption {
                code: OptionCode(code),
                len: value.len() as u16,
                value: value.into(),
            })
            .collect();
        Dropped::new(&options, false).told()
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
        let mut all = Dropped { by_interface: Some(9), by_system: None };
        all.update(Dropped { by_interface: Some(12), by_system: Some(1) });
        all.update(Dropped { by_interface: None, by_system: Some(2) });
        assert_eq!(all.told(), Told { dropped: 14, is_whole: true });
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
