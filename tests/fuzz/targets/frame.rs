//! libFuzzer's program for [`tmap_tests::fuzz::frame`].

#![no_main]

use tmap_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::plant("frame"), |bytes: &[u8]| fuzz::frame::run(bytes));
