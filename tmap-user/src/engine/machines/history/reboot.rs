//! Reboots: a counter that starts at zero between a machine's last segment and a new one's first.

use crate::engine::{snapshot::MachineReport, types::Estimate};

/// The number of the machine that `new` was before it rebooted, and the engine time of the boot in
/// seconds. That machine is the only one of its tick rate that fell silent before the new counter was
/// zero; `None` where no machine or several machines did.
pub(in crate::engine::machines) fn predecessor(
    new: &MachineReport,
    known: &[MachineReport],
) -> Option<(u32, Estimate)> {
    let mut silent = known.iter().filter(|old| old.may_have_become(new));
    let old = silent.next()?;
    silent.next().is_none().then_some((old.id, new.boot?.engine_s))
}

#[cfg(test)]
/// The tests here, and a fixture for those of `clock_moved`.
pub(super) mod tests {
    use super::*;

    /// A machine of 1 kHz, 3 ppm fast.
    pub(crate) fn machine(id: u32, boot_s: f64, seen_s: (u64, u64)) -> MachineReport {
        let skew_ppm = Some(Estimate { value: 3.0, sigma: 1.0 });
        MachineReport { skew_ppm, ..crate::engine::snapshot::tests::machine(id, boot_s, seen_s) }
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
