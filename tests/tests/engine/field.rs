//! Single devices as they are found in the field are told to be one machine. The whole suite is
//! `cargo xtask eval -- --field`.

use tmap_tests::{judge::field, simulate::device::KINDS};

/// Devices of each kind.
const DEVICES: u64 = 12;

#[test]
fn single_devices_are_one_machine() {
    let (mut boots, mut wrong) = (0, Vec::new());
    for (name, kind) in KINDS {
        let found = field::judge(kind, 0..DEVICES);
        assert_eq!(found.devices, DEVICES, "{name}");
        assert_eq!(found.split, [0_u64; 0], "{name}: told to be several machines");
        assert_eq!(found.falsely_proven, [0_u64; 0], "{name}: called proven to be several");
        boots += found.boots;
        wrong.extend(found.wrong_boots.iter().map(|seed| (name, *seed)));
    }
    assert!(boots > 30, "{boots} boot times");
    assert!(wrong.len() <= 1, "more than one in a hundred beyond three standard errors: {wrong:?}");
}
