//! Values on the command line, each with the error that says what was expected.

use std::{ffi::OsStr, num::NonZero, path::PathBuf, thread, time::Duration};

use bytesize::ByteSize;
use jiff::SignedDuration;

use crate::engine::os::likeness::{FEATURES, Feature};

/// Evidence besides clocks that the user may switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// What handshakes and packets show.
    Feature(Feature),
    /// Source ports.
    Ports,
    /// Connections that an address opens at about the same time.
    Pages,
}

/// Evidence by its name. Rates and steadiness are always used: no line holds clocks of two rates.
pub(super) fn evidence(name: &str) -> Result<Evidence, String> {
    let optional = |f: &&Feature| !matches!(f, Feature::RateClass | Feature::Steadiness);
    let known = FEATURES.iter().filter(optional).find(|feature| feature.name() == name);
    match (known, name) {
        (Some(feature), _) => Ok(Evidence::Feature(*feature)),
        (None, "ports") => Ok(Evidence::Ports),
        (None, "pages") => Ok(Evidence::Pages),
        (None, _) => Err("expected syn, scale, mss, ttl, ports or pages".to_owned()),
    }
}

/// Threads that can still help: two per core keep cores busy while addresses differ in load, and twice as
/// many again serve for trying. More only take memory.
const SHARDS_PER_CORE: usize = 4;

/// The number of engine threads: at most [`SHARDS_PER_CORE`] per core, and 8 in any case.
pub(super) fn shards(text: &str) -> Result<usize, String> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let most = (SHARDS_PER_CORE * cores).max(8);
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("expected a number from 1 to {most}, as this machine's {cores} cores allow"))
}

/// `500ms`, `1s`, `2m`, `1h 30m`; a bare number is seconds.
pub(super) fn positive_time(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => SignedDuration::try_from_secs_f64(seconds).ok(),
        Err(_) => text.parse::<SignedDuration>().ok(),
    };
    parsed
        .and_then(|time| Duration::try_from(time).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a time such as 500ms, 1s or 5m".to_owned())
}

/// `65536`, `64K`, `4M`, `2G`, `1T`. A prefix is a power of 1024 with or without `i` and `B`, as in most
/// tools that size memory; bytesize itself takes `64K` for 64,000.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bare = text.strip_suffix('B').unwrap_or(text);
    let bare = bare.strip_suffix('i').unwrap_or(bare);
    let is_prefixed = bare.ends_with(|c: char| "KMGT".contains(c.to_ascii_uppercase()));
    let parsed = if is_prefixed { format!("{bare}iB").parse() } else { text.parse::<ByteSize>() };
    parsed
        .ok()
        .and_then(|size| usize::try_from(size.as_u64()).ok())
        .filter(|bytes| (1..usize::MAX).contains(bytes))
        .ok_or_else(|| "expected a size such as 65536, 64K, 4M, 2G or 1T".to_owned())
}

/// The least memory that is enough for something, in bytes.
const LEAST_MEMORY_BYTES: usize = 128 << 20;

/// A size of memory, large enough for the engine.
pub(super) fn memory(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    if bytes < LEAST_MEMORY_BYTES { Err("expected at least 128M".to_owned()) } else { Ok(bytes) }
}

/// A factor of speed: a number above 0.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    parsed.ok_or_else(|| "expected a number above 0, such as 10 or 0.5".to_owned())
}

/// The file of a picture. Only SVG and PNG are written, so another ending would mislead.
pub(super) fn picture(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    let is_known = |ending: &OsStr| ["svg", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    match path.extension() {
        Some(ending) if !is_known(ending) => {
            Err("tmap draws SVG and PNG; name a file that ends in .svg or .png".to_owned())
        }
        _ => Ok(path),
    }
}

pub(super) fn not_negative(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "expected a number of 0 or more, such as 0.5".to_owned())
}

/// More of anything than this is a slip: a thousand million connections take 64 GB.
const MOST: usize = 1_000_000_000;

/// 1 to [`MOST`].
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let value = text.parse().ok().filter(|value| (1..=MOST).contains(value));
    value.ok_or_else(|| "expected a whole number from 1 to 1000000000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_nothing_else() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KB", 65_536),
            ("64KiB", 65_536),
            ("64Ki", 65_536),
            ("512B", 512),
            ("4M", 4 << 20),
            ("1.5M", 3 << 19),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "0", "-1", "64BBiB", "64KK", "64 apples", "1e30T", "99999999999999999999"] {
            assert!(size(text).is_err_and(|says| says.contains("64K")), "{text}");
        }
    }
}
