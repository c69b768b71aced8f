//! Judges of what tmap finds: the known truth, and other programs.
//!
//! By the truth: [`evaluate`] runs the engine and scores it with [`score`] and [`oracle`]; [`tables`]
//! holds the tables of round trips, tunnels and operating systems; [`field`] judges single devices, [`web`]
//! short connections. Other programs: [`tcpdump`], [`tshark`] and [`p0f`].

pub mod evaluate;
pub mod field;
pub mod offset_oracle;
pub mod oracle;
pub mod p0f;
pub mod score;
pub mod tables;
pub mod tcpdump;
pub mod traces;
pub mod tshark;
pub mod web;
