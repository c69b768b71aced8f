//! Lines folded at spaces, so that they fit a terminal: one of 80 columns, unless its width is known.

/// The columns of a text report.
pub(super) const COLUMNS: usize = 80;

/// How much further than its first line the others of a folded line are indented.
const HANG: usize = 2;

/// Folds every line of `text` that is longer than [`COLUMNS`]. A figure stays with its unit. A word that is
/// longer than a line stays whole.
pub(super) fn fold(text: &str) -> String {
    fold_to(text, COLUMNS)
}

/// Folds every line of `text` that is longer than so many columns, as [`fold`] does.
pub(crate) fn fold_to(text: &str, columns: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 40);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        if width(bare) <= columns || bare.starts_with("warning: ") {
            out.push_str(line);
            continue;
        }
        fold_line(&mut out, bare, columns);
        out.push_str(&line[bare.len()..]);
    }
    out
}

fn fold_line(out: &mut String, line: &str, columns: usize) {
    let indent = line.len() - line.trim_start().len();
    // A numbered line goes on under its text.
    let hang = if shown(line.trim_start()).next() == Some('#') { 4 } else { HANG };
    out.push_str(&line[..indent]);
    let mut at = indent;
    let mut is_first = true;
    for piece in pieces(&line[indent..]) {
        let length = width(piece.trim_end());
        if !is_first && at + length > columns {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent + hang));
            at = indent + hang;
        }
        out.push_str(piece);
        at += width(piece);
        is_first = false;
    }
}

/// The pieces between which a line may be broken, each with the spaces after it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(' ') {
        let (before, after) = (&text[start..at], &text[at + 1..]);
        let next = after.split(' ').next().unwrap_or_default();
        let last = before.rsplit(' ').next().unwrap_or_default();
        let is_unit = ["%", "±", "ppm", "Hz", "s", "ms", "min", "h", "days", "MHz"]
            .iter()
            .any(|unit| next.trim_end_matches([',', ';', '.', ')', ':']) == *unit);
        if !after.starts_with(' ') && !is_unit && last != "±" && !last.is_empty() {
            pieces.push(&text[start..=at]);
            start = at + 1;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// The columns that a text takes, without the codes of colours.
pub(crate) fn width(text: &str) -> usize {
    shown(text).count()
}

/// What is seen of a text: all but the codes of colours.
fn shown(text: &str) -> impl Iterator<Item = char> {
    let mut is_in_code = false;
    text.chars().filter(move |&c| {
        let is_code = is_in_code || c == '\u{1b}';
        is_in_code = is_code && c != 'm';
        !is_code
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_at_spaces_and_figures_stay_whole() {
        let long = format!("  #1  {} 12.5 ± 0.3 ppm; end\nshort\n", "x".repeat(60));
        let folded = fold(&long);
        assert_eq!(folded, format!("  #1  {}\n      12.5 ± 0.3 ppm; end\nshort\n", "x".repeat(60)));
        let words = "word ".repeat(60);
        assert!(fold(&words).lines().all(|line| width(line) <= COLUMNS));
        let one = "y".repeat(100);
        assert_eq!(fold(&one), one);
        assert_eq!(width("\u{1b}[1mbold\u{1b}[0m"), 4);
    }
}
