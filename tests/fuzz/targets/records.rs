//! libFuzzer's program for [`tmap_tests::fuzz::records`].

#![no_main]

use tmap_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::plant("records"), |bytes: &[u8]| fuzz::records::run(bytes));
