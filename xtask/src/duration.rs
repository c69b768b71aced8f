//! Times on the command line.

use std::time::Duration;

/// A number of seconds, minutes or hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit_s = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        _ => return Err("expected a number with s, min or h, such as 90s".to_owned()),
    };
    let count: u64 = digits.parse().map_err(|_| "expected a whole number, such as 90s".to_owned())?;
    let seconds = count.checked_mul(unit_s).filter(|seconds| (1..=u64::from(u32::MAX)).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a time from 1s to some years".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let seconds = |text: &str| duration(text).map(|time| time.as_secs());
        assert_eq!([seconds("90s"), seconds("5min"), seconds("2h")], [Ok(90), Ok(300), Ok(7_200)]);
        assert!(
            ["", "s", "0s", "1d", "1.5h", "99999999999999999999s"].iter().all(|text| duration(text).is_err())
        );
    }
}
