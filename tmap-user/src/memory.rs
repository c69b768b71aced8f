//! The memory that this process holds.

use std::fs;

use crate::engine::Holdings;

/// What the engines hold, with the memory that the process holds, where it is told: an engine's own figure
/// leaves out what a look takes while it is under way.
pub(crate) fn told(held: Holdings) -> Holdings {
    Holdings { memory_bytes: held_bytes().unwrap_or(held.memory_bytes), ..held }
}

/// The anonymous pages of this process, in bytes: its heap and stacks, without mapped files. `None` where
/// `/proc` doesn't tell. See proc_pid_statm(5).
fn held_bytes() -> Option<usize> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    Some(anonymous_pages(&pages)? * rustix::param::page_size())
}

/// Resident pages less those of files, from the line in `/proc/PID/statm`.
fn anonymous_pages(statm: &str) -> Option<usize> {
    let mut fields = statm.split(' ').skip(1).map(|field| field.parse::<usize>().ok());
    let (resident, of_files) = (fields.next()??, fields.next()??);
    resident.checked_sub(of_files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_pages_are_resident_and_of_no_file() {
        assert_eq!(anonymous_pages("5190 1410 1019 24 0 331 0"), Some(391));
        assert_eq!(anonymous_pages("5190"), None);
        assert_eq!(anonymous_pages("1 2 3"), None);
    }

    #[test]
    fn what_is_taken_is_held() {
        const TAKEN_BYTES: usize = 64 << 20;
        let before = held_bytes().expect("told by /proc");
        let taken = std::hint::black_box(vec![1_u8; TAKEN_BYTES]);
        let after = held_bytes().expect("told by /proc");
        assert!(after - before > TAKEN_BYTES / 10 * 9, "{before} {after} {}", taken.len());
    }
}
