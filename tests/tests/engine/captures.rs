//! Machines in captures of real ones are counted, and connections told apart by source port.

use tmap_tests::{
    captures::{self, THREE, WITH_UNSTAMPED},
    judge::evaluate,
};

#[test]
fn three_machines_are_counted() {
    for name in [THREE, WITH_UNSTAMPED] {
        let outcome = evaluate::laboratory(&captures::path(name)).expect("a capture");
        println!("{name}: {outcome:?}");
        assert_eq!((outcome.machines, outcome.found), (3, Some(3)), "{name}: {outcome:?}");
        assert!(outcome.covers() && outcome.agreement.adjusted_rand > 0.5, "{name}: {outcome:?}");
    }
}
