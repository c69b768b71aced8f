//! Private network namespaces. They are removed with their guard; if the run is killed, the next run
//! removes them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leftovers::{is_leftover, stem};
use crate::shell;

/// The namespaces that this process made. Dropping it kills what runs in them and removes them.
#[derive(Debug)]
pub(crate) struct Namespaces {
    stem: String,
    names: Vec<String>,
}

impl Namespaces {
    /// Removes the namespaces of earlier, killed runs. Makes none yet.
    ///
    /// # Errors
    /// When this process's start time cannot be read.
    pub(crate) fn new() -> Result<Self> {
        remove_leftovers()?;
        Ok(Self { stem: stem()?, names: Vec::new() })
    }

    /// Makes the namespace for `role`, with its loopback up and IPv6 off.
    ///
    /// # Errors
    /// When `ip netns` fails, for example without root.
    pub(crate) fn add(&mut self, role: &str) -> Result<Namespace> {
        let name = format!("{}-{role}", self.stem);
        shell::capture("ip", &["netns", "add", &name])?;
        self.names.push(name.clone());
        let namespace = Namespace { name };
        namespace.ip("link set lo up")?;
        // IPv6 would only add neighbour discovery and router solicitations to the captures.
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        Ok(namespace)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            remove(name);
        }
    }
}

/// One of our namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    /// The name, as `ip netns` knows it.
    pub name: String,
}

impl Namespace {
    /// Runs `ip -n NAME ARGUMENTS…`. The arguments are separated by blanks.
    ///
    /// # Errors
    /// When the command fails; the error has its message.
    pub(crate) fn ip(&self, arguments: &str) -> Result<String> {
        let mut words = vec!["-n", &self.name];
        words.extend(arguments.split_whitespace());
        shell::capture("ip", &words)
    }

    /// Turns IPv6 on for the interfaces that are made after this. Their addresses are valid at once.
    ///
    /// # Errors
    /// When this kernel has no IPv6.
    pub(crate) fn allow_ip6(&self) -> Result<()> {
        self.sysctl("net/ipv6/conf/default/disable_ipv6", "0")?;
        self.sysctl("net/ipv6/conf/default/accept_dad", "0")
    }

    /// Joins this namespace to `other` by a veth pair. The pair never exists in a third namespace.
    ///
    /// # Errors
    /// When `ip` fails; the error has its message.
    pub(crate) fn join(&self, own: &str, other: &Self, theirs: &str) -> Result<()> {
        self.ip(&format!("link add {own} type veth peer name {theirs} netns {}", other.name))?;
        self.ip(&format!("link set {own} up"))?;
        other.ip(&format!("link set {theirs} up"))?;
        Ok(())
    }

    /// Loads an nftables ruleset.
    ///
    /// # Errors
    /// When nft refuses the rules; the error has its message.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        let mut child = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not start nft: install nftables")?;
        child.stdin.take().expect("stdin was piped").write_all(rules.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("nft refused the rules:\n{rules}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Sets a network sysctl. `path` is relative to `/proc/sys`.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub(crate) fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        let (path, value) = (format!("/proc/sys/{path}"), value.to_owned());
        // /proc/sys/net belongs to the namespace of the thread that opens it.
        std::thread::scope(|scope| {
            let task = || -> Result<()> {
                self.enter()?;
                fs::write(&path, &value).with_context(|| format!("could not set {path} to {value}"))
            };
            scope.spawn(task).join().expect("the thread does not panic")
        })
    }

    /// Moves the calling thread, and no other, into this namespace. It cannot move back.
    ///
    /// # Errors
    /// When the namespace does not exist, or without root.
    pub(crate) fn enter(&self) -> Result<()> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("could not open {path}"))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("could not enter the namespace {}", self.name))
    }

    /// A command that runs `program` inside. Its process id is that of the program itself.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

/// Removes the namespaces of runs that have ended.
fn remove_leftovers() -> Result<()> {
    for line in shell::capture("ip", &["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if is_leftover(name) {
            remove(name);
        }
    }
    Ok(())
}

/// Kills what runs in the namespace and removes it. A failure is printed but not returned, because this
/// also runs after another error.
fn remove(name: &str) {
    // This process is listed as well if threads of it serve the namespace. They end by themselves.
    let own = Pid::this();
    for pid in shell::capture("ip", &["netns", "pids", name]).unwrap_or_default().split_whitespace() {
        if let Some(pid) = pid.parse().ok().map(Pid::from_raw).filter(|&pid| pid != own) {
            // This fails only if the process has ended, which is what we want.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
    if let Err(error) = shell::capture("ip", &["netns", "delete", name]) {
        eprintln!("warning: {error:#}");
    }
}
