//! The screen of `tmap top`.
//!
//! ```text
//! live's or read's loop -- Feed --> App -- draw --> terminal
//!                      <--- Ask --- App <-- keys --'
//! ```
//!
//! [`App`] and [`draw`] are pure: what is shown follows from what was fed and which keys came. The terminal,
//! and the thread that owns it, are at the edge, in [`terminal`] and [`session`]. The loop that takes records
//! in never waits for them.

pub mod app;
pub mod chart;
mod events;
pub mod feed;
mod keys;
mod look;
mod ranking;
pub mod save;
pub mod session;
pub mod spent;
pub mod terminal;
mod text;
mod typed;
mod view;

pub use app::{App, Setup};
pub use feed::{Ask, Feed};
pub use view::draw;
