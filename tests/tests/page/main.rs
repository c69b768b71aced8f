//! The page of `tmap report`, opened and used in a real browser.
//!
//! `cargo xtask setup` installs the browser, its driver and axe-core. Without them these tests fail.

mod access;
mod browser;
mod captures;
mod large;
mod look;
mod safety;
mod use_it;
