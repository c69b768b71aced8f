//! tmap's user space, as a library so that tests and tools drive the same code as the binary.
//!
//! ```text
//! frame -> parse -> Segment -> Record -> ring -> Engine::observe -> Flow -> Machines -> Snapshot -> report
//! ```

#![deny(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod config;
pub mod engine;
pub mod filter;
pub mod live;
pub mod read;
pub mod report;
pub mod signals;
pub mod time;

/// The result of a run that didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Finished without a warning.
    Fine,
    /// Finished with warnings, which are on standard error and in the summary.
    Warned,
}
