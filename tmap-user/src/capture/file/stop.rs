//! Whether reading shall end, or it is the caller's turn: asked wherever bytes may come for ever, and no
//! packet.

use std::sync::Arc;

/// Whether reading shall end.
#[derive(Clone)]
pub struct Stop {
    stop: Arc<dyn Fn() -> bool + Send + Sync>,
    gives_turns: bool,
}

impl Stop {
    /// Asks `stop`.
    pub fn new(stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stop: Arc::new(stop), gives_turns: false }
    }

    /// For a caller that has more to do than to stop: it gets its turn now and then in any case.
    #[must_use]
    pub fn with_turns(self) -> Self {
        Self { gives_turns: true, ..self }
    }

    /// For who is never stopped.
    pub(super) fn never() -> Self {
        Self::new(|| false)
    }

    /// Whether reading shall end.
    pub(super) fn is_wanted(&self) -> bool {
        (self.stop)()
    }

    /// Whether the caller wants its turn, if only to end.
    pub(super) fn wants_turn(&self) -> bool {
        self.gives_turns || self.is_wanted()
    }
}
