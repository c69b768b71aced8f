//! What the tests share.

pub mod bench;
pub mod command;
pub mod encapsulate;
pub mod evaluate;
pub mod frames;
pub mod grid;
pub mod netns;
pub mod oracle;
pub mod pcap;
pub mod peers;
pub mod reference;
pub mod root;
pub mod score;
pub mod segments;
pub mod simulate;
pub mod talk;
pub mod tcpdump;
pub mod test_run;
pub mod traces;
pub mod traffic;
