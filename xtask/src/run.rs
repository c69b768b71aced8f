//! `cargo xtask run`: builds tmap and runs it.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{build, demo, shell};

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for tmap, after `--`. Without arguments, run the demonstration.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    tmap: Vec<String>,
}

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let binary = build::tmap(true)?;
    if args.tmap.is_empty() {
        return demo::run(&binary);
    }
    let mut command = if needs_root(&args.tmap) { shell::as_root(&binary)? } else { Command::new(&binary) };
    // As a child of this process, tmap would share the terminal's signals with it, and the caller would
    // not get tmap's exit code.
    shell::replace_with(command.args(&args.tmap))
}

/// Whether tmap takes the word for an interface, as in `tmap eth0`.
fn is_interface(word: &str) -> bool {
    !word.is_empty() && !word.contains('/') && Path::new("/sys/class/net").join(word).exists()
}

/// True if these arguments make tmap attach to an interface. Files and help need no root.
fn needs_root(args: &[String]) -> bool {
    let asks_for_help = |arg: &String| matches!(arg.as_str(), "-h" | "--help" | "help" | "-V" | "--version");
    let attaches = |arg: &String| {
        arg == "live" || arg.starts_with("--interface") || (arg.starts_with("-i") && !arg.starts_with("--"))
    };
    !args.iter().any(asks_for_help)
        && args.first().is_none_or(|arg| arg != "read")
        && (args.iter().any(attaches) || args.first().is_some_and(|first| is_interface(first)))
}

#[cfg(test)]
mod tests {
    use super::needs_root;

    #[test]
    fn only_attaching_needs_root() {
        let needs = |line: &str| needs_root(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in
            ["-i eth0", "-ieth0", "live -i eth0 port 80", "rtt -i lan -i wan", "--interface=eth0", "lo"]
        {
            assert!(needs(line), "{line}");
        }
        for line in ["read a.pcap", "--help", "live --help", "rtt -r a.pcap", "--version"] {
            assert!(!needs(line), "{line}");
        }
    }
}
