//! Snapshots for the reporter: the control loop orders them and goes on until they come.

use std::{future::pending, pin::Pin};

use super::Control;
use crate::{
    engine::{Holdings, Snapshot, Wanted},
    report::sensor::Heartbeat,
    signals::Signals,
    time::WallClock,
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
}

/// What was ordered. One snapshot is under way at a time, because analysis does one thing after the other.
#[derive(Default)]
pub(super) struct Orders {
    under_way: Option<(Purpose, Request)>,
    /// Whether a summary is to be ordered next.
    is_summary_wanted: bool,
}

impl Orders {
    /// Waits for the snapshot under way, or for ever without one.
    pub(super) async fn next(&mut self) -> (Snapshot, Holdings) {
        match &mut self.under_way {
            Some((_, request)) => request.await,
            None => pending().await,
        }
    }
}

impl Control<'_> {
    /// Orders a summary. Requests that come before it is begun get the same one.
    pub(super) fn order_summary(&mut self) {
        self.orders.is_summary_wanted = true;
        self.order_what_is_wanted();
    }

    /// Orders what changed up to a sign of life, which is written with it. Where analysis takes longer than
    /// from one sign of life to the next, the one before is written without.
    pub(super) fn order_changes(&mut self, beat: Heartbeat) -> anyhow::Result<()> {
        match &mut self.orders.under_way {
            Some((Purpose::Changes(before), _)) => {
                let before = std::mem::replace(&mut **before, beat);
                self.reporter.heartbeat(&before, None, WallClock::of_live())?;
            }
            Some((Purpose::Summary, _)) => self.reporter.heartbeat(&beat, None, WallClock::of_live())?,
            None => self.order(Purpose::Changes(Box::new(beat))),
        }
        Ok(())
    }

    fn order_what_is_wanted(&mut self) {
        if self.orders.under_way.is_none() && std::mem::take(&mut self.orders.is_summary_wanted) {
            self.order(Purpose::Summary);
        }
    }

    fn order(&mut self, purpose: Purpose) {
        let wanted = match purpose {
            Purpose::Summary => self.config.common.wanted,
            Purpose::Changes(_) => Wanted::default(),
        };
        let request = self.drain.request_snapshot(Scope { wanted, only: None });
        self.orders.under_way = Some((purpose, Box::pin(request)));
    }

    /// Writes what the snapshot under way is for, and orders the next one.
    pub(super) fn deliver(&mut self, found: (Snapshot, Holdings), signals: &Signals) -> anyhow::Result<()> {
        match self.orders.under_way.take() {
            Some((Purpose::Changes(beat), _)) => {
                self.reporter.heartbeat(&beat, Some(&found.0), WallClock::of_live())?;
            }
            Some((Purpose::Summary, _)) => {
                self.write(found)?;
                if !signals.stop() {
                    self.deadline.answered();
                }
            }
            None => {}
        }
        self.order_what_is_wanted();
        Ok(())
    }

    /// Waits for all that was ordered, and writes it: the threads do one thing after the other, so what is
    /// asked next must wait for this. Where a thread is stuck, nobody waits for ever.
    pub(super) async fn deliver_all(&mut self, signals: &Signals) -> anyhow::Result<()> {
        while self.orders.under_way.is_some() {
            tokio::select! {
                found = self.orders.next() => self.deliver(found, signals)?,
                () = super::patience(signals) => return Ok(()),
            }
        }
        Ok(())
    }
}
