//! The truth of a laboratory run, and its comparison with what tmap found.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::network::{NAT, PORTS, SERVERS};
use super::spec::Spec;
use crate::testbed::findings::Findings;
use crate::testbed::matching::ContingencyTable;
use crate::testbed::topology::{nat_ports, owner};
use crate::vm::Vm;
use crate::vm::kernel::Kernel;

/// The truth of a run.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    seconds: u32,
    machines: Vec<Machine>,
}

/// One machine.
#[derive(Clone, Debug)]
struct Machine {
    spec: Spec,
    package: String,
    /// `uname -r` as the machine printed it.
    release: Option<String>,
    /// The number of connections that it opened, as it printed it; `None` if it was stopped early.
    opened: Option<u64>,
}

impl Truth {
    /// Gathers the truth from the specifications and from what the machines printed.
    pub(super) fn new(seconds: u32, specs: &[Spec], kernels: &HashMap<String, Kernel>, vms: &[Vm]) -> Self {
        let machine = |(spec, vm): (&Spec, &Vm)| Machine {
            spec: spec.clone(),
            package: kernels[&spec.series].package.clone(),
            release: vm.printed("release"),
            opened: vm.printed("opened").and_then(|count| count.parse().ok()),
        };
        Self { seconds, machines: specs.iter().zip(vms).map(machine).collect() }
    }

    /// Writes the truth beside the capture; returns the path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, capture: &Path) -> Result<PathBuf> {
        let machine = |(index, machine): (usize, &Machine)| {
            let (first, last) = nat_ports(index).into_inner();
            json!({
                "first_port": first,
                "last_port": last,
                "package": machine.package,
                "kernel": machine.release,
                "tcp_timestamps": machine.spec.timestamps,
                "set_ppm": machine.spec.ppm,
                "connections": machine.opened,
            })
        };
        let truth = json!({
            "capture": capture.file_name().map(|name| name.to_string_lossy()),
            "nat": NAT,
            "servers": SERVERS,
            "ports": PORTS,
            "seconds": self.seconds,
            "machines": self.machines.iter().enumerate().map(machine).collect::<Vec<_>>(),
        });
        let path = capture.with_added_extension("json");
        fs::write(&path, serde_json::to_string_pretty(&truth)? + "\n")
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }

    /// A table of truth and findings.
    pub(super) fn compare(&self, findings: &Findings) -> String {
        let connections = findings.connections.iter().filter(|connection| connection.0 == NAT);
        let owned = connections
            .filter_map(|&(_, port, found)| Some((owner(port, self.machines.len())?, found)))
            .collect::<Vec<_>>();
        let table = ContingencyTable::new(owned.iter().copied());
        let matches = table.matching();
        let found = findings.addresses.get(&NAT).cloned().unwrap_or_default();
        let visible = self.machines.iter().filter(|machine| machine.spec.timestamps > 0).count();
        let mut text = format!("{NAT}: {visible} machines send timestamps");
        if visible < self.machines.len() {
            let _ = write!(text, " ({} more send none)", self.machines.len() - visible);
        }
        let count = found.machines.map_or("cannot tell".to_owned(), |machines| machines.to_string());
        let end = |end: Option<u64>| end.map_or("?".to_owned(), |end| end.to_string());
        let (low, high) = (end(found.interval.0), end(found.interval.1));
        let doubt = found.doubt.as_deref().map(|doubt| format!(", {doubt}")).unwrap_or_default();
        let _ = writeln!(text, "; tmap: {count} ({low} to {high}; offsets {}{doubt})", found.regime);
        text += "  ports        kernel:timestamps:ppm  connections  seen  ";
        text += "|  no.  skew ppm          assigned right\n";
        for (index, machine) in self.machines.iter().enumerate() {
            let (first, last) = nat_ports(index).into_inner();
            let opened = machine.opened.map_or("?".to_owned(), |count| count.to_string());
            let seen = table.seen.get(&index).copied().unwrap_or(0);
            let spec = machine.spec.to_string();
            let _ = write!(text, "  {first}-{last}  {spec:<21}  {opened:>11}  {seen:>4}  |");
            let Some(&id) = matches.get(&index) else {
                text += "    -\n";
                continue;
            };
            let skew = found.list.iter().find(|one| one.id == id).and_then(|one| one.skew);
            let skew = skew.map_or("-".to_owned(), |skew| format!("{:+.2} ± {:.2}", skew.value, skew.sigma));
            let _ = writeln!(text, "  {id:>3}  {skew:<16}  {:>14}", table.shared[&(index, id)]);
        }
        let assigned: u64 = table.shared.values().sum();
        let right: u64 = matches.iter().map(|(&index, &id)| table.shared[&(index, id)]).sum();
        let _ = writeln!(
            text,
            "  {assigned} of {} connections were assigned to a machine, {right} of them to the right one",
            owned.len()
        );
        text + "  The skew that tmap finds is relative to the sensor's clock and includes the machine's \
                calibration error.\n"
    }
}
