//! Lines and cells of text that fit their room: a word is never cut, and what is left out has a sign.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use crate::report::fold;

/// The columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// A text that fits so many columns: where it is too long, its last words give way to a sign.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let kept: String = text.chars().take(room).collect();
    let ends_a_word = text.chars().nth(room).is_some_and(|next| next == ' ');
    let kept = match kept.rfind(' ') {
        Some(at) if !ends_a_word => kept[..at].trim_end().to_owned(),
        _ => kept.trim_end().to_owned(),
    };
    if columns == 0 { String::new() } else { format!("{kept}…") }
}

/// A text at the left of so many columns.
pub(super) fn left(text: &str, columns: usize) -> String {
    format!("{:columns$}", fit(text, columns))
}

/// A text at the right of so many columns.
pub(super) fn right(text: &str, columns: usize) -> String {
    format!("{:>columns$}", fit(text, columns))
}

/// Lines that are folded at spaces to fit so many columns.
pub(super) fn folded(text: &str, columns: usize) -> Vec<String> {
    fold::fold_to(text, columns.max(8)).lines().map(|line| fit(line, columns)).collect()
}

/// Words with styles in one line, as many from the front as fit, each after a gap.
pub(super) fn row(words: &[(String, Style)], gap: &str, columns: usize) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (word, style) in words.iter().filter(|(word, _)| !word.is_empty()) {
        let gap = if spans.is_empty() { "" } else { gap };
        if used + width(gap) + width(word) > columns {
            break;
        }
        used += width(gap) + width(word);
        spans.push(Span::raw(gap.to_owned()));
        spans.push(Span::styled(word.clone(), *style));
    }
    Line::from(spans)
}

/// A number in a narrow column: `12345`, `123k`, `1.2M`.
pub(super) fn compact(value: f64) -> String {
    match value {
        v if v < 9.95 && v > 0.0 && v.fract() > 0.05 => format!("{v:.1}"),
        v if v < 99_999.5 => format!("{v:.0}"),
        v if v < 999_500.0 => format!("{:.0}k", v / 1e3),
        v if v < 99_950_000.0 => format!("{:.1}M", v / 1e6),
        v => format!("{:.0}M", v / 1e6),
    }
}

/// A bar of so many columns, of which `share` (0 to 1) is filled to an eighth of a column.
pub(super) fn bar(share: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let text = format!("{}{}", "█".repeat(full), EIGHTHS[rest]);
    format!("{text:columns$}")
}

/// The last values as a row of small bars, one a column, from 0 to the largest.
pub(super) fn sparkline(values: &[f64], columns: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    let level = |value: f64| match most {
        0.0 => 0,
        most => ((value / most * 7.0).round() as usize).min(7),
    };
    shown.iter().map(|value| if *value > 0.0 { LEVELS[level(*value)] } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_never_cut() {
        assert_eq!(fit("offsets are random", 18), "offsets are random");
        assert_eq!(fit("offsets are random", 17), "offsets are…");
        assert_eq!(fit("offsets are random", 12), "offsets are…");
        assert_eq!(fit("offsets are random", 11), "offsets…");
        assert_eq!(fit("198.51.100.100", 8), "198.51.…");
        assert_eq!((fit("word", 1).as_str(), fit("word", 0).as_str()), ("…", ""));
    }

    #[test]
    fn figures_fit_narrow_columns() {
        let all = [0.0, 0.4, 12.3, 99_999.0, 123_456.0, 1_234_567.0, 999_999_999.0];
        assert_eq!(all.map(compact), ["0", "0.4", "12", "99999", "123k", "1.2M", "1000M"]);
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(
            [0.0, 0.5, 0.53, 1.0, 7.0].map(|share| bar(share, 4)),
            ["    ", "██  ", "██▏ ", "████", "████"]
        );
        assert_eq!(sparkline(&[9.0, 0.0, 1.0, 2.0], 3), " ▅█");
    }
}
