//! Machines told apart by the phase and the skew of their clocks.

pub mod sample;

pub use super::envelope::Point;
