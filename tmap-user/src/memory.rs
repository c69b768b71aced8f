//! The memory that this process holds.

use std::fs;

use crate::engine::Holdings;

/// What the engines hold, with the memory that the process holds, where it is told: an engine's own figure
/// leaves out what a look takes while it is under way.
pub(crate) fn told(held: Holdings) -> Holdings {
    Holdings { memory_bytes: held_bytes().unwrap_or(held.memory_bytes), ..held }
}

/// The anonymous pages of this process, in bytes: its heap and stacks, without mapped files. `None` where
/// `/proc` doesn't tell. See proc_pid_status(5). Its figures need no page size, which a sandbox may hide:
/// before Linux 6.4, rustix reads it from a file.
fn held_bytes() -> Option<usize> {
    anonymous_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The bytes in the line `RssAnon:` of `/proc/PID/status`.
fn anonymous_bytes(status: &str) -> Option<usize> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_a_line_of_the_status() {
        assert_eq!(anonymous_bytes("VmRSS:\t    5190 kB\nRssAnon:\t    1410 kB\n"), Some(1410 * 1024));
        assert_eq!(anonymous_bytes("VmRSS:\t    5190 kB\n"), None);
        assert_eq!(anonymous_bytes("RssAnon:\t many"), None);
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
