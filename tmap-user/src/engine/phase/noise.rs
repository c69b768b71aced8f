//! How much connections scatter about their line: chosen by the evidence of the mixture.
//!
//! Within connections the law of residuals is learned exactly; what moves whole connections off
//! their machine's line (queues that stand as long as a connection, paths through a host) shows only
//! between them. So lines are drawn with a middling noise, the noise that explains them best is
//! chosen, and lines are drawn again.

use super::{
    CHOSEN_FROM, LEARNED_FROM,
    density::{self, Density},
    mixture::{Data, Mixture},
    piece::Piece,
    search::{self, Found},
    table::{Noise, Table, Window},
};

/// Makes tables of pieces under any noise.
pub struct Tables<'a> {
    cut: &'a [Vec<Piece>],
    window: Window,
    density: Density,
    drift_range: f64,
}

/// Machines' drifts lie within this, in all, as a share of the rate.
const DRIFT_RANGE: f64 = 4e-4;

/// Shortest piece that the law is learned from: fewer points tell their place, not the law.
const LEARNED_POINTS: usize = 8;

impl<'a> Tables<'a> {
    /// Learns the law of residuals from `cut`, the pieces of each track.
    pub fn new(cut: &'a [Vec<Piece>], window: Window, hz: f64) -> Self {
        let long: Vec<&Piece> = cut.iter().flatten().filter(|p| p.len() >= LEARNED_POINTS).collect();
        let stride = long.len().div_ceil(LEARNED_FROM).max(1);
        let some: Vec<&Piece> = long.into_iter().step_by(stride).collect();
        Self { cut, window, density: density::learn(&some, window), drift_range: DRIFT_RANGE * hz }
    }

    /// Tables of every `stride`-th track.
    fn tabulate(&self, noise: &Noise, stride: usize) -> Data {
        let mut data = Data {
            pieces: Vec::new(),
            tracks: Vec::new(),
            window: self.window,
            drift_range: self.drift_range,
        };
        for pieces in self.cut.iter().step_by(stride) {
            let from = data.pieces.len();
            let tables = pieces.iter().map(|p| (p.x, Table::new(p, self.window, &self.density, noise)));
            data.pieces.extend(tables);
            data.tracks.push(from..data.pieces.len());
        }
        data
    }
}

/// Temperatures tried: 1 is "residuals are independent". A burst shares its delay, and then n
/// points tell as much as fewer.
const TEMPERATURES: [f32; 2] = [1.0, 1.4];

/// Scatters tried, in ticks.
const SCATTERS: [f32; 7] = [0.004, 0.012, 0.02, 0.03, 0.045, 0.07, 0.1];

/// Where the search for the noise starts.
const MIDDLING: Noise = Noise { temperature: 1.4, scatter: 0.02, dull_share: 0.02, stray: 0.01 };

/// Draws lines, chooses the noise, draws again; twice if the second choice differs.
pub fn choose(tables: &Tables<'_>, max_lines: usize) -> (Data, Found) {
    let mut noise = MIDDLING;
    let mut data = tables.tabulate(&noise, 1);
    let mut found = search::search(&data, max_lines, None);
    for _ in 0..2 {
        let chosen = best_noise(tables, &found, noise);
        if chosen == noise {
            break;
        }
        noise = chosen;
        data = tables.tabulate(&noise, 1);
        let again = search::search(&data, max_lines, Some(&found));
        found = again.or_better(&found);
    }
    (data, found)
}

/// The noise under which the present lines, or one more, have the largest evidence: one coordinate
/// after the other.
fn best_noise(tables: &Tables<'_>, found: &Found, start: Noise) -> Noise {
    let count = found.best().lines.len();
    let mixtures: Vec<&Mixture> =
        [count, count + 1].iter().filter_map(|c| found.by_count.get(*c)?.as_ref()).map(|(m, _)| m).collect();
    let stride = tables.cut.len().div_ceil(CHOSEN_FROM);
    let mut tried: Vec<(Noise, f64)> = Vec::new();
    let mut evidence = |noise: Noise| {
        if let Some((_, known)) = tried.iter().find(|(n, _)| *n == noise) {
            return *known;
        }
        let data = tables.tabulate(&noise, stride);
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
    for _ in 0..2 {
        for temperature in TEMPERATURES {
            let other = Noise { temperature, ..best };
            if evidence(other) > evidence(best) {
                best = other;
            }
        }
        for scatter in SCATTERS {
            let other = Noise { scatter, ..best };
            if evidence(other) > evidence(best) {
                best = other;
            }
        }
    }
    best
}

/// Rounds of EM with each noise: lines are in place already.
const CHOICE_ROUNDS: usize = 15;
