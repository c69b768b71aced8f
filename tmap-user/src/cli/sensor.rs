//! Options of every command that watches interfaces.

use std::time::Duration;

use clap::{Args, error::ErrorKind};

use super::{
    unique, usage,
    values::{positive_time, size},
};
use crate::{
    capture::xdp::{Promiscuous, XdpMode},
    config::{Common, LiveConfig},
};

#[derive(Debug, Args)]
pub(super) struct SensorArgs {
    /// Watch outgoing segments too (XDP sees only incoming ones)
    #[arg(long)]
    egress: bool,
    /// Wait for interfaces that are not there, at the start or later
    #[arg(long)]
    wait: bool,
    /// Set interfaces to promiscuous mode [default: mirror ports, which have no address]
    #[arg(long, conflicts_with = "no_promisc")]
    promisc: bool,
    /// Leave promiscuous mode off
    #[arg(long)]
    no_promisc: bool,
    /// Stop after this time, e.g. 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    duration: Option<Duration>,
    /// Hook: native or generic XDP, tc (beside other programs), or auto [default: auto]
    #[arg(long, value_enum, value_name = "MODE", hide_possible_values = true)]
    xdp_mode: Option<XdpMode>,
    /// Size of the ring buffer per CPU, e.g. 8M; rounded up to a power of two, at least 2K
    #[arg(long, value_name = "BYTES", value_parser = size, allow_negative_numbers = true, hide = true)]
    ring_size: Option<usize>,
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
            xdp_mode: self.xdp_mode.unwrap_or_default(),
            egress: self.egress,
            wait: self.wait,
            promiscuous,
            every: None,
            duration: self.duration,
            ring_bytes: self.ring_size,
            every_packet: false,
            shards: None,
        }
    }

    /// Refuses these options for a run on captures, where they mean nothing.
    pub(super) fn refuse(&self, verb: &str) -> Result<(), clap::Error> {
        let given = [
            ("--egress", self.egress),
            ("--wait", self.wait),
            ("--promisc", self.promisc),
            ("--no-promisc", self.no_promisc),
            ("--duration", self.duration.is_some()),
            ("--xdp-mode", self.xdp_mode.is_some()),
            ("--ring-size", self.ring_size.is_some()),
        ];
        let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) else { return Ok(()) };
        let message = format!("{option} is for interfaces; leave it out, or name an interface with -i");
        Err(usage(verb, ErrorKind::ArgumentConflict, &message))
    }
}
