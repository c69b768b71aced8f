//! The program inside a virtual machine.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::notes;
use super::traffic::{Talk, Traffic};

/// How long to look for a tick.
const TICK_LIMIT: Duration = Duration::from_millis(500);

/// Arguments of `cargo xtask lab-guest`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Addresses of the servers.
    #[arg(long, value_delimiter = ',', required = true)]
    servers: Vec<IpAddr>,
    /// Ports of the servers.
    #[arg(long, value_delimiter = ',', required = true)]
    ports: Vec<u16>,
    /// How long to talk, in seconds.
    #[arg(long)]
    seconds: u32,
    /// What to talk.
    #[arg(long)]
    traffic: Traffic,
    /// The mean time between two bursts, in seconds.
    #[arg(long)]
    pause: f64,
}

/// Talks, then prints how many connections it opened.
pub(crate) fn verb(args: &Args) -> Result<()> {
    if let Some((jiffies, monotonic_ns)) = find_tick() {
        println!("tmapx: jiffies {jiffies} {monotonic_ns}");
    }
    let one = |&server: &IpAddr| args.ports.iter().map(move |&port| SocketAddr::from((server, port)));
    let talk = Talk {
        services: args.servers.iter().flat_map(one).collect(),
        end: Instant::now() + Duration::from_secs(args.seconds.into()),
        pause: Duration::from_secs_f64(args.pause),
        opened: AtomicU64::new(0),
    };
    talk.run(args.traffic);
    let opened = talk.opened.into_inner();
    println!("tmapx: opened {opened}");
    if opened == 0 { bail!("no connection could be opened") } else { Ok(()) }
}

/// Looks for the moment at which the kernel's counter of ticks counts: the counter's new value, and
/// CLOCK_MONOTONIC in nanoseconds, as exactly as reading allows.
fn find_tick() -> Option<(u64, i64)> {
    let end = Instant::now() + TICK_LIMIT;
    let mut best: Option<(i64, u64, i64)> = None;
    let mut last: Option<(i64, u64)> = None;
    while Instant::now() < end {
        let before_ns = notes::monotonic_ns();
        let count = jiffies(&fs::read_to_string("/proc/timer_list").ok()?)?;
        let after_ns = notes::monotonic_ns();
        if let Some((start_ns, _)) = last.filter(|&(_, earlier)| earlier + 1 == count) {
            let width_ns = after_ns - start_ns;
            if best.is_none_or(|(narrowest_ns, ..)| width_ns < narrowest_ns) {
                best = Some((width_ns, count, start_ns + width_ns / 2));
            }
        }
        last = Some((before_ns, count));
    }
    best.map(|(_, count, at_ns)| (count, at_ns))
}

/// The kernel's counter of ticks, in the text of `/proc/timer_list`.
fn jiffies(timers: &str) -> Option<u64> {
    timers.lines().find_map(|line| line.trim().strip_prefix("jiffies:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::jiffies;

    #[test]
    fn finds_jiffies() {
        let timers =
            "now at 5 nsecs\n  .idle_jiffies   : 4294892601\n  .nohz_mode : 2\njiffies: 4294892602\n";
        assert_eq!(jiffies(timers), Some(4_294_892_602));
        assert_eq!(jiffies(""), None);
    }
}
