//! The benchmarks' own BPF programs (`tests/ebpf-bench`), loaded.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, PerCpuArray, ProgramArray},
    programs::{Program, ProgramFd, Xdp},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// The object with the programs that make traffic and those that others are measured against.
static TRAFFIC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tmap-bench-traffic"));

/// How the flows of generated traffic are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// All equally often.
    Uniform(u32),
    /// Flow `k` in proportion to `1 / k` (Zipf's law).
    Zipf(u32),
}

/// Which frames are handshakes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshakes {
    /// None.
    Never,
    /// One frame in 128, whosever it is.
    Some,
    /// Each connection's first two, followed by its client's ACK.
    First,
}

/// Frames until flows repeat in the same order.
pub const DRAWS: u32 = 1 << 20;

/// The mark of a handshake's frame (`tests/ebpf-bench/src/traffic.rs`).
const HANDSHAKE: u32 = 1 << 31;

impl Handshakes {
    /// Marks the frames.
    fn mark(self, draws: &mut [u32]) {
        let mut begun = HashMap::new();
        for (index, draw) in draws.iter_mut().enumerate() {
            let client = *draw & !1;
            match self {
                Self::Never => {}
                Self::Some => *draw |= if index % 128 == 0 { HANDSHAKE } else { 0 },
                Self::First => {
                    let count = begun.entry(client).or_insert(0);
                    *draw = [client | HANDSHAKE, client | 1 | HANDSHAKE, client, *draw][(*count).min(3)];
                    *count += 1;
                }
            }
        }
    }
}

impl Draw {
    /// The flows of `DRAWS` frames; the same each time.
    fn all(self) -> Vec<u32> {
        let mut rng = Pcg64::seed_from_u64(7);
        match self {
            Self::Uniform(flows) => (0..DRAWS).map(|_| rng.random_range(0..flows)).collect(),
            Self::Zipf(flows) => {
                // The continuous law's quantile: rank = n^u, close enough beyond the first few.
                let log = f64::from(flows).ln();
                let rank = |u: f64| ((u * log).exp() - 1.0) as u32;
                let mixed = |rank: u32| u64::from(rank) * 0x9e37_79b1 % u64::from(flows);
                (0..DRAWS).map(|_| mixed(rank(rng.random::<f64>())) as u32).collect()
            }
        }
    }
}

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
}

impl Object {
    /// Loads all programs, with a traffic of flows drawn as `draw` and `handshakes` say, in which the
    /// hosts' clocks tick every `frames_per_tick` frames.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn load(draw: Draw, handshakes: Handshakes, frames_per_tick: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .override_global("DRAWS_MASK", &(DRAWS - 1), true)
            .map_max_entries("DRAWS", DRAWS)
            .load(TRAFFIC)
            .context("the kernel refused the benchmarks' maps")?;
        let mut draws: Array<_, u32> = ebpf.map_mut("DRAWS").context("no DRAWS")?.try_into()?;
        let mut all = draw.all();
        handshakes.mark(&mut all);
        for (index, flow) in all.into_iter().enumerate() {
            draws.set(index as u32, flow, 0)?;
        }
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| format!("the kernel refused {name}"))?;
        }
        let mut object = Self { ebpf };
        object.set_frames_per_tick(frames_per_tick)?;
        Ok(object)
    }

    /// Sets how many frames make a tick of the hosts' clocks from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_frames_per_tick(&mut self, frames: u32) -> Result<()> {
        let mut state: Array<_, [u64; 3]> = self.ebpf.map_mut("STATE").context("no STATE")?.try_into()?;
        let [position, tick, _] = state.get(&0, 0)?;
        Ok(state.set(0, [position, tick, frames.into()], 0)?)
    }

    /// One of its programs.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn program(&self, name: &str) -> Result<&Xdp> {
        program(&self.ebpf, name)
    }

    /// One of its programs, to attach it.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn program_mut(&mut self, name: &str) -> Result<&mut Xdp> {
        program_mut(&mut self.ebpf, name)
    }

    /// Has `bench_step` call this program.
    ///
    /// # Errors
    /// Where the kernel finds that they don't go together.
    pub fn set_target(&mut self, target: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut("TARGET").context("no TARGET")?;
        let mut targets: ProgramArray<_> = map.try_into()?;
        Ok(targets.set(0, target, 0)?)
    }

    /// Frames that the counting programs saw.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counted(&self) -> Result<u64> {
        let counts: PerCpuArray<_, u64> = self.ebpf.map("COUNT").context("no COUNT")?.try_into()?;
        Ok(counts.get(&0, 0)?.iter().sum())
    }
}

/// An XDP program of any object.
///
/// # Errors
/// Where there is none of that name.
pub fn program<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Xdp> {
    let program: &Program = ebpf.program(name).with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

/// An XDP program of any object, to attach it.
///
/// # Errors
/// Where there is none of that name.
pub fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Program = ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}
