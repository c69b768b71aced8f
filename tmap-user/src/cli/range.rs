//! Options of every command that reads captures: the range of time.

use clap::{Args, error::ErrorKind};

use super::{usage, zone};
use crate::time::When;

#[derive(Debug, Args)]
pub(super) struct RangeArgs {
    /// Ignore packets of captures before this time, e.g. 03:00 or '2026-11-21 03:00'
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// Ignore packets of captures after this time
    #[arg(long, value_name = "TIME")]
    to: Option<When>,
}

impl RangeArgs {
    /// The beginning and the end.
    ///
    /// # Errors
    /// If no packet of any capture can be in between.
    pub(super) fn resolve(&self, verb: &str) -> Result<(Option<When>, Option<When>), clap::Error> {
        let is_empty = self.from.zip(self.to).is_some_and(|(from, to)| from.is_later(&to, &zone()));
        if is_empty {
            let message = "--from is later than --to, so no packet is in between; swap the two";
            return Err(usage(verb, ErrorKind::ValueValidation, message));
        }
        Ok((self.from, self.to))
    }

    /// Refuses these options for a run on interfaces, where they mean nothing.
    pub(super) fn refuse(&self, verb: &str) -> Result<(), clap::Error> {
        let option = match (self.from, self.to) {
            (None, None) => return Ok(()),
            (Some(_), _) => "--from",
            (None, Some(_)) => "--to",
        };
        let message = format!("{option} is for captures; leave it out, or name captures instead of -i");
        Err(usage(verb, ErrorKind::ArgumentConflict, &message))
    }
}
