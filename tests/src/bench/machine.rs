//! The machine that figures were measured on, and pinning to one of its CPUs.

use std::fs;

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::utsname::uname,
    unistd::Pid,
};
use serde::Serialize;

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs that may be used.
    pub cpus: usize,
    /// Load average over the last minute when the run began: what else there was to do.
    pub load: f64,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// Where `/proc` isn't there.
    pub fn this() -> Result<Self> {
        let info = fs::read_to_string("/proc/cpuinfo").context("can't read /proc/cpuinfo")?;
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").context("can't read /proc/loadavg")?;
        Ok(Self {
            kernel: uname()?.release().to_string_lossy().into_owned(),
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned()),
            cpus: std::thread::available_parallelism()?.get(),
            load: load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        })
    }
}

/// Keeps the calling thread on one CPU as long as it lives.
#[derive(Debug)]
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Pins the calling thread to `cpu`.
    ///
    /// # Errors
    /// Where there is no such CPU.
    pub fn to(cpu: usize) -> Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("can't pin to CPU {cpu}"))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}
