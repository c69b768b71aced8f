//! The half of the engine that keeps up with the wire: it holds connections and source addresses.
//!
//! Every record costs a bounded and small amount of work here ([`intake`]). The analysis of an address
//! takes longer. It works on a frozen copy of that address's connections ([`FrozenSource`]), on any
//! thread and at any time. [`Flows::analysed`] then takes back the outcome, which decides when the next
//! analysis pass is due.
//!
//! [`evict`] chooses the connection that makes room for a new one.

mod bare_syns;
pub mod connection;
mod evict;
pub mod flow;
mod frozen;
pub mod handshake;
mod handshakes;
mod intake;
pub mod losses;
mod openings;
mod reopening;
mod round_trips;
mod side_key;
mod source;
mod state;
mod sweep;
mod table;
mod turn;
pub mod unstamped;
mod waiting;

pub use bare_syns::BareSyns;
pub use frozen::{Analysed, FrozenSource};
pub use source::{Pace, SourceId};
pub use state::{Flows, Totals};
