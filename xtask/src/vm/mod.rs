//! Virtual machines under QEMU's software emulation, each with a kernel and a clock of its own.

pub(crate) mod kernel;
pub(crate) mod ram_disk;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// The memory of a machine, in MiB.
const MEMORY_MIB: u32 = 160;

/// What to boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot<'a> {
    /// The kernel.
    pub image: &'a Path,
    /// The initial RAM disk.
    pub ram_disk: &'a Path,
    /// Settings for the script, as `NAME=VALUE`.
    pub settings: &'a [String],
    /// The TAP device behind its network interface, if it has one.
    pub tap: Option<&'a str>,
    /// The file for the text of its console.
    pub console: PathBuf,
}

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Vm {
    child: Child,
    console: PathBuf,
}

impl Vm {
    /// Boots a machine. `qemu` is the command `qemu-system-x86_64`, in a namespace of the caller's choice.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub(crate) fn boot(mut qemu: Command, boot: &Boot<'_>) -> Result<Self> {
        let settings: Vec<String> = boot.settings.iter().map(|setting| format!("tmapx.{setting}")).collect();
        let line = format!("console=ttyS0 quiet panic=-1 {}", settings.join(" "));
        qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", &MEMORY_MIB.to_string()]);
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-append", &line]);
        qemu.arg("-kernel").arg(boot.image).arg("-initrd").arg(boot.ram_disk);
        qemu.args(["-serial", &format!("file:{}", boot.console.display())]);
        if let Some(tap) = boot.tap {
            qemu.args(["-netdev", &format!("tap,id=net,ifname={tap},script=no,downscript=no")]);
            qemu.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        }
        let errors = File::create(boot.console.with_extension("qemu"))?;
        let child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .context("could not start qemu-system-x86_64: install qemu-system-x86")?;
        Ok(Self { child, console: boot.console.clone() })
    }

    /// The exit status, or `None` while it runs.
    ///
    /// # Errors
    /// When the kernel does not give the status.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The text of its console so far.
    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last value that the machine's script printed for a key: `tmapx: KEY VALUE`.
    pub(crate) fn printed(&self, key: &str) -> Option<String> {
        printed(&self.console(), key)
    }

    /// The last lines of the console and of QEMU's messages, for an error.
    pub(crate) fn last_lines(&self) -> String {
        let errors = fs::read_to_string(self.console.with_extension("qemu")).unwrap_or_default();
        let console = self.console();
        let lines: Vec<&str> = errors.lines().chain(console.lines()).collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Both fail only if QEMU has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last value that a machine's script printed for a key, in the text of its console.
pub(crate) fn printed(console: &str, key: &str) -> Option<String> {
    let value = |line: &str| {
        let (_, rest) = line.split_once("tmapx: ")?;
        Some(rest.strip_prefix(key)?.strip_prefix(' ')?.trim().to_owned())
    };
    console.lines().rev().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::printed;

    #[test]
    fn the_last_value_counts() {
        let console = "[    0.1] boot\r\ntmapx: opened 3\r\nnoise tmapx: opened 17\r\ntmapx: openedx 4\r\n";
        assert_eq!(printed(console, "opened").as_deref(), Some("17"));
        assert_eq!(printed(console, "closed"), None);
    }
}
