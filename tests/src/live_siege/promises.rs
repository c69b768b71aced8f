//! What tmap promises under siege, and whether it was kept.

use std::{fmt, time::Duration};

use tmap::report::number::{bytes, count, grouped};

use super::{Asked, Outcome, TRUE_MACHINES, answer::Told, flood};

/// An answer comes within this time.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Sieges longer than this promise a right count, too. In a shorter one, too few connections tell their
/// clocks.
const LONG: Duration = Duration::from_secs(180);

/// From this time of a long siege on, the count is to be right.
const WARM_UP: Duration = Duration::from_secs(120);

/// The least share of right counts from then on, in percent. Thirty minutes had 99 % (docs/trust.md).
const LEAST_RIGHT_PERCENT: usize = 75;

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is about.
    pub about: &'static str,
    /// What was found.
    pub found: String,
    /// What is promised; empty for what is only told.
    pub promised: String,
    /// Whether that was kept.
    pub is_kept: bool,
}

/// What was found, with its promises.
#[derive(Clone, Debug)]
pub struct Table {
    /// One line each.
    pub lines: Vec<Line>,
}

impl Table {
    /// What became of the promises.
    pub fn new(outcome: &Outcome) -> Self {
        let mut lines = vec![told("the siege", scene(outcome))];
        lines.push(waits(outcome));
        lines.push(memory(outcome));
        lines.extend(nat(outcome));
        lines.push(peers(outcome));
        lines.extend(frames(outcome));
        lines.extend(end(outcome));
        lines.push(told("sending", outcome.sending.clone()));
        Self { lines }
    }

    /// Whether all promises were kept.
    pub fn is_kept(&self) -> bool {
        self.lines.iter().all(|line| line.is_kept)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.lines.iter().map(|line| line.about.len()).max().unwrap_or(0);
        for Line { about, found, promised, is_kept } in &self.lines {
            let verdict = match (promised.is_empty(), is_kept) {
                (true, _) => "",
                (false, true) => "kept    ",
                (false, false) => "BROKEN  ",
            };
            writeln!(f, "{verdict:8}{about:width$}  {found}")?;
            if !promised.is_empty() {
                writeln!(f, "{:8}{:width$}  promised: {promised}", "", "")?;
            }
        }
        Ok(())
    }
}

fn told(about: &'static str, found: String) -> Line {
    Line { about, found, promised: String::new(), is_kept: true }
}

fn promise(about: &'static str, is_kept: bool, promised: String, found: String) -> Line {
    Line { about, found, promised, is_kept }
}

fn scene(outcome: &Outcome) -> String {
    format!(
        "{:.0} s; {} frames of a flood from {} addresses, {} a second; {} connections of the NAT's machines",
        outcome.time.as_secs_f64(),
        grouped(outcome.flood_frames),
        grouped(flood::SOURCES.into()),
        grouped((outcome.flood_frames as f64 / outcome.time.as_secs_f64()) as u64),
        grouped(outcome.connections),
    )
}

fn waits(outcome: &Outcome) -> Line {
    let mut waits: Vec<Duration> = outcome.asked.iter().map(|asked| asked.wait).collect();
    waits.sort_unstable();
    let (Some(longest), Some(median)) = (waits.last(), waits.get(waits.len() / 2)) else {
        return promise("SIGUSR1", false, "an answer".to_owned(), "was never sent".to_owned());
    };
    let late = waits.iter().filter(|wait| **wait > ANSWERS_WITHIN).count();
    let unanswered = outcome.asked.iter().filter(|asked| asked.answer.is_none()).count();
    let mut found = format!(
        "answered after {:.2} s at most, median {:.2} s, of {}; {late} later than promised",
        longest.as_secs_f64(),
        median.as_secs_f64(),
        waits.len(),
    );
    if unanswered > 0 {
        found.push_str("; the last one was not answered, which ended the siege");
    }
    let promised = format!("{} s at most", ANSWERS_WITHIN.as_secs());
    promise("SIGUSR1", late + unanswered == 0, promised, found)
}

fn memory(outcome: &Outcome) -> Line {
    let most = outcome.memory.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let limit = outcome.memory_limit_bytes;
    let found = format!("{} at most", bytes(most));
    promise("memory", (1..=limit).contains(&most), format!("{} at most", bytes(limit)), found)
}

/// All summaries, with the last one.
fn answers(outcome: &Outcome) -> impl Iterator<Item = &super::Answer> {
    let asked = outcome.asked.iter().filter_map(|Asked { answer, .. }| answer.as_ref());
    asked.chain(std::iter::once(&outcome.last))
}

/// Whether a summary's estimate of the NAT's machines is the truth.
fn is_right(told: &Told) -> bool {
    told.machines == Some(TRUE_MACHINES)
}

/// What is told of the NAT. Both promises of any siege are kept by a sensor that never counts, so that a long
/// one has a third.
fn nat(outcome: &Outcome) -> Vec<Line> {
    let all: Vec<&Told> = answers(outcome).map(|answer| &answer.nat).collect();
    let outside = all.iter().filter(|told| told.machines.is_some() && !told.holds(TRUE_MACHINES)).count();
    let right = all.iter().filter(|told| is_right(told)).count();
    let silent = all.iter().filter(|told| !is_right(told) && told.doubt.is_none()).count();
    let (first, last) = (all[0], all[all.len() - 1]);
    let interval = promise(
        "NAT, interval",
        outside == 0,
        format!("the truth, {TRUE_MACHINES}, is within"),
        format!("first {first}; last {last}; {outside} of {} without the truth", all.len()),
    );
    let estimate = promise(
        "NAT, estimate",
        silent == 0,
        "right, or with a doubt".to_owned(),
        format!("{right} of {} right; {silent} wrong without a doubt", all.len()),
    );
    [interval, estimate].into_iter().chain(counts(outcome)).collect()
}

/// How many answers of a long siege have the right count, once it has warmed up; `None` for a short one.
fn counts(outcome: &Outcome) -> Option<Line> {
    if outcome.time <= LONG {
        return None;
    }
    let warm = outcome.asked.iter().filter(|asked| asked.at >= WARM_UP);
    let warm = warm.filter_map(|asked| asked.answer.as_ref()).chain(std::iter::once(&outcome.last));
    let (right, others): (Vec<_>, Vec<_>) = warm.partition(|answer| is_right(&answer.nat));
    let all = right.len() + others.len();
    let after = WARM_UP.as_secs();
    Some(promise(
        "NAT, counts",
        100 * right.len() >= LEAST_RIGHT_PERCENT * all,
        format!("{LEAST_RIGHT_PERCENT} % right at least, after {after} s"),
        format!("{} of {all} right after {after} s", right.len()),
    ))
}

/// The most wrong answers that are shown.
const MOST_SHOWN: usize = 4;

fn peers(outcome: &Outcome) -> Line {
    let all: Vec<Vec<Option<u64>>> = answers(outcome).map(super::Answer::peers).collect();
    let wrong = all.iter().filter(|peers| peers.iter().any(|machines| *machines != Some(1))).count();
    let number = |machines: &Option<u64>| machines.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let last: Vec<String> = outcome.last.peers().iter().map(number).collect();
    let mut found = format!("last {}; {wrong} of {} answers with another one", last.join(" "), all.len());
    let odd = answers(outcome).flat_map(|answer| &answer.servers).filter(|told| told.machines != Some(1));
    let odd: Vec<String> = odd.take(MOST_SHOWN).map(ToString::to_string).collect();
    if !odd.is_empty() {
        found.push_str(&format!(", such as {}", odd.join("; ")));
    }
    promise("peers", wrong == 0, "1 machine each".to_owned(), found)
}

fn frames(outcome: &Outcome) -> [Line; 2] {
    let accounts = &outcome.accounts;
    let wrong = accounts.wrong();
    let found = if wrong.is_empty() {
        format!(
            "{} handed over, {} dropped before the sensor, {} seen: {} emitted, {} suppressed, {} skipped, \
             {} ring full",
            grouped(accounts.handed),
            grouped(accounts.dropped),
            grouped(accounts.seen),
            grouped(accounts.emitted),
            grouped(accounts.suppressed),
            grouped(accounts.skipped),
            grouped(accounts.ring_full),
        )
    } else {
        wrong.join("; ")
    };
    let lost = 100.0 * accounts.ring_full as f64 / (accounts.emitted + accounts.ring_full).max(1) as f64;
    [
        promise("frames", wrong.is_empty(), "exact to the frame".to_owned(), found),
        told("lost", format!("{lost:.2} % of the records, in full rings")),
    ]
}

/// The end: a code that agrees with the warnings.
fn end(outcome: &Outcome) -> Vec<Line> {
    let (took, code) = outcome.exit;
    let warnings = outcome.last.summary["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    let expected = i32::from(!warnings.is_empty());
    let found = match code {
        Some(code) => format!("exit code {code} after {:.2} s", took.as_secs_f64()),
        None => "killed by a signal".to_owned(),
    };
    let promised = format!("exit code {expected}, with {}", count(warnings.len() as u64, "warning"));
    let mut lines = vec![promise("SIGTERM", code == Some(expected), promised, found)];
    let texts = warnings.iter().filter_map(|warning| warning.as_str());
    lines.extend(texts.map(|warning| told("warning", warning.to_owned())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live_siege::{Answer, accounts::Accounts};

    /// A siege of so many seconds whose answers, one each 20 s, say this number of machines.
    fn siege(seconds: u64, told: impl Fn(u64) -> Option<u64>) -> Outcome {
        let answer = |second: u64| {
            let doubt = Some("contradicted".to_owned());
            let nat = Told { machines: told(second), low: Some(1), high: None, doubt };
            Answer { nat, ..Answer::default() }
        };
        let asked = |second: u64| Asked {
            at: Duration::from_secs(second),
            wait: Duration::from_millis(100),
            answer: Some(answer(second)),
        };
        Outcome {
            time: Duration::from_secs(seconds),
            memory_limit_bytes: 1 << 20,
            asked: (20..seconds).step_by(20).map(asked).collect(),
            memory: Vec::new(),
            last: answer(seconds),
            exit: (Duration::ZERO, Some(0)),
            accounts: Accounts::default(),
            flood_frames: 0,
            connections: 0,
            sending: String::new(),
        }
    }

    #[test]
    fn a_sensor_that_never_counts_breaks_a_promise_of_a_long_siege() {
        let is_kept = |outcome| nat(&outcome).iter().all(|line| line.is_kept);
        let never = |_| None;
        assert!(!is_kept(siege(200, never)));
        assert!(is_kept(siege(180, never)), "a short one promises no count");
        assert!(is_kept(siege(200, |second| (second >= 120).then_some(TRUE_MACHINES))));
        // From 120 s to 580 s, and the last: 25 answers.
        let right_until = |until| siege(600, move |second| (second < until).then_some(TRUE_MACHINES));
        assert!(is_kept(right_until(500)), "19 of 25 are right");
        assert!(!is_kept(right_until(480)), "18 of 25 are right");
    }
}
