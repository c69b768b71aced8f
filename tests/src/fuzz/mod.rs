//! Fuzzing: what must hold of any input, however hostile. Each target takes bytes and panics where its
//! property is broken.
//!
//! | target | input | property |
//! |---|---|---|
//! | [`capture`] | a capture file | it is read to an end, in pieces as at once |
//! | [`frame`](mod@frame) | a frame | the parser's fast path agrees with the slow path |
//! | [`records`] | machines, and an attacker | counts are in order, and bounds are kept |
//! | [`filter`] | a filter | what it accepts, its negation rejects |
//! | [`signatures`] | a p0f database | it is read, or refused with the line that is wrong |
//!
//! `tests/fuzz` makes a program of each target, in which libFuzzer looks for inputs that reach new code:
//! `cargo xtask fuzz`. Ordinary tests run the same targets with [`inputs`], which need no such program.

use std::{fs, path::Path};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

pub mod capture;
pub mod filter;
pub mod frame;
pub mod records;
pub mod signatures;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its program.
    pub name: &'static str,
    /// Panics where the property is broken.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 5] = [
    Target { name: "capture", run: capture::run, seeds: capture::seeds },
    Target { name: "filter", run: filter::run, seeds: filter::seeds },
    Target { name: "frame", run: frame::run, seeds: frame::seeds },
    Target { name: "records", run: records::run, seeds: records::seeds },
    Target { name: "signatures", run: signatures::run, seeds: signatures::seeds },
];

/// The variable that names the folder to which a target's program writes its seeds.
pub const SEEDS: &str = "TMAP_FUZZ_SEEDS";

/// Writes the seeds of the target of this name to the folder that [`SEEDS`] names, if it names one.
///
/// # Panics
/// Where there is no such target, or a seed can't be written.
pub fn plant(name: &str) {
    let Some(folder) = std::env::var_os(SEEDS) else { return };
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("seed-{number:02}")), seed).expect("a seed is written");
    }
}

/// The seeds of a target, and `count` inputs made of them by damage. The same inputs each time.
pub fn inputs(target: &Target, count: usize) -> Vec<Vec<u8>> {
    let mut random = Pcg64::seed_from_u64(1);
    let mut inputs = (target.seeds)();
    let seeds = inputs.len();
    for _ in 0..count {
        let mut input = inputs[random.random_range(0..seeds)].clone();
        for _ in 0..random.random_range(1..6) {
            damage(&mut input, &mut random);
        }
        inputs.push(input);
    }
    inputs
}

/// Does one damage to an input.
fn damage(input: &mut Vec<u8>, random: &mut Pcg64) {
    let at = random.random_range(0..=input.len());
    let to = (at + random.random_range(1..9)).min(input.len());
    match random.random_range(0..5) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..to)),
        2 => input[at..to].iter_mut().for_each(|byte| *byte = random.random()),
        3 => input[at..to].iter_mut().for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
        _ => {
            let copy = input[at..to].to_vec();
            input.splice(at..at, copy);
        }
    }
}
