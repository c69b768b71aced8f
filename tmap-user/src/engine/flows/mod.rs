//! The half of the engine that keeps up with the wire: connections and source addresses, as they come.
//!
//! Every record costs a bounded and small amount of work here ([`intake`]). What takes longer, the
//! analysis of an address, works on a frozen copy of that address's connections ([`FrozenSource`]),
//! wherever and whenever the caller has time for it; [`Flows::analysed`] then takes back what decides
//! when the next analysis pass is due.
//!
//! [`evict`] says which connection goes where there is no room for a new one.

pub mod connection;
mod evict;
pub mod flow;
mod frozen;
mod intake;
pub mod losses;
mod round_trips;
mod source;
mod state;
mod sweep;
mod table;
mod turn;
pub mod unstamped;

pub use frozen::{Analysed, FrozenSource};
pub use source::{Pace, SourceId};
pub use state::{Flows, Totals};
