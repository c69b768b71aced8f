//! `tmap live` where it can't begin. What it does on an interface is in the binary `kernel`.

use std::{fs::File, process::Stdio};

use tmap_tests::command::{command, tmap};

#[test]
fn an_unknown_interface_is_one_clear_line() {
    let run = tmap(["-i", "no-such-nic"]);
    assert_eq!((run.out.as_str(), run.code), ("", 1));
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.starts_with("tmap: no-such-nic: no such interface"), "{}", run.err);
}

/// A terminal that is gone refuses what is written, as this file does.
#[test]
fn an_error_that_cannot_be_printed_still_has_its_exit_code() {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = command(["-i", "no-such-nic"]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full).status().expect("tmap runs");
    assert_eq!(status.code(), Some(1));
}
