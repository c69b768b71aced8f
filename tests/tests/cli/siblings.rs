//! `tmap read --siblings`.

use std::ffi::OsStr;

use tmap_tests::{
    command::tmap,
    simulate::{Offsets, containers::records},
    wire::capture::plain,
};

#[test]
fn the_listing_says_what_one_clock_behind_several_addresses_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("containers.pcap");
    std::fs::write(&path, plain(&records(Offsets::PerConnection))).expect("written");
    let run = tmap([OsStr::new("read"), OsStr::new("--siblings"), path.as_os_str()]);
    let listing: Vec<&str> = run.out.lines().skip_while(|line| !line.starts_with("One clock")).collect();
    assert!(listing.len() >= 3, "{}", run.out);
    assert_eq!(listing[0], "One clock behind several addresses (one machine, or containers on one machine):");
    let members = "  198.51.100.1 #1, 198.51.100.2 #1, 198.51.100.3 #1 (equal phase and skew,";
    assert_eq!(listing[1], members);
    assert!(listing[2].starts_with("    probability 0.9"), "{}", listing[2]);
}
