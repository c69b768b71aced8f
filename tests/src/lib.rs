//! What the tests share.

pub mod command;
pub mod frames;
pub mod pcap;
pub mod reference;
pub mod root;
pub mod simulate;
pub mod test_run;
pub mod traffic;
