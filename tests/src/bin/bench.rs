//! What tmap costs: `cargo xtask bench [NAME…]`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::json;
use tmap_tests::bench::{ALL, Bench, Settings, machine::Machine, think};

/// Measures what tmap costs, as differences and ratios within one run.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    /// Which benchmarks; all without a name, a list of them with --list.
    names: Vec<String>,
    /// How often contestants take turns.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Less of everything: to see that a benchmark works.
    #[arg(long)]
    quick: bool,
    /// One line of JSON per benchmark instead of tables.
    #[arg(long)]
    json: bool,
    /// Where to draw what benchmarks have a picture of, each into a file of its name.
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
    /// Say which benchmarks there are.
    #[arg(long)]
    list: bool,
    /// Measure only this case of `think`, in this process: `think` starts itself so.
    #[arg(long, hide = true)]
    case: Option<usize>,
}

fn main() -> Result<()> {
    let args = &Args::parse();
    if args.list {
        for bench in ALL {
            println!("{:<10}{}", bench.name, bench.about);
        }
        return Ok(());
    }
    let chosen = chosen(&args.names)?;
    if let Some(folder) = &args.pictures {
        // Before anything is measured, or a mistake in its name would cost the figures.
        fs::create_dir_all(folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
    }
    let settings = Settings { rounds: args.rounds.max(1), quick: args.quick };
    if let Some(case) = args.case {
        return think::one(case, &settings);
    }
    for bench in chosen {
        let machine = Machine::this()?;
        let report = (bench.run)(&settings).with_context(|| format!("bench {}", bench.name))?;
        if args.json {
            println!("{}", json!({ "machine": machine, "report": report }));
        } else {
            let Machine { kernel, cpu, cpus, load } = machine;
            println!("# {} on Linux {kernel}, {cpus} x {cpu}, load {load}", bench.about);
            println!("{report}");
        }
        if let Some(folder) = &args.pictures
            && let Some(picture) = report.picture()
        {
            let path = folder.join(format!("bench-{}.svg", bench.name));
            fs::write(&path, picture).with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    Ok(())
}

/// The benchmarks of these names; all for none.
fn chosen(names: &[String]) -> Result<Vec<&'static Bench>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        let Some(bench) = ALL.iter().find(|bench| bench.name == name) else {
            let known: Vec<&str> = ALL.iter().map(|bench| bench.name).collect();
            bail!("{name}: no such benchmark; there are: {}", known.join(", "));
        };
        Ok(bench)
    };
    names.iter().map(find).collect()
}
