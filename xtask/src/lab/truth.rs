//! The truth of a laboratory run: what the machines were, and which connections were theirs.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::files::Files;
use super::frames::{Frames, Note};
use super::join::{self, Joined};
use super::machines::Machines;
use super::network::{self, Family, PORTS};
use super::notes;
use super::spec::Spec;
use super::traffic::Traffic;
use crate::testbed::nat::{Nat, block};
use crate::vm::Vm;

/// The truth of a run.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    seconds: u32,
    nat: Nat,
    /// The versions of IP that the machines talked.
    pub families: Vec<Family>,
    /// The machines.
    pub machines: Vec<Machine>,
    /// The connections of the machines.
    pub joined: Joined,
}

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Its specification.
    pub spec: Spec,
    /// The number of connections that it opened, as it printed it; `None` if it was stopped early.
    pub opened: Option<u64>,
    traffic: Traffic,
    package: String,
    /// `uname -r` as the machine printed it.
    release: Option<String>,
    hz: Option<u32>,
    /// A value of the kernel's counter of ticks, and CLOCK_MONOTONIC in nanoseconds when it came to it.
    jiffies: Option<(u64, i64)>,
    /// When its clock was zero, from time to time; see [`notes::zeros`].
    zeros: Vec<(i64, i64)>,
}

impl Truth {
    /// Gathers the truth from the specifications, from what the machines printed, and from both captures.
    ///
    /// # Errors
    /// When a capture cannot be read.
    pub(super) fn new(nat: Nat, run: &Machines<'_>, vms: &[Vm], files: &Files) -> Result<Self> {
        let read = |path| -> Result<Frames> {
            let bytes = fs::read(path).with_context(|| format!("could not read {path:?}"))?;
            Frames::read(&bytes).with_context(|| format!("could not read {path:?}"))
        };
        let (inside, outside) = (read(&files.inside)?, read(&files.outside)?);
        let machine_of = |address: IpAddr| machine_of(run.families, run.specs.len(), address);
        let machine = |(index, (spec, vm)): (usize, (&Spec, &Vm))| {
            let kernel = &run.kernels[&spec.series];
            let own = |note: &&Note| machine_of(note.source) == Some(index);
            let notes = inside.notes.iter().filter(own).map(|note| (note.time_ns, note.monotonic_ns));
            Machine {
                spec: spec.clone(),
                traffic: spec.traffic.unwrap_or(run.traffic),
                package: kernel.package.clone(),
                release: vm.printed("release"),
                hz: kernel.hz,
                opened: vm.printed("opened").and_then(|count| count.parse().ok()),
                jiffies: vm.printed("jiffies").as_deref().and_then(jiffies),
                zeros: notes::zeros(notes),
            }
        };
        Ok(Self {
            seconds: run.seconds,
            nat,
            families: run.families.to_vec(),
            machines: run.specs.iter().zip(vms).enumerate().map(machine).collect(),
            joined: join::join(&inside.syns, &outside.syns, machine_of),
        })
    }

    /// Writes the list of connections and the description of the run.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self, files: &Files) -> Result<()> {
        let json = serde_json::to_string_pretty(&self.description(files))? + "\n";
        for (path, text) in [(&files.list, self.joined.csv()), (&files.description, json)] {
            fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
        }
        Ok(())
    }

    fn description(&self, files: &Files) -> Value {
        let name = |path: &std::path::Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let machine = |(index, machine): (usize, &Machine)| {
            let mut value = machine.description();
            value["machine"] = json!(index);
            let own: Vec<_> = self.families.iter().map(|family| family.private(index)).collect();
            value["addresses"] = json!(own);
            if self.nat == Nat::Blocks {
                (value["first_port"], value["last_port"]) =
                    (json!(block(index).start()), json!(block(index).end()));
            }
            value
        };
        json!({
            "capture": name(&files.outside),
            "capture_inside": name(&files.inside),
            "nat": self.nat.name(),
            "nat_addresses": self.families.iter().map(|family| family.nat()).collect::<Vec<_>>(),
            "servers": network::servers(&self.families),
            "ports": PORTS,
            "seconds": self.seconds,
            "connections": self.joined.connections.len(),
            "connections_on_their_own_port": self.joined.kept(),
            "connections_of_unknown_machines": self.joined.lost,
            "machines": self.machines.iter().enumerate().map(machine).collect::<Vec<_>>(),
        })
    }
}

impl Machine {
    fn description(&self) -> Value {
        let seconds = |ns: i64| ns as f64 * 1e-9;
        let zero = |&(at, zero): &(i64, i64)| json!([seconds(at), seconds(zero)]);
        json!({
            "package": self.package,
            "kernel": self.release,
            "hz": self.hz,
            "tcp_timestamps": self.spec.timestamps,
            "set_ppm": self.spec.ppm,
            "traffic": self.traffic.name(),
            "connections": self.opened,
            "jiffies_at_monotonic_ns": self.jiffies,
            "monotonic_zero_at": self.zeros.iter().map(zero).collect::<Vec<_>>(),
            "walks_restart_modulo_10_s": self.restart_s(),
        })
    }

    /// When the walks of ports begin anew, as Unix time modulo 10 s: the kernel has the quotient of its ticks
    /// and of ten seconds in the hash that chooses a walk's start.
    fn restart_s(&self) -> Option<f64> {
        let (jiffies, monotonic_ns) = self.jiffies?;
        let hz = u64::from(self.hz?);
        let (_, zero_ns) = self.zeros.first()?;
        let since_ns = (jiffies % (10 * hz)) * 1_000_000_000 / hz;
        let restart_ns = zero_ns + monotonic_ns - since_ns as i64;
        Some(restart_ns.rem_euclid(10_000_000_000) as f64 * 1e-9)
    }
}

/// The machine that has this address before the NAT.
fn machine_of(families: &[Family], machines: usize, address: IpAddr) -> Option<usize> {
    (0..machines).find(|&index| families.iter().any(|family| family.private(index) == address))
}

/// The two numbers that a machine prints.
fn jiffies(printed: &str) -> Option<(u64, i64)> {
    let (count, monotonic_ns) = printed.split_once(' ')?;
    Some((count.parse().ok()?, monotonic_ns.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_restart_by_the_kernels_ticks() {
        let machine = Machine {
            spec: "6.1:1:+0".parse().unwrap(),
            opened: None,
            traffic: Traffic::Bursts,
            package: String::new(),
            release: None,
            hz: Some(250),
            // 3 s after a restart, the clock says 4 s.
            jiffies: jiffies("2500750 4000000000"),
            zeros: vec![(1_700_000_020_000_000_000, 1_700_000_012_500_000_000)],
        };
        let restart_s = machine.restart_s().unwrap();
        assert!((restart_s - 3.5).abs() < 1e-9, "{restart_s}");
        assert_eq!(Machine { jiffies: None, ..machine }.restart_s(), None);
    }

    #[test]
    fn addresses_tell_machines_before_the_nat() {
        let families = [Family::Ip4, Family::Ip6];
        for family in families {
            assert_eq!(machine_of(&families, 16, family.private(15)), Some(15));
            assert_eq!(machine_of(&families, 15, family.private(15)), None);
            assert_eq!(machine_of(&families, 16, family.gateway()), None);
        }
    }
}
