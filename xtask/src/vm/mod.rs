//! A virtual machine under QEMU's software emulation: a kernel and a clock of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// The memory of a machine, in MiB.
const MEMORY_MIB: u32 = 160;

/// What to boot.
#[derive(Clone, Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub image: &'a Path,
    /// The initial RAM disk.
    pub ram_disk: &'a Path,
    /// Settings for the script, `NAME=VALUE`.
    pub settings: &'a [String],
    /// The TAP device of its network interface, if it has one.
    pub tap: Option<&'a str>,
    /// Where its console is written.
    pub console: PathBuf,
}

/// A running machine. Dropping it ends it.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    console: PathBuf,
}

impl Vm {
    /// Boots a machine. `qemu` is the command for `qemu-system-x86_64`, in whatever namespace.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn boot(mut qemu: Command, boot: &Boot<'_>) -> Result<Self> {
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
            .context("qemu-system-x86_64 cannot be started: install qemu-system-x86")?;
        Ok(Self { child, console: boot.console.clone() })
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Everything that was printed on its console so far.
    pub fn console(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last value that the machine's script gave to a word: `tmapx: WORD VALUE`.
    pub fn said(&self, word: &str) -> Option<String> {
        said(&self.console(), word)
    }

    /// The console and QEMU's own messages, for an error.
    pub fn last_words(&self) -> String {
        let errors = fs::read_to_string(self.console.with_extension("qemu")).unwrap_or_default();
        let console = self.console();
        let lines: Vec<&str> = errors.lines().chain(console.lines()).collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is the aim.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last value that a machine's script gave to a word, in what its console shows.
pub fn said(console: &str, word: &str) -> Option<String> {
    let value = |line: &str| {
        let (_, rest) = line.split_once("tmapx: ")?;
        Some(rest.strip_prefix(word)?.strip_prefix(' ')?.trim().to_owned())
    };
    console.lines().rev().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn the_last_word_counts() {
        let console = "[    0.1] boot\r\ntmapx: opened 3\r\nnoise tmapx: opened 17\r\ntmapx: openedx 4\r\n";
        assert_eq!(said(console, "opened").as_deref(), Some("17"));
        assert_eq!(said(console, "closed"), None);
    }
}
