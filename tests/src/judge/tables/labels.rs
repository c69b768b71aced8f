//! The table of captures with a list of machines: `cargo xtask eval -- --truth FOLDER`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::judge::labels::{self, Labelled};

/// Prints each address of the captures that have a list.
///
/// # Errors
/// Where a file can't be read, or no capture has a list.
pub fn print(captures: &[(String, PathBuf)]) -> Result<()> {
    println!(
        "{:<12}{:<18}{:>6}{:>7}{:>10}{:>7}{:>7}  of each machine",
        "capture", "address", "true", "found", "interval", "conns", "right"
    );
    let mut lists = 0;
    for (name, path) in captures {
        let Some(addresses) = labels::judge(path, name)? else { continue };
        lists += 1;
        for Labelled { address, machines, found, interval, connections, right, of_machine } in addresses {
            let found = found.map_or("?".to_owned(), |found| found.to_string());
            let high = interval.1.map_or("?".to_owned(), |high| high.to_string());
            let each: Vec<String> = of_machine
                .iter()
                .map(|(machine, (all, right))| format!("{machine}: {right}/{all}"))
                .collect();
            println!(
                "{name:<12}{:<18}{machines:>6}{found:>7}{:>10}{connections:>7}{right:>7.3}  {}",
                address.to_string(),
                format!("{}..{high}", interval.0),
                each.join(", ")
            );
        }
    }
    ensure!(lists > 0, "no capture has a list NAME.truth.csv beside it");
    Ok(())
}
