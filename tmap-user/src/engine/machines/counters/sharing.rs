//! What a counter that connections share tells of how offsets are drawn.

use tmap_common::Address;

/// Clocks slower than this nearly all have no random offsets. Linux randomises since 4.10, and ticks once
/// per millisecond since 4.13. Windows at 10 and 100 Hz and Solaris never randomised. NetBSD and OpenBSD
/// at 2 Hz are the exception.
const FIRST_RANDOM_HZ: f64 = 1000.0;

/// Up to this rate, clocks are those of BSDs that do randomise.
const LAST_BSD_HZ: f64 = 2.0;

/// Whether clocks of this nominal rate are those of systems that draw offsets at random.
pub(in crate::engine::machines) fn draws_offsets(hz: f64) -> bool {
    hz >= FIRST_RANDOM_HZ || hz <= LAST_BSD_HZ
}

/// A cluster, as far as it shows how offsets are drawn.
#[derive(Clone, Debug)]
pub(in crate::engine::machines) struct Sharing {
    /// Its connections that likely had other addresses and ports than the others where their offset was
    /// drawn.
    pub contacts: Vec<Contact>,
    /// Whether some surely had; likely is enough for clocks of systems that draw no offsets.
    pub is_sure: bool,
}

/// A connection, as far as it tells when the cluster met which peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::machines) struct Contact {
    /// The peer.
    pub peer: Address,
    /// When the connection began, engine time in nanoseconds.
    pub begin_ns: u64,
}
