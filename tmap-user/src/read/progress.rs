//! How far reading is, on standard error.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::{engine::Event, progress_bar, report::number::count};

/// A run that takes no longer than this needs no progress bar.
const PROGRESS_AFTER: Duration = Duration::from_millis(700);

/// A progress bar on standard error, if that is a terminal and the run takes long.
#[derive(Clone)]
pub(super) struct Progress {
    pub bar: ProgressBar,
    began: Instant,
    is_shown: Cell<bool>,
    /// Machines recognised.
    found: Cell<u64>,
    /// Whether it stays hidden, and nothing is said on standard error, because a screen is shown.
    is_hidden: Rc<Cell<bool>>,
}

impl Progress {
    /// Hidden at first.
    pub(super) fn new(bar: ProgressBar) -> Self {
        Self {
            bar,
            began: Instant::now(),
            is_shown: Cell::new(false),
            is_hidden: Rc::default(),
            found: Cell::default(),
        }
    }

    /// Shows what was found so far.
    pub(super) fn found<'a>(&self, news: impl Iterator<Item = &'a Event>) {
        let new = news.filter(|event| matches!(event, Event::NewMachine { .. })).count();
        self.found.set(self.found.get() + new as u64);
        self.bar.set_prefix(format!("; {} so far", count(self.found.get(), "machine")));
    }

    /// Keeps it hidden, and standard error silent, or ends that.
    pub(super) fn hide(&self, is_hidden: bool) {
        self.is_hidden.set(is_hidden);
    }

    /// Whether it is kept hidden.
    pub(super) fn is_hidden(&self) -> bool {
        self.is_hidden.get()
    }

    /// Shows it where the run takes long.
    pub(super) fn show_if_slow(&self) {
        if !self.is_hidden.get() && !self.is_shown.get() && self.began.elapsed() > PROGRESS_AFTER {
            self.is_shown.set(true);
            // It stays hidden if standard error is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Shows how many addresses were analysed.
    pub(super) fn show_analysis(&self, analysed: u64, all: u64) {
        if self.is_hidden.get() {
            return;
        }
        self.show_if_slow();
        progress_bar::set_template(&self.bar, progress_bar::ANALYSING);
        self.bar.set_length(all);
        self.bar.set_position(analysed);
    }
}
