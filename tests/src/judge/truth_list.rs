//! The list beside a capture that names the machine of each connection: `NAME.truth.csv`, as
//! `cargo xtask lab` writes it.

use std::{collections::HashMap, fs, net::IpAddr, path::Path};

use anyhow::{Context, Result, ensure};

use crate::simulate::ConnectionKey;

/// The machine of each connection, by its client's side; `None` where there is no list. `name` is the
/// capture's without its endings.
///
/// # Errors
/// Where a list can't be read.
pub fn beside(capture: &Path, name: &str) -> Result<Option<HashMap<ConnectionKey, usize>>> {
    let path = capture.with_file_name(format!("{name}.truth.csv"));
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    ensure!(heading == "sport,dst,dport,isn,machine", "{}: columns are {heading}", path.display());
    let line = |line: &str| -> Result<(ConnectionKey, usize)> {
        let cells: Vec<&str> = line.split(',').collect();
        ensure!(cells.len() == 5, "not five columns: {line}");
        let server: IpAddr = cells[1].parse()?;
        Ok(((cells[0].parse()?, server.into(), cells[2].parse()?), cells[4].parse()?))
    };
    lines.map(line).collect::<Result<_>>().map(Some).with_context(|| format!("{}", path.display()))
}

/// A capture's name without its endings.
pub fn stem(capture: &Path) -> String {
    let name = capture.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split_once('.').map_or(name.clone(), |(stem, _)| stem.to_owned())
}
