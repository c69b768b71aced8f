//! tmap's development tasks: `cargo xtask VERB`. Each verb has a file or a folder of its own.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod duration;
mod eval;
mod fuzz;
mod kernels;
mod lab;
mod page_pictures;
mod pictures;
mod run;
mod setup;
mod shell;
mod siege;
mod test;
mod testbed;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// tmap's development tasks: set up this computer, build, run, test, measure.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing to build, run and test tmap. Prints the plan first.
    ///
    /// Each other verb installs what it needs by itself.
    Setup(setup::Args),
    /// Build the tmap program, with the kernel program inside.
    Build(build::Args),
    /// Build tmap and run it, for example: `cargo xtask run -- -i eth0`. Default: the demonstration.
    ///
    /// This uses sudo only if tmap attaches to an interface.
    Run(run::Args),
    /// Run the demonstration: simulated machines with known clocks, and what tmap finds.
    Demo(demo::Args),
    /// Boot virtual machines with clocks of their own behind a NAT. Record or watch their traffic.
    Lab(lab::Args),
    /// Talk to servers from inside a virtual machine. Only `lab` uses this.
    #[command(hide = true)]
    LabGuest(lab::guest::Args),
    /// Evaluate tmap on simulated traffic and labelled captures. Prints one table.
    Eval(eval::Args),
    /// Measure what tmap costs per packet and per record, also beside other programs.
    Bench(bench::Args),
    /// Look for inputs that break what must hold of any input, for as long as you like.
    Fuzz(fuzz::Args),
    /// Besiege a sensor on a wire of its own, for as long as you like. Says which promises it kept.
    ///
    /// It runs as root, in network namespaces of its own.
    Siege(siege::Args),
    /// Take the pictures of docs/report-page.md anew, in a browser.
    PagePictures(page_pictures::Args),
    /// Make the pictures and the examples of output in documents anew, with today's tmap.
    Pictures(pictures::Args),
    /// Run tmap on other kernels, in virtual machines, so that each kernel's verifier checks it.
    Kernels(kernels::Args),
    /// Run every test. Kernel tests run as root, through sudo if necessary.
    ///
    /// Arguments are passed to cargo: `cargo xtask test -- -p tmap engine`.
    Test(test::Args),
    /// Start a test program, as root if it is a kernel test. Only `test` uses this.
    #[command(hide = true)]
    TestRunner(test::RunnerArgs),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Returning the error would print a page of our own functions if RUST_BACKTRACE is set.
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
        Verb::Lab(args) => lab::verb(&args),
        Verb::LabGuest(args) => lab::guest::verb(&args),
        Verb::Eval(args) => eval::verb(&args),
        Verb::Bench(args) => bench::verb(&args),
        Verb::Fuzz(args) => fuzz::verb(&args),
        Verb::Siege(args) => siege::verb(&args),
        Verb::PagePictures(args) => page_pictures::verb(&args),
        Verb::Pictures(args) => pictures::verb(&args),
        Verb::Kernels(args) => kernels::verb(&args),
        Verb::Test(args) => test::verb(&args),
        Verb::TestRunner(args) => test::runner(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
