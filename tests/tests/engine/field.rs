//! Single devices as they are found in the field are told to be one machine. The whole suite is
//! `cargo xtask eval -- --field`.

use tmap_tests::{judge::field, simulate::device::KINDS};

/// Devices of each kind.
const DEVICES: u64 = 12;

#[test]
fn single_devices_are_one_machine() {
    for (name, kind) in KINDS {
        let found = field::judge(kind, 0..DEVICES);
        assert_eq!(found.devices, DEVICES, "{name}");
        assert_eq!(found.split, [0_u64; 0], "{name}: told to be several machines");
        assert_eq!(found.falsely_proven, [0_u64; 0], "{name}: called proven to be several");
        assert_eq!(found.wrong_boots, [0_u64; 0], "{name}: boot times beyond three standard errors");
    }
}
