//! Private network namespaces that are gone when their guard is, however the run ends.
//!
//! A name carries the process that made it (`PREFIX-PID-START-role`), so a later run can tell the
//! leftovers of a run that was killed from the namespaces of one that is still at work.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every namespace of ours starts so.
const PREFIX: &str = "tmapx";

/// A set of namespaces made by this process; dropping it ends what runs in them and removes them.
#[derive(Debug)]
pub struct Namespaces {
    stem: String,
    names: Vec<String>,
}

impl Namespaces {
    /// Removes what earlier, killed runs left behind, then gets ready to make namespaces.
    ///
    /// # Errors
    /// When this process's start time cannot be read.
    pub fn new() -> Result<Self> {
        sweep()?;
        Ok(Self { stem: stem()?, names: Vec::new() })
    }

    /// Makes the namespace for `role`, with its loopback up and IPv6 quiet.
    ///
    /// # Errors
    /// When `ip netns` refuses, which it does without root.
    pub fn add(&mut self, role: &str) -> Result<Namespace> {
        let name = format!("{}-{role}", self.stem);
        run("ip", &["netns", "add", &name])?;
        self.names.push(name.clone());
        let namespace = Namespace { name };
        namespace.ip("link set lo up")?;
        // Neighbour discovery and router solicitations would only be noise in the captures.
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

/// One of our namespaces, by name.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The name, as `ip netns` knows it.
    pub name: String,
}

impl Namespace {
    /// Runs `ip -n NAME WORDS…`.
    ///
    /// # Errors
    /// With the command's own words when it fails.
    pub fn ip(&self, words: &str) -> Result<String> {
        let mut arguments = vec!["-n", &self.name];
        arguments.extend(words.split_whitespace());
        run("ip", &arguments)
    }

    /// Joins this namespace to `other` by a veth pair, which never exists outside the two.
    ///
    /// # Errors
    /// As [`Namespace::ip`].
    pub fn join(&self, own: &str, other: &Self, theirs: &str) -> Result<()> {
        self.ip(&format!("link add {own} type veth peer name {theirs} netns {}", other.name))?;
        self.ip(&format!("link set {own} up"))?;
        other.ip(&format!("link set {theirs} up"))?;
        Ok(())
    }

    /// Loads an nftables ruleset here.
    ///
    /// # Errors
    /// With nft's own words when it refuses the rules.
    pub fn nft(&self, rules: &str) -> Result<()> {
        use std::io::Write as _;
        let mut child = self
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nft cannot be started: install nftables")?;
        child.stdin.take().expect("stdin was piped").write_all(rules.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("nft refused the rules:\n{rules}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Sets a network sysctl, given as its path under `/proc/sys`.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        let (path, value) = (format!("/proc/sys/{path}"), value.to_owned());
        // /proc/sys/net shows the namespace of the thread that opens it.
        std::thread::scope(|scope| {
            let task = || -> Result<()> {
                self.enter()?;
                fs::write(&path, value).with_context(|| format!("{path} cannot be set"))
            };
            scope.spawn(task).join().expect("the thread does not panic")
        })
    }

    /// Moves the calling thread, and no other, into this namespace for good.
    ///
    /// # Errors
    /// When the namespace is gone, or without root.
    pub fn enter(&self) -> Result<()> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("{path} cannot be opened"))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot move into {}", self.name))
    }

    /// A command that will run inside, with the process id of the program itself.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started, or with its own words when it fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started: is it installed?"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` failed: {}", arguments.join(" "), words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes the namespaces of runs that are no more.
fn sweep() -> Result<()> {
    for line in run("ip", &["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if is_leftover(name) {
            remove(name);
        }
    }
    Ok(())
}

/// The beginning of all names that this process gives to what it must remove in the end.
fn stem() -> Result<String> {
    let pid = std::process::id();
    let start = start_time(pid).ok_or_else(|| anyhow!("/proc/{pid}/stat cannot be read"))?;
    Ok(format!("{PREFIX}-{pid}-{start}"))
}

/// True if the name is one of ours and the process that gave it is no more.
fn is_leftover(name: &str) -> bool {
    let mut parts = name.split('-');
    if parts.next() != Some(PREFIX) {
        return false;
    }
    let (pid, start) = (parts.next().and_then(|pid| pid.parse().ok()), parts.next());
    pid.and_then(start_time).is_none_or(|now| Some(now.as_str()) != start)
}

/// Ends what runs in the namespace and removes it. Failures are shown, never fatal: this also runs
/// while another error is on its way up.
fn remove(name: &str) {
    // Threads of this very process that serve the namespace are listed too: they end by themselves.
    let own = Pid::this();
    for pid in run("ip", &["netns", "pids", name]).unwrap_or_default().split_whitespace() {
        if let Some(pid) = pid.parse().ok().map(Pid::from_raw).filter(|&pid| pid != own) {
            // It may have ended in between; then there is nothing to do.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
    if let Err(error) = run("ip", &["netns", "delete", name]) {
        eprintln!("warning: {error:#}");
    }
}

/// When a living process started, in the kernel's own units: with the id it names one process for
/// ever. A killed process that nobody has waited for yet does not count as living.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, in brackets, may hold blanks. After it, by proc_pid_stat(5): the state
    // first, the start time as the 20th field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).copied().map(str::to_owned))?
}

/// A folder for temporary files that is gone when its guard is.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Removes the folders of earlier, killed runs, and makes one.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written to.
    pub fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        for entry in fs::read_dir(&parent)?.filter_map(Result::ok) {
            if is_leftover(&entry.file_name().to_string_lossy()) {
                // Somebody else's leftovers can't be removed by us, and are no harm to us.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = parent.join(stem()?);
        fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} cannot be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_leftovers() {
        assert!(is_leftover("tmapx-4294967295-1-nat"));
        assert!(is_leftover(&format!("tmapx-{}-1-nat", std::process::id())), "an earlier bearer of the id");
        assert!(!is_leftover(&stem().unwrap()));
        assert!(!is_leftover("tmap-4294967295-1-nat"), "not ours");
    }

    #[test]
    fn a_process_is_told_by_its_start() {
        let own = start_time(std::process::id());
        assert!(own.as_ref().is_some_and(|ticks| ticks.parse::<u64>().is_ok()));
        assert_ne!(own, start_time(1));
        assert_eq!(start_time(u32::MAX), None);
    }
}
