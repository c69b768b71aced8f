//! The noise: how much connections scatter about their line, chosen by the evidence of the mixture.
//!
//! The law of residuals within connections is learned exactly. What moves whole connections off their
//! machine's line (queues that last as long as a connection, paths through a host) shows only between
//! connections. So lines are fitted with a medium noise, then the noise that explains them best is
//! chosen, and lines are fitted again.

use super::{
    line::FittedLine,
    mixture::{Data, Mixture},
    search::{self, Found, Prior, Start},
    table::Noise,
    tabulate::Tables,
};

/// Temperatures tried: 1 is "residuals are independent". A burst shares its delay, so its n points tell
/// only as much as fewer independent ones.
const TEMPERATURES: [f32; 5] = [1.0, 1.2, 1.4, 1.7, 2.0];

/// Scatters tried, in ticks: a quarter apart.
const SCATTERS: [f32; 15] =
    [0.004, 0.005, 0.006_5, 0.008, 0.01, 0.012, 0.016, 0.02, 0.025, 0.03, 0.038, 0.048, 0.06, 0.08, 0.1];

/// The noise with which the search starts.
const MIDDLING: Noise = Noise { temperature: 1.4, scatter: 0.02, dull_share: 0.02, outlier_share: 0.01 };

/// Up to this many lines, a glance shows them as well as a search does, and so also their noise. Many lines
/// show theirs only once they are well fitted.
const FEW_LINES: usize = 3;

/// Fits lines roughly, chooses the noise and fits lines well; once more if that shows another noise. `None`
/// where somebody waits and no line was fitted yet.
pub(super) fn choose(tables: &Tables, max_lines: usize, prior: &Prior) -> Option<(Data, Found)> {
    let rough = tables.tabulate(&MIDDLING)?;
    let glance = search::search(&rough, max_lines, prior, Start::Nothing);
    let mut noise = best_noise(tables, &glance, MIDDLING, ROUGHLY);
    if glance.best().lines.len() <= FEW_LINES {
        noise = best_noise(tables, &glance, noise, FINELY);
    }
    let Some((data, found)) = fit(tables, noise, max_lines, (&rough, &glance)) else {
        return Some((rough, glance));
    };
    let lines = found.best().lines.len();
    if lines == glance.best().lines.len() && lines <= FEW_LINES {
        return Some((data, found));
    }
    let chosen = best_noise(tables, &found, noise, FINELY);
    if chosen == noise {
        return Some((data, found));
    }
    match fit(tables, chosen, max_lines, (&data, &found)) {
        Some((there, again)) if again.best_evidence() >= found.best_evidence() => Some((there, again)),
        Some((_, again)) => Some((data, found.or_better(&again))),
        None => Some((data, found)),
    }
}

/// Fits lines under a noise, from those that were found before. `None` where somebody waits.
fn fit(tables: &Tables, noise: Noise, max_lines: usize, before: (&Data, &Found)) -> Option<(Data, Found)> {
    let (data_before, found_before) = before;
    if data_before.work.is_hurried() {
        return None;
    }
    let data = tables.tabulate(&noise)?;
    data.work.take_over(&data_before.work);
    let found = search::search(&data, max_lines, &found_before.prior, Start::From(found_before));
    Some((data, found.or_better(found_before)))
}

/// The noise under which the present lines, or one more, have the largest evidence. It is searched one
/// coordinate after the other.
fn best_noise(tables: &Tables, found: &Found, start: Noise, steps: Steps) -> Noise {
    let count = found.best().lines.len();
    let mixtures: Vec<&Mixture> =
        [count, count + 1].iter().filter_map(|c| found.by_count.get(*c)?.as_ref()).map(|(m, _)| m).collect();
    // Other rows would only matter if the lines moved far.
    let lines: Vec<&FittedLine> = mixtures.iter().flat_map(|mixture| &mixture.lines).collect();
    let near = tables.rows_near(&lines);
    let mut tried: Vec<(Noise, f64)> = Vec::new();
    let mut evidence = |noise: Noise| {
        if let Some((_, known)) = tried.iter().find(|(n, _)| *n == noise) {
            return *known;
        }
        if tables.is_hurried() {
            return f64::NEG_INFINITY;
        }
        let data = tables.data_of_some(&noise, &near);
        let of = |m: &&Mixture| {
            let mut mixture = Mixture::new(&data, m.lines.clone(), m.none);
            mixture.fit(&data, CHOICE_ROUNDS);
            mixture.log_evidence(&data)
        };
        let best = mixtures.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        tried.push((noise, best));
        best
    };
    let mut best = start;
    for _ in 0..steps.turns {
        let before = best;
        best = climb((&TEMPERATURES, steps.of_temperature), best, |n| &mut n.temperature, &mut evidence);
        best = climb((&SCATTERS, steps.of_scatter), best, |n| &mut n.scatter, &mut evidence);
        if best == before {
            break;
        }
    }
    best
}

/// How a search for the noise goes along its grids.
#[derive(Clone, Copy, Debug)]
struct Steps {
    /// Values from one that is tried to the next. Another temperature costs more than another scatter.
    of_temperature: usize,
    of_scatter: usize,
    /// How often both coordinates are searched at most.
    turns: usize,
}

/// Under a noise that is far off, lines are so, too: the first choice need not be exact. It leaves the
/// temperature alone.
const ROUGHLY: Steps = Steps { of_temperature: TEMPERATURES.len(), of_scatter: 3, turns: 1 };
const FINELY: Steps = Steps { of_temperature: 1, of_scatter: 1, turns: 2 };

/// Moves `start` along a grid by equal steps while the evidence grows.
fn climb(
    (grid, step): (&[f32], usize),
    start: Noise,
    coordinate: impl Fn(&mut Noise) -> &mut f32,
    evidence: &mut impl FnMut(Noise) -> f64,
) -> Noise {
    let mut best = (start, evidence(start));
    let from = *coordinate(&mut best.0);
    let mut at = grid.partition_point(|value| *value < from).min(grid.len() - 1);
    for up in [true, false] {
        while let Some(next) = if up { Some(at + step) } else { at.checked_sub(step) } {
            let Some(value) = grid.get(next) else { break };
            let mut noise = start;
            *coordinate(&mut noise) = *value;
            let there = evidence(noise);
            if there <= best.1 {
                break;
            }
            (at, best) = (next, (noise, there));
        }
    }
    best.0
}

/// Rounds of EM with each noise: few, because the lines are already near.
const CHOICE_ROUNDS: usize = 15;
