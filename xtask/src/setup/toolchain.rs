//! The compiler for the kernel program, and whether bpf-linker can read what it writes.
//!
//! bpf-linker loads libLLVM at run time, from the folders of LD_LIBRARY_PATH and then from
//! `../lib` beside each folder of PATH (aya-rustc-llvm-proxy 0.10, `SHARED_LIB`). rustup puts a
//! toolchain's own `lib` first in LD_LIBRARY_PATH. Debian keeps its libLLVM in a multiarch folder
//! that neither rule covers, so `/usr` linked as a toolchain compiles but cannot link. We therefore
//! make a folder of symbolic links: rustc, cargo and the one libLLVM that belongs to rustc.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// The name under which rustup knows the folder of links.
pub(super) const LINKED: &str = "tmap-bpf";
/// The nightly that `setup` installs with rustup. It has a date, so the user's own `nightly` stays as
/// it is. Later nightlies have an LLVM that bpf-linker 0.10.3 can't read.
pub(super) const NIGHTLY: &str = "nightly-2026-05-20";
/// The version of bpf-linker that we install.
pub(super) const BPF_LINKER: &str = "0.10.3";
/// LLVM major versions that this bpf-linker can be built for (its `rust-llvm-*` features).
pub(super) const LLVM_MAJORS: RangeInclusive<u32> = 20..=22;
/// The oldest rustc that compiles the workspace: (major, minor), as in Cargo.toml.
pub(super) const OLDEST_RUSTC: (u32, u32) = (1, 95);

/// A compiler, as `rustc -vV` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rustc {
    /// Major and minor version.
    pub version: (u32, u32),
    /// The major version of its LLVM.
    pub llvm: u32,
    /// True if the source of `core` is installed: a build for the BPF target needs it.
    pub source: bool,
}

impl Rustc {
    /// Reads the output of `rustc -vV`.
    pub(super) fn parse(text: &str, source: bool) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let mut release = field("release: ")?.split(['.', '-']).map_while(|part| part.parse().ok());
        let version = (release.next()?, release.next()?);
        let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        Some(Self { version, llvm, source })
    }

    /// Asks the compiler that `command` starts.
    pub(super) fn ask(command: impl Fn() -> Command) -> Option<Self> {
        let text = shell::output(command().arg("-vV"))?;
        let sysroot = shell::output(command().args(["--print", "sysroot"]))?;
        let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
        Self::parse(&text, source.exists())
    }

    /// Why this compiler can't compile the kernel program, if it can't (apart from a missing source).
    pub(super) fn unfit(&self) -> Option<String> {
        let (major, minor) = self.version;
        if self.version < OLDEST_RUSTC {
            return Some(format!(
                "rustc {major}.{minor} is too old: {}.{} or later is needed",
                OLDEST_RUSTC.0, OLDEST_RUSTC.1
            ));
        }
        if !LLVM_MAJORS.contains(&self.llvm) {
            return Some(format!(
                "rustc {major}.{minor} uses LLVM {}, but bpf-linker {BPF_LINKER} reads only LLVM {} to {}",
                self.llvm,
                LLVM_MAJORS.start(),
                LLVM_MAJORS.end()
            ));
        }
        None
    }
}

/// A compiler for the kernel program that is ready to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// A toolchain of rustup, by name.
    Rustup(String),
    /// The system's compiler, without rustup.
    System,
}

impl Toolchain {
    /// A command that runs `program` as the build of the kernel program will.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match self {
            Self::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name]).arg(program);
                command
            }
            Self::System => Command::new(program),
        };
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command
    }

    /// The environment that makes cargo use this toolchain for the kernel program.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = joined(cargo_home().join("bin"), &path);
        match self {
            Self::Rustup(name) => vec![("PATH", path), ("TMAP_BPF_TOOLCHAIN", name.into())],
            Self::System => {
                let libraries = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
                vec![("PATH", path), ("LD_LIBRARY_PATH", joined(links_folder().join("lib"), &libraries))]
            }
        }
    }
}

/// The list of folders with `first` in front, or unchanged if `first` is already in it.
fn joined(first: PathBuf, list: &OsStr) -> OsString {
    let folders: Vec<PathBuf> = std::env::split_paths(list).filter(|f| !f.as_os_str().is_empty()).collect();
    if folders.contains(&first) {
        return list.to_owned();
    }
    std::env::join_paths(std::iter::once(first).chain(folders)).unwrap_or_else(|_| list.to_owned())
}

/// The user's home folder.
fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/root"))
}

/// Where `cargo install` puts programs: its `bin`.
pub(super) fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

/// The folder of symbolic links to rustc, cargo and libLLVM.
pub(super) fn links_folder() -> PathBuf {
    let data = std::env::var_os("XDG_DATA_HOME").map_or_else(|| home().join(".local/share"), PathBuf::from);
    data.join("tmap/bpf-toolchain")
}

/// True if rustup's toolchain `tmap-bpf` is our folder. A link of that name to another place is not ours.
pub(super) fn is_linked() -> bool {
    let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from);
    std::fs::read_link(rustup.join("toolchains").join(LINKED)).is_ok_and(|target| target == links_folder())
}

/// True if no link in the folder is broken, and libLLVM's major version is `llvm`.
pub(super) fn links_are_valid(llvm: u32, with_rustup: bool) -> bool {
    let folder = links_folder();
    let programs = !with_rustup || (folder.join("bin/rustc").exists() && folder.join("bin/cargo").exists());
    programs && library_in(&folder.join("lib"), llvm).is_some()
}

/// The system's libLLVM of this major version.
pub(super) fn system_library(llvm: u32) -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let own = [format!("/usr/lib/llvm-{llvm}/lib"), format!("/usr/lib/llvm{llvm}/lib")];
    [multiarch, "/usr/lib64".into(), "/usr/lib".into()]
        .iter()
        .chain(&own)
        .find_map(|folder| library_in(Path::new(folder), llvm))
}

/// A file named `libLLVM.so.22.1` or `libLLVM-22.so` (for 22) in `folder`.
fn library_in(folder: &Path, llvm: u32) -> Option<PathBuf> {
    let (versioned, plain) = (format!("libLLVM.so.{llvm}."), format!("libLLVM-{llvm}.so"));
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.starts_with(&versioned) || name == plain) && path.exists()
        })
        .collect();
    found.sort();
    found.pop()
}

/// Makes the folder of links for the system's rustc, and registers it with rustup if that is installed.
pub(super) fn link_system(llvm: u32, with_rustup: bool) -> Result<()> {
    let folder = links_folder();
    let library = system_library(llvm).with_context(|| {
        format!("libLLVM {llvm} is not in the system's library folders: install libllvm{llvm}")
    })?;
    // bpf-linker would find links to an earlier LLVM first.
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("could not clear {}", folder.display()))?;
    }
    let make = |from: &Path, to: PathBuf| -> Result<()> {
        std::fs::create_dir_all(to.parent().context("a link needs a folder")?)?;
        symlink(from, &to).with_context(|| format!("could not make the link {}", to.display()))
    };
    make(&library, folder.join("lib").join(library.file_name().unwrap_or_default()))?;
    if with_rustup {
        // If the toolchain has no cargo, rustup uses that of *any* official toolchain, nightly first,
        // and none if the default toolchain has another name.
        let cargo = shell::output(Command::new("rustup").args(["which", "cargo"]))
            .context("rustup has no cargo: run `rustup default stable`")?;
        make(Path::new("/usr/bin/rustc"), folder.join("bin/rustc"))?;
        make(Path::new(cargo.trim()), folder.join("bin/cargo"))?;
        shell::run_aside(Command::new("rustup").args(["toolchain", "link", LINKED]).arg(&folder))?;
    }
    Ok(())
}

/// Compiles one function with the toolchain and links it with bpf-linker. The error is the message of
/// the tool that failed.
pub(super) fn try_link(toolchain: &Toolchain) -> Result<()> {
    const SOURCE: &str = "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn tmap_probe() -> u32 { 2 }\n";
    let folder = std::env::temp_dir().join(format!("tmap-link-probe-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = (|| {
        std::fs::write(folder.join("probe.rs"), SOURCE)?;
        let compile = ["--edition=2024", "--crate-type=lib", "--emit=llvm-bc", "-Cpanic=abort", "-O"];
        quietly(
            toolchain
                .command("rustc")
                .current_dir(&folder)
                .args(compile)
                .args(["-o", "probe.bc", "probe.rs"]),
        )?;
        let link = ["--target=bpfel", "--export=tmap_probe", "-o", "probe.o", "probe.bc"];
        quietly(toolchain.command("bpf-linker").current_dir(&folder).args(link))?;
        let object = std::fs::read(folder.join("probe.o"))?;
        // e_machine, at offset 18 of an ELF header, is 247 for BPF.
        anyhow::ensure!(object.get(18..20) == Some(&[247, 0]), "bpf-linker wrote no BPF object");
        Ok(())
    })();
    let _ = std::fs::remove_dir_all(&folder);
    result
}

/// Runs a command silently. The error is the first line of its standard error that names one.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command
        .env("RUST_BACKTRACE", "0")
        .output()
        .with_context(|| format!("could not start {}", shell::show(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let telling = ["error", "unable to find", "Invalid", "invalid", "Unknown", "No such file"];
    let line = text.lines().find(|line| telling.iter().any(|word| line.contains(word)));
    anyhow::bail!("{}", line.or(text.lines().next()).unwrap_or("it failed without a message").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_text(release: &str, llvm: &str) -> String {
        format!("rustc {release}\nbinary: rustc\nhost: x86_64\nrelease: {release}\nLLVM version: {llvm}\n")
    }

    #[test]
    fn reads_the_version_of_rustc() {
        let rustc = Rustc::parse(&version_text("1.96.0", "22.1.8"), true);
        assert_eq!(rustc, Some(Rustc { version: (1, 96), llvm: 22, source: true }));
        let nightly = Rustc::parse(&version_text("1.101.0-nightly", "23.1.4"), false);
        assert_eq!(nightly, Some(Rustc { version: (1, 101), llvm: 23, source: false }));
        assert_eq!(Rustc::parse("no compiler here", true), None);
    }

    #[test]
    fn says_why_a_compiler_is_unfit() {
        let unfit = |version, llvm| Rustc { version, llvm, source: true }.unfit();
        assert_eq!(unfit((1, 96), 22), None);
        assert!(unfit((1, 85), 19).unwrap().contains("too old"));
        assert!(unfit((1, 101), 23).unwrap().contains("LLVM 23"));
    }

    #[test]
    fn finds_the_library_of_the_right_llvm_only() {
        let folder = std::env::temp_dir().join(format!("tmap-xtask-libs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["libLLVM-14.so.1", "libLLVM.so.22.1", "libLLVMSupport.a"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let found = (library_in(&folder, 22), library_in(&folder, 23), library_in(&folder, 14));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, (Some(folder.join("libLLVM.so.22.1")), None, None));
    }

    #[test]
    fn a_folder_is_prepended_once() {
        let list = OsString::from("/usr/bin:/bin");
        assert_eq!(joined("/new".into(), &list), OsString::from("/new:/usr/bin:/bin"));
        assert_eq!(joined("/bin".into(), &list), list);
        assert_eq!(joined("/new".into(), &OsString::new()), OsString::from("/new"));
    }
}
