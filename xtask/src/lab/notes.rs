//! Notes of a machine's clock, in what it sends. So the capture tells when its clock was zero, and that is
//! the truth about boot times. tmap never reads what is sent.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The first bytes of a note. CLOCK_MONOTONIC in nanoseconds and a blank follow.
const START: &[u8] = b"tmapx ";
/// The length of a window, in nanoseconds.
const WINDOW_NS: i64 = 30_000_000_000;

/// CLOCK_MONOTONIC now, in nanoseconds.
pub(super) fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC always exists");
    Duration::from(now).as_nanos() as i64
}

/// Writes a note into the first bytes of a request. A short request keeps what fits.
pub(super) fn write(request: &mut [u8]) {
    let note = [START, monotonic_ns().to_string().as_bytes(), b" "].concat();
    let length = note.len().min(request.len());
    request[..length].copy_from_slice(&note[..length]);
}

/// The time in the first bytes of a request.
pub(super) fn read(request: &[u8]) -> Option<i64> {
    let rest = request.strip_prefix(START)?;
    let end = rest.iter().position(|&byte| byte == b' ')?;
    str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// When a clock was zero, for each half minute: the time of the capture, and the zero, both as Unix time in
/// nanoseconds. A note leaves after it was written, so the earliest zero of a window is the best one.
pub(super) fn zeros(notes: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut zeros: Vec<(i64, i64)> = Vec::new();
    let mut start_ns = i64::MIN;
    for (time_ns, monotonic_ns) in notes {
        let zero_ns = time_ns - monotonic_ns;
        if zeros.is_empty() || time_ns >= start_ns + WINDOW_NS {
            start_ns = time_ns;
            zeros.push((time_ns, zero_ns));
        } else if let Some(last) = zeros.last_mut().filter(|last| zero_ns < last.1) {
            *last = (time_ns, zero_ns);
        }
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let before = monotonic_ns();
        let mut request = [b'.'; 32];
        write(&mut request);
        let read = read(&request).unwrap();
        assert!((before..=monotonic_ns()).contains(&read), "{read}");
        assert_eq!(super::read(b"tmapx 12"), None, "cut");
        assert_eq!(super::read(b"GET / HTTP/1.1 "), None);
    }

    #[test]
    fn the_earliest_zero_of_a_window_counts() {
        let second = 1_000_000_000;
        let notes = [(10, 3), (11, 5), (12, 4), (11 + 30, 30)].map(|(t, m)| (t * second, m * second));
        assert_eq!(zeros(notes.into_iter()), [(11 * second, 6 * second), (41 * second, 11 * second)]);
    }
}
