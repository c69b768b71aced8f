//! tmap's user space, as a library so that tests and tools drive the same code as the binary.
//!
//! ```text
//! frame -> parse -> Segment -> Record -> ring -> Engine::observe -> Flow -> Machines -> Snapshot -> report
//! ```

#![deny(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod config;
mod deadline;
pub mod engine;
pub mod filter;
pub mod live;
pub mod output;
pub mod page;
pub mod picture;
mod progress_bar;
pub mod read;
pub mod report;
pub mod sandbox;
pub mod screen;
pub mod signals;
pub mod stdout;
pub mod time;

use std::io::{Write as _, stderr};

/// Writes a line for people to standard error. A terminal that is gone is no reason to end, as it would be
/// for `eprintln!`.
pub fn say(text: &str) {
    let _ = writeln!(stderr(), "tmap: {text}");
}

/// A message without the codes that the standard library adds: "(os error 2)".
pub fn without_error_codes(message: &str) -> String {
    let mut text = message.to_owned();
    while let Some(at) = text.find(" (os error ") {
        let length = text[at..].find(')').map_or(text.len() - at, |end| end + 1);
        text.replace_range(at..at + length, "");
    }
    text
}

/// The result of a run that didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Finished without a warning.
    Fine,
    /// Finished with warnings, which are on standard error and in the summary.
    Warned,
    /// Ended with a report of what is known, because the user asked for that twice.
    Interrupted,
}

#[cfg(test)]
mod tests {
    use super::without_error_codes;

    #[test]
    fn codes_of_errors_are_left_out() {
        assert_eq!(without_error_codes("a: b (os error 2); c (os error 13)"), "a: b; c");
        assert_eq!(without_error_codes("a (b)"), "a (b)");
    }
}
