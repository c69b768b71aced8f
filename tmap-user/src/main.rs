//! The `tmap` command: from arguments to an exit code.

use std::{
    env,
    io::{self, BufWriter, ErrorKind},
    process::ExitCode,
};

use anyhow::ensure;
use tmap::{
    Outcome, cli,
    config::{Config, TopSource},
    is_said, live,
    output::PageWriter,
    patient::Patient,
    raise_file_limit, read,
    report::Sink,
    say, signals, stdout, with_advice, without_error_codes,
};

fn main() -> ExitCode {
    // What can't be done without it can't be done at all, and then says so itself.
    let _ = signals::survive_file_limit();
    let _ = raise_file_limit();
    // A mistake on the command line ends the process here, with exit code 2.
    let config = cli::config(env::args_os()).unwrap_or_else(|error| error.exit());
    let code = exit_code(run(&config), config.captures());
    // Where nobody reads the last lines, they are lost with the process.
    is_said();
    code
}

fn run(config: &Config) -> anyhow::Result<Outcome> {
    ensure!(
        config.is_for_file() || !stdout::was_closed(),
        "standard output is closed or not writable, so there is nowhere to report to"
    );
    let common = config.common();
    let mut reporter: Box<dyn Sink + Send> = match &common.page {
        Some(page) => Box::new(PageWriter::open(page, config)?),
        None => Box::new(common.reporter(BufWriter::new(Patient(io::stdout())))),
    };
    match config {
        Config::Live(config) => live::run(config, &mut *reporter),
        Config::Read(config) => read::run(config, &mut *reporter),
        Config::Top(config) => match &config.source {
            TopSource::Live(source) => live::run_on_screen(source, config, &mut *reporter),
            TopSource::Files(source) => read::run_on_screen(source, config, &mut *reporter),
        },
    }
}

/// The one place where exit codes are decided. The run reads so many captures.
fn exit_code(result: anyhow::Result<Outcome>, captures: usize) -> ExitCode {
    match result {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Warned) => ExitCode::FAILURE,
        Ok(Outcome::Interrupted) => ExitCode::from(signals::INTERRUPTED),
        // `tmap ... | head` read all that it wanted.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&with_advice(without_error_codes(&format!("{error:#}")), captures));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}
