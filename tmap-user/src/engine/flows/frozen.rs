//! The interface to analysis: frozen copies of source addresses, which of them are due, and the outcome.

use tmap_common::Address;

use super::{
    connection::Connection,
    handshake::Handshake,
    source::{PASS_INTERVAL_NS, PASS_INTERVAL_PER_CONNECTION_NS, Pace, SPARSE_GROWTH, SourceId},
    state::Flows,
    table::flag,
    unstamped::Unstamped,
};
use crate::engine::types::Depth;

/// The most tracks that one review analyses by phase (one source's always): the passes over many sources
/// are spread over many reviews.
const REVIEW_TRACKS: usize = 512;

/// The most connections that one review analyses (one source's always): one connection takes some
/// microseconds.
const REVIEW_CONNECTIONS: usize = 1 << 16;

/// How many connections ahead of the one being copied are prefetched.
const FREEZE_AHEAD: usize = 6;

/// A copy of all that analysis needs of a source address.
#[derive(Debug)]
pub struct FrozenSource {
    /// The source's number.
    pub id: SourceId,
    /// The address.
    pub address: Address,
    /// How many sources had that number before.
    pub life: u32,
    /// Connections ever seen.
    pub connections_total: u64,
    /// Connections that were evicted before any pass, though they showed something. Live, those that were
    /// evicted during a pass are among them.
    pub unseen: u64,
    /// At most so many connections are others that go on, which were evicted before: they began without a
    /// handshake.
    pub begun_again: u64,
    /// Segments with TSval 0.
    pub zero_tsvals: u64,
    /// Connections opened without time stamps; `None` where there are none.
    pub unstamped: Option<Unstamped>,
    /// When the first record of all came, engine time in nanoseconds.
    pub began_ns: u64,
    /// Whether a new pass could find more than the last one did.
    pub stale: bool,
    /// Connections held, open and finished, the oldest first.
    pub connections: Vec<Connection>,
}

/// The outcome of an analysis pass, as far as it decides when the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Analysed {
    /// The source's number.
    pub id: SourceId,
    /// How many sources had that number before it: it may be another one's by now.
    pub life: u32,
    /// The depth of the pass; `None` if there was no pass.
    pub depth: Option<Depth>,
    /// Random offsets, which only a pass by phase can assign.
    pub random_offsets: usize,
    /// The source's `connections_total` when it was frozen.
    pub connections_total: u64,
}

impl Flows {
    /// The sources to be analysed now, with the depth of the pass: those that changed, the longest waiting
    /// first, as many as one review may take.
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
            // Nobody waits for the few passes, so they are not limited.
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
        // A long pass comes last, so that it delays no other address.
        due.sort_by_key(|&(.., tracks)| tracks);
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

    /// The sources of a snapshot: that of one address, or all of them, the ones with most connections first.
    pub fn within(&self, only: Option<Address>) -> Vec<SourceId> {
        match only {
            Some(address) => self.ids.get(&address).copied().into_iter().collect(),
            None => self.by_size(),
        }
    }

    /// Copies a source for analysis. Later changes make the source due again.
    pub fn freeze(&mut self, id: SourceId) -> FrozenSource {
        let source = &mut self.sources[id as usize];
        let stale = source.dirty || (source.random_offsets > 0 && source.phased_at.is_none());
        source.dirty = false;
        source.void = false;
        source.pressed = false;
        source.frozen_at = source.connections_total;
        // Prefetched lines are in the cache when the connection's turn comes.
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
                let handshake = Handshake::of(&self.table, member.place);
                let of_table = self.table.copy(member.place);
                let key = self.table.key(member.place);
                let peers_opening = self.table.peers_opening(member.place);
                Connection::new(key, of_table, member.serial, handshake, peers_opening)
            });
        FrozenSource {
            id,
            address: source.address,
            life: source.life,
            connections_total: source.connections_total,
            unseen: source.unseen,
            begun_again: source.begun_again,
            zero_tsvals: source.zero_tsvals,
            unstamped: self.unstamped.of(source.address),
            began_ns: self.began_ns.unwrap_or_default(),
            stale,
            connections: connections.collect(),
        }
    }

    /// Takes back the outcome of a pass, and schedules the next one.
    pub fn analysed(&mut self, analysed: Analysed, now_ns: u64) {
        if self.sources[analysed.id as usize].life != analysed.life {
            return;
        }
        let Some(depth) = analysed.depth else {
            self.mark(analysed.id);
            return;
        };
        let source = &mut self.sources[analysed.id as usize];
        source.analysed_at = analysed.connections_total;
        if !source.void {
            source.random_offsets = analysed.random_offsets as u32;
        }
        if depth == Depth::Phases {
            source.phased_at = Some(analysed.connections_total);
        }
        let remembered = source.connections.len() as u64;
        let interval_ns = PASS_INTERVAL_NS + remembered * PASS_INTERVAL_PER_CONNECTION_NS;
        // Times in a damaged file are arbitrary.
        let watched_ns = now_ns.saturating_sub(source.born_ns);
        source.next_pass_ns = now_ns.saturating_add(match self.pace {
            Pace::Prompt => interval_ns,
            Pace::Sparse => interval_ns.max(watched_ns.saturating_mul(SPARSE_GROWTH - 1)),
        });
    }
}
