//! `cargo xtask kernels`: runs tmap inside virtual machines, on the oldest kernel that it supports and on
//! a later one, so that each kernel's verifier checks tmap's programs.
//!
//! Each machine attaches tmap natively to a veth with the egress hook, generically to the loopback, and by
//! TC to both sides of the veth (clsact before Linux 6.6), sends TCP through both and prints tmap's output.
//! Then it looks what rights a sensor has, takes its interface away and gives it back. This needs no root,
//! because the machines have no network to the outside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::build;
use crate::setup::{self, Group};
use crate::testbed::scratch::Scratch;
use crate::vm::kernel::{self, Kernel};
use crate::vm::{self, Boot, Vm, ram_disk};

/// An emulated machine needs at most this long, verifier included.
const LIMIT: Duration = Duration::from_secs(180);

/// Makes two namespaces on a veth, with a web server in each, then runs tmap once for each way of
/// attaching. busybox cannot name the veth's peer, so the script asks for the name that the kernel chose.
/// Each run prints its results to the console, one `tmapx: RUN KEY VALUE` a line, for [`Check::read`].
const SCRIPT: &str = r#"
# The machine ends by itself, even if the program that started it was killed.
(sleep 170; poweroff -f) &
ip link add v0 type veth
peer=$(basename /sys/class/net/veth*)
unshare -n sleep 1000 & there=$!
sleep 1
ip link set $peer netns $there
inside() { nsenter -t $there -n "$@"; }
inside ip link set lo up; inside ip addr add 192.0.2.2/24 dev $peer; inside ip link set $peer up
ip addr add 192.0.2.1/24 dev v0; ip link set v0 up
mkdir -p /www; dd if=/dev/zero of=/www/page bs=1k count=40 2>/dev/null
inside httpd -p 80 -h /www; httpd -p 80 -h /www
try() {
    name=$1; server=$2; shift 2
    tmap live "$@" --json --connections >/tmp/out 2>/tmp/err & pid=$!
    for second in 1 2 3 4 5 6 7 8 9 10; do
        sleep 1
        kill -0 $pid 2>/dev/null || break
        grep -q verified_insns /proc/$pid/fdinfo/* 2>/dev/null && break
    done
    sleep 2
    grep -h verified_insns /proc/$pid/fdinfo/* | while read key count; do
        echo "tmapx: $name verified $count"
    done
    for round in 1 2 3 4 5 6; do wget -q -O /dev/null http://$server/page; done
    sleep 1
    kill -TERM $pid 2>/dev/null; wait $pid
    echo "tmapx: $name exit $?"
    while read line; do echo "tmapx: $name message $line"; done </tmp/err
    grep '"type":"summary"' /tmp/out | while read -r line; do echo "tmapx: $name summary $line"; done
}
try native 192.0.2.2 -i v0 --xdp-mode native --egress
try generic 127.0.0.1 -i lo --xdp-mode generic
try tc 192.0.2.2 -i v0 --xdp-mode tc --egress
ip link add w0 type veth; ip link set w0 up
tmap live -i w0 --xdp-mode tc --egress --wait --no-promisc >/tmp/out 2>/tmp/err & pid=$!
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    sleep 1
    grep -q "^Seccomp:.*2" /proc/$pid/status && break
done
for key in Uid CapEff NoNewPrivs Seccomp; do echo "tmapx: rights $(grep "^$key:" /proc/$pid/status)"; done
ip link del w0; sleep 2; ip link add w0 type veth; ip link set w0 up
for second in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    grep -q "is watched" /tmp/err && break
done
kill -TERM $pid; wait $pid
while read line; do echo "tmapx: again $line"; done </tmp/err
echo 'tmapx: opened 1'
"#;

/// The runs of the script, by name.
const RUNS: [&str; 3] = ["native", "generic", "tc"];

/// Arguments of `cargo xtask kernels`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel series. The newest package of each is used.
    #[arg(default_values = ["6.1", "6.12"])]
    series: Vec<String>,
    /// Use this tmap program instead of building one.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let tmap = match &args.tmap {
        Some(path) => path.clone(),
        None => build::tmap(true)?,
    };
    setup::ensure(&[Group::Lab])?;
    let mut failures = Vec::new();
    for series in &args.series {
        let console = boot(&kernel::get(series)?, &tmap)?;
        let release = console.printed("release").unwrap_or_else(|| series.clone());
        for run in RUNS {
            let check = Check::read(&console.text, run);
            println!("{release}: {run}: {}", check.summary_line());
            failures.extend(check.failures().into_iter().map(|why| format!("{release}: {run}: {why}")));
        }
        failures.extend(unlike_confined(&console.text).map(|why| format!("{release}: {why}")));
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// The text of a machine's console.
struct Console {
    text: String,
}

impl Console {
    fn printed(&self, key: &str) -> Option<String> {
        vm::printed(&self.text, key)
    }
}

/// Boots one machine and waits for its end.
fn boot(kernel: &Kernel, tmap: &Path) -> Result<Console> {
    let scratch = Scratch::new()?;
    let ram_disk = scratch.path().join("disk.cpio");
    ram_disk::make(&ram_disk, &scratch.path().join("parts"), kernel, &[(tmap, "bin/tmap")], SCRIPT)?;
    let boot = Boot {
        kernel,
        ram_disk: &ram_disk,
        settings: &[],
        link: None,
        console: scratch.path().join("console"),
    };
    let mut vm = Vm::boot(Command::new(kernel.program()), &boot)?;
    let start = Instant::now();
    while vm.ended()?.is_none() {
        if start.elapsed() > LIMIT {
            bail!("{} did not end within {} s:\n{}", kernel.package, LIMIT.as_secs(), vm.last_lines());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if vm.printed("opened").is_none() {
        bail!("{} ended too early:\n{}", kernel.package, vm.last_lines());
    }
    Ok(Console { text: vm.console() })
}

/// What a sensor may not do and did, or should do and didn't, if anything: it is to be the user nobody, with
/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF, no new rights and a filter of system calls, and to attach again.
fn unlike_confined(console: &str) -> Option<String> {
    const WANTED: [&str; 5] = [
        "rights Uid: 65534 65534 65534 65534",
        "rights CapEff: 000000c000001000",
        "rights NoNewPrivs: 1",
        "rights Seccomp: 2",
        "interface w0 is watched (ingress by",
    ];
    let said: Vec<String> = console
        .lines()
        .filter(|line| line.contains("tmapx: rights") || line.contains("tmapx: again"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let is_missing = |wanted: &&&str| !said.iter().any(|line| line.contains(**wanted));
    let missing = WANTED.iter().find(is_missing)?;
    Some(format!("a sensor lacks `{missing}`; it has:\n  {}", said.join("\n  ")))
}

/// One run of tmap inside a machine.
#[derive(Debug, Default)]
struct Check {
    exit: Option<i32>,
    /// Instructions that the verifier checked, for each program.
    verified: Vec<u64>,
    messages: Vec<String>,
    summary: Option<Value>,
}

impl Check {
    fn read(console: &str, run: &str) -> Self {
        let mut check = Self::default();
        let prefix = format!("tmapx: {run} ");
        let lines = console.lines().filter_map(|line| line.trim_end().split_once(&prefix));
        for (key, value) in lines.filter_map(|(_, rest)| rest.split_once(' ')) {
            match key {
                "exit" => check.exit = value.parse().ok(),
                "verified" => check.verified.extend(value.parse::<u64>().ok()),
                "message" => check.messages.push(value.to_owned()),
                "summary" => check.summary = serde_json::from_str(value).ok(),
                _ => {}
            }
        }
        check
    }

    fn packets(&self) -> BTreeMap<String, u64> {
        let packets = self.summary.as_ref().map(|summary| &summary["packets"]);
        let numbers = packets.and_then(Value::as_object).into_iter().flatten();
        numbers.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
    }

    fn records(&self) -> Option<u64> {
        self.summary.as_ref()?["records"].as_u64()
    }

    fn summary_line(&self) -> String {
        let packets = self.packets();
        let packet = |name: &str| packets.get(name).copied().unwrap_or(0);
        let verified: Vec<String> = self.verified.iter().map(u64::to_string).collect();
        format!(
            "exit {}, verified instructions {}, packets seen {}, emitted {}, records {}",
            self.exit.map_or("unknown".to_owned(), |code| code.to_string()),
            if verified.is_empty() { "unknown".to_owned() } else { verified.join(" + ") },
            packet("seen"),
            packet("emitted"),
            self.records().unwrap_or(0),
        )
    }

    fn failures(&self) -> Vec<String> {
        let packets = self.packets();
        let packet = |name: &str| packets.get(name).copied().unwrap_or(0);
        let mut failures = Vec::new();
        if self.exit != Some(0) {
            failures.push("tmap failed".to_owned());
        }
        if self.verified.is_empty() {
            failures.push("no program was loaded".to_owned());
        }
        if packet("emitted") == 0 {
            failures.push("no record was emitted".to_owned());
        }
        if self.records() != Some(packet("emitted")) {
            failures.push(format!(
                "{} of {} records arrived",
                self.records().unwrap_or(0),
                packet("emitted")
            ));
        }
        if !failures.is_empty() {
            failures.extend(self.messages.iter().map(|line| format!("tmap printed: {line}")));
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "tmapx: release 6.1.0\r\ntmapx: native verified 4100\r\ntmapx: native exit 0\r\n\
        tmapx: native summary {\"type\":\"summary\",\"records\":7,\
        \"packets\":{\"seen\":9,\"emitted\":7,\"skipped\":{}}}\r\n\
        tmapx: generic exit 1\r\ntmapx: generic message the verifier: no\r\n";

    #[test]
    fn a_good_run_has_no_failures() {
        let check = Check::read(CONSOLE, "native");
        assert_eq!(check.failures(), Vec::<String>::new());
        assert_eq!((check.verified[0], check.records()), (4100, Some(7)));
    }

    #[test]
    fn a_sensor_is_confined_and_comes_back() {
        let console = "tmapx: rights Uid:\t65534\t65534\t65534\t65534\r\n\
            tmapx: rights CapEff:\t000000c000001000\r\ntmapx: rights NoNewPrivs:\t1\r\n\
            tmapx: rights Seccomp:\t2\r\n\
            tmapx: again tmap: interface w0 is watched (ingress by clsact)\r\n";
        assert_eq!(unlike_confined(console), None);
        for part in ["65534", "c0", "NoNewPrivs:\t1", "Seccomp:\t2", "is watched"] {
            assert!(unlike_confined(&console.replace(part, "")).is_some(), "{part}");
        }
    }

    #[test]
    fn a_bad_run_lists_every_failure() {
        let failures = Check::read(CONSOLE, "generic").failures();
        assert_eq!(failures.last().unwrap(), "tmap printed: the verifier: no");
        assert!(failures.contains(&"no program was loaded".to_owned()));
        let lossy = CONSOLE.replace("\"records\":7", "\"records\":6");
        assert_eq!(Check::read(&lossy, "native").failures(), ["6 of 7 records arrived"]);
    }
}
