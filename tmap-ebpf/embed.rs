//! Builds BPF packages for a build script, which embeds their objects: `tmap-user/build.rs` those that ship,
//! `tests/build.rs` those of the benchmarks.
//!
//! `core` has to be built for the BPF target, which takes a toolchain with its source: a nightly
//! with rust-src, or Debian's rustc (`rustc-web` + `rust-web-src`) told to accept nightly features.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain, build_ebpf};

/// The name under which `cargo xtask setup` links Debian's toolchain for rustup.
const LINKED: &str = "tmap-bpf";

const HELP: &str = "no Rust toolchain here can build for BPF; run `cargo xtask setup`, which installs one \
     (nightly with rust-src, or Debian's rustc-web with rust-web-src), and bpf-linker";

/// A toolchain for BPF, chosen and checked.
pub(crate) struct Builder {
    /// The toolchain's name for rustup; unused where there is no rustup.
    toolchain: String,
    /// The workspace's folder.
    root: PathBuf,
}

impl Builder {
    /// Chooses the toolchain, and has cargo run the build script again when the sources of `folders`, which
    /// all packages share, change. Call it before there are other threads: it sets environment variables.
    ///
    /// # Errors
    /// One line that says what to install.
    pub(crate) fn new(folders: &[&str]) -> Result<Self> {
        println!("cargo:rerun-if-env-changed=TMAP_BPF_TOOLCHAIN");
        let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
        for folder in folders {
            println!("cargo:rerun-if-changed={}", root.join(folder).display());
        }
        if Command::new("bpf-linker").arg("--version").output().is_err() {
            bail!("bpf-linker isn't on PATH; run `cargo xtask setup`");
        }
        let Choice { name: toolchain, nightly } = choose()?;
        if !nightly {
            // SAFETY: the build script has one thread.
            unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
        }
        // aya-build passes cargo's progress on as warnings; only real ones are wanted.
        // SAFETY: the build script has one thread.
        unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
        Ok(Self { toolchain, root })
    }

    /// Builds all objects of the package `name` in `folder` of the workspace into `OUT_DIR`.
    ///
    /// # Errors
    /// The compiler's or the linker's, which cargo shows as well.
    pub(crate) fn build(&self, name: &str, folder: &str, features: &[&str]) -> Result<()> {
        let folder = self.root.join(folder);
        let package = Package {
            name,
            root_dir: folder.to_str().context("the workspace's path isn't UTF-8; move it")?,
            features,
            ..Package::default()
        };
        build_ebpf([package], Toolchain::Custom(&self.toolchain))
            .with_context(|| format!("can't build the BPF objects of {name}; cargo's messages say why"))
    }
}

/// Which toolchain builds the object.
struct Choice {
    /// Its name for rustup; unused where there is no rustup.
    name: String,
    /// Whether it accepts unstable options by itself.
    nightly: bool,
}

/// Chooses one of the installed toolchains. Nothing is downloaded here.
fn choose() -> Result<Choice> {
    if let Some(name) = env::var("TMAP_BPF_TOOLCHAIN").ok().filter(|name| !name.is_empty()) {
        let nightly = name.starts_with("nightly");
        return Ok(Choice { name, nightly });
    }
    let Some(installed) = output(Command::new("rustup").args(["toolchain", "list"])) else {
        // No rustup: the only candidate is the rustc on PATH.
        let sysroot = output(Command::new("rustc").args(["--print", "sysroot"])).context(HELP)?;
        if !has_source(&sysroot) {
            bail!("{HELP}");
        }
        return Ok(Choice { name: String::new(), nightly: false });
    };
    let names = || installed.lines().filter_map(|line| line.split(' ').next());
    let nightlies = names().filter(|name| name.starts_with("nightly"));
    for name in nightlies.chain(names().filter(|name| *name == LINKED)) {
        let print = ["run", name, "rustc", "--print", "sysroot"];
        if output(Command::new("rustup").args(print)).is_some_and(|sysroot| has_source(&sysroot)) {
            return Ok(Choice { name: name.to_owned(), nightly: name != LINKED });
        }
    }
    bail!("{HELP}")
}

/// Whether the toolchain at `sysroot` has the source of `core`.
fn has_source(sysroot: &str) -> bool {
    Path::new(sysroot).join("lib/rustlib/src/rust/library/core").exists()
}

/// What a command prints, trimmed; `None` if it can't be run or fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
