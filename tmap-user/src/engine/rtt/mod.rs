//! Round-trip times from TSval and TSecr, passively (RFC 7323, section 4; Nichols' `pping`).
//!
//! The first segment that carries a TSval in one direction is matched to the first that echoes it
//! in the other. The time between them is the round trip from the sensor to the answering host and
//! back: with the sensor in the middle, each direction gives its own half, and the halves add up to
//! the whole path. On an end host one half is nothing but the host itself.
//!
//! # What counts, and what doesn't
//!
//! Every doubt is decided so that a sample is never below the true round trip, and is left out
//! where it could be far above it. Each case has a counter in [`Counts`].
//!
//! - Only segments that *ask for an answer* start a measurement: data, SYN, FIN. A bare
//!   acknowledgement is echoed whenever the peer next has something to say, which may be minutes
//!   later ([`Counts::unasked`]; [`Options::quiet`] takes these, too). A keep-alive probe without
//!   data looks like a bare acknowledgement, and so starts none.
//! - TSecr counts only with ACK, and not in a RST; TSval 0 is no clock and TSecr 0 no echo.
//! - An acknowledgement may cover several segments: RFC 7323 echoes the earliest of them, and the
//!   TSvals passed over are never echoed ([`Counts::passed_over`]). The time that a receiver holds an
//!   acknowledgement back (RFC 9293: up to 0.5 s, usually 40 to 200 ms) is in the sample. The
//!   smallest and the lower quantiles are free of it.
//! - *Retransmission*: a repeated segment carries a new TSval, so its echo is as good as any
//!   (this is why the option exists: Karn's problem doesn't arise). It is ambiguous where the TSval
//!   didn't change: repeated after a newer one was seen (a stack that resends the old stamp), or
//!   after a timeout's length (a clock of some Hz). Such a TSval gives no sample
//!   ([`Counts::ambiguous`]).
//! - A repeated echo is not a sample, nor is one that comes after a newer one
//!   ([`Counts::late_echoes`]).
//! - A TSval that isn't echoed within [`Options::expire_ns`] is forgotten: later echoes are the
//!   application's time.
//! - A direction that the sensor doesn't see gives no samples; [`Report::one_way`] says so.
//! - Clocks coarser than the round trip: all segments of a tick share its TSval, the first counts.
//!
//! # What the host itself computes
//!
//! TCP on the answering host measures, too: its TSval now, less the TSval of its own that the
//! segment just answered had echoed. tmap shows it beside the network's round trip, in the host's
//! ticks, and in time once it knows the host's tick rate. Example: a server's segment at 1.282 s
//! (TSval 1965828, TSecr 1957100) is answered at 1.313 s by the client (TSval 1957200, TSecr
//! 1965828). From the sensor to the client and back took 31 ms. But the client last heard its own
//! TSval 1957100, 100 ticks ago: at 1 kHz its TCP takes the round trip for 100 ms. The difference is
//! the way to the server and back, the time that the server's application took to answer, the
//! time that either end held an acknowledgement back, and up to a tick at each end. So the host's
//! figure is the one that sets its retransmission timeout, and the network's is the one to judge a
//! path by.
//!
//! # Cost
//!
//! One look-up per record in a table of its own: both directions of a connection stand in one
//! entry, whereas the clock engine keeps each direction by itself. `tmap live` and `tmap read` don't
//! make the table and pay nothing. All memory is bounded by [`Options`].

pub mod clock_directory;
mod connection;
pub mod distribution;
mod engine;
mod options;
mod order;
pub mod paws;
pub mod report;
mod reporting;
mod sample;
pub mod side;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use engine::{News, RttEngine};
pub use options::Options;
pub use report::{Interval, Prefix, Report};
pub use sample::{Counts, Sample};
