//! The demonstration's words and its table.

use std::fmt::Write as _;

use super::compare::{Count, Row, Verdict};
use super::world::{HOSTS, SERVERS};
use crate::findings::{FoundMachine, Measured};

/// Says what is set up and where the sensor sits.
pub fn print_scene(mode: &str, seconds: u32) {
    println!("demonstration: {} hosts, each with a TCP stack and a clock of its own, talk to", HOSTS.len());
    let [one, other] = SERVERS;
    println!("this kernel's TCP server at {one} and {other} for {seconds} s, in namespaces:\n");
    println!("  hosts (user-space TCP on TUN) -- kernel NAT -- west [router: tmap] east -- server\n");
    println!("  tmap's XDP program is on both veths of the router ({mode} mode, says the kernel):");
    println!("  XDP sees what an interface receives, so west shows the hosts and east the server");
}

/// Prints the table, and tmap's own warnings if it had any.
pub fn print(verdicts: &[Verdict], words: &str) {
    println!();
    // How to end it is not for the reader of this table.
    for line in words.lines().filter(|line| !line.trim().is_empty() && !line.contains("^C ends")) {
        println!("  {line}");
    }
    for verdict in verdicts {
        print!("\n{}", section(verdict));
    }
    println!("\nskew in ppm against the sensor's clock; ± one standard error; the boot time found is");
    println!("given by its error in seconds; the last column: connections given to the right machine");
    println!("of those of this machine that tmap saw");
}

fn section(verdict: &Verdict) -> String {
    let truth = verdict.rows.len();
    let plural = if truth == 1 { "machine is" } else { "machines are" };
    let mut text = format!("{}: {truth} {plural} there; {}\n", verdict.address, statement(verdict));
    text += "              |  true                                       |  found\n";
    text += "  machine     |  rate Hz   skew  up for              conns  |  no.  rate Hz  skew            boot error s       right\n";
    for row in &verdict.rows {
        text += &line(row);
    }
    for found in &verdict.surplus {
        let none = "(no such machine)";
        let _ = writeln!(text, "  {none:<10} {:46}|{}", "", machine(found, None));
    }
    text
}

/// What tmap says, in words.
fn statement(verdict: &Verdict) -> String {
    let found = &verdict.found;
    let interval = match found.interval {
        (Some(low), Some(high)) => format!(" ({low} to {high})"),
        (Some(low), None) => format!(" (at least {low})"),
        _ => String::new(),
    };
    let machines = found.machines.unwrap_or(0);
    let regime = if found.regime.is_empty() { "unseen" } else { &found.regime };
    match verdict.count() {
        Count::Right => format!("tmap counts {machines}{interval}: right (offsets: {regime})"),
        Count::WithinInterval => {
            format!(
                "tmap counts {machines}{interval}: not exact, but within its interval (offsets: {regime})"
            )
        }
        Count::Wrong => format!("tmap counts {machines}{interval}: WRONG (offsets: {regime})"),
        Count::Untold => {
            let doubt = found.doubt.as_deref().unwrap_or("no reason given");
            format!("tmap says that it can't tell{interval} (offsets: {regime}; {doubt})")
        }
    }
}

fn line(row: &Row) -> String {
    let truth = &row.truth;
    let now_s = std::time::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
    let up = truth.boot_unix_s.map_or("offsets random".to_owned(), |boot| duration(now_s - boot));
    let found = match &row.found {
        Some(found) => machine(found, truth.boot_unix_s),
        None => format!("  {:<51}", "not told apart"),
    };
    format!(
        "  {:<12}|  {:>7} {:>6}  {up:<18} {:>6}  |{found}{:>4} of {}\n",
        truth.name,
        truth.tick_hz,
        format!("{:+.0}", truth.skew_ppm),
        truth.connections,
        row.assigned,
        row.seen,
    )
}

fn machine(found: &FoundMachine, boot_unix_s: Option<f64>) -> String {
    let rate = found.tick_hz.map_or("-".to_owned(), |rate| rate.to_string());
    let skew = found.skew.map_or("-".to_owned(), estimate);
    let boot = match (found.boot, boot_unix_s) {
        (Some(boot), Some(truth)) => estimate(Measured { value: boot.value - truth, ..boot }),
        (Some(_), None) => "claimed, not true".to_owned(),
        (None, _) => "-".to_owned(),
    };
    format!("  {:>3}  {rate:>7}  {skew:<14}  {boot:<18}", found.id)
}

/// A value with as many decimals as its standard error supports.
fn estimate(measured: Measured) -> String {
    let decimals = match measured.sigma {
        sigma if sigma >= 10.0 => 0,
        sigma if sigma >= 0.1 => 1,
        sigma if sigma >= 0.01 => 2,
        _ => 3,
    };
    format!("{:+.decimals$} ± {:.decimals$}", measured.value, measured.sigma)
}

fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, rest) = (whole / 86_400, whole % 86_400);
    format!("{days} d {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_beyond_the_error() {
        assert_eq!(estimate(Measured { value: 40.123_4, sigma: 0.82 }), "+40.1 ± 0.8");
        assert_eq!(estimate(Measured { value: -0.123_4, sigma: 0.002 }), "-0.123 ± 0.002");
        assert_eq!(estimate(Measured { value: 123.4, sigma: 25.0 }), "+123 ± 25");
    }

    #[test]
    fn days_and_hours() {
        assert_eq!(duration(6.0 * 86_400.0 + 3_723.9), "6 d 01:02:03");
    }
}
