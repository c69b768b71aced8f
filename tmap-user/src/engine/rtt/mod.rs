//! Round-trip times from TSval and TSecr, passively (RFC 7323, section 4; Nichols' `pping`).
//!
//! The first segment that carries a TSval in one direction and asks for an answer is matched to the
//! first that echoes it in the other. The time between them is the round trip from the sensor to
//! the answering host and back. With the sensor in the middle, each direction gives its own half,
//! and the halves add up to the whole path. On an end host, one half is only the host itself.
//! # What counts, and what doesn't
//!
//! Doubtful cases are decided so that a sample isn't below the true round trip. Where it could be far
//! above, there is no sample. Each case has a counter in [`Counts`].
//!
//! - Only segments that *ask for an answer* start a measurement: data, SYN, FIN. A bare
//!   acknowledgement is echoed whenever the peer next sends something, which may be minutes later
//!   ([`Counts::unasked`]; [`Options::quiet`] takes these, too). A keep-alive probe without data looks
//!   like a bare acknowledgement, and so starts no measurement.
//! - *Data under the TSval of a bare acknowledgement*, sent before it in the same tick: the data is
//!   answered, so the time runs from it. But the peer echoes either, and data that it happens to send may
//!   echo the bare acknowledgement while ours is still on its way: that would be a sample far too short. So
//!   the echo has to be a bare acknowledgement itself (only data, SYN and FIN are acknowledged), or the
//!   peer has to have been silent since, or the sample may not be below the shortest that is beyond doubt.
//!   Else the time runs from the bare acknowledgement where that makes little difference, and there is no
//!   sample where it does.
//! - TSecr counts only with ACK, and not in a RST. TSval 0 is no clock, and TSecr 0 no echo.
//! - An acknowledgement may cover several segments: RFC 7323 echoes the earliest of them, and the
//!   TSvals passed over are never echoed ([`Counts::passed_over`]). The sample includes the time for
//!   which a receiver delays an acknowledgement (RFC 9293: up to 0.5 s, usually 40 to 200 ms). The
//!   smallest value and the lower quantiles are free of it.
//! - *Retransmission*: a repeated segment carries a new TSval, so its echo is as good as any
//!   (this is why the option exists: Karn's problem doesn't arise). The echo is ambiguous where the
//!   TSval didn't change: repeated after a newer one was seen (a stack that resends the old time
//!   stamp), or after a timeout's length (a clock of some Hz). Such a TSval gives no sample
//!   ([`Counts::ambiguous`]).
//! - A repeated echo is not a sample, nor is an echo that comes after a newer one
//!   ([`Counts::late_echoes`]).
//! - A TSval that isn't echoed within [`Options::expire_ns`] is dropped ([`Counts::expired`]): a later
//!   echo would contain the application's time.
//! - A direction that the sensor doesn't see gives no samples; [`Report::one_way`] counts such
//!   connections.
//! - *Across a NAT*: where each direction was seen under other addresses (`-i lan,wan` on a NAT router), a
//!   SYN-ACK is joined to the SYN whose TSval it echoes, if one end is the same ([`Counts::translated`]).
//!   Connections that were open before stay one-way.
//! - *Two clocks*, one for each direction, as at a tap with two ports: where they differ, echoes come before
//!   what they echo ([`Counts::disordered`]). Where many do, no round trip of such a connection is right
//!   ([`Report::two_clocks`]). Smaller differences are not told.
//! - *Two places*: where each segment was captured at two places, it comes again later, with another hop
//!   limit, or as a SYN that nobody can have sent again so soon. No round trip of such a connection is that
//!   of either place ([`Report::two_places`]).
//! - With clocks coarser than the round trip, all segments of a tick share its TSval; the first counts.
//!
//! # What the host itself computes
//!
//! TCP on the answering host measures round trips, too: its present TSval minus its own earlier TSval,
//! which the segment that it answers has echoed. tmap shows that figure beside the network's round trip:
//! in the host's ticks, and as a time once the host's tick rate is known.
//!
//! Example: a server's segment at 1.282 s (TSval 1965828, TSecr 1957100) is answered at 1.313 s by the
//! client (TSval 1957200, TSecr 1965828). The round trip from the sensor to the client and back took
//! 31 ms. But the client last received an echo of its own TSval 1957100, which is 100 ticks old. At
//! 1 kHz, its TCP computes a round trip of 100 ms. The difference is the way to the server and back, the
//! time that the server's application took to answer, the time for which either end delayed an
//! acknowledgement, and up to a tick at each end. The host's figure sets its retransmission timeout; the
//! network's figure shows the quality of the path.
//!
//! # Cost
//!
//! Each record costs one look-up in a table of its own, because both directions of a connection are in
//! one entry, while the flow table has an entry per direction. `tmap live` and `tmap read` don't have
//! the table, so they pay nothing. All memory is bounded by [`Options`].

pub mod clock_directory;
mod connection;
pub mod distribution;
mod early;
mod engine;
mod evict;
pub mod half_connection;
mod nat;
mod notable;
mod options;
mod order;
pub mod paws;
mod queues;
pub mod report;
mod reporting;
mod sample;
mod sights;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod two_clocks;
mod two_places;

pub use engine::{News, RttEngine};
pub use options::Options;
pub use report::{Interval, Prefix, Report};
pub use sample::{Counts, Sample};
