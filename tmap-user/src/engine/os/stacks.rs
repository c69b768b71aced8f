//! The table of TCP stacks, with the behaviour of their clocks.
//!
//! Sources of rates, regimes and their dates: Linux `secure_seq.c` and `tcp_clock_ts()`, FreeBSD
//! `tcp_new_ts_offset()`, and captures of Apple's and Microsoft's systems. Shares are rough. They only
//! rank what the evidence leaves open, and never decide against evidence.

/// The name of Android, and its label.
pub const ANDROID: &str = "Android";

/// The name of Linux's family where it may well be Android.
pub const LINUX_OR_ANDROID: &str = "Linux or Android";

/// The label of Linux that offers all that fits into its receive buffer.
const LINUX_SINCE_4_20: &str = "Linux 4.20 or newer";

/// A family of systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Linux, Android included.
    Linux,
    /// macOS and iOS.
    Apple,
    /// Windows.
    Windows,
    /// FreeBSD.
    FreeBsd,
    /// OpenBSD.
    OpenBsd,
    /// NetBSD.
    NetBsd,
    /// Solaris and its heirs.
    Solaris,
}

impl Family {
    /// The family's common name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Apple => "macOS or iOS",
            Self::Windows => "Windows",
            Self::FreeBsd => "FreeBSD",
            Self::OpenBsd => "OpenBSD",
            Self::NetBsd => "NetBSD",
            Self::Solaris => "Solaris",
        }
    }

    /// Whether `name` names the whole family.
    pub fn is_named(self, name: &str) -> bool {
        name == self.name() || (self == Self::Linux && name == LINUX_OR_ANDROID)
    }

    /// The family that a database's label names; `None` where it is none of these.
    pub fn of_label(name: &str) -> Option<Self> {
        const WORDS: [(&str, Family); 12] = [
            ("linux", Family::Linux),
            ("android", Family::Linux),
            ("mac os", Family::Apple),
            ("macos", Family::Apple),
            ("ios", Family::Apple),
            ("iphone", Family::Apple),
            ("windows", Family::Windows),
            ("freebsd", Family::FreeBsd),
            ("openbsd", Family::OpenBsd),
            ("netbsd", Family::NetBsd),
            ("solaris", Family::Solaris),
            ("sunos", Family::Solaris),
        ];
        let name = name.to_lowercase();
        WORDS.iter().find(|(word, _)| name.starts_with(word)).map(|(_, family)| *family)
    }
}

/// The probability of each way in which a stack may choose offsets; the three sum to 1.
#[derive(Clone, Copy, Debug)]
pub struct Offsets {
    /// One offset for all connections.
    pub global: f64,
    /// One per pair of addresses.
    pub per_pair: f64,
    /// One per connection.
    pub per_connection: f64,
}

const GLOBAL: Offsets = Offsets { global: 1.0, per_pair: 0.0, per_connection: 0.0 };
const PER_CONNECTION: Offsets = Offsets { global: 0.0, per_pair: 0.0, per_connection: 1.0 };

/// A stack.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// The name in reports.
    pub name: &'static str,
    /// The label among the built-in signatures.
    pub label: &'static str,
    /// When its first stable version was released, as a year and its fraction; 0 where that was before any
    /// traffic that tmap may see.
    pub released: f64,
    /// The family.
    pub family: Family,
    /// The rough share of machines with timestamps that run it.
    pub prior: f64,
    /// Tick rates in Hz with their shares; empty for an unsteady clock.
    pub rates: &'static [(f64, f64)],
    /// How it chooses offsets.
    pub offsets: Offsets,
    /// Its initial TTL.
    pub initial_ttl: u8,
}

impl Stack {
    /// Whether its TSvals are jiffies (Linux up to 4.12): such stacks alone tick at 250 Hz.
    pub fn counts_jiffies(&self) -> bool {
        self.rates.iter().any(|(hz, _)| *hz == 250.0)
    }

    /// Whether its handshakes have this label where `tcp_rmem` was raised beyond 128 KiB. Linux offers all
    /// that fits into 65,535 bytes then, as Android does. Up to 4.19 it offers at most twenty segments all
    /// the same (`tcp_default_init_rwnd()`).
    pub fn passes_for(&self, label: &str) -> bool {
        self.label == LINUX_SINCE_4_20 && label == ANDROID
    }

    /// Whether it can have sent what was seen at this time, in Unix nanoseconds. Times before 2000 are those
    /// of clocks that weren't set, and rule nothing out.
    pub fn may_run_at(&self, seen_ns: u64) -> bool {
        let year = 1970.0 + seen_ns as f64 * 1e-9 / SECONDS_PER_YEAR;
        year < 2000.0 || year >= self.released - TRIED_BEFORE_YEARS
    }
}

const SECONDS_PER_YEAR: f64 = 365.2425 * 86_400.0;

/// How long before its release a stack is tried out, in years.
const TRIED_BEFORE_YEARS: f64 = 0.5;

/// `CONFIG_HZ` as distributions set it.
const JIFFIES: &[(f64, f64)] = &[(1000.0, 0.35), (250.0, 0.4), (100.0, 0.2), (300.0, 0.05)];
const MILLISECONDS: &[(f64, f64)] = &[(1000.0, 1.0)];

/// All stacks.
pub const STACKS: &[Stack] = &[
    Stack {
        name: "Linux 2026 or later",
        label: LINUX_SINCE_4_20,
        released: 2026.0,
        family: Family::Linux,
        prior: 0.25,
        rates: MILLISECONDS,
        offsets: Offsets { global: 0.05, per_pair: 0.0, per_connection: 0.95 },
        initial_ttl: 64,
    },
    Stack {
        name: "Linux 4.20 to early 2026",
        label: LINUX_SINCE_4_20,
        released: 2018.8,
        family: Family::Linux,
        prior: 0.25,
        rates: MILLISECONDS,
        offsets: Offsets { global: 0.05, per_pair: 0.95, per_connection: 0.0 },
        initial_ttl: 64,
    },
    Stack {
        name: "Linux 4.13 to 4.19",
        label: "Linux 3.11 to 4.19",
        released: 2017.6,
        family: Family::Linux,
        prior: 0.05,
        rates: MILLISECONDS,
        offsets: Offsets { global: 0.05, per_pair: 0.95, per_connection: 0.0 },
        initial_ttl: 64,
    },
    Stack {
        name: "Linux 3.11 to 4.12",
        label: "Linux 3.11 to 4.19",
        released: 2013.6,
        family: Family::Linux,
        prior: 0.05,
        rates: JIFFIES,
        offsets: Offsets { global: 0.9, per_pair: 0.05, per_connection: 0.05 },
        initial_ttl: 64,
    },
    Stack {
        name: "Linux 2.6.38 to 3.10",
        label: "Linux 2.6.38 to 3.10",
        released: 2011.1,
        family: Family::Linux,
        prior: 0.03,
        rates: JIFFIES,
        offsets: GLOBAL,
        initial_ttl: 64,
    },
    Stack {
        name: "Linux before 2.6.38",
        label: "Linux before 2.6.38",
        released: 0.0,
        family: Family::Linux,
        prior: 0.02,
        rates: JIFFIES,
        offsets: GLOBAL,
        initial_ttl: 64,
    },
    Stack {
        name: "Linux with tcp_usec_ts (6.7 or later)",
        label: LINUX_SINCE_4_20,
        released: 2023.9,
        family: Family::Linux,
        prior: 0.005,
        rates: &[(1e6, 1.0)],
        offsets: Offsets { global: 0.1, per_pair: 0.4, per_connection: 0.5 },
        initial_ttl: 64,
    },
    Stack {
        name: ANDROID,
        label: ANDROID,
        released: 2008.7,
        family: Family::Linux,
        prior: 0.1,
        rates: &[(1000.0, 0.85), (100.0, 0.1), (300.0, 0.05)],
        offsets: Offsets { global: 0.2, per_pair: 0.6, per_connection: 0.2 },
        initial_ttl: 64,
    },
    Stack {
        name: "macOS or iOS, recent",
        label: "macOS or iOS",
        released: 2021.6,
        family: Family::Apple,
        prior: 0.1,
        rates: MILLISECONDS,
        offsets: PER_CONNECTION,
        initial_ttl: 64,
    },
    Stack {
        name: "macOS or iOS, before random offsets",
        label: "macOS or iOS",
        released: 0.0,
        family: Family::Apple,
        prior: 0.03,
        rates: &[],
        offsets: GLOBAL,
        initial_ttl: 64,
    },
    Stack {
        name: "FreeBSD",
        label: "FreeBSD",
        released: 0.0,
        family: Family::FreeBsd,
        prior: 0.02,
        rates: MILLISECONDS,
        offsets: Offsets { global: 0.1, per_pair: 0.1, per_connection: 0.8 },
        initial_ttl: 64,
    },
    Stack {
        name: "OpenBSD",
        label: "OpenBSD",
        released: 0.0,
        family: Family::OpenBsd,
        prior: 0.005,
        rates: &[(2.0, 0.6), (1000.0, 0.4)],
        offsets: PER_CONNECTION,
        initial_ttl: 64,
    },
    Stack {
        name: "NetBSD",
        label: "NetBSD",
        released: 0.0,
        family: Family::NetBsd,
        prior: 0.004,
        rates: &[(2.0, 1.0)],
        offsets: PER_CONNECTION,
        initial_ttl: 64,
    },
    Stack {
        name: "Windows 8 or later",
        label: "Windows Vista or newer",
        released: 2012.6,
        family: Family::Windows,
        prior: 0.03,
        rates: MILLISECONDS,
        offsets: Offsets { global: 0.5, per_pair: 0.0, per_connection: 0.5 },
        initial_ttl: 128,
    },
    Stack {
        name: "Windows Vista to 7",
        label: "Windows Vista or newer",
        released: 2006.8,
        family: Family::Windows,
        prior: 0.02,
        rates: &[(100.0, 1.0)],
        offsets: GLOBAL,
        initial_ttl: 128,
    },
    Stack {
        name: "Windows 2000 to 2003",
        label: "Windows 2000 to 2003",
        released: 0.0,
        family: Family::Windows,
        prior: 0.005,
        rates: &[(10.0, 1.0)],
        offsets: GLOBAL,
        initial_ttl: 128,
    },
    Stack {
        name: "Solaris",
        label: "Solaris",
        released: 0.0,
        family: Family::Solaris,
        prior: 0.005,
        rates: &[(100.0, 1.0)],
        offsets: GLOBAL,
        initial_ttl: 64,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stack_runs_before_its_release() {
        let names_at = |seen_s: u64| -> Vec<&str> {
            let may_run = |stack: &&Stack| stack.may_run_at(seen_s * 1_000_000_000);
            STACKS.iter().filter(may_run).map(|stack| stack.name).collect()
        };
        let in_2017 = names_at(1_490_000_000);
        assert!(in_2017.contains(&"Linux 3.11 to 4.12") && !in_2017.contains(&"Linux 2026 or later"));
        assert!(!names_at(1_145_000_000).contains(&"Windows 8 or later"), "in 2006");
        assert_eq!(names_at(3600).len(), STACKS.len(), "the clock wasn't set");
    }

    #[test]
    fn shares_are_shares() {
        for stack in STACKS {
            let Offsets { global, per_pair, per_connection } = stack.offsets;
            assert!((global + per_pair + per_connection - 1.0).abs() < 1e-9, "{}", stack.name);
            let rates: f64 = stack.rates.iter().map(|(_, share)| share).sum();
            assert!(stack.rates.is_empty() || (rates - 1.0).abs() < 1e-9, "{}", stack.name);
            assert_eq!(Family::of_label(stack.label), Some(stack.family), "{}", stack.name);
        }
        let in_2027_ns = 1_800_000_000_000_000_000;
        assert!(STACKS.iter().all(|stack| stack.may_run_at(in_2027_ns)), "all exist then");
        let total: f64 = STACKS.iter().map(|stack| stack.prior).sum();
        assert!((0.9..1.0).contains(&total), "{total}: the rest is for systems outside the table");
    }
}
