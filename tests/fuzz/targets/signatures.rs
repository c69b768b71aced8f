//! libFuzzer's program for [`tmap_tests::fuzz::signatures`].

#![no_main]

use tmap_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::plant("signatures"), |bytes: &[u8]| fuzz::signatures::run(bytes));
