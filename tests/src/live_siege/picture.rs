//! The siege as a picture: memory, waits and the NAT's count against time.

use std::time::Duration;

use tmap::picture::{
    chart::{Axis, Chart, Mark, Owner, Series},
    svg::{self, Theme},
};

use super::{Asked, Outcome, TRUE_MACHINES, promises::ANSWERS_WITHIN};

/// The most marks of a scale.
const MOST_TICKS: f64 = 8.0;

/// The most points of a line.
const MOST_POINTS: usize = 400;

/// The highest count that is shown, where an interval has no upper end or one far away.
const MOST_MACHINES: u64 = 20;

/// From this time on, the scale has minutes.
const MINUTES_FROM_S: f64 = 300.0;

/// Colours: of what was found, and of what is promised or true.
const FOUND: Owner = Owner::Machine(1);
const BOUND: Owner = Owner::Machine(2);

/// Draws it, as SVG.
pub fn svg(outcome: &Outcome) -> String {
    let time = Time::of(outcome);
    svg::stack(&[memory(outcome, &time), waits(outcome, &time), count(outcome, &time)], Theme::Light)
}

/// The axis of time.
struct Time {
    unit_s: f64,
    unit: &'static str,
    to: f64,
}

impl Time {
    fn of(outcome: &Outcome) -> Self {
        let length_s = outcome.time.as_secs_f64().max(1.0);
        let (unit_s, unit) = if length_s >= MINUTES_FROM_S { (60.0, "min") } else { (1.0, "s") };
        Self { unit_s, unit, to: length_s / unit_s }
    }

    fn x(&self, at: Duration) -> f64 {
        at.as_secs_f64() / self.unit_s
    }

    fn axis(&self) -> Axis {
        axis(format!("time since the first frame ({})", self.unit), self.to)
    }

    /// A level line from one end to the other.
    fn level(&self, name: String, y: f64) -> Series {
        Series { name, owner: BOUND, marks: vec![Mark::Line { from: (0.0, y), to: (self.to, y) }] }
    }
}

fn memory(outcome: &Outcome, time: &Time) -> Chart {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    // Of each piece the most, so that no peak is left out.
    let pieces = outcome.memory.chunks(outcome.memory.len().div_ceil(MOST_POINTS).max(1));
    let most = pieces.filter_map(|piece| piece.iter().max_by_key(|(_, bytes)| *bytes));
    let points: Vec<(f64, f64)> = most.map(|(at, bytes)| (time.x(*at), mib(*bytes))).collect();
    let marks = points.windows(2).map(|pair| Mark::Line { from: pair[0], to: pair[1] }).collect();
    let limit = mib(outcome.memory_limit_bytes);
    let top = points.iter().map(|point| point.1).fold(limit, f64::max);
    Chart {
        title: "Memory of a sensor under siege".to_owned(),
        subtitle: String::new(),
        x: time.axis(),
        y: axis("anonymous memory (MiB)".to_owned(), 1.05 * top),
        series: vec![
            Series { name: "memory".to_owned(), owner: FOUND, marks },
            time.level("--memory".to_owned(), limit),
        ],
    }
}

fn waits(outcome: &Outcome, time: &Time) -> Chart {
    let mark = |asked: &Asked| {
        let wait_s = asked.wait.as_secs_f64();
        let text = format!("{wait_s:.2} s");
        Mark::Point { at: (time.x(asked.at), wait_s), weight: 0.4, text }
    };
    let limit = ANSWERS_WITHIN.as_secs_f64();
    let top = outcome.asked.iter().map(|asked| asked.wait.as_secs_f64()).fold(limit, f64::max);
    let marks = outcome.asked.iter().map(mark).collect();
    Chart {
        title: "Time until SIGUSR1 was answered".to_owned(),
        subtitle: String::new(),
        x: time.axis(),
        y: axis("time (s)".to_owned(), 1.1 * top),
        series: vec![
            Series { name: "answers".to_owned(), owner: FOUND, marks },
            time.level("promised".to_owned(), limit),
        ],
    }
}

fn count(outcome: &Outcome, time: &Time) -> Chart {
    let told = outcome.asked.iter().filter_map(|asked| Some((time.x(asked.at), &asked.answer.as_ref()?.nat)));
    let told: Vec<_> = told.collect();
    let high = |high: Option<u64>| high.unwrap_or(MOST_MACHINES).min(MOST_MACHINES);
    let bar = |&(x, nat): &(f64, &super::answer::Told)| {
        let y = (nat.low? as f64, high(nat.high) as f64);
        Some(Mark::Bar { x: (x - 0.002 * time.to, x + 0.002 * time.to), y, text: nat.to_string() })
    };
    let point = |&(x, nat): &(f64, &super::answer::Told)| {
        let at = (x, nat.machines? as f64);
        Some(Mark::Point { at, weight: 0.4, text: nat.to_string() })
    };
    let top = told.iter().map(|(_, nat)| high(nat.high)).fold(TRUE_MACHINES + 1, u64::max);
    Chart {
        title: "Machines behind the NAT".to_owned(),
        subtitle: format!("Bars are intervals; those up to {MOST_MACHINES} may have no upper end."),
        x: time.axis(),
        y: axis("machines".to_owned(), top as f64 + 1.0),
        series: vec![
            time.level("truth".to_owned(), TRUE_MACHINES as f64),
            Series {
                name: "low to high".to_owned(),
                owner: Owner::Nobody,
                marks: told.iter().filter_map(bar).collect(),
            },
            Series {
                name: "estimate".to_owned(),
                owner: FOUND,
                marks: told.iter().filter_map(point).collect(),
            },
        ],
    }
}

/// An axis from zero, with marks at round numbers.
fn axis(label: String, to: f64) -> Axis {
    let power = 10_f64.powf((to / MOST_TICKS).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| to / step <= MOST_TICKS).unwrap_or(to);
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let ticks = (0..=(to / step) as u32).map(|number| f64::from(number) * step);
    let ticks = ticks.map(|at| (at, format!("{at:.decimals$}"))).collect();
    Axis { label, from: 0.0, to, ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_marks() {
        let texts = |to: f64| -> Vec<String> {
            axis(String::new(), to).ticks.into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(2.2), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(texts(30.0), ["0", "5", "10", "15", "20", "25", "30"]);
        assert_eq!(texts(537.6), ["0", "100", "200", "300", "400", "500"]);
    }
}
