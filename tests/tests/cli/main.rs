//! Tests of the `tmap` command: what it prints, what it refuses, how it ends.

mod damaged;
mod examples;
mod filter;
mod interrupt;
mod limits;
mod live;
mod no_packets;
mod nonblocking;
mod out_of_order;
mod panics;
mod plot;
mod published;
mod read;
mod report;
mod rtt;
mod sandbox;
mod schema;
mod screen;
mod shards;
mod siblings;
mod siege;
mod silent;
mod top;
mod unstamped;
mod view;
