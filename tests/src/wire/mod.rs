//! Bytes as they are on the wire and in capture files.

pub mod capture;
pub mod frame;
pub mod random;
pub mod reader;
pub mod tunnel;
