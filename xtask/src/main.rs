//! tmap's chores: `cargo xtask VERB`. One file per verb; this one only chooses between them.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod eval;
mod findings;
mod kernels;
mod lab;
mod machine;
mod namespaces;
mod packages;
mod plan;
mod run;
mod sensor;
mod server;
mod setup;
mod shell;
mod stage;
mod test;
mod toolchain;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// tmap's chores: set up this machine, build, run, test.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing to build, run and test tmap. Says what it will do first.
    ///
    /// The other verbs call this by themselves, for the part that they need.
    Setup(setup::Args),
    /// Build the tmap program, with the kernel program inside it.
    Build(build::Args),
    /// Build tmap and run it: `cargo xtask run -- -i eth0`. Without arguments: a demonstration.
    ///
    /// sudo is asked for only where tmap attaches to an interface.
    Run(run::Args),
    /// Run the demonstration alone, with settings: hosts with known clocks, and what tmap finds.
    Demo(demo::Args),
    /// Boot virtual machines, each with a clock of its own, behind a NAT: record them, or watch live.
    Lab(lab::Args),
    /// Talk to servers from inside a virtual machine. Used by `lab` alone.
    #[command(hide = true)]
    LabGuest(lab::guest::Args),
    /// Evaluate the engine on simulated traffic and labelled captures: one table.
    Eval(eval::Args),
    /// Measure what tmap costs: per packet, per record, against other programs (`-- --list`).
    Bench(bench::Args),
    /// Boot other kernels in virtual machines and run tmap in each: every verifier has its say.
    Kernels(kernels::Args),
    /// Run every test, those on the real kernel included (with sudo, unless you are root).
    ///
    /// Arguments are handed to cargo: `cargo xtask test -- -p tmap engine`.
    Test(test::Args),
    /// Start a test program, as root if it needs the kernel. Used by `test` alone.
    #[command(hide = true)]
    TestRunner(test::RunnerArgs),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: with RUST_BACKTRACE set, that adds a page of our own functions.
            eprintln!("\nError: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup(args) => setup::verb(&args),
        Verb::Build(args) => build::verb(&args),
        Verb::Run(args) => run::verb(&args),
        Verb::Demo(args) => demo::verb(&args),
        Verb::Eval(args) => eval::verb(&args),
        Verb::Bench(args) => bench::verb(&args),
        Verb::Kernels(args) => kernels::verb(&args),
        Verb::Lab(args) => lab::verb(&args),
        Verb::LabGuest(args) => lab::guest::verb(&args),
        Verb::Test(args) => test::verb(&args),
        Verb::TestRunner(args) => test::runner(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
