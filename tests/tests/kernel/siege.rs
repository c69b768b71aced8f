//! The live siege, short and with a slow flood: whether it works, not what tmap promises under it.

use std::{sync::atomic::AtomicBool, time::Duration};

use tmap_tests::{
    command::binary,
    live_siege::{self, Settings, picture, promises::Table},
};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_short_siege_adds_up_and_is_answered() {
    let settings = Settings {
        tmap: binary().to_owned(),
        time: Duration::from_secs(6),
        every: Duration::from_secs(4),
        memory_bytes: 512 << 20,
        xdp_mode: "auto".to_owned(),
        flood_per_second: Some(2_000),
    };
    let outcome = live_siege::run(&settings, &AtomicBool::new(false)).expect("a siege");
    let table = Table::new(&outcome);
    println!("{table}");
    assert_eq!(outcome.accounts.wrong(), Vec::<String>::new());
    assert_eq!(outcome.accounts.ring_full, 0);
    // 40 SYNs a second of a scan, too, and a dozen connections.
    let flood = outcome.flood_frames;
    assert!(flood >= 10_000 && outcome.accounts.seen >= flood + 6 * 40 + 12 * 4, "{table}");
    assert!(outcome.connections >= 12, "{table}");
    let [asked] = &outcome.asked[..] else { panic!("{table}") };
    let answer = asked.answer.as_ref().expect("an answer");
    assert!(answer.summary["addresses"].as_u64().is_some_and(|addresses| addresses > 1_000), "{answer:?}");
    assert!(outcome.last.nat.machines.is_some() || outcome.last.nat.doubt.is_some(), "{table}");
    assert!(outcome.memory.iter().all(|(_, bytes)| (1 << 20..512 << 20).contains(bytes)), "{table}");
    assert_eq!(outcome.exit.1, Some(0), "{table}");
    assert!(picture::svg(&outcome).contains("Machines behind the NAT"));
}
