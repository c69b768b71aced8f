//! Names of what must be removed at the end of a run. A name has the form `PREFIX-PID-START-role`: it
//! identifies the process that chose it, so a later run can tell the leftovers of a killed run from what
//! a running one uses.

use std::fs;

use anyhow::{Result, anyhow};

/// The first part of every name.
const PREFIX: &str = "tmapx";

/// The beginning of all names that this process chooses.
///
/// # Errors
/// When this process's start time cannot be read.
pub(super) fn stem() -> Result<String> {
    let pid = std::process::id();
    let start = start_time(pid).ok_or_else(|| anyhow!("could not read /proc/{pid}/stat"))?;
    Ok(format!("{PREFIX}-{pid}-{start}"))
}

/// True if the name has our form and the process that chose it has ended.
pub(super) fn is_leftover(name: &str) -> bool {
    let mut parts = name.split('-');
    if parts.next() != Some(PREFIX) {
        return false;
    }
    let (pid, start) = (parts.next().and_then(|pid| pid.parse().ok()), parts.next());
    pid.and_then(start_time).is_none_or(|now| Some(now.as_str()) != start)
}

/// The start time of a running process, in the kernel's unit. Process id and start time together are
/// unique. None if the process has ended, even if its parent has not waited for it yet (a zombie).
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, in brackets, may contain blanks. After it (proc_pid_stat(5)), the first field
    // is the state and the 20th the start time.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).copied().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_leftovers() {
        assert!(is_leftover("tmapx-4294967295-1-nat"));
        assert!(
            is_leftover(&format!("tmapx-{}-1-nat", std::process::id())),
            "an earlier process with this id"
        );
        assert!(!is_leftover(&stem().unwrap()));
        assert!(!is_leftover("tmap-4294967295-1-nat"), "not ours");
    }

    #[test]
    fn a_process_is_identified_by_its_start() {
        let own = start_time(std::process::id());
        assert!(own.as_ref().is_some_and(|ticks| ticks.parse::<u64>().is_ok()));
        assert_ne!(own, start_time(1));
        assert_eq!(start_time(u32::MAX), None);
    }
}
