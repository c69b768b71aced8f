//! What goes to analysis and what comes back: frozen copies of source addresses, and which are due.

use tmap_common::Address;

use super::{
    connection::Connection,
    source::{PASS_INTERVAL_NS, PASS_INTERVAL_PER_CONNECTION_NS, Pace, SPARSE_GROWTH, SourceId},
    state::Flows,
    table::flag,
    unstamped::Unstamped,
};
use crate::engine::types::Depth;

/// How many tracks one review sorts by phase at the most (one source's always): the looks of many
/// sources are spread over many reviews.
const REVIEW_TRACKS: usize = 512;

/// How many connections one review has looked at, at the most (one source's always): analysing one
/// takes some microseconds.
const REVIEW_CONNECTIONS: usize = 1 << 16;

/// How far ahead connections are fetched that are about to be copied.
const FREEZE_AHEAD: usize = 6;

/// A copy of all that analysis needs to know of an address.
#[derive(Debug)]
pub struct FrozenSource {
    /// Which one.
    pub id: SourceId,
    /// The address.
    pub address: Address,
    /// Connections ever seen.
    pub connections_total: u64,
    /// Segments with TSval 0.
    pub zero_tsvals: u64,
    /// What was opened without time stamps, if anything.
    pub unstamped: Option<Unstamped>,
    /// Whether a look now could tell more than the last one did.
    pub stale: bool,
    /// Connections remembered, open and finished, the oldest first.
    pub connections: Vec<Connection>,
}

/// What a look found, as far as it decides about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Analysed {
    /// At which source.
    pub id: SourceId,
    /// How deep the look was; `None` if there was none.
    pub depth: Option<Depth>,
    /// Offsets that only phase can sort.
    pub random_offsets: usize,
    /// The source's `connections_total` at the time.
    pub connections_total: u64,
}

impl Flows {
    /// The sources to be looked at now, and how deep: those that changed, the longest waiting first, as
    /// many as one review may take.
    pub fn due(&mut self, now_ns: u64) -> Vec<(SourceId, Depth)> {
        let (sources, pace) = (&mut self.sources, self.pace);
        let mut due = Vec::new();
        self.changed.retain(|&id| {
            let source = &mut sources[id as usize];
            source.listed = source.dirty;
            due.extend(source.due(now_ns, pace).map(|(depth, tracks)| (id, depth, tracks)));
            source.dirty
        });
        due.sort_unstable_by_key(|&(id, ..)| {
            (sources[id as usize].next_pass_ns, sources[id as usize].address)
        });
        if pace == Pace::Sparse {
            // Nobody waits: the few looks that there are may take what they take.
            return due.into_iter().map(|(id, depth, _)| (id, depth)).collect();
        }
        let (mut tracks_left, mut connections_left) = (REVIEW_TRACKS, REVIEW_CONNECTIONS);
        due.retain(|&(id, _, tracks)| {
            if connections_left == 0 || (tracks > tracks_left && tracks_left < REVIEW_TRACKS) {
                return false;
            }
            tracks_left = tracks_left.saturating_sub(tracks);
            connections_left = connections_left.saturating_sub(sources[id as usize].connections.len());
            true
        });
        due.into_iter().map(|(id, depth, _)| (id, depth)).collect()
    }

    /// All sources, the ones with most connections first.
    pub fn by_size(&self) -> Vec<SourceId> {
        let mut ids: Vec<SourceId> = (0..self.sources.len() as SourceId).collect();
        ids.sort_unstable_by_key(|&id| {
            let source = &self.sources[id as usize];
            (std::cmp::Reverse(source.connections_total), source.address)
        });
        ids
    }

    /// A copy of a source for analysis; what changes from now on makes the source due again.
    pub fn freeze(&mut self, id: SourceId) -> FrozenSource {
        let source = &mut self.sources[id as usize];
        let stale = source.dirty || (source.random_offsets > 0 && source.phased_at.is_none());
        source.dirty = false;
        source.void = false;
        source.pressed = false;
        source.frozen_at = source.connections_total;
        // What is asked for here is there when the connection's turn comes.
        let ahead = source.connections.iter().skip(FREEZE_AHEAD);
        let ahead = ahead.map(Some).chain(std::iter::repeat(None));
        let far_ahead = source.connections.iter().skip(2 * FREEZE_AHEAD);
        let far_ahead = far_ahead.map(Some).chain(std::iter::repeat(None));
        let connections =
            source.connections.iter().zip(ahead.zip(far_ahead)).map(|(member, (next, later))| {
                if let Some(member) = later {
                    self.table.prefetch(member.place);
                }
                if let Some(member) = next {
                    self.table.prefetch_all(member.place);
                }
                self.table.set(member.place, flag::TOLD, false);
                Connection::new(self.table.key(member.place), self.table.copy(member.place), member.serial)
            });
        FrozenSource {
            id,
            address: source.address,
            connections_total: source.connections_total,
            zero_tsvals: source.zero_tsvals,
            unstamped: self.unstamped.of(source.address),
            stale,
            connections: connections.collect(),
        }
    }

    /// Takes note of what a look found.
    pub fn analysed(&mut self, analysed: Analysed, now_ns: u64) {
        let Some(depth) = analysed.depth else {
            self.mark(analysed.id);
            return;
        };
        let source = &mut self.sources[analysed.id as usize];
        if !source.void {
            source.random_offsets = analysed.random_offsets as u32;
        }
        if depth == Depth::Phases {
            source.phased_at = Some(analysed.connections_total);
        }
        let remembered = source.connections.len() as u64;
        let interval_ns = PASS_INTERVAL_NS + remembered * PASS_INTERVAL_PER_CONNECTION_NS;
        // Times of a damaged file can be anything.
        let watched_ns = now_ns.saturating_sub(source.born_ns);
        source.next_pass_ns = now_ns.saturating_add(match self.pace {
            Pace::Prompt => interval_ns,
            Pace::Sparse => interval_ns.max(watched_ns.saturating_mul(SPARSE_GROWTH - 1)),
        });
    }
}
