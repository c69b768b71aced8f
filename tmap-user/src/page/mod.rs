//! The page: everything that a run found, as one HTML file that loads nothing else.
//!
//! ```text
//! Summary, Events, Made -> sentences (words), rows (overview), addresses, accounting -> page.html
//! ```
//!
//! This room is pure, as `report` is. Its wording is that of the text reports. Every list has a bound, and
//! what a bound leaves out is counted on the page.

mod accounting;
mod address;
mod colours;
mod events;
mod figures;
mod layout;
mod machine;
mod made;
mod overview;
mod words;

use jiff::tz::TimeZone;

pub use events::Events;
pub use made::{Made, Source};

use crate::report::{Summary, number::Calendar};

/// The page of a run: what was found, what happened meanwhile, and how it was made. Times are local in
/// `zone`.
pub fn html(summary: &Summary, events: &Events, made: &Made, zone: &TimeZone) -> String {
    let calendar = Calendar { wall: summary.wall, zone };
    layout::page(summary, events, made, &calendar)
}
