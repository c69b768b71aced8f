//! Tests of the library: what is found against what is true, golden tables, properties.

mod captures;
mod crowded;
mod decimation;
mod evaluation;
mod few_clocks;
mod field;
mod fuzz;
mod handshakes;
mod hurry;
mod invariants;
mod p0f;
mod page;
mod phase;
mod plot;
mod ports;
mod repeats;
mod report;
mod restored_vm;
mod screen;
mod siblings;
mod siege;
mod streaming;
mod suppress;
mod tables;
mod tidy;
mod tunnels;
