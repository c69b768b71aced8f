//! Tests of the `tmap` command: what it prints, what it refuses, how it ends.

mod damaged;
mod filter;
mod live;
mod plot;
mod published;
mod read;
mod rtt;
mod schema;
mod shards;
mod siblings;
mod top;
mod unstamped;
mod view;
