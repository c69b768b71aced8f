//! The report that the screen writes into a file.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
};

use jiff::{Zoned, tz::TimeZone};

use crate::report::{Format, Reporter, Summary, View};

/// Writes everything known into a new file in the current folder, named by the time now.
///
/// # Errors
/// If the file can't be written.
pub fn save(summary: &Summary, zone: &TimeZone) -> io::Result<PathBuf> {
    let now = Zoned::now().with_time_zone(zone.clone());
    let path = PathBuf::from(now.strftime("tmap-%Y%m%d-%H%M%S.txt").to_string());
    let mut out = BufWriter::new(File::create_new(&path)?);
    let view = View { verbose: true, top: Some(usize::MAX), ..View::default() };
    // The report lists machines. Connections are for pictures.
    let mut summary = summary.clone();
    summary.snapshot.connections.clear();
    Reporter::new(&mut out, Format::Text, zone.clone()).with_view(view).summary(&summary)?;
    out.flush()?;
    Ok(path)
}

/// What to say of the outcome.
pub fn outcome(saved: io::Result<PathBuf>) -> String {
    match saved {
        Ok(path) => format!("saved {}", path.display()),
        Err(error) => crate::without_error_codes(&format!("cannot save the report here: {error}")),
    }
}
