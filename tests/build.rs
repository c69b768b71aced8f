//! Builds the BPF objects that only benchmarks load.

use anyhow::Result;

#[path = "../tmap-ebpf/embed.rs"]
mod embed;

fn main() -> Result<()> {
    let shared = ["tmap-common/src", "tmap-common/Cargo.toml", "tmap-ebpf"];
    embed::Builder::new(&shared)?.build("tmap-ebpf-bench", "tests/ebpf-bench", &[])
}
