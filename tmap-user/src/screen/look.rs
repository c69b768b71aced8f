//! Colours and other styles: the terminal's own foreground and background, and its eight basic colours,
//! which terminals choose so that they can be read on their background.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether there are colours (`NO_COLOR`).
    pub colour: bool,
    /// Whether pictures are drawn with half blocks, because the terminal's font has no braille.
    pub half_blocks: bool,
}

/// The colours of machines, in the order of their numbers: those hues of the palette of pages and files that
/// terminals have. Black and white would vanish on some terminals, and the darker blue on black.
const MACHINES: [Color; 6] =
    [Color::LightBlue, Color::Red, Color::Green, Color::Magenta, Color::Yellow, Color::Cyan];

impl Look {
    /// Text that matters most.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Text that matters least.
    pub(super) fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The headings of columns.
    pub(super) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    /// What is chosen.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What limits an answer.
    pub(super) fn doubt(self) -> Style {
        if self.colour { Style::new().fg(Color::Yellow) } else { Style::new() }
    }

    /// Losses and warnings.
    pub(super) fn alarm(self) -> Style {
        if self.colour { self.strong().fg(Color::Red) } else { self.strong() }
    }

    /// What is well.
    pub(super) fn fine(self) -> Style {
        if self.colour { Style::new().fg(Color::Green) } else { Style::new() }
    }

    /// A machine's colour.
    pub(super) fn machine(self, number: u32) -> Style {
        match self.colour {
            true => Style::new().fg(machine(number)),
            false => Style::new(),
        }
    }
}

/// The colour of a machine by its number, which begins with 1.
pub(super) fn machine(number: u32) -> Color {
    MACHINES[number.saturating_sub(1) as usize % MACHINES.len()]
}
