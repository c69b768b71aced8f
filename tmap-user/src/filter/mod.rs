//! The filter language of the command line: pcap-filter's words, compiled to a program that the kernel and
//! the file reader run ([`tmap_common::filter`]).
//!
//! ```text
//! text -> lex -> words -> parse -> Expr -> compile -> Program of tests
//! ```
//!
//! The language is a part of pcap-filter(7):
//!
//! | | |
//! |---|---|
//! | directions | `src`, `dst`, `src or dst` (what no direction means), `src and dst` |
//! | addresses | `host A`, a bare `A`, `net A/len`, `net A mask M`, `net 10.1` (v4 and v6) |
//! | ports | `port P`, `portrange A-B`, also as `tcp port P`; P may be the name of a common service |
//! | protocols | `ip`, `ip6`, `tcp`, alone or before `host` and `net`; `proto 6` |
//! | joined by | `and` `&&`, `or` `\|\|` (equal rank, from left to right), `not` `!`, parentheses |
//!
//! A value without its keyword takes the last one: `port 80 or 443`, `host (A or B)`.
//!
//! It adds to pcap-filter: a bare `A` or `A/len` needs no keyword, and `10/8` is 10.0.0.0/8. It lacks names
//! of hosts, and tests of anything but addresses and ports. Other protocols may be named, as in `tcp or udp`,
//! but no segment is of them: a filter that leaves nothing else is an error.

pub mod compile;
pub mod expr;
mod lex;
mod parse;
mod services;

use std::{fmt, ops::Range};

use tmap_common::{
    Segment,
    filter::{self, Test},
};

pub use expr::{Expr, Primitive};

/// A compiled filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    tests: Vec<Test>,
}

impl Program {
    /// Compiles `text`; an empty or blank text accepts everything.
    ///
    /// # Errors
    /// A [`FilterError`] that points at the word that can't be understood, or at the whole where
    /// the program would be longer than [`filter::MAX_TESTS`].
    pub fn new(text: &str) -> Result<Self, FilterError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parsed = parse::parse(text)?;
        let tests = compile::compile(&parsed.expr).map_err(|needed| {
            FilterError::new(
                text,
                0..text.len(),
                format!(
                    "the filter needs {needed} tests, and the limit is {}; join ports to a portrange, \
                     hosts to a net",
                    filter::MAX_TESTS
                ),
            )
        })?;
        match parsed.other_protocol {
            Some(error) if compile::rejects_all(&tests) => Err(error),
            _ => Ok(Self { tests }),
        }
    }

    /// The tests, for the kernel; none where everything is accepted.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Whether the filter accepts the segment.
    #[inline(always)]
    pub fn accepts(&self, segment: &Segment) -> bool {
        self.tests.is_empty() || self.run(segment)
    }

    #[inline(never)]
    fn run(&self, segment: &Segment) -> bool {
        filter::accepts(segment, |index| self.tests.get(usize::from(index)))
    }
}

/// A mistake in a filter, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    text: String,
    at: Range<usize>,
    message: String,
}

impl FilterError {
    fn new(text: &str, at: Range<usize>, message: impl Into<String>) -> Self {
        Self { text: text.to_owned(), at, message: message.into() }
    }
}

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    /// The mistake on one line, then the filter, then carets under the word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.text[..self.at.start].chars().count();
        let marked = self.text[self.at.clone()].chars().count().max(1);
        writeln!(f, "filter: {}", self.message)?;
        // A filter from a file or a shell's here-document may hold line breaks: the carets count on
        // one line.
        let line: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(f, "    {line}")?;
        // A width in a format is at most 65,535.
        write!(f, "    {}{}", " ".repeat(before), "^".repeat(marked))
    }
}

#[cfg(test)]
mod tests;
