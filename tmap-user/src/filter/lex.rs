//! The lexer of filters, from text to words.

use std::ops::Range;

/// A word of the filter and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// The word itself: a keyword, a value, `(`, `)`, `!`, `&&` or `||`.
    pub text: &'a str,
    /// Its position in the text, in bytes.
    pub at: Range<usize>,
}

/// Splits at white space and around the operators that need none.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if rest.starts_with("&&") || rest.starts_with("||") {
            2
        } else if is_operator(first) {
            first.len_utf8()
        } else {
            rest.find(|c: char| c.is_whitespace() || is_operator(c)).unwrap_or(rest.len())
        };
        words.push(Word { text: &rest[..length], at: at..at + length });
        at += length;
    }
    words
}

fn is_operator(c: char) -> bool {
    matches!(c, '(' | ')' | '!' | '&' | '|')
}
