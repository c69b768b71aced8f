//! What kernel and user space share: one parser, one record layout, one filter, one suppression rule.
//!
//! Both sides compile this crate, so a segment means the same thing in the XDP program, in the
//! TC program and when reading a capture file. It is `no_std`, has no dependencies, no features
//! and no `unsafe`; every loop is bounded, because the kernel's verifier wants proof of it.
//!
//! The way of a frame through the crate:
//!
//! ```text
//! Packet::read -> link -> ip (-> tunnel -> link -> ip) -> tcp -> Segment | Skip   (parse.rs)
//! Segment + time -> Record -> slots of the ring              (record.rs)
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod address;
pub mod counters;
pub mod fast;
pub mod filter;
pub mod handshake;
pub mod ip;
pub mod link;
pub mod packet;
pub mod parse;
pub mod record;
pub mod ring;
pub mod suppress;
pub mod tcp;
pub mod tunnel;

pub use address::Address;
pub use counters::{Counters, Skip};
pub use handshake::QuirkFields;
pub use link::Link;
pub use packet::Packet;
pub use parse::parse;
pub use record::Record;
pub use tcp::{Flags, Segment, Syn};
pub use tunnel::Tunnel;
