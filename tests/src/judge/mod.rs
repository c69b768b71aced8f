//! Judges of what tmap finds: the known truth, and other programs.
//!
//! By the truth: [`evaluate`] runs the engine and scores it with [`score`] and [`oracle`]; [`tables`]
//! holds the tables of round trips, tunnels and operating systems; [`field`] judges single devices, [`web`]
//! short connections, and [`labels`] captures with a list of machines ([`truth_list`]). By the capture
//! alone: [`offsets`] computes what connections share without any of tmap's code. Without any truth:
//! [`summary`] says what holds of every summary. Other programs: [`tcpdump`], [`tshark`] and [`p0f`].

mod count_oracle;
pub mod evaluate;
pub mod field;
pub mod labels;
pub mod offset_oracle;
pub mod offsets;
pub mod oracle;
pub mod p0f;
mod port_oracle;
pub mod score;
pub mod summary;
pub mod tables;
pub mod tcpdump;
pub mod traces;
pub mod truth_list;
pub mod tshark;
pub mod web;
