//! What a full ring does to the estimates. Its losses aren't uniform: the ring takes what comes first after
//! each drain, then nothing. Skew and phase from what is left agree with those from everything, and with
//! the truth, as closely as their errors say; what grows are the errors.

use std::fmt::Write as _;

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tmap::engine::{
    Engine, Options, Wanted,
    snapshot::{Estimate, MachineReport},
};
use tmap_common::{Address, Record};
use tmap_tests::simulate::{Law, SHARED, Scenario};

/// Forty were run for the figures in `docs/measurements.md`.
const SEEDS: u64 = 10;

/// Which records find room.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Other traffic fills the ring: room for a quarter of the time, in turns of some 20 ms.
    Turns,
    /// The address's own bursts fill it: of each 50 ms only the first record.
    Tails,
    /// User space stands still for six seconds of every eight.
    Stalls,
    /// One in four, by lot: what losses would be if they were uniform.
    Lots,
}

impl Loss {
    fn leave(self, records: &[Record], seed: u64) -> Vec<Record> {
        let mut rng = Pcg64::seed_from_u64(seed ^ 0xdec1);
        let (mut open, mut until_ns, mut latest) = (true, 0_u64, u64::MAX);
        let finds_room = |record: &&Record| match self {
            Self::Turns => {
                while record.time_ns >= until_ns {
                    open = !open;
                    let mean_s = if open { 0.020 } else { 0.060 };
                    until_ns = until_ns.max(records[0].time_ns)
                        + (-mean_s * (1.0 - rng.random::<f64>()).ln() * 1e9) as u64
                        + 1;
                }
                open
            }
            Self::Tails => std::mem::replace(&mut latest, record.time_ns / 50_000_000) != latest,
            Self::Stalls => record.time_ns / 1_000_000_000 % 8 < 2,
            Self::Lots => rng.random_range(0..4) == 0,
        };
        records.iter().filter(finds_room).copied().collect()
    }
}

/// The only machine behind the address; `None` where another number is found.
fn machine(records: &[Record]) -> Option<MachineReport> {
    let mut engine = Engine::new(Options::default());
    engine.set_resolution_ns(1);
    engine.observe_all(records);
    let now_ns = records.last()?.time_ns;
    let snapshot = engine.snapshot(now_ns, Wanted::default());
    let shared = Address::from_ip4(SHARED.octets());
    let report = snapshot.addresses.into_iter().find(|address| address.address == shared)?;
    report.machine_list.into_iter().next().filter(|_| report.machines == Some(1))
}

/// Both phases at the later one's time, the error of the difference included: of a whole tick.
fn phase_apart(full: &MachineReport, left: &MachineReport) -> Option<(f64, f64)> {
    let (a, b) = (full.phase_ticks?, left.phase_ticks?);
    let between_s = (full.reference_ns as f64 - left.reference_ns as f64) * 1e-9;
    let apart = a.value - (b.value + left.rate_hz.value * between_s);
    let apart = apart - apart.round();
    Some((apart, b.sigma.hypot(left.rate_hz.sigma * between_s)))
}

/// Root mean square.
fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn what_a_full_ring_leaves_gives_the_same_clock() {
    let mut table = String::new();
    for law in [Law::Exponential, Law::Congestion] {
        for loss in [Loss::Lots, Loss::Turns, Loss::Tails, Loss::Stalls] {
            let (mut of_truth, mut of_full, mut of_phase, mut grown) = (vec![], vec![], vec![], vec![]);
            let mut kept = 0.0;
            for seed in 0..SEEDS {
                let scenario = Scenario { machines: 1, law, jitter_s: 200e-6, seed, ..Scenario::default() };
                let simulation = scenario.run();
                let left = loss.leave(&simulation.records, seed);
                kept += left.len() as f64 / simulation.records.len() as f64 / SEEDS as f64;
                let (Some(full), Some(left)) = (machine(&simulation.records), machine(&left)) else {
                    continue;
                };
                let (Some(all), Some(some)) = (full.skew_ppm, left.skew_ppm) else { continue };
                let true_ppm = simulation.truth.clocks[0].skew_ppm;
                let off = |estimate: Estimate, value: f64| (estimate.value - value) / estimate.sigma;
                of_truth.push(off(some, true_ppm));
                of_full.push(off(some, all.value));
                grown.push(some.sigma / all.sigma);
                of_phase.extend(phase_apart(&full, &left).map(|(apart, error)| apart / error));
            }
            assert!(of_truth.len() as u64 >= SEEDS - 1, "{law:?} {loss:?}: a machine was lost or split");
            let values = [rms(&of_truth), rms(&of_full), rms(&of_phase)];
            let means = [mean(&of_truth), mean(&of_full), mean(&of_phase)];
            let _ = writeln!(
                table,
                "{law:<12?} {loss:<7?} kept {:4.1} %, {} runs: skew off the truth {:.2} rms, {:+.2} mean; \
                 off the full {:.2}, {:+.2}; phase {:.2}, {:+.2}; errors x {:.2}",
                100.0 * kept,
                of_truth.len(),
                values[0],
                means[0],
                values[1],
                means[1],
                values[2],
                means[2],
                mean(&grown)
            );
            // Errors are right: about one of themselves; ten values leave that open to some 40 %.
            assert!(values.iter().all(|rms| *rms < 1.6), "{table}");
            // No bias beyond a standard error. The phase has one of up to half of that: of fewer segments
            // the quickest was less quick.
            assert!(means.iter().all(|mean| mean.abs() < 1.0), "{table}");
            assert!(mean(&grown) > 1.0, "less is known from less: {table}");
        }
    }
    println!("in standard errors of what is left:\n{table}");
}
