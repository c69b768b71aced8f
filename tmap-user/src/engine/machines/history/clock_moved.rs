//! Clocks that moved: a machine fell silent, and since then a counter like its own runs at another offset.
//!
//! Linux counts in CLOCK_MONOTONIC, which NTP slews and never steps. But it stands still while a machine is
//! suspended or its virtual machine is paused (`ktime_get` against `ktime_get_boottime` in the kernel's
//! timekeeping.c). Other systems step their clocks. Either way, connections opened since then show another
//! offset, which looks like another machine's.

use crate::engine::{
    snapshot::MachineReport,
    types::{Estimate, joint, wrap_difference},
};

/// The most by which a clock is slewed or stepped, in seconds. At 1 kHz, the counters of two machines are
/// this close by chance once in a million times; machines switched on at one moment may be closer.
const MOST_MOVED_S: f64 = 2.0;

/// How long connections from before a small move may go on, in seconds: their fits don't show the move.
const LINGERING_S: f64 = 60.0;

/// How far a clock's rate may be off while it is slewed, in ppm: the kernel's limit (MAXFREQ), and what
/// `adjtime` adds to it.
const SLEWED_PPM: f64 = 1000.0;

/// How much longer than its silence a machine's sleep may seem, in seconds. A sleep also takes at least half
/// of the silence.
const SLACK_S: f64 = 2.0;

/// How far temperature may change a skew over a sleep, in ppm.
const TEMPERATURE_PPM: f64 = 2.0;

/// The number of the machine that `new` was before its clock moved, and the move in seconds, which is
/// negative where the clock fell behind. `None` where no machine or several machines fit.
pub(in crate::engine::machines) fn predecessor(
    new: &MachineReport,
    known: &[MachineReport],
) -> Option<(u32, Estimate)> {
    let mut moved = known.iter().filter_map(|old| Some((old.id, moved_by(old, new)?)));
    let only = moved.next()?;
    moved.next().is_none().then_some(only)
}

fn moved_by(old: &MachineReport, new: &MachineReport) -> Option<Estimate> {
    if old.id == new.id || old.tick_hz != new.tick_hz || old.first_seen_ns >= new.first_seen_ns {
        return None;
    }
    let by = apart(old, new)?;
    let silent_s = (new.first_seen_ns as f64 - old.last_seen_ns as f64) * 1e-9;
    let is_small = by.value.abs() <= MOST_MOVED_S;
    let slept = -by.value <= silent_s + SLACK_S && -by.value >= silent_s / 2.0;
    let fits = match (is_small, slept) {
        (true, _) => silent_s >= -LINGERING_S && old.skews_within(new, SLEWED_PPM),
        (false, true) => silent_s >= 0.0 && old.skews_within(new, TEMPERATURE_PPM),
        (false, false) => false,
    };
    fits.then_some(by)
}

/// How far `new`'s counter is ahead of `old`'s when `new` was first seen, in seconds.
fn apart(old: &MachineReport, new: &MachineReport) -> Option<Estimate> {
    let (was, is) = (old.offset_ticks?, new.offset_ticks?);
    let elapsed_s = (new.first_seen_ns as f64 - new.reference_ns as f64) * 1e-9;
    let ticks = wrap_difference(is.value - was.value + (new.rate_hz.value - old.rate_hz.value) * elapsed_s);
    // Both counter values are at the reference time; the rates add at most this to their errors.
    let drift = joint(old.rate_hz.sigma, new.rate_hz.sigma) * elapsed_s;
    let sigma = joint(joint(was.sigma, is.sigma), drift);
    Some(Estimate { value: ticks / new.tick_hz, sigma: sigma / new.tick_hz })
}

#[cfg(test)]
mod tests {
    use super::super::reboot::tests::machine as known;
    use super::*;

    /// A machine of 1 kHz whose counter is `ahead_s` ahead of 1,000,000 s at time 0.
    fn machine(id: u32, ahead_s: f64, skew_ppm: f64, seen_s: (u64, u64)) -> MachineReport {
        MachineReport {
            rate_hz: Estimate { value: 1000.0 * (1.0 + skew_ppm * 1e-6), sigma: 1e-5 },
            skew_ppm: Some(Estimate { value: skew_ppm, sigma: 0.1 }),
            offset_ticks: Some(Estimate { value: 1e9 + 1000.0 * ahead_s, sigma: 0.1 }),
            boot: None,
            ..known(id, 0.0, seen_s)
        }
    }

    fn found(new: &MachineReport, known: &[MachineReport]) -> Option<(u32, f64)> {
        predecessor(new, known).map(|(id, by)| (id, (by.value * 1000.0).round() / 1000.0))
    }

    #[test]
    fn a_slewed_clock_is_the_same_machine() {
        let known = [machine(1, 0.0, 3.0, (0, 330)), machine(2, 5000.0, 3.0, (0, 900))];
        assert_eq!(found(&machine(3, 0.15, 3.2, (310, 900)), &known), Some((1, 0.15)));
    }

    #[test]
    fn a_machine_that_slept_fell_behind_by_its_sleep() {
        let known = [machine(1, 0.0, 3.0, (0, 300))];
        assert_eq!(found(&machine(2, -3590.0, 3.5, (3900, 4000)), &known), Some((1, -3589.998)));
        // Not by longer than it was silent, nor ahead, nor with another crystal.
        assert_eq!(found(&machine(2, -3700.0, 3.5, (3900, 4000)), &known), None);
        assert_eq!(found(&machine(2, 3590.0, 3.5, (3900, 4000)), &known), None);
        assert_eq!(found(&machine(2, -3590.0, 30.0, (3900, 4000)), &known), None);
    }

    #[test]
    fn a_machine_that_goes_on_did_not_move() {
        let known = [machine(1, 0.0, 3.0, (0, 900))];
        assert_eq!(found(&machine(2, 0.15, 3.0, (310, 900)), &known), None);
    }

    #[test]
    fn two_that_could_be_it_leave_it_open() {
        let known = [machine(1, 0.0, 3.0, (0, 300)), machine(2, 0.3, 3.0, (0, 300))];
        assert_eq!(found(&machine(3, 0.15, 3.0, (310, 900)), &known), None);
    }
}
