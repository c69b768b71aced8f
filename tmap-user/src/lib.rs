//! tmap's user space, as a library so that tests and tools drive the same code as the binary.
//!
//! ```text
//! live   frame -> parse -> Segment -> Record -> ring --.
//! files  frame -> parse -> Segment -> Record -> window -'-> Flows -> Analyst -> Snapshot -> report
//! ```

#![deny(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod config;
mod deadline;
pub mod engine;
pub mod filter;
pub mod live;
mod memory;
pub mod output;
pub mod page;
pub mod patient;
pub mod picture;
mod progress_bar;
pub mod read;
pub mod report;
pub mod sandbox;
pub mod screen;
pub mod signals;
pub mod stdout;
pub mod time;
mod voice;

use std::time::Duration;

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// How long the end of a run waits for a reader of standard error: as long as for an answer.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Writes a line for people to standard error. A terminal that is gone is no reason to end, as it would be
/// for `eprintln!`. Names in it steer no terminal.
pub fn say(text: &str) {
    voice::write(line(text));
}

/// Writes a line as [`say`] does, but waits for no reader; from then on, no line does. Where nobody reads
/// what was said before, lines are left out in the end. Once somebody reads again, it says how many.
pub fn say_if_read(text: &str) {
    voice::hand_over(line(text));
}

/// Waits until what was said is written. Whether it is: nobody may read it.
pub fn is_said() -> bool {
    voice::is_written(READ_WITHIN)
}

/// A line for people.
fn line(text: &str) -> String {
    format!("tmap: {}\n", printable(text))
}

/// A name without characters that steer a terminal or turn the text round.
pub fn printable(name: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let escaped = |c: char| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() };
    name.chars().map(escaped).collect()
}

/// Words of the system for a limit, and what raises it; the first that a message contains count.
const LIMITS: [(&str, &str); 4] = [
    ("Resource temporarily unavailable", "no thread can be started: raise ulimit -u"),
    ("Too many open files in system", "raise the system's limit of open files: sysctl fs.file-max"),
    (TOO_MANY_FILES, "raise the limit of open files, such as ulimit -n"),
    ("File too large", "raise the limit of file sizes: ulimit -f unlimited"),
];

/// The limit whose advice ends with a number.
const TOO_MANY_FILES: &str = "Too many open files";

/// A message with what raises the limit of which it tells, in a run that reads so many captures.
pub fn with_advice(message: String, captures: usize) -> String {
    match LIMITS.iter().find(|(words, _)| message.contains(words)) {
        Some((TOO_MANY_FILES, advice)) => {
            let limit = getrlimit(Resource::Nofile).current.unwrap_or_default();
            format!("{message}; {advice} {}", enough_files(captures, limit))
        }
        Some((_, advice)) => format!("{message}; {advice}"),
        None => message,
    }
}

/// Raises this process's limit of open files as far as it may: many captures and interfaces need more than
/// the 1,024 that are usual.
///
/// # Errors
/// If the system refuses.
pub fn raise_file_limit() -> Result<(), Errno> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
}

/// Open files that are enough for what a run opens beside its captures.
const FILES_BESIDE: u64 = 64;

/// A limit of open files that is worth a try where this one is too low. It is enough where nothing but the
/// captures needs many.
const LOWEST_FILE_LIMIT: u64 = 256;

/// A limit of open files above `limit`, which was reached: as many as the captures need, all of which may be
/// open at once, or twice as many where that is no more.
fn enough_files(captures: usize, limit: u64) -> u64 {
    let asked = (captures as u64).saturating_add(FILES_BESIDE).max(LOWEST_FILE_LIMIT);
    if asked > limit { asked } else { limit.saturating_mul(2) }
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

impl Outcome {
    /// That of a run that told all (`is_complete`) or was ended early, with these warnings.
    fn new(is_complete: bool, warnings: &[String]) -> Self {
        match (is_complete, warnings) {
            (false, _) => Self::Interrupted,
            (true, []) => Self::Fine,
            (true, _) => Self::Warned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{enough_files, printable, with_advice, without_error_codes};

    #[test]
    fn names_steer_nothing() {
        assert_eq!(printable("a\n\u{1b}[31m \u{202e}gnp.pcap ü"), "a\\u{a}\\u{1b}[31m \\u{202e}gnp.pcap ü");
    }

    #[test]
    fn limits_of_the_process_come_with_what_raises_them() {
        let advised = |message: &str| with_advice(message.to_owned(), 1 << 40);
        let many = advised("a.pcap: Too many open files");
        assert!(many.ends_with("; raise the limit of open files, such as ulimit -n 1099511627840"), "{many}");
        let of_all = advised("a.pcap: Too many open files in system");
        assert!(of_all.ends_with("; raise the system's limit of open files: sysctl fs.file-max"), "{of_all}");
        assert_eq!(advised("a.pcap: Permission denied"), "a.pcap: Permission denied");
    }

    #[test]
    fn the_limit_that_is_advised_is_higher_than_the_one_that_was_reached() {
        let cases = [((1, 4), 256), ((1_400, 1_024), 1_464), ((1, 256), 512), ((0, 1_024), 2_048)];
        for ((captures, limit), enough) in cases {
            assert_eq!(enough_files(captures, limit), enough, "{captures} captures, {limit}");
        }
    }

    #[test]
    fn codes_of_errors_are_left_out() {
        assert_eq!(without_error_codes("a: b (os error 2); c (os error 13)"), "a: b; c");
        assert_eq!(without_error_codes("a (b)"), "a (b)");
    }
}
