//! When reading ends after a request to stop: at once, or a moment later where captures had to wait.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::signals::Signals;

/// How long captures are read that had waited for another one. A summary still comes within two seconds.
const REST: Duration = Duration::from_secs(1);

/// Whether reading shall end; its copies are the same.
#[derive(Clone)]
pub(super) struct Ending {
    signals: Arc<Signals>,
    rest_until: Arc<OnceLock<Instant>>,
}

impl Ending {
    pub(super) fn new(signals: Arc<Signals>) -> Self {
        Self { signals, rest_until: Arc::default() }
    }

    /// Whether reading shall end.
    pub(super) fn is_due(&self) -> bool {
        let is_rest_over =
            || self.rest_until.get().is_none_or(|until| self.signals.stop_now() || Instant::now() >= *until);
        self.signals.stop() && is_rest_over()
    }

    /// Gives captures that had waited their time, which begins with the first call.
    pub(super) fn put_off(&self) {
        self.rest_until.get_or_init(|| Instant::now() + REST);
    }

    /// Whether captures that had waited have got their time.
    pub(super) fn was_put_off(&self) -> bool {
        self.rest_until.get().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_ends_reading_and_it_can_be_put_off_once() {
        let signals = Arc::new(Signals::default());
        let ending = Ending::new(Arc::clone(&signals));
        assert!(!ending.is_due());
        signals.request_stop();
        assert!(ending.is_due() && !ending.was_put_off());
        ending.clone().put_off();
        assert!(!ending.is_due() && ending.was_put_off());
        std::thread::sleep(REST);
        ending.put_off();
        assert!(ending.is_due());
    }
}
