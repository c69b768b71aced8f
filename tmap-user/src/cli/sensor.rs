//! Options of every command that watches interfaces.

use clap::Args;

use crate::capture::xdp::Promiscuous;

#[derive(Debug, Args)]
pub(super) struct SensorArgs {
    /// Wait for interfaces that are not there, at the start or later
    #[arg(long)]
    wait: bool,
    /// Set interfaces to promiscuous mode [default: mirror ports, which have no address]
    #[arg(long, conflicts_with = "no_promisc")]
    promisc: bool,
    /// Leave promiscuous mode off
    #[arg(long)]
    no_promisc: bool,
}

impl SensorArgs {
    /// Whether to wait for interfaces, and which are set to promiscuous mode.
    pub(super) fn resolve(&self) -> (bool, Promiscuous) {
        let promiscuous = match (self.promisc, self.no_promisc) {
            (true, _) => Promiscuous::All,
            (_, true) => Promiscuous::Off,
            _ => Promiscuous::MirrorPorts,
        };
        (self.wait, promiscuous)
    }
}
