//! Snapshots for reports: the control loop orders them and goes on until they come, and are written.

use std::{future::pending, pin::Pin};

use super::Control;
use crate::{
    engine::{Holdings, Snapshot, Wanted},
    report::sensor::Heartbeat,
    signals::Signals,
};

use super::common::Scope;

/// A snapshot that was asked for.
pub(super) type Request = Pin<Box<dyn Future<Output = (Snapshot, Holdings)>>>;

/// What a snapshot is for.
enum Purpose {
    /// A summary that the user asked for.
    Summary,
    /// What changed up to this sign of life.
    Changes(Box<Heartbeat>),
    /// A screen that is gone.
    Nothing,
}

/// A summary that is written.
type Writing = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// What was ordered. One snapshot is under way at a time, because analysis does one thing after the other.
#[derive(Default)]
pub(super) struct Orders {
    under_way: Option<(Purpose, Request)>,
    /// The summary that is written, which may wait for its reader.
    writing: Option<Writing>,
    /// Whether a summary is to be ordered next.
    is_summary_wanted: bool,
}

/// What became of an order.
pub(super) enum Progress {
    /// The snapshot under way came.
    Taken(Box<(Snapshot, Holdings)>),
    /// The summary was written, or couldn't be.
    Written(anyhow::Result<()>),
}

impl Orders {
    /// Waits for what is under way, or for ever where nothing is.
    pub(super) async fn next(&mut self) -> Progress {
        let Self { under_way, writing, .. } = self;
        let taken = async {
            match under_way {
                Some((_, request)) => request.await,
                None => pending().await,
            }
        };
        let written = async {
            match writing {
                Some(writing) => writing.await,
                None => pending().await,
            }
        };
        tokio::select! {
            found = taken => Progress::Taken(Box::new(found)),
            written = written => Progress::Written(written),
        }
    }

    /// Takes the summary that is written, and waits until that is done.
    pub(super) fn take_writing(&mut self) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let writing = self.writing.take();
        async move {
            match writing {
                Some(writing) => writing.await,
                None => Ok(()),
            }
        }
    }

    /// Takes over a snapshot that a screen asked for, so that what is asked next waits for it.
    pub(super) fn take_over(&mut self, request: Request) {
        self.under_way = Some((Purpose::Nothing, request));
    }

    fn is_empty(&self) -> bool {
        self.under_way.is_none() && self.writing.is_none()
    }
}

impl Control<'_> {
    /// Orders a summary. Requests that come before it is begun get the same one.
    pub(super) fn order_summary(&mut self) {
        self.orders.is_summary_wanted = true;
        if self.orders.writing.is_some() {
            // It is taken once somebody has read the one before. Until then, analysis has time.
            self.deadline.answered();
        }
        self.order_what_is_wanted();
    }

    /// Orders what changed up to a sign of life, which is written with it. Where analysis takes longer than
    /// from one sign of life to the next, the one before is written without.
    pub(super) fn order_changes(&mut self, beat: Heartbeat) -> anyhow::Result<()> {
        match &mut self.orders.under_way {
            Some((Purpose::Changes(before), _)) => {
                let before = std::mem::replace(&mut **before, beat);
                self.reports.heartbeat(before, None)
            }
            Some((Purpose::Summary | Purpose::Nothing, _)) => self.reports.heartbeat(beat, None),
            None => {
                self.order(Purpose::Changes(Box::new(beat)));
                Ok(())
            }
        }
    }

    fn order_what_is_wanted(&mut self) {
        if self.orders.is_empty() && std::mem::take(&mut self.orders.is_summary_wanted) {
            self.order(Purpose::Summary);
        }
    }

    fn order(&mut self, purpose: Purpose) {
        let wanted = match purpose {
            Purpose::Summary => {
                self.deadline.ask();
                self.config.common.wanted
            }
            Purpose::Changes(_) | Purpose::Nothing => Wanted::default(),
        };
        let request = self.drain.request_snapshot(Scope { wanted, only: None });
        self.orders.under_way = Some((purpose, Box::pin(request)));
    }

    /// Has what the snapshot under way is for written, and orders the next one.
    pub(super) fn deliver(&mut self, progress: Progress, signals: &Signals) -> anyhow::Result<()> {
        match progress {
            Progress::Taken(found) => match self.orders.under_way.take() {
                Some((Purpose::Changes(beat), _)) => self.reports.heartbeat(*beat, Some(found.0))?,
                Some((Purpose::Summary, _)) => {
                    let summary = self.summary_of(*found);
                    self.orders.writing = Some(Box::pin(self.reports.summary(summary)));
                    // Its reader may take hours. Who requested a stop waits for another one, unless that is
                    // to be complete.
                    let is_awaited = self.reports.takes_drafts || signals.stop_now();
                    if !signals.stop() || !is_awaited {
                        self.deadline.answered();
                    }
                }
                Some((Purpose::Nothing, _)) | None => {}
            },
            Progress::Written(written) => {
                self.orders.writing = None;
                written?;
            }
        }
        self.order_what_is_wanted();
        Ok(())
    }

    /// Waits for the snapshot under way, and has it written: the threads do one thing after the other, so
    /// what is asked next must wait for this. Where a thread is stuck, nobody waits for ever. A summary that
    /// still waits for the one before isn't ordered any more: the last one is as new.
    pub(super) async fn deliver_what_is_under_way(&mut self, signals: &Signals) -> anyhow::Result<()> {
        while self.orders.under_way.is_some() {
            tokio::select! {
                progress = self.orders.next() => self.deliver(progress, signals)?,
                () = super::patience(signals) => return Ok(()),
            }
        }
        Ok(())
    }
}
