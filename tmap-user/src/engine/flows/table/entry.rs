//! One connection side in one cache line.

use super::steps::{Step, UNIT_BYTES, put, steps, unit};
use crate::engine::tsval::{LATE_PACES_S, MAX_TICK_HZ, PACE_NS, SMALL_TICKS};

/// Units of steps that an entry holds itself.
pub(super) const PENDING_UNITS: usize = 3;

/// What an entry's flags say.
pub(crate) mod flag {
    /// The entry is in use.
    pub(crate) const LIVE: u16 = 1;
    /// No more segments are expected; the index doesn't know it any more.
    pub(crate) const FINISHED: u16 = 1 << 1;
    /// FIN or RST was seen.
    pub(crate) const CLOSED: u16 = 1 << 2;
    /// Its host knows that something changed.
    pub(crate) const TOLD: u16 = 1 << 3;
    /// A TSval was accepted.
    pub(crate) const POINT: u16 = 1 << 4;
    /// The rich state holds a TSval that no clock would make: every record goes there.
    pub(crate) const SUSPECT: u16 = 1 << 5;
    /// The first unit is the time from the first record to the first point.
    pub(crate) const LEAD: u16 = 1 << 6;
    /// `last_after` counts in units of 2^16 ns.
    pub(crate) const FAR: u16 = 1 << 7;
    /// The key holds a place among the wide keys instead of IPv4 addresses.
    pub(crate) const WIDE: u16 = 1 << 8;
    /// The handshake showed a client.
    pub(crate) const CLIENT: u16 = 1 << 9;
    /// The handshake showed a server.
    pub(crate) const SERVER: u16 = 1 << 10;
    /// Where the three bits of the stride begin: every 2^n-th first arrival is kept.
    pub(crate) const STRIDE_SHIFT: u32 = 11;
    /// The steps in the block go on from a rich flow.
    pub(crate) const RICH: u16 = 1 << 14;
    /// The features hold a tunnel.
    pub(crate) const TUNNEL: u16 = 1 << 15;
}

/// The largest stride, as a power of two.
pub(super) const MAX_STRIDE_LOG2: u16 = 6;

/// `history` of an entry without any.
pub(super) const NO_HISTORY: u32 = u32::MAX;

/// A connection side. All that most records need, and all that short connections ever need.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Entry {
    /// When the newest TSval arrived; before the first point, when the first record came.
    pub newest_ns: u64,
    /// Addresses and ports; see [`flag::WIDE`].
    pub key: [u32; 3],
    /// The newest TSval.
    pub tsval: u32,
    /// Segments, suppressed ones included; saturates.
    pub segments: u32,
    /// From `newest_ns` to the last record; see [`flag::FAR`].
    last_after: u32,
    /// The block where older steps are, or [`NO_HISTORY`].
    pub history: u32,
    /// What is known of the side, one bit each: [`flag`].
    pub flags: u16,
    /// The upper half of an `f32`: a pace in ticks per second that the flow as a whole has kept, or
    /// less; 0 where it isn't known. Its sign bit is [`IN_HANDSHAKE`].
    pace: u16,
    /// Number of its features, little-endian; 0 for none.
    features: [u8; 3],
    /// Units in the block.
    pub units: u8,
    /// TTL or hop limit of the first segment.
    pub hop_limit: u8,
    /// The lower two bits: units in `pending`; the upper six: first arrivals that the last of them
    /// has swallowed beyond its own, where the stride is more than one.
    counts: u8,
    /// The newest steps.
    pub pending: [u8; PENDING_UNITS * UNIT_BYTES],
}

const _: () = assert!(size_of::<Entry>() == 64);

/// The bit of `pace` that says that a segment is awaited which completes the handshake: no pace is negative.
const IN_HANDSHAKE: u16 = 1 << 15;

/// Within this time a few more points can't halve a known pace.
const SHORT_NS: u64 = 100_000_000;

const FAR_SHIFT: u32 = 16;

impl Entry {
    /// An entry of which only the first record's time is known.
    pub(super) fn new(key: [u32; 3], flags: u16, time_ns: u64) -> Self {
        Self {
            newest_ns: time_ns,
            key,
            tsval: 0,
            segments: 0,
            last_after: 0,
            history: NO_HISTORY,
            flags: flags | flag::LIVE,
            pace: 0,
            features: [0; 3],
            units: 0,
            hop_limit: 0,
            counts: 0,
            pending: [0; PENDING_UNITS * UNIT_BYTES],
        }
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub(super) fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// Sets or clears flags.
    pub(super) fn set(&mut self, flags: u16, on: bool) {
        self.flags = if on { self.flags | flags } else { self.flags & !flags };
    }

    /// The number of the features.
    pub(super) fn features(&self) -> u32 {
        let [low, middle, high] = self.features;
        u32::from_le_bytes([low, middle, high, 0])
    }

    /// Sets the number of the features, of three bytes.
    pub(super) fn set_features(&mut self, number: u32) {
        let [low, middle, high, _] = number.to_le_bytes();
        self.features = [low, middle, high];
    }

    /// Time of the last record. Exact within 4 s of the newest point, then to 66 us below.
    #[inline(always)]
    pub(super) fn last_ns(&self) -> u64 {
        let shift = if self.is(flag::FAR) { FAR_SHIFT } else { 0 };
        self.newest_ns + (u64::from(self.last_after) << shift)
    }

    /// Sets the time of the last record.
    #[inline(always)]
    pub(super) fn set_last_ns(&mut self, last_ns: u64) {
        let after_ns = last_ns.saturating_sub(self.newest_ns);
        match u32::try_from(after_ns) {
            Ok(after) => {
                self.last_after = after;
                self.flags &= !flag::FAR;
            }
            Err(_) => {
                self.last_after = (after_ns >> FAR_SHIFT).min(u64::from(u32::MAX)) as u32;
                self.flags |= flag::FAR;
            }
        }
    }

    /// Whether a step forward of `ticks` in `time_ns` surely continues the clock, told from the
    /// entry alone; where it says no, the whole history must be asked.
    #[inline(always)]
    pub(super) fn surely_continues(&self, ticks: u32, time_ns: u64) -> bool {
        ticks <= SMALL_TICKS || self.keeps_pace(ticks, time_ns)
    }

    /// The rule is four times the pace so far; one time the pace known here is well below that, whatever
    /// the pending steps did: [`Entry::note_step`].
    fn keeps_pace(&self, ticks: u32, time_ns: u64) -> bool {
        let within =
            |hz: f64| f64::from(ticks) <= f64::from(SMALL_TICKS) + (time_ns as f64 * 1e-9 + 1.0) * hz;
        if self.has_pace() && within(f64::from(self.pace_hz())) {
            return true;
        }
        if self.history != NO_HISTORY {
            return false;
        }
        let sum = self.pending_sum();
        if sum.0 < PACE_NS { within(MAX_TICK_HZ) } else { within(sum.1 as f64 / (sum.0 as f64 * 1e-9)) }
    }

    /// Whether a TSval that lies `back` ticks before the newest one surely is a late segment's,
    /// told from the entry alone. The pace known here is at most twice the true one.
    #[inline(always)]
    pub(super) fn is_surely_late(&self, back: u32) -> bool {
        back <= SMALL_TICKS || f64::from(back) <= 0.5 * LATE_PACES_S * f64::from(self.pace_hz())
    }

    /// Whether a pace is known.
    pub(super) fn has_pace(&self) -> bool {
        self.pace & !IN_HANDSHAKE != 0
    }

    fn pace_hz(&self) -> f32 {
        f32::from_bits(u32::from(self.pace & !IN_HANDSHAKE) << 16)
    }

    /// The pace isn't known any more.
    #[inline(always)]
    fn forget_pace(&mut self) {
        self.pace &= IN_HANDSHAKE;
    }

    /// Whether a segment is awaited that completes the side's handshake.
    #[inline(always)]
    pub(super) fn is_in_handshake(&self) -> bool {
        self.pace & IN_HANDSHAKE != 0
    }

    /// Sets whether such a segment is awaited.
    pub(super) fn set_in_handshake(&mut self, on: bool) {
        self.pace = self.pace & !IN_HANDSHAKE | if on { IN_HANDSHAKE } else { 0 };
    }

    /// Sets the pace, from how far the flow came in all.
    pub(super) fn set_pace(&mut self, ticks: f64, span_ns: u64) {
        let hz = ticks / (span_ns.max(PACE_NS) as f64 * 1e-9);
        // Cutting the lower half off rounds down.
        self.pace = self.pace & IN_HANDSHAKE | ((hz.max(0.0) as f32).to_bits() >> 16) as u16;
    }

    /// A step that is about to be kept: one that is long and slow makes the pace unknown, so that a
    /// known one is never more than twice the true one.
    #[inline(always)]
    pub(super) fn note_step(&mut self, step: Step) {
        if step.time_ns > SHORT_NS
            && f64::from(step.ticks) < 0.5e-9 * step.time_ns as f64 * f64::from(self.pace_hz())
        {
            self.forget_pace();
        }
    }

    /// The pending steps are about to leave: if they were slow, the pace becomes unknown.
    pub(super) fn note_pending(&mut self) {
        if self.has_pace() {
            let (time_ns, ticks) = self.pending_sum();
            if (ticks as f64) < 0.5e-9 * time_ns as f64 * f64::from(self.pace_hz()) {
                self.forget_pace();
            }
        }
    }

    /// Units in `pending`.
    #[inline(always)]
    pub(super) fn pending_units(&self) -> usize {
        usize::from(self.counts & 3)
    }

    /// Time and ticks of the pending steps together.
    pub(super) fn pending_sum(&self) -> (u64, u64) {
        self.pending_steps().fold((0, 0), |sum, step| (sum.0 + step.time_ns, sum.1 + u64::from(step.ticks)))
    }

    /// The pending steps.
    pub(super) fn pending_steps(&self) -> impl Iterator<Item = Step> {
        // The lead, if it is here, comes first.
        let from = usize::from(self.history == NO_HISTORY && self.is(flag::LEAD));
        steps(&self.pending, from, self.pending_units())
    }

    /// The time from the first record to the first point, where it is still here.
    pub(super) fn pending_lead_ns(&self) -> u64 {
        if self.history == NO_HISTORY && self.is(flag::LEAD) { unit(&self.pending, 0) } else { 0 }
    }

    /// Appends a step; false where there is no room.
    #[inline(always)]
    pub(super) fn push(&mut self, step: Step) -> bool {
        let at = self.pending_units();
        let [first, second] = step.pack();
        if at + usize::from(second != 0) >= PENDING_UNITS {
            return false;
        }
        put(&mut self.pending, at, first);
        self.counts = at as u8 + 1;
        if second != 0 {
            put(&mut self.pending, at + 1, second);
            self.counts += 1;
        }
        true
    }

    /// Appends a raw unit: the lead.
    pub(super) fn push_unit(&mut self, word: u64) {
        let at = self.pending_units();
        put(&mut self.pending, at, word);
        self.counts = at as u8 + 1;
    }

    /// Forgets the pending steps.
    pub(super) fn clear_pending(&mut self) {
        self.counts = 0;
    }

    /// Every 2^n-th first arrival is kept: n.
    #[inline(always)]
    pub(super) fn stride_log2(&self) -> u16 {
        (self.flags >> flag::STRIDE_SHIFT) & 7
    }

    /// Sets the stride.
    pub(super) fn set_stride_log2(&mut self, log2: u16) {
        self.flags = self.flags & !(7 << flag::STRIDE_SHIFT) | log2 << flag::STRIDE_SHIFT;
    }

    /// With a stride: lets the last pending step swallow `step`, if its stride isn't full yet.
    pub(super) fn swallow(&mut self, step: Step) -> bool {
        let swallowed = self.counts >> 2;
        let from = usize::from(self.history == NO_HISTORY && self.is(flag::LEAD));
        if self.pending_units() <= from || u32::from(swallowed) + 1 >= 1 << self.stride_log2() {
            return false;
        }
        let kept: Vec<Step> = self.pending_steps().collect();
        let Some((last, before)) = kept.split_last() else { return false };
        let Some(ticks) = last.ticks.checked_add(step.ticks) else { return false };
        let longer = Step { time_ns: last.time_ns + step.time_ns, ticks };
        let mut next = *self;
        next.counts = from as u8;
        if !before.iter().chain([&longer]).all(|&step| next.push(step)) {
            return false;
        }
        next.counts |= (swallowed + 1) << 2;
        *self = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_is_remembered_near_and_far() {
        let mut entry = Entry::new([1, 2, 3], 0, 1_000);
        entry.set_last_ns(5_000);
        assert_eq!(entry.last_ns(), 5_000);
        entry.set_last_ns(10_000_001_000);
        assert!((9_999_900_000..=10_000_001_000).contains(&entry.last_ns()));
        entry.set_last_ns(2_000);
        assert_eq!(entry.last_ns(), 2_000);
    }

    #[test]
    fn a_handshake_leaves_the_pace_alone() {
        let mut entry = Entry::new([1, 2, 3], 0, 0);
        entry.set_pace(1_000.0, 1_000_000_000);
        let hz = entry.pace_hz();
        entry.set_in_handshake(true);
        assert!(entry.is_in_handshake() && entry.has_pace() && entry.pace_hz() == hz);
        entry.forget_pace();
        assert!(entry.is_in_handshake() && !entry.has_pace());
        entry.set_in_handshake(false);
        assert!(!entry.is_in_handshake() && !entry.has_pace());
    }

    #[test]
    fn a_strided_entry_keeps_sums() {
        let mut entry = Entry::new([1, 2, 3], flag::POINT, 0);
        entry.set_stride_log2(2);
        let step = Step { time_ns: 1_000, ticks: 2 };
        assert!(entry.push(step));
        assert!(entry.swallow(step) && entry.swallow(step) && entry.swallow(step));
        assert!(!entry.swallow(step), "four to a stride");
        assert_eq!(entry.pending_sum(), (4_000, 8));
        assert!(entry.push(step));
        assert_eq!(entry.pending_units(), 2);
    }
}
