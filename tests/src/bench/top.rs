//! What the screen of `tmap top` costs: CPU time of the whole process over that of `tmap live`, which sees
//! the same traffic, in percent of a core.
//!
//! The traffic is that of `live` (a million flows by Zipf's law), paced so that all of it is taken in. Every
//! flow was there before anything is measured, and a snapshot was taken: a note tells what it took. After it,
//! the list of all addresses rests for a hundred times as long.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::{
    Report, Settings,
    object::{Draw, Handshakes},
    report::Limit,
    rounds::interleave,
    sender::{Sender, WARM_UP, process_ns},
    watcher::{Saw, Watcher, Who, beside},
};
use crate::{
    net::{namespaces::INTERFACE, root},
    terminal::Terminal,
};

/// Frames in a second.
const RATE: u32 = 200_000;

/// The size of the terminal.
const SIZE: (u16, u16) = (140, 40);

/// The longest that the first snapshot may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who shows what comes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Nobody: `tmap live`.
    Not,
    /// A screen whose figures are renewed this often.
    Every(&'static str),
}

/// One way of watching, and what it cost.
struct Contestant {
    shown: Shown,
    seconds: u32,
    lost: f64,
    said: String,
}

/// Runs `top`.
///
/// # Errors
/// Where something can't be started or attached.
pub fn run(settings: &Settings) -> Result<Report> {
    root::require();
    let seconds = if settings.quick { 2 } else { 10 };
    let mut sender = Sender::new(Draw::Zipf(1 << 20), Handshakes::Some)?;
    let all = [Shown::Not, Shown::Every("500ms"), Shown::Every("100ms")];
    let contestant = |shown| Contestant { shown, seconds, lost: 0.0, said: String::new() };
    let mut contestants = all.map(contestant);
    let rounds = settings.rounds.div_ceil(2);
    let series = interleave(rounds, &mut contestants, |one| one.turn(&mut sender))?;
    let mut report = Report::new("top", &["CPU, % of a core", "over live"], &series[0]);
    for (one, own) in contestants.iter().zip(&series) {
        let over = (one.shown != Shown::Not).then(|| own.over(&series[0]));
        report.row(&one.name(), &[Some(own.figure()), over]);
    }
    report.bar("the screen at 10 Hz, % of a core", Limit::AtMost(3.0), series[2].over(&series[0]));
    let lost: f64 = contestants.iter().map(|one| one.lost).sum();
    report.bar_counted("records lost, all rounds", Limit::AtMost(0.0), lost);
    report.note(format!("{RATE} frames a second in bursts, for {seconds} s a round, {rounds} rounds"));
    for one in contestants.iter().filter(|one| !one.said.is_empty()) {
        report.note(format!("{}: {}", one.name(), one.said));
    }
    Ok(report)
}

impl Contestant {
    fn name(&self) -> String {
        match self.shown {
            Shown::Not => "live".to_owned(),
            Shown::Every(interval) => format!("top, renewed every {interval}"),
        }
    }

    /// Percent of a core while the traffic comes.
    fn turn(&mut self, sender: &mut Sender) -> Result<f64> {
        match self.shown {
            Shown::Not => self.live(sender),
            Shown::Every(interval) => self.top(sender, interval),
        }
    }

    fn live(&mut self, sender: &mut Sender) -> Result<f64> {
        let watcher = Watcher::start(Who::Tmap, &sender.wire)?;
        sender.send(WARM_UP, Some(RATE))?;
        let percent = self.measured(sender, || watcher.cpu_ns())?;
        let Saw { said, .. } = watcher.finish()?;
        self.lost += said.rsplit(' ').next().and_then(|lost| lost.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(percent)
    }

    fn top(&mut self, sender: &mut Sender, interval: &str) -> Result<f64> {
        let program = beside("tmap")?;
        let arguments = ["top", "-i", INTERFACE, "--xdp-mode", "native", "--refresh", interval];
        let mut terminal = Terminal::start_program(&sender.wire.far, &program, &arguments, SIZE);
        terminal.wait_for("tmap top");
        sender.send(WARM_UP, Some(RATE))?;
        terminal.press("r\t\t");
        thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        let snapshots =
            || terminal.text().lines().find(|line| line.starts_with("snapshots")).map(str::to_owned);
        // Until the one that was asked for was taken.
        while snapshots().is_none_or(|line| line.contains("under way")) && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(100));
        }
        self.said = snapshots().context("no snapshot came")?.split_whitespace().collect::<Vec<_>>().join(" ");
        terminal.press("\t");
        let percent = self.measured(sender, || process_ns(terminal.pid()))?;
        terminal.send(Signal::SIGTERM);
        terminal.end();
        self.lost += lost(&terminal.text());
        Ok(percent)
    }

    /// CPU time in percent of a core while frames are sent.
    fn measured(&self, sender: &mut Sender, cpu_ns: impl Fn() -> f64) -> Result<f64> {
        let (began, before_ns) = (Instant::now(), cpu_ns());
        sender.send(RATE * self.seconds, Some(RATE))?;
        let spent_ns = cpu_ns() - before_ns;
        Ok(100.0 * spent_ns / began.elapsed().as_nanos() as f64)
    }
}

/// The records lost, as the summary tells: `LOST: 12 records, because ...`; 0 where it doesn't.
fn lost(summary: &str) -> f64 {
    let line = summary.lines().find_map(|line| line.trim_start().strip_prefix("LOST: "));
    let number = line.and_then(|line| line.split(' ').next()).map(|number| number.replace(',', ""));
    number.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_off_the_summary() {
        assert_eq!(lost("a\nLOST: 1,234 records, because a ring buffer was full;\n"), 1_234.0);
        assert_eq!(lost("Address  Machines\n"), 0.0);
    }
}
