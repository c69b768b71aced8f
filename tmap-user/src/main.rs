//! The `tmap` command.

fn main() {}
