//! When an answer is due: what a person asks for comes within two seconds.
//!
//! Analysis first may end by itself. Then it is hurried, step by step, until the caller has what is known.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    engine::hurry::Hurry,
    sandbox,
    signals::{Asked, Signals},
};

/// The time that analysis has to end by itself, and then to end its searches; after that, no pass begins.
/// What is left of two seconds is for writing the report.
const STEPS: [Step; 2] =
    [(Duration::from_millis(400), Hurry::end_searches), (Duration::from_millis(300), Hurry::end_passes)];

/// After this time, this is done.
type Step = (Duration, fn(&Hurry));

/// When an answer is due; its copies are the same.
#[derive(Clone, Debug)]
pub(crate) struct Deadline(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hurry: Hurry,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the question that waits for its answer; none waits where it is `None`.
    waiting: Option<u64>,
    questions: u64,
}

impl Deadline {
    /// No answer is due. Analysis that shares `hurry` will be hurried.
    pub(crate) fn new(hurry: &Hurry) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { hurry: hurry.clone(), state, changed }))
    }

    /// Makes signals ask: a request for a summary if `summaries`, and the first request to stop if `drafts`,
    /// that is, if a report may come before the final one. The second request to stop wants what is known.
    pub(crate) fn follow(&self, signals: &Signals, summaries: bool, drafts: bool) {
        let deadline = self.clone();
        signals.heed(move |asked| match asked {
            Asked::Summary if summaries => deadline.ask(),
            Asked::Stop if drafts => deadline.ask(),
            Asked::Summary | Asked::Stop => {}
            Asked::StopNow => deadline.ask_for_what_is_known(),
        });
    }

    /// An answer is due within two seconds, or when the one is that somebody waits for already.
    pub(crate) fn ask(&self) {
        let mut state = self.state();
        if state.waiting.is_some() {
            return;
        }
        let question = state.ask();
        let deadline = self.clone();
        let watch = move || {
            sandbox::give_up();
            deadline.watch(question);
        };
        if thread::Builder::new().name("deadline".to_owned()).spawn(watch).is_err() {
            self.0.hurry.end_searches();
        }
    }

    /// An answer is due at once.
    fn ask_for_what_is_known(&self) {
        let mut state = self.state();
        state.ask();
        self.0.hurry.end_passes();
        self.0.changed.notify_all();
    }

    /// The answer was given: there is no hurry any more.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        state.waiting = None;
        self.0.hurry.over();
        self.0.changed.notify_all();
    }

    /// Hurries analysis step by step, until the question is answered or there is another one.
    fn watch(&self, question: u64) {
        let mut state = self.state();
        for (after, step) in STEPS {
            let until = Instant::now() + after;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                let waited = self.0.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                if state.waiting != Some(question) {
                    return;
                }
            }
            step(&self.0.hurry);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ask(&mut self) -> u64 {
        self.questions += 1;
        self.waiting = Some(self.questions);
        self.questions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than all steps, on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn wait_for(happened: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !happened() {
            assert!(began.elapsed() < PATIENCE, "waited in vain");
            thread::sleep(Duration::from_millis(5));
        }
        began.elapsed()
    }

    #[test]
    fn analysis_may_end_by_itself_and_is_then_hurried() {
        let hurry = Hurry::default();
        let deadline = Deadline::new(&hurry);
        deadline.ask();
        assert!(!hurry.ends_searches(), "it may end by itself");
        assert!(wait_for(|| hurry.ends_searches()) >= STEPS[0].0 / 2);
        wait_for(|| hurry.ends_passes());
        deadline.answered();
        assert!(!hurry.ends_searches() && !hurry.ends_passes());
    }

    #[test]
    fn an_answer_that_came_in_time_is_not_hurried() {
        let hurry = Hurry::default();
        let deadline = Deadline::new(&hurry);
        deadline.ask();
        deadline.answered();
        thread::sleep(STEPS[0].0 * 2);
        assert_eq!(hurry.times(), 0);
    }

    #[test]
    fn whoever_asks_again_gets_what_is_known() {
        let hurry = Hurry::default();
        let deadline = Deadline::new(&hurry);
        deadline.ask();
        deadline.ask_for_what_is_known();
        assert!(hurry.ends_passes());
    }
}
