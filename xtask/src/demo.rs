//! The demonstration: several machines behind one address, on the real kernel path.

use anyhow::{Result, bail};
use std::path::Path;

/// Runs the demonstration with the tmap program at `binary`.
pub fn run(binary: &Path) -> Result<()> {
    bail!(
        "the demonstration is not built yet; name an interface instead: cargo xtask run -- -i eth0 \
         (tmap is at {})",
        binary.display()
    )
}
