//! The log of the kernel programs: the first malformed frames of each kind on each CPU.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tmap_common::Skip;

/// The most lines held between two calls of [`Anomalies::take`].
const MAX_LINES: usize = 256;

/// Reads the programs' log.
pub(super) struct Anomalies {
    logger: EbpfLogger<Collector>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Anomalies {
    /// Takes the log's map over. It must be kept as long as the programs run.
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let logger = EbpfLogger::init_with_logger(ebpf, Collector { lines: lines.clone() })
            .context("cannot read the kernel programs' log")?;
        Ok(Self { logger, lines })
    }

    /// The lines logged since the last call.
    pub(super) fn take(&mut self) -> Vec<String> {
        self.logger.flush();
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps lines for [`Anomalies::take`].
struct Collector {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MAX_LINES {
            lines.push(readable(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// A log line in words. The kernel side writes one number, which holds the reason and the frame's length.
fn readable(line: &str) -> String {
    let parse = || {
        let number: u64 = line.strip_prefix("skip ")?.parse().ok()?;
        let (skip, bytes) = (number >> 32, number as u32);
        let skip = Skip::ALL.get(skip as usize)?;
        Some(format!("skipped a malformed frame of {bytes} bytes ({skip})"))
    };
    parse().unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_names() {
        let line = format!("skip {}", (Skip::OptionOverrun as u64) << 32 | 60);
        assert_eq!(readable(&line), "skipped a malformed frame of 60 bytes (option_overrun)");
        assert_eq!(readable("skip 4290672328764"), "skip 4290672328764");
        assert_eq!(readable("something else"), "something else");
    }
}
