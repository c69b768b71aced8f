//! What the process and its screen take of a core.

use std::time::Instant;

use crate::time::process_cpu_ns;

/// The CPU time up to the last look.
#[derive(Debug)]
pub struct Spent {
    looked: Instant,
    process_ns: u64,
    screen_ns: u64,
}

impl Default for Spent {
    fn default() -> Self {
        Self { looked: Instant::now(), process_ns: process_cpu_ns(), screen_ns: 0 }
    }
}

impl Spent {
    /// What the process and the screen took since the last look, in percent of a core. The screen has taken
    /// `screen_ns` of CPU time so far.
    pub fn percent(&mut self, screen_ns: u64) -> (f64, f64) {
        let now = Self { screen_ns, ..Self::default() };
        let between_ns = now.looked.duration_since(self.looked).as_nanos().max(1) as f64;
        let percent =
            |now_ns: u64, before_ns: u64| 100.0 * now_ns.saturating_sub(before_ns) as f64 / between_ns;
        let shares = (percent(now.process_ns, self.process_ns), percent(now.screen_ns, self.screen_ns));
        *self = now;
        shares
    }
}
