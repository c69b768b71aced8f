//! `tmap live`: the sensor, the drain thread and the control loop.

use std::io::Write;

use crate::{Outcome, config::LiveConfig};

/// Watches the interfaces until told to stop.
///
/// # Errors
/// Where the sensor can't be attached.
pub fn run(_config: &LiveConfig, _out: impl Write) -> anyhow::Result<Outcome> {
    anyhow::bail!("the live sensor is not in this build yet; read a capture: tmap read FILE")
}
