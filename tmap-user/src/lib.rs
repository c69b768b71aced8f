//! tmap's user space, as a library so that tests and tools drive the same code as the binary.
//!
//! ```text
//! frame -> parse -> Segment -> Record -> ring -> Engine::observe -> Flow -> Machines -> Snapshot -> report
//! ```

pub mod engine;
