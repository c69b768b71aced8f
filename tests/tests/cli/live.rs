//! `tmap live` where it can't begin. What it does on an interface is in the binary `kernel`.

use tmap_tests::command::tmap;

#[test]
fn an_unknown_interface_is_one_clear_line() {
    let run = tmap(["-i", "no-such-nic"]);
    assert_eq!((run.out.as_str(), run.code), ("", 1));
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.starts_with("tmap: no-such-nic: no such interface"), "{}", run.err);
}
