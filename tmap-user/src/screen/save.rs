//! The page that the screen writes into a file.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use rustix::process::geteuid;

use crate::{
    engine::Event,
    page::{self, Events, Made, Source},
    report::{Summary, number::Calendar},
    time::WallClock,
};

/// What a page says beside the summary: it is gathered while the screen is shown.
#[derive(Debug)]
pub struct Saver {
    events: Events,
    made: Made,
    zone: TimeZone,
}

impl Saver {
    /// For a run of this command line, with times local in `zone`.
    pub fn new(command: &[String], zone: TimeZone) -> Self {
        Self { events: Events::default(), made: Made::new(command), zone }
    }

    /// Keeps an event that was noticed at engine time `now_ns`.
    pub fn event(&mut self, event: &Event, now_ns: u64, wall: WallClock) {
        self.events.push(event, now_ns, &Calendar { wall, zone: &self.zone });
    }

    /// Writes a page of everything known of these sources into a new file in the current folder, named by the
    /// time now. Returns what to say of the outcome.
    pub fn save(&mut self, summary: &Summary, sources: Vec<Source>) -> String {
        self.made.sources = sources;
        self.made.written = Some(Timestamp::now());
        let html = page::html(summary, &self.events, &self.made, &self.zone);
        match self.write(&html) {
            Ok(path) => format!("saved {}", path.display()),
            Err(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        let user = geteuid().as_raw();
                        format!("; start tmap where the user of UID {user} may make files, as in /tmp")
                    }
                    _ => String::new(),
                };
                crate::without_error_codes(&format!("cannot save the page here: {error}{hint}"))
            }
        }
    }

    fn write(&self, html: &str) -> io::Result<PathBuf> {
        let now = Zoned::now().with_time_zone(self.zone.clone());
        let path = PathBuf::from(now.strftime("tmap-%Y%m%d-%H%M%S.html").to_string());
        // For writing only: a sandboxed process may not read here.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let written = file.write_all(html.as_bytes());
        if written.is_err() {
            // Half a page is worse than none.
            let _ = fs::remove_file(&path);
        }
        written.map(|()| path)
    }
}
