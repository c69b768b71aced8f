//! Options of what a report on machines shows: those of `tmap live` and `tmap read`.

use std::io;

use clap::Args;

use super::values::at_least_one;
use crate::{
    engine::Wanted,
    report::{End, Sort, View},
};

#[derive(Debug, Default, Args)]
pub(super) struct ReportArgs {
    /// Tell everything about each machine: evidence, handshake, peers, exact rate
    #[arg(short, long)]
    verbose: bool,
    /// List the addresses in this order: machines, connections, address, seen, uptime
    #[arg(long, value_enum, value_name = "ORDER", hide_possible_values = true)]
    sort: Option<Sort>,
    /// List at most so many addresses [default: 40; with --json: all]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    top: Option<usize>,
    /// Leave out addresses with fewer machines
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_machines: u32,
    /// List every connection: machine, times, segments, bytes
    #[arg(long)]
    connections: bool,
    /// List the connections from this end only, e.g. 198.51.100.1:53042
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    connection: Option<End>,
    /// List machines seen behind several addresses
    #[arg(long)]
    siblings: bool,
}

/// Whether a word, such as `--top` or `-v`, is one of these options.
pub(super) fn is_option(word: &str) -> bool {
    let all = ReportArgs::augment_args(clap::Command::new("report"));
    all.get_arguments().any(|option| match word.strip_prefix("--") {
        Some(long) => option.get_long() == Some(long),
        None => option.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&short.to_string())),
    })
}

impl ReportArgs {
    /// What summaries list in addition to addresses.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { connections: self.connections || self.connection.is_some(), siblings: self.siblings }
    }

    /// What they show, and in which order.
    pub(super) fn view(&self, verb: &str) -> View {
        View {
            sort: self.sort,
            top: self.top,
            min_machines: self.min_machines,
            verbose: self.verbose,
            // The screen has shown round trips; what remains on the terminal is the table of machines.
            hides_round_trips: verb == "top",
            // Nobody waits for the events of a file: the summary has them all.
            hides_events: verb == "read",
            colour: anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
            end: self.connection,
        }
    }
}
