//! The virtual machines of a run: booted, watched until they end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::network::{self, Family, PORTS, mac, tap};
use super::spec::Spec;
use super::traffic::Traffic;
use crate::testbed::namespaces::Namespace;
use crate::vm::kernel::Kernel;
use crate::vm::{Boot, Link, Vm, ram_disk};

/// A machine boots in a few seconds. Many machines on few CPUs take longer.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// The last conversations may take this long to end after the requested time.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What a machine runs after its start: set the network and the clock, print that it is ready, talk.
const SCRIPT: &str = "
[ -z \"$address6\" ] || echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
[ -z \"$address6\" ] || echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
ip link set eth0 up
[ -z \"$address4\" ] || { ip addr add $address4 dev eth0; ip route add default via $gateway4; }
[ -z \"$address6\" ] || { ip addr add $address6 dev eth0; ip -6 route add default via $gateway6; }
echo $timestamps >/proc/sys/net/ipv4/tcp_timestamps
adjtimex -q -f $frequency
echo \"tmapx: frequency $(adjtimex | sed -n 's/.*freq.*: *//p' | head -n 1)\"
echo 'tmapx: ready now'
guest lab-guest --servers $servers --ports $ports --seconds $seconds --traffic $traffic --pause $pause
";

/// What the machines of a run are, and where they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machines<'a> {
    /// The specifications.
    pub specs: &'a [Spec],
    /// The kernels, by series.
    pub kernels: &'a HashMap<String, Kernel>,
    /// The versions of IP that they talk.
    pub families: &'a [Family],
    /// What they talk, if their specifications do not say.
    pub traffic: Traffic,
    /// The mean time between two bursts, in seconds.
    pub pause: f64,
    /// How long they talk, in seconds.
    pub seconds: u32,
    /// The folder for their files.
    pub scratch: &'a Path,
    /// Set when the run must end.
    pub stop: &'a Arc<AtomicBool>,
}

impl Machines<'_> {
    /// Boots the machines in the namespace of their TAP devices.
    ///
    /// # Errors
    /// When a RAM disk cannot be made, or a machine does not start.
    pub(super) fn boot(&self, nat: &Namespace) -> Result<Vec<Vm>> {
        let ram_disks = self.ram_disks()?;
        let one = |(index, spec): (usize, &Spec)| {
            let kernel = &self.kernels[&spec.series];
            let (tap, mac) = (tap(index), mac(index));
            let boot = Boot {
                kernel,
                ram_disk: &ram_disks[spec.series.as_str()],
                settings: &self.settings(index, spec),
                link: Some(Link { tap: &tap, mac: &mac }),
                console: self.scratch.join(format!("console{index}")),
            };
            Vm::boot(nat.command(kernel.program()), &boot)
        };
        self.specs.iter().enumerate().map(one).collect()
    }

    /// Makes a RAM disk for each kernel.
    fn ram_disks(&self) -> Result<HashMap<&str, PathBuf>> {
        let own = std::env::current_exe()?;
        let mut made = HashMap::new();
        for (series, kernel) in self.kernels {
            let path = self.scratch.join(format!("{series}.cpio"));
            let parts = self.scratch.join(series);
            ram_disk::make(&path, &parts, kernel, &[(own.as_path(), "bin/guest")], SCRIPT)?;
            made.insert(series.as_str(), path);
        }
        Ok(made)
    }

    /// The script's settings for machine `index`.
    fn settings(&self, index: usize, spec: &Spec) -> Vec<String> {
        fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
            items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
        }
        let mut settings = vec![
            format!("timestamps={}", spec.timestamps),
            format!("frequency={}", spec.adjtimex()),
            format!("servers={}", list(network::servers(self.families))),
            format!("ports={}", list(PORTS)),
            format!("seconds={}", self.seconds),
            format!("traffic={}", spec.traffic.unwrap_or(self.traffic).name()),
            format!("pause={}", self.pause),
        ];
        for &family in self.families {
            let number = if family == Family::Ip6 { 6 } else { 4 };
            let (address, prefix) = (family.private(index), family.prefix());
            settings.push(format!("address{number}={address}/{prefix}"));
            settings.push(format!("gateway{number}={}", family.gateway()));
        }
        settings
    }

    /// Waits until the machines have booted, talked and ended, or the user stops the run.
    ///
    /// # Errors
    /// When a machine fails, or is late.
    pub(super) fn watch(&self, vms: &mut [Vm]) -> Result<()> {
        let start = Instant::now();
        let talk = Duration::from_secs(self.seconds.into());
        let mut announced = false;
        // ^C also reaches the machines: once it was pressed, none of them has ended too early.
        while !self.stop.load(Ordering::Relaxed) {
            let ready = vms.iter().filter(|vm| vm.printed("ready").is_some()).count();
            if ready == vms.len() && !announced {
                announced = true;
                let (seconds, booted) = (self.seconds, start.elapsed().as_secs_f64());
                println!("{ready} machines booted in {booted:.1} s and now talk for {seconds} s");
            }
            let mut running = 0;
            for (index, vm) in vms.iter_mut().enumerate() {
                if let Some(failure) = vm.printed("failed") {
                    bail!("machine {index} failed {failure}:\n{}", vm.last_lines());
                }
                match vm.ended()? {
                    None => running += 1,
                    Some(_) if vm.printed("opened").is_some_and(|count| count != "0") => {}
                    Some(status) => bail!("machine {index} ended early ({status}):\n{}", vm.last_lines()),
                }
            }
            let late = start.elapsed() > BOOT_LIMIT + talk + END_LIMIT;
            if late || (!announced && start.elapsed() > BOOT_LIMIT) {
                let silent = vms.iter().find(|vm| vm.printed("opened").is_none());
                let lines = silent.map(Vm::last_lines).unwrap_or_default();
                let seconds = start.elapsed().as_secs_f64();
                bail!("after {seconds:.0} s a machine has not ended. Its last lines are:\n{lines}");
            }
            if running == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}
