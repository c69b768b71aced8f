//! Makes the pictures and the examples of output in documents anew. `cargo xtask pictures` runs it.

use anyhow::{Context as _, Result};
use tmap_tests::examples;

fn main() -> Result<()> {
    let here = std::env::current_exe()?;
    let tmap = here.parent().context("a folder")?.join("tmap-under-test");
    for made in examples::all(&tmap)? {
        let is_stale = made.is_stale();
        if is_stale {
            made.write()?;
        }
        println!("{} {}", if is_stale { "written:  " } else { "unchanged:" }, made.path.display());
    }
    Ok(())
}
