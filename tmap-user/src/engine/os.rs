//! What a clock alone tells of the operating system.

use super::snapshot::Regime;

/// A guess by tick rate and regime; says so where the clock leaves it open.
pub fn guess(hz: f64, regime: Regime) -> &'static str {
    match (hz as u64, regime) {
        (1..=2, _) => "NetBSD or OpenBSD",
        (10, _) => "Windows 2000-2003",
        (100, _) => "Linux (HZ=100, before 4.13), Windows Vista-7 or Solaris",
        (250, _) => "Linux (HZ=250, before 4.13)",
        (300, _) => "Linux (HZ=300, before 4.13)",
        (1000, Regime::Global) => {
            "Linux (tcp_timestamps=2, or HZ=1000 before 4.10), Windows 8 or later, or older macOS"
        }
        (1000, Regime::PerPair) => "Linux (4.13 to early 2026)",
        (1000, Regime::PerConnection) => "Linux (2026 or later), recent macOS, or FreeBSD",
        (1000, _) => "Linux, macOS, FreeBSD or Windows",
        (1_000_000, _) => "Linux (6.7 or later, tcp_usec_ts)",
        _ => "unknown",
    }
}
