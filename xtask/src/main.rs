//! tmap's chores.
fn main() {}
