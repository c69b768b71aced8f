//! How a page was made, so that another one can be made to compare.

use jiff::Timestamp;

use crate::{
    printable,
    report::number::{Calendar, bytes, first_of},
};

/// How a page was made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The command line, word by word.
    pub command: Vec<String>,
    /// The version of tmap.
    pub version: String,
    /// What was read or watched.
    pub sources: Vec<Source>,
    /// When the page was written; `None` where that is of no interest.
    pub written: Option<Timestamp>,
}

/// Something that was read or watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A capture.
    Capture {
        /// Its name as the user gave it.
        name: String,
        /// Its length in bytes; `None` for a stream, which can be read only once.
        bytes: Option<u64>,
        /// The SHA-256 of its bytes in hexadecimal digits; `None` for a stream.
        sha256: Option<String>,
    },
    /// An interface.
    Interface(String),
}

/// Shell words that need no quotes consist of these and of letters and digits.
const PLAIN: &str = "-_./,:=@%+";

/// The most names in the heading; the others are only counted.
const MAX_NAMES: usize = 3;

impl Made {
    /// For a run of this command line.
    pub fn new(command: &[String]) -> Self {
        let command = command.iter().map(|word| printable(word)).collect();
        Self { command, version: env!("CARGO_PKG_VERSION").to_owned(), ..Self::default() }
    }

    /// The command line as a shell takes it.
    pub(super) fn command_line(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }

    /// The names of what was read or watched, in short: `a.pcap, b.pcap and 3 more`.
    pub(super) fn names(&self) -> String {
        if self.sources.is_empty() {
            return "nothing".to_owned();
        }
        let names: Vec<&str> = self.sources.iter().map(Source::name).take(MAX_NAMES).collect();
        first_of(&names, self.sources.len())
    }

    /// When the page was written, local time.
    pub(super) fn written(&self, calendar: &Calendar<'_>) -> Option<String> {
        let written = self.written?.to_zoned(calendar.zone.clone());
        Some(written.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
    }
}

impl Source {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Capture { name, .. } | Self::Interface(name) => name,
        }
    }

    /// What it is, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Capture { .. } => "capture",
            Self::Interface(_) => "interface",
        }
    }

    /// Its length.
    pub(super) fn size(&self) -> String {
        match self {
            Self::Capture { bytes: Some(length), .. } => bytes(*length),
            Self::Capture { .. } => "a stream".to_owned(),
            Self::Interface(_) => String::new(),
        }
    }

    /// Its SHA-256, or why there is none.
    pub(super) fn hash(&self) -> &str {
        match self {
            Self::Capture { sha256: Some(hash), .. } => hash,
            Self::Capture { .. } => "none: a stream can be read only once",
            Self::Interface(_) => "none: live traffic",
        }
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || PLAIN.contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_given_to_a_shell_again() {
        let command = ["tmap", "report", "it's a.pcap", "--filter", "src net 10.0.0.0/8", ""];
        let made = Made { command: command.map(str::to_owned).to_vec(), ..Made::default() };
        assert_eq!(made.command_line(), r"tmap report 'it'\''s a.pcap' --filter 'src net 10.0.0.0/8' ''");
    }

    #[test]
    fn many_names_are_counted() {
        let named = |count: usize| Made {
            sources: (0..count).map(|n| Source::Interface(format!("eth{n}"))).collect(),
            ..Made::default()
        };
        assert_eq!(named(2).names(), "eth0, eth1");
        assert_eq!(named(5).names(), "eth0, eth1, eth2 and 2 more");
        assert_eq!(named(0).names(), "nothing");
    }

    #[test]
    fn names_steer_nothing() {
        assert_eq!(Made::new(&["\u{7}".to_owned()]).command, ["\\u{7}"]);
    }
}
