//! `tmap plot`: a picture of captures.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;
use tmap_common::Address;

use super::{
    CommonArgs,
    range::RangeArgs,
    report::ReportArgs,
    sources,
    values::{picture, shards},
};
use crate::{
    config::{Config, Picture, ReadConfig},
    engine::Wanted,
    picture::{Kind, svg::Theme},
};

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// What to draw
    #[arg(value_enum, value_name = "KIND")]
    kind: Kind,
    /// Captures, in any order; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where to write the picture, as SVG or PNG [default: standard output, SVG]
    #[arg(short, long, value_name = "FILE.svg|FILE.png", value_parser = picture)]
    output: Option<PathBuf>,
    /// Draw this address only
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Draw on a dark background
    #[arg(long)]
    dark: bool,
    #[command(flatten)]
    range: RangeArgs,
    /// Engine threads, which share addresses and limits [default: 2 per core, at most 8]
    #[arg(long, value_name = "N", value_parser = shards, allow_negative_numbers = true, hide = true)]
    shards: Option<usize>,
    #[command(flatten)]
    common: CommonArgs,
}

impl PlotArgs {
    /// Checks and resolves the arguments.
    pub(super) fn config(self) -> Result<Config, clap::Error> {
        self.common.habits.check("read")?;
        let message = "tmap plot writes a picture only; --json and --stats are for `tmap read`";
        self.common.refuse_lines("plot", message)?;
        let filter = self.common.filter.clone().unwrap_or_default();
        let mut common = self.common.resolve("plot", &filter, &ReportArgs::default())?;
        common.wanted = Wanted { connections: true, siblings: false };
        if self.kind == Kind::Rtt {
            common.engine.rtt = Some(self.common.round_trips().for_pictures());
        }
        let (from, to) = self.range.resolve("plot")?;
        let address = self.address.map(Address::from);
        let theme = if self.dark { Theme::Dark } else { Theme::Light };
        Ok(Config::Read(ReadConfig {
            common,
            files: sources("plot", &self.files)?,
            from,
            to,
            plot: Some(Picture {
                kind: self.kind,
                out: self.output.filter(|path| path.as_os_str() != "-"),
                address,
                theme,
                is_alone: true,
            }),
            shards: self.shards,
        }))
    }
}
