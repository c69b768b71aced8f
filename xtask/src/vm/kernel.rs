//! Kernels for virtual machines, from Debian's packages: cloud kernels, whose jiffies are 1/250 s, and
//! user-mode Linux, whose jiffies are 1/100 s. They are kept in `target/lab/kernels`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build, shell};

/// The modules that our machines need, in the order of loading. A module that is built into the kernel has
/// no file.
const MODULES: [&str; 11] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "veth",
    "sch_ingress",
    "cls_bpf",
];

/// The modules that user-mode Linux needs.
const USER_MODE_MODULES: [&str; 2] = ["crc-ccitt", "ipv6"];
/// The series that stands for user-mode Linux, and its package.
pub(crate) const USER_MODE: &str = "uml";
const USER_MODE_PACKAGE: &str = "user-mode-linux";

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The package that it comes from.
    pub package: String,
    /// The bzImage, or for user-mode Linux the program.
    pub image: PathBuf,
    /// Whether it is user-mode Linux: a program of its own, which needs no emulator.
    pub is_user_mode: bool,
    /// Jiffies per second (`CONFIG_HZ`), from the package's configuration; `None` if it does not say.
    pub hz: Option<u32>,
    /// Modules to load, in order.
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// The program to start: QEMU, or the kernel itself.
    pub(crate) fn program(&self) -> &Path {
        if self.is_user_mode { &self.image } else { Path::new("qemu-system-x86_64") }
    }
}

/// The newest kernel of a series in this computer's package lists, or user-mode Linux for [`USER_MODE`]. It
/// is downloaded if it is not in the cache.
///
/// # Errors
/// When there is no such package, or the download fails.
pub(crate) fn get(series: &str) -> Result<Kernel> {
    if shell::find("apt-get").is_none() || shell::find("dpkg-deb").is_none() {
        bail!("the kernels come from Debian's packages, and apt-get or dpkg-deb is not installed");
    }
    let cache = build::target_folder()?.join("lab/kernels");
    fs::create_dir_all(&cache).with_context(|| format!("could not make the folder {}", cache.display()))?;
    let package = if series == USER_MODE { USER_MODE_PACKAGE.to_owned() } else { newest(series)? };
    let folder = cache.join(&package);
    if !folder.is_dir() {
        eprintln!("downloading {package}");
        fetch(&package, &cache, &folder)?;
    }
    load(package, &folder)
}

/// The name of the newest package. The package lists are updated if they have none.
fn newest(series: &str) -> Result<String> {
    let search = || -> Result<Option<String>> {
        let names = shell::capture("apt-cache", &["pkgnames", &format!("linux-image-{series}")])?;
        Ok(pick(series, names.lines()))
    };
    if let Some(package) = search()? {
        return Ok(package);
    }
    shell::run(shell::as_root("apt-get")?.args(["update", "-q"]))?;
    search()?.with_context(|| {
        let wanted = format!("linux-image-{series}…-cloud-amd64");
        format!("the package lists have no {wanted}: add Debian bookworm to apt's sources")
    })
}

/// The name with the highest numbers among the signed images of this series.
fn pick<'a>(series: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let version = name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")?;
        let rest = version.strip_prefix(series)?.strip_prefix(['.', '+'])?;
        let words = rest.split(|byte: char| !byte.is_ascii_digit()).filter(|word| !word.is_empty());
        words.map(|word| word.parse().ok()).collect()
    };
    let numbered = names.filter_map(|name| Some((numbers(name)?, name)));
    numbered.max().map(|(_, name)| name.to_owned())
}

/// Downloads and unpacks a package. The folder appears only when it is complete.
fn fetch(package: &str, cache: &Path, folder: &Path) -> Result<()> {
    let scratch = cache.join(format!("{package}.{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let fetched = (|| {
        // As root, apt would download as a user who can't write to this folder.
        let words = ["-q", "-o", "APT::Sandbox::User=root", "download", package];
        let output = Command::new("apt-get").args(words).current_dir(&scratch).output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!("apt-get could not download {package}: {}", message.trim());
        }
        let archive = files(&scratch)?.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
        let archive = archive.context("apt-get downloaded no package")?;
        let unpacked = scratch.join("tree");
        shell::run(Command::new("dpkg-deb").arg("-x").args([&archive, &unpacked]))?;
        match fs::rename(&unpacked, folder) {
            // Another run has made it in the meantime.
            Err(_) if folder.is_dir() => Ok(()),
            renamed => renamed.with_context(|| format!("could not make the folder {}", folder.display())),
        }
    })();
    fs::remove_dir_all(&scratch)?;
    fetched
}

fn load(package: String, folder: &Path) -> Result<Kernel> {
    let is_user_mode = package == USER_MODE_PACKAGE;
    let release = package.trim_start_matches("linux-image-");
    let (image, config) = if is_user_mode {
        (folder.join("usr/bin/linux.uml"), folder.join("usr/share/doc/user-mode-linux/config.gz"))
    } else {
        let boot = folder.join("boot");
        (boot.join(format!("vmlinuz-{release}")), boot.join(format!("config-{release}")))
    };
    if !image.is_file() {
        bail!("{} has no kernel: remove the folder and try again", folder.display());
    }
    // Packages of newer Debian releases have /usr/lib.
    let roots = ["lib/modules", "usr/lib/modules", "usr/lib/uml/modules"].map(|root| folder.join(root));
    let mut all = Vec::new();
    for root in roots.iter().filter(|root| root.is_dir()) {
        walk(root, &mut all)?;
    }
    let named = |name: &&str| {
        all.iter().find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.strip_prefix(*name).is_some_and(|rest| rest.starts_with(".ko"))
        })
    };
    let wanted: &[&str] = if is_user_mode { &USER_MODE_MODULES } else { &MODULES };
    let modules = wanted.iter().filter_map(|name| named(name).cloned()).collect();
    // zcat -f also reads what is not compressed.
    let config = shell::output(Command::new("zcat").arg("-f").arg(config));
    let hz = config.as_deref().and_then(jiffies_per_second);
    Ok(Kernel { package, image, is_user_mode, hz, modules })
}

/// `CONFIG_HZ` of a kernel's configuration.
fn jiffies_per_second(config: &str) -> Option<u32> {
    config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ=")?.parse().ok())
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for path in files(folder)? {
        if path.is_dir() && !path.is_symlink() {
            walk(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::{jiffies_per_second, pick};

    #[test]
    fn reads_the_configuration() {
        let config = "# CONFIG_HZ_100 is not set\nCONFIG_HZ_250=y\nCONFIG_HZ=250\n";
        assert_eq!(jiffies_per_second(config), Some(250));
        assert_eq!(jiffies_per_second("CONFIG_HZ_250=y\n"), None);
    }

    #[test]
    fn the_newest_signed_image_of_the_series() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-unsigned",
            "linux-image-6.1.0-58-cloud-amd64-dbg",
            "linux-image-6.1.0-59-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.99+deb12-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
        ];
        assert_eq!(pick("6.1", names.into_iter()).unwrap(), "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(pick("6.12", names.into_iter()).unwrap(), "linux-image-6.12.117+deb12-cloud-amd64");
        assert_eq!(pick("5.10", names.into_iter()), None);
    }
}
