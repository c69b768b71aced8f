//! Kernel side: see the crate's description.
#![no_std]
#![no_main]
