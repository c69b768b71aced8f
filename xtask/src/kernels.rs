//! `cargo xtask kernels`: tmap inside virtual machines, on the oldest kernel that it supports and on
//! a later one, so that every verifier has its say.
//!
//! Each machine attaches tmap natively to a veth, with the egress hook, and generically to the
//! loopback, sends TCP through both and hands back what tmap says. It needs no root: the machines
//! have no network but their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::lab::{
    image,
    kernel::{self, Kernel},
    vm::{Boot, Vm},
};
use crate::namespaces::Scratch;
use crate::packages::Group;
use crate::{build, setup};

/// Emulated, and with the verifier at work, a machine takes this long at most.
const LIMIT: Duration = Duration::from_secs(180);

/// Two namespaces on a veth (busybox leaves it to the kernel to name the peer) with a web server, then one run of tmap for each way of attaching.
/// What a run says goes to the console word by word, for [`Check::read`].
const SCRIPT: &str = r#"
# Even if nobody is left to end this machine, it ends.
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
    grep -h verified_insns /proc/$pid/fdinfo/* | while read word count; do echo "tmapx: $name verified $count"; done
    for round in 1 2 3 4 5 6; do wget -q -O /dev/null http://$server/page; done
    sleep 1
    kill -TERM $pid 2>/dev/null; wait $pid
    echo "tmapx: $name exit $?"
    while read line; do echo "tmapx: $name words $line"; done </tmp/err
    grep '"type":"summary"' /tmp/out | while read -r line; do echo "tmapx: $name summary $line"; done
}
try native 192.0.2.2 -i v0 --xdp-mode native --egress
try generic 127.0.0.1 -i lo --xdp-mode generic
echo 'tmapx: opened 1'
"#;

/// The runs of the script, by name.
const RUNS: [&str; 2] = ["native", "generic"];

/// Which kernels.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Kernel series, newest package of each.
    #[arg(default_values = ["6.1", "6.12"])]
    series: Vec<String>,
    /// The built tmap; without it, tmap is built first.
    #[arg(long, value_name = "PATH")]
    tmap: Option<PathBuf>,
}

/// Runs the verb.
pub fn verb(args: &Args) -> Result<()> {
    let tmap = match &args.tmap {
        Some(path) => path.clone(),
        None => build::tmap(true)?,
    };
    setup::ensure(&[Group::Lab])?;
    let mut failures = Vec::new();
    for series in &args.series {
        let console = boot(&kernel::get(series)?, &tmap)?;
        let release = console.said("release").unwrap_or_else(|| series.clone());
        for run in RUNS {
            let check = Check::read(&console.text, run);
            println!("{release}: {run}: {}", check.sentence());
            failures.extend(check.failures().into_iter().map(|why| format!("{release}: {run}: {why}")));
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// What a machine printed.
struct Console {
    text: String,
}

impl Console {
    fn said(&self, word: &str) -> Option<String> {
        crate::lab::vm::said(&self.text, word)
    }
}

/// Boots one machine to its end.
fn boot(kernel: &Kernel, tmap: &Path) -> Result<Console> {
    let scratch = Scratch::new()?;
    let ram_disk = scratch.path().join("disk.cpio");
    image::make(&ram_disk, &scratch.path().join("parts"), kernel, &[(tmap, "bin/tmap")], SCRIPT)?;
    let boot = Boot {
        image: &kernel.image,
        ram_disk: &ram_disk,
        settings: &[],
        tap: None,
        console: scratch.path().join("console"),
    };
    let mut vm = Vm::boot(Command::new("qemu-system-x86_64"), &boot)?;
    let start = Instant::now();
    while vm.ended()?.is_none() {
        if start.elapsed() > LIMIT {
            bail!("{} did not end within {} s:\n{}", kernel.package, LIMIT.as_secs(), vm.last_words());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if vm.said("opened").is_none() {
        bail!("{} did not come to its end:\n{}", kernel.package, vm.last_words());
    }
    Ok(Console { text: vm.console() })
}

/// One run of tmap inside a machine.
#[derive(Debug, Default)]
struct Check {
    exit: Option<i32>,
    /// Instructions that the verifier went through, for each program.
    verified: Vec<u64>,
    words: Vec<String>,
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
                "words" => check.words.push(value.to_owned()),
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

    fn sentence(&self) -> String {
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
                "{} records of {} arrived",
                self.records().unwrap_or(0),
                packet("emitted")
            ));
        }
        if !failures.is_empty() {
            failures.extend(self.words.iter().map(|line| format!("tmap said: {line}")));
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "tmapx: release 6.1.0\r\ntmapx: native verified 4100\r\ntmapx: native exit 0\r\n\
        tmapx: native summary {\"type\":\"summary\",\"records\":7,\"packets\":{\"seen\":9,\"emitted\":7,\"skipped\":{}}}\r\n\
        tmapx: generic exit 1\r\ntmapx: generic words the verifier: no\r\n";

    #[test]
    fn a_good_run_has_no_failures() {
        let check = Check::read(CONSOLE, "native");
        assert_eq!(check.failures(), Vec::<String>::new());
        assert_eq!((check.verified[0], check.records()), (4100, Some(7)));
    }

    #[test]
    fn a_bad_run_says_all_that_is_wrong() {
        let failures = Check::read(CONSOLE, "generic").failures();
        assert_eq!(failures.last().unwrap(), "tmap said: the verifier: no");
        assert!(failures.contains(&"no program was loaded".to_owned()));
        let lossy = CONSOLE.replace("\"records\":7", "\"records\":6");
        assert_eq!(Check::read(&lossy, "native").failures(), ["6 records of 7 arrived"]);
    }
}
