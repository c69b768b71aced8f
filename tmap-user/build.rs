//! Builds the BPF objects that the binary carries.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

#[path = "../tmap-ebpf/embed.rs"]
mod embed;

fn main() -> Result<()> {
    let builder = embed::Builder::new(&["tmap-common/src", "tmap-common/Cargo.toml"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // The cautious object is the same program with a feature, so it comes out under the same name.
    builder.build("tmap-ebpf", "tmap-ebpf", &["cautious"])?;
    fs::rename(out.join("tmap-ebpf"), out.join("tmap-cautious"))
        .context("can't rename the cautious object")?;
    builder.build("tmap-ebpf", "tmap-ebpf", &[])
}
