//! The real kernel: root's rights, network namespaces, and TCP between them.

pub mod detach;
pub mod namespaces;
pub mod root;
pub mod talk;
