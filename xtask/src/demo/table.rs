//! The demonstration's introduction and its table of results.

use std::fmt::Write as _;

use super::compare::{Comparison, Count, Row};
use super::scenario::{MACHINES, SERVERS};
use crate::testbed::findings::{FoundMachine, Measured};

/// Prints what runs, and where the sensor is.
pub(super) fn print_introduction(mode: &str, seconds: u32) {
    let [one, other] = SERVERS;
    println!(
        "Demonstration: for {seconds} s, {} simulated machines talk to this kernel's TCP",
        MACHINES.len()
    );
    println!("server at {one} and {other}. Each has a TCP stack and a clock of its own.");
    println!("Everything runs in network namespaces:\n");
    println!("  machines (user-space TCP on TUN) -- kernel NAT -- west [router: tmap] east -- server\n");
    println!("  tmap's XDP program is on both interfaces of the router, in {mode} mode. XDP sees what an");
    println!("  interface receives: west receives from the machines, east from the server.");
}

/// Prints the table, and tmap's warnings if it had any.
pub(super) fn print(results: &[Comparison], messages: &str) {
    println!();
    // The line that says how to end tmap is of no use to the reader of this table.
    for line in messages.lines().filter(|line| !line.trim().is_empty() && !line.contains("^C ends")) {
        println!("  {line}");
    }
    for result in results {
        print!("\n{}", section(result));
    }
    println!(
        "\nSkew is in ppm relative to the sensor's clock. ± is one standard error. \"boot error\" is the"
    );
    println!("boot time that tmap found minus the true one. \"right\" is the number of the machine's");
    println!("connections that tmap assigned to it, of those that tmap saw.");
}

fn section(result: &Comparison) -> String {
    let truth = result.rows.len();
    let plural = if truth == 1 { "machine" } else { "machines" };
    let mut text = format!("{}: {truth} {plural}; {}\n", result.address, statement(result));
    text += "              |  true                                       |  found\n";
    text += "  machine     |  rate Hz   skew  up for              conns  ";
    text += "|  no.  rate Hz  skew            boot error s       right\n";
    // By tmap's numbers; what it didn't find comes last.
    let mut rows: Vec<&Row> = result.rows.iter().collect();
    rows.sort_by_key(|row| row.found.as_ref().map_or(u64::MAX, |found| found.id));
    for row in rows {
        text += &line(row);
    }
    for found in &result.surplus {
        let none = "(no such machine)";
        let _ = writeln!(text, "  {none:<10} {:46}|{}", "", machine(found, None));
    }
    text
}

/// tmap's count in words, and whether it is right.
fn statement(result: &Comparison) -> String {
    let found = &result.found;
    let interval = match found.interval {
        (Some(low), Some(high)) if low == high => String::new(),
        (Some(low), Some(high)) => format!(" ({low} to {high})"),
        (Some(low), None) => format!(" (at least {low})"),
        _ => String::new(),
    };
    let machines = found.machines.unwrap_or(0);
    let regime = match found.regime.as_str() {
        "" => "not seen",
        "global" => "fixed, one per machine",
        "per_pair" => "random per pair of addresses",
        "per_connection" => "random per connection",
        other => other,
    };
    let judgement = match result.count() {
        Count::Right => "right",
        Count::WithinInterval => "not exact, but the interval contains the truth",
        Count::Wrong => "WRONG",
        Count::None => {
            let doubt = found.doubt.as_deref().unwrap_or("no reason given");
            return format!("tmap cannot count them{interval} (offsets: {regime}; {doubt})");
        }
    };
    format!("tmap counts {machines}{interval}: {judgement} (offsets: {regime})")
}

fn line(row: &Row) -> String {
    let truth = &row.truth;
    let now_s = std::time::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
    let up = truth.boot_unix_s.map_or("random offsets".to_owned(), |boot| duration(now_s - boot));
    let found = match &row.found {
        Some(found) => machine(found, truth.boot_unix_s),
        None => format!("  {:<51}", "not found"),
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
        (Some(_), None) => "found, but wrong".to_owned(),
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
