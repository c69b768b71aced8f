//! libFuzzer's program for [`tmap_tests::fuzz::filter`].

#![no_main]

use tmap_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::plant("filter"), |bytes: &[u8]| fuzz::filter::run(bytes));
