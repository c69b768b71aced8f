//! The initial RAM disk of a virtual machine: busybox, the kernel's modules, our own programs with
//! their libraries, and a script that runs as process 1.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::shell;

/// The first part of every script. Settings are on the kernel's command line, as `tmapx.NAME=…`.
const PROLOGUE: &str = "#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read module; do insmod /modules/$module || echo \"tmapx: failed at $module\"; done </modules/order
for word in $(cat /proc/cmdline); do case $word in tmapx.*) export \"${word#tmapx.}\" ;; esac; done
ip link set lo up
echo \"tmapx: release $(uname -r)\"
";

/// Makes an initial RAM disk at `path`, with `programs` (from, to) and with `script`, which runs after the
/// first part. `scratch` is a folder for its files.
///
/// # Errors
/// When a file is missing or a tool fails.
pub(crate) fn make(
    path: &Path,
    scratch: &Path,
    kernel: &Kernel,
    programs: &[(&Path, &str)],
    script: &str,
) -> Result<()> {
    let root = scratch.join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("modules"))?;
    let busybox = shell::find("busybox").context("busybox is missing: install busybox-static")?;
    if shell::capture("ldd", &[&busybox.to_string_lossy()]).is_ok_and(|text| text.contains("=>")) {
        bail!("{} is not statically linked: install busybox-static", busybox.display());
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    let mut order = String::new();
    for module in &kernel.modules {
        order += &add_module(module, &root)?;
        order.push('\n');
    }
    fs::write(root.join("modules/order"), order)?;
    for &(from, to) in programs {
        add_program(from, to, &root)?;
    }
    let init = root.join("init");
    fs::write(&init, format!("{PROLOGUE}{script}\nsync\npoweroff -f\n"))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    pack(&root, path)
}

/// Copies a module and decompresses it. Returns the name of the file.
fn add_module(module: &Path, root: &Path) -> Result<String> {
    let name = module.file_name().context("a kernel module has no file name")?.to_string_lossy().into_owned();
    let (name, tool) = match name.rsplit_once(".ko") {
        Some((stem, ".xz")) => (format!("{stem}.ko"), Some("xz")),
        Some((stem, ".zst")) => (format!("{stem}.ko"), Some("zstd")),
        _ => (name, None),
    };
    let target = root.join("modules").join(&name);
    match tool {
        None => drop(fs::copy(module, &target)?),
        Some(tool) => {
            let mut unpack = Command::new(tool);
            unpack.arg("-dc").arg(module).stdout(File::create(&target)?);
            shell::run(&mut unpack)?;
        }
    }
    Ok(name)
}

/// Copies a program and the libraries that it loads, to the paths at which it expects them.
fn add_program(from: &Path, to: &str, root: &Path) -> Result<()> {
    let target = root.join(to);
    // Debug information only wastes the machine's memory, but the program also works with it.
    let stripped = Command::new("strip").arg("-o").args([&target, from]).stderr(Stdio::null()).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(from, &target)
            .with_context(|| format!("could not copy {} to the RAM disk", from.display()))?;
    }
    let listed = shell::capture("ldd", &[&from.to_string_lossy()]).unwrap_or_default();
    for library in libraries(&listed) {
        let place = root.join(library.trim_start_matches('/'));
        let folder = place.parent().context("a library is in no folder")?;
        fs::create_dir_all(folder)?;
        fs::copy(library, &place).with_context(|| format!("could not copy {library} to the RAM disk"))?;
    }
    // Programs name their interpreter as /lib64/…, even where that is a link to /usr/lib64.
    if !root.join("lib64").exists() && root.join("usr/lib64").exists() {
        symlink("usr/lib64", root.join("lib64"))?;
    }
    Ok(())
}

/// The paths in the output of `ldd`: `name => /path (address)` or `/path (address)`.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let right = line.rsplit_once("=> ").map_or(line, |(_, right)| right);
        right.split_whitespace().next().filter(|path| path.starts_with('/'))
    })
}

fn pack(root: &Path, path: &Path) -> Result<()> {
    let mut names = Vec::new();
    list(root, root, &mut names)?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--reproducible", "--owner=0:0"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(File::create(path)?)
        .spawn()
        .context("could not start cpio: install cpio")?;
    let mut input = cpio.stdin.take().expect("stdin was piped");
    for name in names {
        writeln!(input, "{}", name.display())?;
    }
    drop(input);
    if !cpio.wait()?.success() {
        bail!("cpio could not make {}", path.display());
    }
    Ok(())
}

fn list(root: &Path, folder: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        names.push(path.strip_prefix(root)?.to_owned());
        if path.is_dir() && !path.is_symlink() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::libraries;

    #[test]
    fn reads_ldd() {
        let listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n\
            \tlibx.so => not found\n";
        assert_eq!(libraries(listed).collect::<Vec<_>>(), ["/lib/libc.so.6", "/lib64/ld.so.2"]);
    }
}
