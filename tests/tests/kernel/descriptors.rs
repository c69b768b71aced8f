//! Live runs that may open few files: what is said of interfaces stays true.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use tmap_tests::{
    command::{Running, binary, json_lines, of_type, wait_for},
    net::namespaces::{INTERFACE, Namespace, Wire},
};

/// The command in a namespace, with a limit as the shell's `ulimit` takes it.
fn limited(namespace: &Namespace, limit: &str, arguments: &[&str]) -> Command {
    let mut command = namespace.command("sh");
    let words = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    command.args(["-c", &words]).arg(binary()).args(arguments).stdin(Stdio::null());
    command
}

/// Sets the soft limit of open files of a run, as its own user: not even root may do that everywhere.
fn set_limit(tmap: &Running, limit: u32) {
    let status = fs::read_to_string(format!("/proc/{}/status", tmap.pid())).expect("it runs");
    let id = |name: &str| {
        let ids = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        ids.split_whitespace().next().expect("an id").to_owned()
    };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id("Uid:"), "--regid", &id("Gid:"), "--clear-groups", "prlimit"]);
    command.args(["--pid", &tmap.pid().to_string(), &format!("--nofile={limit}:")]);
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
}

/// Nothing that was said accuses somebody, or names a cause that is none.
fn assert_fair(err: &str) {
    assert!(!err.contains("detached") && !err.contains("mount /proc"), "{err}");
}

/// With each limit it either watches to the end, or says what raises the limit.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn short_of_descriptors_nobody_is_said_to_have_detached_tmap() {
    let wire = Wire::new(1500, false);
    let arguments = ["-i", INTERFACE, "--egress", "--json", "--duration", "3s"];
    let limits = 14..=34;
    let run = |limit: u32| limited(&wire.far, &format!("-n {limit}"), &arguments).output().expect("it runs");
    let outputs: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = limits.clone().map(|limit| scope.spawn(move || run(limit))).collect();
        runs.into_iter().map(|run| run.join().expect("it ends")).collect()
    });
    let mut complete = 0;
    for (limit, output) in limits.zip(outputs) {
        let err = String::from_utf8_lossy(&output.stderr);
        assert_fair(&err);
        let lines = json_lines(&String::from_utf8_lossy(&output.stdout));
        match of_type(&lines, "summary").last() {
            Some(summary) => {
                let [since, until] = ["since", "time"].map(|name| {
                    summary[name].as_str().expect("a time").parse::<Timestamp>().expect("a time")
                });
                assert!(until.duration_since(since).as_secs_f64() > 2.5, "{limit}: {summary} {err}");
                complete += u32::from(output.status.code() == Some(0));
            }
            None => assert!(err.contains("raise the limit of open files"), "{limit}: {err}"),
        }
    }
    assert!((1..21).contains(&complete), "{complete} limits are enough");
}

/// A limit that falls while tmap runs, and rises again.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_descriptors_interfaces_are_not_checked_and_stay_watched() {
    let wire = Wire::new(1500, false);
    let arguments = ["-i", INTERFACE, "--egress", "--json", "--every", "100ms"];
    let mut tmap = Running::start(&wire.far, &arguments);
    set_limit(&tmap, 8);
    wait_for("a warning", || tmap.err().contains("interfaces cannot be checked"));
    wire.far.ip(&format!("link set {INTERFACE} mtu 1400"));
    // Two checks, at least.
    thread::sleep(Duration::from_millis(4_500));
    let err = tmap.err();
    assert_fair(&err);
    assert_eq!(err.matches("cannot be checked").count(), 1, "{err}");
    assert!(
        err.contains("Too many open files; raise the limit of open files, such as ulimit -n 256"),
        "{err}"
    );
    assert_eq!(tmap.lines("heartbeat").last().expect("signs of life")["watched"][0], INTERFACE);
    set_limit(&tmap, 1_024);
    wait_for("a check", || tmap.err().contains("has an MTU of 1400 now"));
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(1), "what may have been missed is a warning: {}", tmap.err());
    assert_fair(&tmap.err());
}

/// More interfaces come up than there are descriptors for. The others stay as they are.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn interfaces_beyond_the_limit_cost_no_other() {
    const BRIDGES: usize = 30;
    let wire = Wire::new(1500, false);
    let arguments = ["-i", "any", "--no-promisc", "--json", "--every", "100ms"];
    let mut tmap = Running::spawn(limited(&wire.far, "-n 40", &arguments));
    for number in 0..BRIDGES {
        wire.far.ip(&format!("link add bridge{number} type bridge"));
        wire.far.ip(&format!("link set bridge{number} up"));
    }
    wait_for("a warning", || tmap.err().contains("cannot be watched"));
    // More than one check.
    thread::sleep(Duration::from_millis(4_500));
    let watched = |name: &str| {
        let last = tmap.lines("heartbeat").pop().expect("signs of life");
        last["watched"].as_array().expect("a list").iter().any(|watched| watched == name)
    };
    assert!(watched(INTERFACE) && watched("bridge0"), "{}", tmap.err());
    assert!(tmap.err().contains("raise the limit of open files"), "{}", tmap.err());
    wire.far.ip("link del bridge0");
    wait_for("a check", || tmap.err().contains("bridge0 is gone"));
    assert!(watched(INTERFACE), "{}", tmap.err());
    tmap.send(Signal::SIGTERM);
    tmap.end();
    assert_fair(&tmap.err());
}

/// The usual limit is 1,024, and may be raised to a multiple of it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_live_run_raises_its_limit_of_open_files() {
    let wire = Wire::new(1500, false);
    let tmap = Running::spawn(limited(&wire.far, "-Sn 20", &["-i", INTERFACE]));
    let limits = fs::read_to_string(format!("/proc/{}/limits", tmap.pid())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
    tmap.interrupt();
}
