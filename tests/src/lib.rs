//! What the tests share.

pub mod command;
pub mod pcap;
pub mod reference;
pub mod simulate;
pub mod traffic;
