//! Options of every command that watches interfaces.

use clap::Args;

use super::unique;
use crate::{
    capture::xdp::{Promiscuous, XdpMode},
    config::{Common, LiveConfig},
};

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
    /// The settings of a run on these interfaces, as far as these options tell them.
    pub(super) fn watch(&self, common: Common, interfaces: Vec<String>) -> LiveConfig {
        let promiscuous = match (self.promisc, self.no_promisc) {
            (true, _) => Promiscuous::All,
            (_, true) => Promiscuous::Off,
            _ => Promiscuous::MirrorPorts,
        };
        LiveConfig {
            common,
            interfaces: unique(interfaces),
            xdp_mode: XdpMode::default(),
            egress: false,
            wait: self.wait,
            promiscuous,
            every: None,
            duration: None,
            ring_bytes: None,
            every_packet: false,
            shards: None,
        }
    }
}
