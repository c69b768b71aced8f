//! Network namespaces for tests: private, named by process, gone in the end.

use std::{
    ffi::OsStr,
    fs::File,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

use crate::net::root;

/// The interface at both ends of a [`Wire`].
pub const INTERFACE: &str = "wire";

/// A network namespace; dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one, with its loopback up.
    ///
    /// # Panics
    /// Without root, or where the kernel has no namespaces.
    pub fn new() -> Self {
        root::require();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("tmapt{}-{number}", std::process::id()) };
        ip(&format!("netns add {}", namespace.name));
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these words inside.
    ///
    /// # Panics
    /// Where `ip` fails; with what it says.
    pub fn ip(&self, words: &str) -> String {
        ip(&format!("-n {} {words}", self.name))
    }

    /// Joins this namespace to another one by a veth pair. Both ends have this name, and are down.
    ///
    /// # Panics
    /// Where `ip` fails.
    pub fn join(&self, interface: &str, other: &Self) {
        self.ip(&format!("link add {interface} type veth peer name {interface} netns {}", other.name));
    }

    /// Sets a sysctl of the namespace.
    ///
    /// # Panics
    /// Where the kernel has none of this name.
    pub fn sysctl(&self, name: &str, value: &str) {
        let status = self.command("sysctl").args(["-q", "-w", &format!("{name}={value}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "sysctl {name}={value}");
    }

    /// A command to run inside, not yet started. `ip netns exec` becomes the program, so that the
    /// child's process id is the program's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Takes the calling thread inside, for good.
    ///
    /// # Panics
    /// Without root.
    pub fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
    }

    /// Does something inside, on a thread of its own. Sockets made there stay there.
    ///
    /// # Panics
    /// As `what` does.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter();
            what()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Two namespaces joined by a veth pair, both ends called [`INTERFACE`]. The near end has
/// 192.0.2.1 and 2001:db8::1, the far end 192.0.2.2 and 2001:db8::2.
#[derive(Debug)]
pub struct Wire {
    /// Where traffic comes from.
    pub near: Namespace,
    /// Where it is watched.
    pub far: Namespace,
}

impl Wire {
    /// A new one. Without IPv6 neither end sends anything by itself but ARP.
    pub fn new(mtu: u32, ip6: bool) -> Self {
        let wire = Self { near: Namespace::new(), far: Namespace::new() };
        let Self { near, far } = &wire;
        near.join(INTERFACE, far);
        for (end, host) in [(near, 1), (far, 2)] {
            if !ip6 {
                end.sysctl(&format!("net.ipv6.conf.{INTERFACE}.disable_ipv6"), "1");
            }
            end.ip(&format!("link set {INTERFACE} mtu {mtu} up"));
            end.ip(&format!("addr add 192.0.2.{host}/24 dev {INTERFACE}"));
            if ip6 {
                end.ip(&format!("addr add 2001:db8::{host}/64 dev {INTERFACE} nodad"));
            }
        }
        wire
    }
}

/// Runs `ip` with these words.
fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().expect("ip runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {err}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
