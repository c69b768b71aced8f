//! libFuzzer's program for [`tmap_tests::fuzz::capture`].

#![no_main]

use tmap_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::plant("capture"), |bytes: &[u8]| fuzz::capture::run(bytes));
