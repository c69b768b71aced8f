//! Running other programs: find them, run them as root where needed, say what failed.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

/// Where a program is: in PATH, or in a system folder that an ordinary user's PATH lacks on Debian.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = std::env::join_paths(std::env::split_paths(&path).chain(system)).ok()?;
    which::which_in(program, Some(folders), "/").ok()
}

/// True if this process runs as root.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A command that runs as root: as it is for root, else through sudo with this environment kept.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = find("sudo") else {
        bail!(
            "{} must run as root, and sudo is not installed: run this again as root, or install sudo",
            program.as_ref().display()
        );
    };
    let mut command = Command::new(sudo);
    command.arg("-E");
    // sudo replaces PATH even with -E, and then programs that the tests start are not found.
    if let Some(path) = std::env::var_os("PATH") {
        let mut assignment = OsString::from("PATH=");
        assignment.push(path);
        command.arg("env").arg(assignment);
    }
    command.arg(program);
    Ok(command)
}

/// Runs a command with its output shown; an error names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("could not start: {shown}"))?;
    if !status.success() {
        bail!("this command failed ({status}): {shown}");
    }
    Ok(())
}

/// As [`run`], with all its output on standard error: whoever reads standard output wants this program's.
pub(crate) fn run_aside(command: &mut Command) -> Result<()> {
    run(command.stdout(std::io::stderr()))
}

/// Replaces this process by a command. Returns only if the command does not start.
pub(crate) fn replace_with(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("could not start: {}", show(command)))
}

/// Runs a command silently; its standard output if it succeeded.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started, or when it fails; then the error has its standard error.
pub(crate) fn capture(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {program}: is it installed?"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` failed: {}", arguments.join(" "), message.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .filter(|word| !word.starts_with("PATH="))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs_and_nothing_else() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("tmap-no-such-program"), None);
    }

    /// This test runs itself: the inner one's standard output is what it says.
    #[test]
    fn what_is_run_aside_leaves_standard_output_alone() {
        const INNER: &str = "TMAP_RUN_ASIDE";
        if std::env::var_os(INNER).is_some() {
            run_aside(Command::new("echo").arg("aside")).expect("echo is there");
            return;
        }
        let this = std::env::current_exe().expect("a test has a program");
        let name = "shell::tests::what_is_run_aside_leaves_standard_output_alone";
        let inner = Command::new(this).args(["--exact", name, "--nocapture"]).env(INNER, "1").output();
        let inner = inner.expect("it starts");
        let said =
            |output: &[u8]| String::from_utf8_lossy(output).lines().any(|line| line.ends_with("aside"));
        assert!(inner.status.success() && !said(&inner.stdout), "{inner:?}");
        assert!(said(&inner.stderr), "{inner:?}");
    }
}
