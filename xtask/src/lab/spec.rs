//! The specification of a virtual machine: its kernel, its timestamps, its clock and its traffic.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum as _;

use super::traffic::Traffic;
use crate::vm::kernel::USER_MODE;

/// One machine: `KERNEL:TIMESTAMPS:PPM`, as in `6.1:1:+9`, or with its own traffic, as in `6.1:1:+9:long`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    /// The kernel series, as in `6.12`, or `uml` for user-mode Linux.
    pub series: String,
    /// The sysctl `tcp_timestamps`: 0 none, 1 random offsets, 2 one offset.
    pub timestamps: u8,
    /// Frequency that adjtimex sets. The machine's own calibration error adds to it.
    pub ppm: f64,
    /// What it talks, if not what the run says.
    pub traffic: Option<Traffic>,
}

/// The largest number of machines: with port blocks each has a thousand source ports, from 20000.
pub(super) const MAX_MACHINES: usize = 16;
/// The largest frequency that adjtimex accepts (`MAXFREQ` in the kernel's `timex.h`).
const MAX_PPM: f64 = 500.0;

/// The machines of a run without `--machine`: both kernels, and skews of real crystals.
const MIX: [&str; 8] =
    ["6.1:1:+9", "6.12:1:-7", "6.12:1:+18", "6.1:1:-20", "6.12:1:+4", "6.1:1:-3", "6.12:1:-13", "6.1:1:+25"];

/// The first `machines` of the default mix, which repeats.
pub(super) fn default_mix(machines: usize) -> Vec<Spec> {
    let parse = |text: &&str| text.parse().expect("the mix is well-formed");
    MIX.iter().cycle().take(machines).map(parse).collect()
}

impl FromStr for Spec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(4, ':');
        let (Some(series), Some(timestamps), Some(ppm)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("`{text}` is not a machine: write KERNEL:TIMESTAMPS:PPM, for example 6.1:1:+9");
        };
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if series != USER_MODE && (!series.split('.').all(plain) || series.split('.').count() != 2) {
            bail!(
                "`{series}` is not a kernel: write its first two numbers, for example 6.12, or {USER_MODE}"
            );
        }
        let timestamps = match timestamps {
            "0" => 0,
            "1" => 1,
            "2" => 2,
            _ => {
                bail!("tcp_timestamps is 0 (none), 1 (random offsets) or 2 (one offset), not `{timestamps}`")
            }
        };
        let ppm: f64 = ppm.parse().with_context(|| format!("`{ppm}` is not a frequency in ppm"))?;
        if !(-MAX_PPM..=MAX_PPM).contains(&ppm) {
            bail!("the frequency must be from -{MAX_PPM} to {MAX_PPM} ppm, not {ppm}");
        }
        let traffic = parts.next().map(|name| {
            Traffic::from_str(name, false).map_err(|_| {
                let names: Vec<_> = Traffic::value_variants().iter().map(|traffic| traffic.name()).collect();
                anyhow!("`{name}` is not a kind of traffic: write {}", names.join(" or "))
            })
        });
        Ok(Self { series: series.to_owned(), timestamps, ppm, traffic: traffic.transpose()? })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:+}", self.series, self.timestamps, self.ppm)?;
        self.traffic.map_or(Ok(()), |traffic| write!(f, ":{}", traffic.name()))
    }
}

impl Spec {
    /// The frequency in adjtimex's unit, 2^-16 ppm.
    pub(super) fn adjtimex(&self) -> i64 {
        (self.ppm * 65_536.0).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["6.1:1:+9", "6.12:2:-12.5", "6.1:0:+0", "uml:1:+3", "6.12:0:-4:bursts", "uml:2:+0:long"]
        {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
        assert_eq!("6.1:1:-1.5".parse::<Spec>().unwrap().adjtimex(), -98_304);
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "6.1",
            "6:1:0",
            "6.1:3:0",
            "6.1:1:fast",
            "6.1:1:501",
            "6.1:1:nan",
            "6.x:1:0",
            "a.b:1:0",
            "uml",
            "UML:1:0",
            "6.1:1:0:",
            "6.1:1:0:short",
            "6.1:1:0:long:long",
        ] {
            assert!(text.parse::<Spec>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_is_possible() {
        let error = "6.1:1:0:short".parse::<Spec>().unwrap_err().to_string();
        assert_eq!(error, "`short` is not a kind of traffic: write mixed or bursts or long");
    }

    #[test]
    fn the_mix_repeats() {
        let mix = default_mix(10);
        assert_eq!((mix.len(), &mix[8]), (10, &mix[0]));
    }
}
