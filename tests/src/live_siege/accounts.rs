//! Whether frames add up, from the senders through the interfaces to the sensor's own totals.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::socket::Handed;
use crate::net::namespaces::{INTERFACE, Namespace, Wire};

/// How long frames that are under way are waited for, and how often counters are read meanwhile.
const SETTLES: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// What an end of the wire has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    received: u64,
    sent: u64,
    /// Frames that the sending end dropped, because the receiving one had no room.
    dropped: u64,
}

impl Counters {
    fn of(namespace: &Namespace) -> Result<Self> {
        let text = namespace.ip(&format!("-s -j link show dev {INTERFACE}"));
        let links: Value = serde_json::from_str(&text).context("what ip says isn't JSON")?;
        let count = |way: &str, name: &str| {
            let value = links[0]["stats64"][way][name].as_u64();
            value.with_context(|| format!("ip doesn't count {name} of {way}"))
        };
        Ok(Self {
            received: count("rx", "packets")?,
            sent: count("tx", "packets")?,
            dropped: count("tx", "dropped")?,
        })
    }

    const fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            sent: self.sent - before.sent,
            dropped: self.dropped - before.dropped,
        }
    }
}

/// Counters of both ends before anything was sent.
pub(super) struct Before {
    near: Counters,
    far: Counters,
}

impl Before {
    /// As they are now.
    ///
    /// # Errors
    /// Where `ip` doesn't tell.
    pub(super) fn now(wire: &Wire) -> Result<Self> {
        Ok(Self { near: Counters::of(&wire.near)?, far: Counters::of(&wire.far)? })
    }

    /// Waits until no frame is under way any more.
    ///
    /// # Errors
    /// Where `ip` doesn't tell.
    pub(super) fn settle(wire: &Wire) -> Result<()> {
        let began = Instant::now();
        let mut last = Self::now(wire)?;
        while began.elapsed() < SETTLES {
            thread::sleep(POLL);
            let now = Self::now(wire)?;
            if (now.near, now.far) == (last.near, last.far) {
                break;
            }
            last = now;
        }
        Ok(())
    }
}

/// What each part counted since the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts {
    /// Frames that senders handed to the kernel.
    pub handed: u64,
    /// Of them, those that the sending interface counted as sent.
    pub sent: u64,
    /// Of them, those that it dropped, because the receiving one had no room.
    pub dropped: u64,
    /// Frames that the sensor's interface counted.
    pub received: u64,
    /// Frames that the sensor saw.
    pub seen: u64,
    /// Of them, without a usable segment.
    pub skipped: u64,
    /// Repeats.
    pub suppressed: u64,
    /// Records that went to the engine.
    pub emitted: u64,
    /// Records lost in full rings.
    pub ring_full: u64,
    /// Records that the engine took in.
    pub records: u64,
}

impl Accounts {
    /// Counts what happened since then, with what senders handed over and the sensor's last summary.
    ///
    /// # Errors
    /// Where `ip` or the summary doesn't tell.
    pub(super) fn new(before: &Before, wire: &Wire, handed: Handed, summary: &Value) -> Result<Self> {
        let now = Before::now(wire)?;
        let (near, far) = (now.near.since(before.near), now.far.since(before.far));
        let packets = &summary["packets"];
        let told = |value: &Value| value.as_u64().context("a count is missing in tmap's summary");
        let skipped =
            packets["skipped"].as_object().context("tmap's summary says nothing of skipped frames")?;
        Ok(Self {
            handed: handed.taken + handed.refused,
            sent: near.sent,
            dropped: near.dropped,
            received: far.received,
            seen: told(&packets["seen"])?,
            skipped: skipped.values().filter_map(Value::as_u64).sum(),
            suppressed: told(&packets["suppressed"])?,
            emitted: told(&packets["emitted"])?,
            ring_full: told(&packets["ring_full"])?,
            records: told(&summary["records"])?,
        })
    }

    /// What doesn't add up; empty where all does.
    pub fn wrong(&self) -> Vec<String> {
        let accounted = self.skipped + self.suppressed + self.emitted + self.ring_full;
        let pairs = [
            ("handed over", self.handed, "sent or dropped", self.sent + self.dropped),
            ("sent", self.sent, "received", self.received),
            ("received", self.received, "seen by tmap", self.seen),
            ("seen by tmap", self.seen, "accounted for", accounted),
            ("emitted", self.emitted, "records taken in", self.records),
        ];
        let wrong = pairs.into_iter().filter(|(_, one, _, other)| one != other);
        wrong.map(|(name, one, other_name, other)| format!("{one} {name}, {other} {other_name}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_too_few_is_wrong() {
        let sound = Accounts {
            handed: 12,
            sent: 10,
            dropped: 2,
            received: 10,
            seen: 10,
            skipped: 1,
            suppressed: 2,
            emitted: 4,
            ring_full: 3,
            records: 4,
        };
        assert_eq!(sound.wrong(), Vec::<String>::new());
        let wrong = Accounts { seen: 9, ..sound }.wrong();
        assert_eq!(wrong, ["10 received, 9 seen by tmap", "9 seen by tmap, 10 accounted for"]);
    }
}
