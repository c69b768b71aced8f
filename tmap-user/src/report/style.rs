//! Colours of text reports, where a terminal shows them.

use anstyle::{AnsiColor, Style};

/// The styles of a report: all empty where it isn't coloured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Styles {
    /// Headings.
    pub heading: Style,
    /// Addresses and numbers of machines.
    pub strong: Style,
    /// What limits an answer.
    pub doubt: Style,
    /// Losses and warnings.
    pub alarm: Style,
}

impl Styles {
    /// The styles of a report that is coloured or not.
    pub(crate) fn new(colour: bool) -> Self {
        if !colour {
            return Self::default();
        }
        Self {
            heading: Style::new().underline(),
            strong: Style::new().bold(),
            doubt: AnsiColor::Yellow.on_default(),
            alarm: AnsiColor::Red.on_default().bold(),
        }
    }
}

/// A text in a style. Pad it before: codes take no column, but count as characters.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
