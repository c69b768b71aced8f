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
    assert!(listing.len() >= 2, "{}", run.out);
    assert_eq!(listing[0], "One clock behind several addresses (one host, or containers on one host):");
    let members =
        "  198.51.100.1 #1, 198.51.100.2 #1, 198.51.100.3 #1 (equal phase and skew, probability 0.9";
    assert!(listing[1].starts_with(members), "{}", listing[1]);
}
