//! One side of a connection: its TSvals that wait for their echo, and its round trips.

use std::collections::VecDeque;

use tmap_common::{Flags, Record, Segment};

use super::{
    distribution::Distribution,
    early::{EarlyEchoes, Tally},
    options::Options,
    paws::{Arrival, Oddity, Seen, Tsvals},
    sample::Counts,
    sights::Sights,
};

/// How long after a bare acknowledgement data with the same TSval may come, in nanoseconds, so that data in
/// return is taken for its answer if the peer sent nothing else meanwhile: a tick of the usual 1 kHz clock.
/// Within the longer ticks of clocks of 100 Hz and slower, the peer may send data of its own accord.
const QUIET_NS: u64 = 1_000_000;

/// The part of a round trip by which it may be too long where it is doubtful which segment was answered.
const TOLERANCE: u64 = 10;

/// The least time in nanoseconds after which a TSval that is repeated behind a newer one is on a
/// retransmission with its old time stamp. Sooner, it is the same segment on its way in and out of a
/// router.
const DUPLICATE_NS: u64 = 1_000_000;

/// The least time in nanoseconds after which a repeated TSval can be on a retransmission: the smallest
/// timeout of Linux (`TCP_RTO_MIN`); RFC 6298 has a second.
const LEAST_TIMEOUT_NS: u64 = 200_000_000;

/// Segments that repeat one another within this time, in nanoseconds, say nothing new; a little more than
/// the age from which the sensor leaves nothing out ([`tmap_common::suppress`]).
const BURST_NS: u64 = 100_000_000;

/// A TSval that waits for its echo.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticks: i64,
    /// Engine time of the first segment with it that asks for an answer.
    time_ns: u64,
    /// How long before that a bare acknowledgement had it, in nanoseconds; 0 where none had.
    bare_for_ns: u64,
    /// The TSecr that its segment was the first to carry, from which the receiver computes a round trip.
    echoed: Option<u32>,
    /// Whether an echo could be of more than one segment.
    ambiguous: bool,
}

impl Waiting {
    /// When the segment came that `response` answers; `None` where it could be of either of two.
    ///
    /// A bare acknowledgement isn't answered, so what comes after data under its TSval answers the data. But
    /// it is echoed, too, and a peer that happens to send data of its own would seem to have answered at
    /// once.
    fn answered_by(&self, response: &Response, options: &Options) -> Option<u64> {
        let since_data_ns = response.time_ns.saturating_sub(self.time_ns);
        let bare_ns = self.time_ns - self.bare_for_ns;
        let was_silent =
            self.bare_for_ns <= QUIET_NS && response.before_ns.is_none_or(|before_ns| before_ns <= bare_ns);
        let is_usual = response.floor_ns.is_some_and(|floor_ns| since_data_ns >= floor_ns);
        if self.bare_for_ns == 0 || response.is_bare || was_silent || is_usual {
            Some(self.time_ns)
        } else if self.bare_for_ns <= since_data_ns / TOLERANCE || options.quiet {
            Some(bare_ns)
        } else {
            None
        }
    }
}

/// Whether a segment asks for an answer.
fn asks(segment: &Segment) -> bool {
    segment.has_payload || segment.flags.intersects(Flags::SYN | Flags::FIN)
}

/// An echo of a TSval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Time from the segment that was answered to the first with its echo, in nanoseconds.
    pub rtt_ns: u64,
    /// The TSecr carried by the segment that was answered, where it was new.
    pub echoed: Option<u32>,
    /// Whether it is beyond doubt which segment was answered.
    pub is_certain: bool,
}

/// The first segment with an echo, as far as it tells which segment it answers.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// Engine time, in nanoseconds.
    pub time_ns: u64,
    /// Whether it is an acknowledgement and nothing else, which only data, SYN or FIN call forth.
    pub is_bare: bool,
    /// Engine time of the latest segment before it with time stamps of its own; `None` for the first.
    pub before_ns: Option<u64>,
    /// The shortest round trip to its sender that is beyond doubt, in nanoseconds.
    pub floor_ns: Option<u64>,
}

/// The state of one side of a connection: the TSvals that it sends, and how fast it answers.
#[derive(Clone, Debug, Default)]
pub struct HalfConnection {
    /// Time-stamped segments sent, suppressed ones included.
    pub segments: u64,
    /// Anomalies of this side.
    pub anomalies: u64,
    /// Round trips from the sensor to this side and back, in nanoseconds.
    pub rtt: Distribution,
    /// Round trips as this side's own TCP computes them, in its ticks.
    pub host: Distribution,
    /// The TSvals that it sends, in order.
    pub tsvals: Tsvals,
    /// How many of its segments were seen twice.
    pub(super) sights: Sights,
    /// TSvals that it sent and the peer hasn't echoed, the oldest first.
    waiting: VecDeque<Waiting>,
    /// Echoes of TSvals that it wasn't seen to send before.
    early: EarlyEchoes,
    /// The newest TSval and its first arrival, if only segments that ask for no answer have carried it.
    quiet: Option<(i64, u64)>,
    /// The newest TSecr that it sent.
    newest_echo: Option<u32>,
    /// The TSval of its latest segments that came late, and the arrival of the first of them.
    latest_late: Option<(i64, u64)>,
    /// TSval and TSecr of its latest segment with an echo, and when they came first.
    latest_echo: Option<((u32, u32), u64)>,
    /// When the time stamps before those came first.
    before_ns: Option<u64>,
    /// The shortest round trip to it that is beyond doubt, in nanoseconds.
    floor_ns: Option<u64>,
}

impl HalfConnection {
    /// Whether a segment's time stamps differ from those of the segment before. Only then can it be a first
    /// echo; the sensor may suppress segments with the same time stamps.
    pub fn says_more(&mut self, record: &Record) -> bool {
        let stamps = (record.segment.tsval, record.segment.tsecr);
        match self.latest_echo {
            Some((latest, _)) if latest == stamps => false,
            latest => {
                self.before_ns = latest.map(|(_, since_ns)| since_ns);
                self.latest_echo = Some((stamps, record.time_ns));
                true
            }
        }
    }

    /// `record`, which this side sent and which [says more](Self::says_more), as the answer to its peer.
    pub fn response(&self, record: &Record) -> Response {
        Response {
            time_ns: record.time_ns,
            is_bare: !asks(&record.segment),
            before_ns: self.before_ns,
            floor_ns: self.floor_ns,
        }
    }

    /// Notes a round trip to this side. `is_certain` says whether it is beyond doubt which segment was
    /// answered.
    pub fn answered_after(&mut self, rtt_ns: u64, is_certain: bool) {
        if is_certain {
            self.floor_ns = Some(self.floor_ns.map_or(rtt_ns, |floor_ns| floor_ns.min(rtt_ns)));
        }
    }

    /// Whether `tsecr` is newer than every TSecr that this side sent before.
    pub fn is_new_echo(&self, tsecr: u32) -> bool {
        self.newest_echo.is_none_or(|newest| tsecr.wrapping_sub(newest).cast_signed() > 0)
    }

    /// Whether `tsecr` is older than one that this side sent before.
    pub fn is_older_echo(&self, tsecr: u32) -> bool {
        self.newest_echo.is_some_and(|newest| tsecr.wrapping_sub(newest).cast_signed() < 0)
    }

    /// Notes that this side sent `tsecr`.
    pub fn sent_echo(&mut self, tsecr: u32) {
        self.newest_echo = Some(tsecr);
    }

    /// Clears what this side echoed, because its peer's clock began anew.
    pub fn reset_echoes(&mut self) {
        self.newest_echo = None;
    }

    /// The number of TSvals that wait for their echo.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many echoes of its TSvals came before them.
    pub(super) fn early_echoes(&self) -> Tally {
        self.early.tally()
    }

    /// Takes in that the peer echoes `ticks` for the first time. Returns whether that `is_ahead` of all
    /// TSvals that this side was seen to send.
    pub(super) fn is_echoed_ahead(&mut self, ticks: i64, time_ns: u64, options: &Options) -> bool {
        let is_ahead = self.tsvals.newest().is_some_and(|newest| ticks > newest.ticks);
        self.early.echoed(ticks, time_ns, is_ahead, options.max_waiting);
        is_ahead
    }

    /// Heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>()
            + self.early.heap_bytes()
            + self.rtt.heap_bytes()
            + self.host.heap_bytes()
    }

    /// Takes in a segment with a TSval that this side sent. `echoed` is its TSecr where that is new;
    /// `answered` says whether the peer has already echoed this TSval.
    pub fn send(
        &mut self,
        record: &Record,
        echoed: Option<u32>,
        answered: bool,
        options: &Options,
        counts: &mut Counts,
    ) -> (Arrival, Option<Oddity>) {
        let segment = &record.segment;
        let (arrival, oddity) = self.tsvals.see(&Seen::of(record));
        let asks = asks(segment);
        let time_ns = record.time_ns;
        match arrival {
            Arrival::Restart(_) | Arrival::New(_) => self.sights.new_tsval(segment, time_ns),
            Arrival::Repeat(_) => self.sights.old_tsval(segment, time_ns, true),
            Arrival::Late(_) => self.sights.old_tsval(segment, time_ns, false),
            Arrival::Odd => {}
        }
        match arrival {
            Arrival::Restart(ticks) | Arrival::New(ticks) => {
                let was_echoed = self.begins(arrival, ticks, time_ns);
                if was_echoed {
                    // The echo was counted as one of an unseen value.
                    counts.unseen = counts.unseen.saturating_sub(1);
                    counts.disordered += 1;
                }
                self.quiet = (!asks).then_some((ticks, time_ns));
                if (asks || options.quiet) && !was_echoed {
                    let waiting = Waiting { ticks, time_ns, bare_for_ns: 0, echoed, ambiguous: false };
                    self.wait(waiting, options, counts);
                }
            }
            Arrival::Repeat(ticks) if asks && !answered => {
                if let Some((_, since_ns)) = self.quiet.take_if(|(quiet, _)| *quiet == ticks) {
                    let bare_for_ns = time_ns.saturating_sub(since_ns);
                    // Where bare acknowledgements are taken, too, one waits here already.
                    self.waiting.pop_back_if(|newest| newest.ticks == ticks);
                    let waiting = Waiting { ticks, time_ns, bare_for_ns, echoed, ambiguous: false };
                    self.wait(waiting, options, counts);
                } else {
                    self.repeat(ticks, time_ns, LEAST_TIMEOUT_NS);
                }
            }
            Arrival::Late(ticks) if self.is_late_again(ticks, time_ns) => {}
            Arrival::Late(ticks) => {
                counts.reordered += 1;
                self.repeat(ticks, time_ns, DUPLICATE_NS);
            }
            Arrival::Repeat(_) | Arrival::Odd => {}
        }
        (arrival, oddity)
    }

    /// Takes in that a TSval is seen for the first time. Returns whether its echo came before it.
    fn begins(&mut self, arrival: Arrival, ticks: i64, time_ns: u64) -> bool {
        if matches!(arrival, Arrival::Restart(_)) {
            self.waiting.clear();
            self.early.clear();
            return false;
        }
        self.early.sent(ticks, time_ns, self.tsvals.hz())
    }

    /// Takes in the peer's first echo of a TSval of this side. `None` where it gives no round trip. Earlier
    /// TSvals won't be echoed any more: an acknowledgement covered them too, or was lost.
    pub fn answered(
        &mut self,
        ticks: i64,
        response: &Response,
        options: &Options,
        counts: &mut Counts,
    ) -> Option<Answer> {
        while self.waiting.front().is_some_and(|oldest| oldest.ticks < ticks) {
            self.waiting.pop_front();
            counts.passed_over += 1;
        }
        let Some(waiting) = self.waiting.pop_front_if(|oldest| oldest.ticks == ticks) else {
            counts.unasked += 1;
            return None;
        };
        if waiting.ambiguous {
            counts.ambiguous += 1;
            return None;
        }
        let Some(since_ns) = waiting.answered_by(response, options) else {
            counts.ambiguous += 1;
            return None;
        };
        let Some(rtt_ns) = response.time_ns.checked_sub(since_ns) else {
            counts.disordered += 1;
            return None;
        };
        if rtt_ns > options.expire_ns {
            counts.expired += 1;
            return None;
        }
        Some(Answer { rtt_ns, echoed: waiting.echoed, is_certain: waiting.bare_for_ns == 0 })
    }

    /// Drops TSvals and early echoes that have waited too long, and frees their memory.
    pub fn expire(&mut self, now_ns: u64, options: &Options, counts: &mut Counts) {
        self.early.expire(now_ns, options.expire_ns);
        while self
            .waiting
            .front()
            .is_some_and(|oldest| now_ns.saturating_sub(oldest.time_ns) > options.expire_ns)
        {
            self.waiting.pop_front();
            counts.expired += 1;
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    fn wait(&mut self, waiting: Waiting, options: &Options, counts: &mut Counts) {
        if self.waiting.len() >= options.max_waiting {
            self.expire(waiting.time_ns, options, counts);
        }
        if self.waiting.len() < options.max_waiting {
            self.waiting.push_back(waiting);
        } else {
            counts.untracked += 1;
        }
    }

    /// Whether a late TSval repeats that of the late segment before it within a burst: the sensor may
    /// suppress such a segment, so it isn't counted.
    fn is_late_again(&mut self, ticks: i64, time_ns: u64) -> bool {
        match self.latest_late {
            Some((late, since_ns)) if late == ticks && time_ns.saturating_sub(since_ns) < BURST_NS => true,
            _ => {
                self.latest_late = Some((ticks, time_ns));
                false
            }
        }
    }

    /// Marks a repeated TSval as ambiguous if it came `after_ns` or later: its echo can be of either segment.
    fn repeat(&mut self, ticks: i64, time_ns: u64, after_ns: u64) {
        if let Ok(index) = self.waiting.binary_search_by_key(&ticks, |waiting| waiting.ticks)
            && let Some(waiting) = self.waiting.get_mut(index)
            && time_ns.saturating_sub(waiting.time_ns) >= after_ns
        {
            waiting.ambiguous = true;
        }
    }
}
