//! The system's packages: which programs each verb needs, and what each distribution calls them.

use clap::ValueEnum;

/// What a verb can ask `setup` for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// A compiler and linker for the kernel program.
    Bpf,
    /// Network namespaces and NAT, for tests and the demonstration.
    Netns,
    /// Peers to compare with in tests.
    Test,
    /// Peers to compare with in the evaluation.
    Peers,
    /// Virtual machines with kernels and clocks of their own.
    Lab,
}

impl Group {
    /// The programs of this group. The compiler and linker of `Bpf` are found by other means.
    pub fn tools(self) -> &'static [Tool] {
        match self {
            Self::Bpf => &[],
            Self::Netns => &[IP, NFT],
            Self::Test => &[TCPDUMP, TSHARK],
            Self::Peers => &[P0F],
            Self::Lab => &[QEMU, BUSYBOX, CPIO, ZSTD],
        }
    }
}

/// A program, and the package that brings it under each package manager (None: not known).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What is looked for in PATH.
    pub program: &'static str,
    apt: &'static str,
    dnf: Option<&'static str>,
    pacman: Option<&'static str>,
    apk: Option<&'static str>,
}

impl Tool {
    /// A tool whose package has one name everywhere.
    const fn same(program: &'static str, package: &'static str) -> Self {
        Self { program, apt: package, dnf: Some(package), pacman: Some(package), apk: Some(package) }
    }

    /// The package to install under `manager`, if we know its name.
    pub fn package(&self, manager: Manager) -> Option<&'static str> {
        match manager {
            Manager::Apt => Some(self.apt),
            Manager::Dnf => self.dnf,
            Manager::Pacman => self.pacman,
            Manager::Apk => self.apk,
        }
    }

    /// Debian's name, which most distributions share or explain.
    pub fn usual_package(&self) -> &'static str {
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
const P0F: Tool = Tool { program: "p0f", apt: "p0f", dnf: None, pacman: None, apk: None };
const QEMU: Tool =
    Tool { program: "qemu-system-x86_64", apt: "qemu-system-x86", dnf: None, pacman: None, apk: None };
const BUSYBOX: Tool = Tool { program: "busybox", apt: "busybox-static", dnf: None, pacman: None, apk: None };
const CPIO: Tool = Tool::same("cpio", "cpio");
const ZSTD: Tool = Tool::same("zstd", "zstd");

/// A package manager that we can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu and kin.
    Apt,
    /// Fedora and kin.
    Dnf,
    /// Arch and kin.
    Pacman,
    /// Alpine.
    Apk,
}

impl Manager {
    /// Every manager, in the order in which they are looked for.
    pub const ALL: [Self; 4] = [Self::Apt, Self::Dnf, Self::Pacman, Self::Apk];

    /// The program to look for.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
            Self::Apk => "apk",
        }
    }

    /// The words after the program's name that install packages without asking. apt-get would also
    /// remove what is in the way without asking: it is told not to.
    pub fn install_words(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["install", "-q", "-y", "--no-install-recommends", "--no-remove"],
            Self::Dnf => &["install", "-y"],
            Self::Pacman => &["-S", "--noconfirm", "--needed"],
            Self::Apk => &["add"],
        }
    }

    /// The words that fetch the list of packages, for managers that don't do so by themselves.
    pub fn update_words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Apt => Some(&["update", "-q"]),
            Self::Apk => Some(&["update"]),
            // dnf refreshes by itself; refreshing pacman alone would leave a partial upgrade.
            Self::Dnf | Self::Pacman => None,
        }
    }
}
