//! How progress bars look.

use indicatif::{ProgressBar, ProgressStyle};

/// Of the last analysis; the prefix follows.
pub(crate) const ANALYSING: &str = "analysing [{bar:20}] {pos} of {len} addresses, {eta} left{prefix}";

/// Gives a bar the look that all have, and what it tells.
pub(crate) fn set_template(bar: &ProgressBar, template: &str) {
    // A template that isn't understood leaves the bar as it was.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}
