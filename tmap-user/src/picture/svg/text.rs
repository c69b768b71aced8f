//! Words in SVG, and how wide they are.

use std::fmt::Write as _;

/// The size of most words, in pixels.
pub(super) const SIZE: f64 = 13.0;

/// The size of titles, in pixels.
pub(super) const TITLE_SIZE: f64 = 17.0;

/// Which part of the words is at their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How words look.
pub(super) struct Words<'a> {
    pub(super) size: f64,
    pub(super) is_bold: bool,
    pub(super) fill: &'a str,
}

impl<'a> Words<'a> {
    /// Words of the usual size.
    pub(super) fn plain(fill: &'a str) -> Self {
        Words { size: SIZE, is_bold: false, fill }
    }

    /// Writes words.
    pub(super) fn at(&self, out: &mut String, x: f64, y: f64, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let size = if self.size == SIZE { String::new() } else { format!(" font-size=\"{}\"", self.size) };
        let bold = if self.is_bold { " font-weight=\"bold\"" } else { "" };
        let (fill, text) = (self.fill, escaped(text));
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor}{size}{bold} fill=\"{fill}\">{text}</text>"
        );
    }
}

/// Text as XML holds it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The width of words in pixels, for a wide font such as DejaVu Sans: rather too much than too little.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | ' ' | '\'' | '|' => 0.33,
            'f' | 't' | 'r' | '(' | ')' | '-' | '/' | 'I' => 0.42,
            'm' | 'w' | 'M' | 'W' | '%' | '#' | '+' | '±' => 0.90,
            c if c.is_uppercase() => 0.72,
            _ => 0.64,
        })
        .sum();
    em * size
}

/// Words that are no wider than `most` pixels; what is cut is said by an ellipsis.
pub(super) fn cut(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept, size) + size > most {
            break;
        }
    }
    kept.pop();
    kept.trim_end().to_owned() + "…"
}

/// Words in lines that are no wider than `most` pixels.
pub(super) fn wrapped(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line, size) + width(" ", size) + width(word, size) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, size, most)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_wrapped_to_a_width() {
        let text = "Phase of 1,234 connections at 1000 Hz; 17 more too uncertain to draw";
        let lines = wrapped(text, SIZE, 200.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| width(line, SIZE) <= 200.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        let short = cut(text, SIZE, 100.0);
        assert!(short.ends_with('…') && width(&short, SIZE) <= 101.0, "{short}");
        assert_eq!(cut("short", SIZE, 100.0), "short");
    }

    #[test]
    fn nothing_escapes() {
        assert_eq!(escaped("a<b>&\"c\"\n"), "a&lt;b&gt;&amp;&quot;c&quot; ");
    }
}
