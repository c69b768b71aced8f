//! Virtual machines, each with a kernel and a clock of its own: under QEMU's software emulation, or as
//! user-mode Linux.

pub(crate) mod kernel;
pub(crate) mod ram_disk;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use self::kernel::Kernel;

/// The memory of a machine, in MiB.
const MEMORY_MIB: u32 = 160;

/// What to boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The initial RAM disk.
    pub ram_disk: &'a Path,
    /// Settings for the script, as `NAME=VALUE`.
    pub settings: &'a [String],
    /// Its network interface, if it has one.
    pub link: Option<Link<'a>>,
    /// The file for the text of its console.
    pub console: PathBuf,
}

/// A machine's network interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    /// The TAP device behind it.
    pub tap: &'a str,
    /// Its Ethernet address.
    pub mac: &'a str,
}

/// A running machine. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Vm {
    child: Child,
    console: PathBuf,
}

impl Vm {
    /// Boots a machine. `command` starts [`Kernel::program`], in a namespace of the caller's choice.
    ///
    /// # Errors
    /// When the program does not start.
    pub(crate) fn boot(mut command: Command, boot: &Boot<'_>) -> Result<Self> {
        let settings: Vec<String> = boot.settings.iter().map(|setting| format!("tmapx.{setting}")).collect();
        let output = if boot.kernel.is_user_mode {
            user_mode(&mut command, boot);
            command.args(settings);
            Stdio::from(File::create(&boot.console)?)
        } else {
            // On a busy computer the kernel's check of its timer may fail, and then it would not boot.
            let line = format!("console=ttyS0 quiet panic=-1 no_timer_check {}", settings.join(" "));
            emulated(&mut command, boot);
            command.args(["-append", &line]);
            Stdio::null()
        };
        let errors = File::create(boot.console.with_extension("errors"))?;
        let child =
            command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().with_context(|| {
                format!("could not start {}: install qemu-system-x86", boot.kernel.program().display())
            })?;
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

    /// The last lines of the console and of the program's messages, for an error.
    pub(crate) fn last_lines(&self) -> String {
        let errors = fs::read_to_string(self.console.with_extension("errors")).unwrap_or_default();
        let console = self.console();
        let lines: Vec<&str> = errors.lines().chain(console.lines()).collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Arguments of QEMU. The console goes to the file.
fn emulated(qemu: &mut Command, boot: &Boot<'_>) {
    qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", &MEMORY_MIB.to_string()]);
    qemu.args(["-nodefaults", "-no-reboot", "-display", "none"]);
    qemu.arg("-kernel").arg(&boot.kernel.image).arg("-initrd").arg(boot.ram_disk);
    qemu.args(["-serial", &format!("file:{}", boot.console.display())]);
    if let Some(Link { tap, mac }) = boot.link {
        qemu.args(["-netdev", &format!("tap,id=net,ifname={tap},script=no,downscript=no")]);
        qemu.args(["-device", &format!("virtio-net-pci,netdev=net,romfile=,mac={mac}")]);
    }
}

/// Arguments of user-mode Linux. The console goes to standard output.
fn user_mode(linux: &mut Command, boot: &Boot<'_>) {
    linux.args([format!("mem={MEMORY_MIB}M"), format!("initrd={}", boot.ram_disk.display())]);
    linux.args(["quiet", "panic=-1", "con=null", "con0=null,fd:1", "ssl=null"]);
    // Its socket for orders goes beside the console, not into the home folder.
    if let Some(folder) = boot.console.parent() {
        linux.arg(format!("uml_dir={}/", folder.display()));
    }
    if let Some(Link { tap, mac }) = boot.link {
        linux.arg(format!("eth0=tuntap,{tap},{mac}"));
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
