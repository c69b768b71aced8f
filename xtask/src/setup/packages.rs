//! The system's packages: the programs that each verb needs, and their names in each distribution.

use clap::ValueEnum;

/// A group of things that `setup` can install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Compiler and linker for the kernel program.
    Bpf,
    /// Tools for network namespaces and NAT: tests and the demonstration need them.
    Netns,
    /// Programs that tests compare tmap with.
    Test,
    /// A browser and what drives and judges pages in it.
    Browser,
    /// cargo-deny, which checks the licences and sources of dependencies.
    Deny,
    /// Programs that the evaluation compares tmap with.
    Peers,
    /// QEMU and tools for virtual machines.
    Lab,
}

impl Group {
    /// The groups that `.ci/run` needs.
    pub(crate) const CI: [Self; 5] = [Self::Bpf, Self::Netns, Self::Test, Self::Browser, Self::Deny];

    /// The programs of this group that come in packages. `Bpf` and `Deny` are found by other means.
    pub(crate) fn tools(self) -> &'static [Tool] {
        match self {
            Self::Bpf | Self::Deny => &[],
            Self::Netns => &[IP, NFT],
            Self::Test => &[TCPDUMP, TSHARK],
            Self::Browser => &[CHROMIUM, CHROMEDRIVER, NPM],
            Self::Peers => &[P0F],
            Self::Lab => &[QEMU, BUSYBOX, CPIO, ZSTD],
        }
    }
}

/// A program and its package in each distribution (None: we do not know the package).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program's name in PATH.
    pub program: &'static str,
    apt: &'static str,
    dnf: Option<&'static str>,
    pacman: Option<&'static str>,
    apk: Option<&'static str>,
}

impl Tool {
    /// A tool whose package has the same name everywhere.
    const fn same(program: &'static str, package: &'static str) -> Self {
        Self { program, apt: package, dnf: Some(package), pacman: Some(package), apk: Some(package) }
    }

    /// The package to install under `manager`, if we know its name.
    pub(crate) fn package(&self, manager: Manager) -> Option<&'static str> {
        match manager {
            Manager::Apt => Some(self.apt),
            Manager::Dnf => self.dnf,
            Manager::Pacman => self.pacman,
            Manager::Apk => self.apk,
        }
    }

    /// Debian's package. Most distributions use the same name or list it.
    pub(crate) fn usual_package(&self) -> &'static str {
        self.apt
    }
}

const IP: Tool = Tool { dnf: Some("iproute"), ..Tool::same("ip", "iproute2") };
const NFT: Tool = Tool::same("nft", "nftables");
const TCPDUMP: Tool = Tool::same("tcpdump", "tcpdump");
const TSHARK: Tool = Tool {
    program: "tshark",
    apt: "tshark",
    dnf: Some("wireshark-cli"),
    pacman: Some("wireshark-cli"),
    apk: Some("tshark"),
};
const CHROMIUM: Tool = Tool::same("chromium", "chromium");
const CHROMEDRIVER: Tool = Tool {
    program: "chromedriver",
    apt: "chromium-driver",
    dnf: Some("chromedriver"),
    // Arch's browser brings its driver with it.
    pacman: Some("chromium"),
    apk: Some("chromium-chromedriver"),
};
const NPM: Tool = Tool { dnf: Some("nodejs-npm"), ..Tool::same("npm", "npm") };
const P0F: Tool = Tool { program: "p0f", apt: "p0f", dnf: None, pacman: None, apk: None };
const QEMU: Tool =
    Tool { program: "qemu-system-x86_64", apt: "qemu-system-x86", dnf: None, pacman: None, apk: None };
const BUSYBOX: Tool = Tool { program: "busybox", apt: "busybox-static", dnf: None, pacman: None, apk: None };
const CPIO: Tool = Tool::same("cpio", "cpio");
const ZSTD: Tool = Tool::same("zstd", "zstd");

/// A package manager that `setup` can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Debian, Ubuntu and derivatives.
    Apt,
    /// Fedora and derivatives.
    Dnf,
    /// Arch and derivatives.
    Pacman,
    /// Alpine.
    Apk,
}

impl Manager {
    /// Every manager, in the order in which `setup` searches for them.
    pub(crate) const ALL: [Self; 4] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Apk];

    /// The manager's program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Apk => "apk",
        }
    }

    /// The arguments that install packages without a question. `--no-remove`, because apt-get would
    /// otherwise also remove conflicting packages without a question.
    pub(crate) fn install_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["install", "-q", "-y", "--no-install-recommends", "--no-remove"],
            Self::Dnf => &["install", "-y"],
            Self::Pacman => &["-S", "--noconfirm", "--needed"],
            Self::Apk => &["add"],
        }
    }

    /// The arguments that update the list of packages, for managers that don't do so by themselves.
    pub(crate) fn update_arguments(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Apt => Some(&["update", "-q"]),
            Self::Apk => Some(&["update"]),
            // dnf updates its list by itself. An update of pacman's list alone is a partial upgrade,
            // which Arch does not support.
            Self::Dnf | Self::Pacman => None,
        }
    }
}
