//! The test kit. Its rooms, by what a test's author looks for:
//!
//! | wanted | room |
//! |---|---|
//! | traffic whose truth is known | [`simulate`] |
//! | frames, tunnels, capture files | [`wire`] |
//! | attacks | [`siege`] |
//! | a sensor under attack on a real interface | [`live_siege`] |
//! | inputs of any kind, and what holds of them | [`fuzz`] |
//! | captures of real machines | [`captures`] |
//! | what is right: the truth, tcpdump, tshark, p0f | [`judge`] |
//! | the `tmap` command, to its end or running | [`command`] |
//! | the `tmap` command in a terminal | [`terminal`] |
//! | namespaces, root's rights, real TCP | [`net`] |
//! | what a process may do | [`sandbox`] |
//! | pictures and examples in documents | [`examples`] |
//! | a frame handed to a loaded program | [`test_run`] |
//! | what tmap costs | [`mod@bench`] |
//!
//! The tests are four binaries in `tests/tests`: `engine` (the library, without rights), `cli` (the
//! command, without rights), `page` (a page in a browser) and `kernel` (root). A test that needs what not
//! every machine has is ignored with its reason; `cargo xtask test` runs it where it can, and says what it
//! left out and why.

pub mod bench;
pub mod captures;
pub mod command;
pub mod examples;
pub mod fuzz;
pub mod judge;
pub mod live_siege;
pub mod net;
pub mod sandbox;
pub mod siege;
pub mod simulate;
pub mod terminal;
pub mod test_run;
pub mod wire;
