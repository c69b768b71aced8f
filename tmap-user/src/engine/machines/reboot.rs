//! Reboots: a counter that starts at zero between a machine's last segment and a new one's first.

use crate::engine::{
    snapshot::MachineReport,
    types::{Estimate, joint},
};

/// How long before the old machine's last segment the new counter may seem to start, in seconds: a boot
/// time is only known within its error, and machines send while they shut down.
const OVERLAP_S: f64 = 2.0;

/// The largest standard error of a boot time that shows a reboot, in seconds.
const MAX_BOOT_SIGMA_S: f64 = 60.0;

/// How far a restart may change a skew, in ppm: the kernel calibrates its clock anew.
const CALIBRATION_PPM: f64 = 100.0;

/// How far two skews may differ beyond the expected change, in joint standard errors.
const SKEW_DEVIATION: f64 = 4.0;

/// The number of the machine that `new` was before it rebooted, and the engine time of the boot in
/// seconds. That machine is the only one of its tick rate that fell silent before the new counter was
/// zero; `None` where no machine or several machines did.
pub(super) fn predecessor(new: &MachineReport, known: &[MachineReport]) -> Option<(u32, Estimate)> {
    let boot = new.boot.filter(|boot| boot.engine_s.sigma <= MAX_BOOT_SIGMA_S)?;
    let started_s = boot.engine_s.value;
    let mut silent = known.iter().filter(|old| {
        old.id != new.id
            && old.tick_hz == new.tick_hz
            && old.boot.is_some()
            && (old.first_seen_ns as f64) * 1e-9 < started_s
            && (old.last_seen_ns as f64) * 1e-9 <= started_s + OVERLAP_S + boot.engine_s.sigma
            && skews_within(old, new, CALIBRATION_PPM)
    });
    let old = silent.next()?;
    silent.next().is_none().then_some((old.id, boot.engine_s))
}

/// Whether two machines' skews differ by at most `most_ppm` plus their errors; true where one isn't known.
pub(super) fn skews_within(old: &MachineReport, new: &MachineReport, most_ppm: f64) -> bool {
    match (old.skew_ppm, new.skew_ppm) {
        (Some(a), Some(b)) => {
            (a.value - b.value).abs() <= most_ppm + SKEW_DEVIATION * joint(a.sigma, b.sigma)
        }
        _ => true,
    }
}

#[cfg(test)]
/// The tests here, and a fixture for those of `clock_moved`.
pub(super) mod tests {
    use super::*;
    use crate::engine::{clock::boot::Boot, os::OsReport};

    /// A machine of 1 kHz, 3 ppm fast.
    pub(crate) fn machine(id: u32, boot_s: f64, seen_s: (u64, u64)) -> MachineReport {
        MachineReport {
            id,
            tick_hz: 1000.0,
            rate_hz: Estimate { value: 1000.0, sigma: 0.001 },
            skew_ppm: Some(Estimate { value: 3.0, sigma: 1.0 }),
            offset_ticks: None,
            phase_ticks: None,
            reference_ns: 0,
            boot: Some(Boot {
                engine_s: Estimate { value: boot_s, sigma: 0.01 },
                modulus_s: 4_294_967.296,
                or_earlier_s: 0.0,
            }),
            connections: 3.0,
            load_percent: 50.0,
            ports: Vec::new(),
            first_seen_ns: seen_s.0 * 1_000_000_000,
            last_seen_ns: seen_s.1 * 1_000_000_000,
            os: OsReport::default(),
        }
    }

    #[test]
    fn the_machine_that_fell_silent_rebooted() {
        let known = [machine(1, -5000.0, (0, 100)), machine(2, -9000.0, (0, 300))];
        let new = machine(3, 160.0, (180, 400));
        assert_eq!(predecessor(&new, &known).map(|(id, _)| id), Some(1));
    }

    #[test]
    fn a_machine_that_was_up_all_along_is_new() {
        let known = [machine(1, -5000.0, (0, 100))];
        assert!(predecessor(&machine(2, -7000.0, (180, 400)), &known).is_none());
    }

    #[test]
    fn two_silent_machines_leave_it_open() {
        let known = [machine(1, -5000.0, (0, 100)), machine(2, -9000.0, (0, 120))];
        assert!(predecessor(&machine(3, 160.0, (180, 400)), &known).is_none());
    }
}
