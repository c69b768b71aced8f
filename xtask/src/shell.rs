//! Running other programs: find them, run them as root where needed, say what failed.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a program is, looking in PATH and then in the system folders that an ordinary user's
/// PATH lacks on Debian.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

/// True if `file` is a regular file that someone may execute.
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// True if this process runs as root.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user; std has no geteuid.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A command that runs as root: as it is for root, else through sudo with this environment kept.
pub fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
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
    // sudo replaces PATH even with -E, and then what the tests start isn't found.
    if let Some(path) = std::env::var_os("PATH") {
        let mut assignment = std::ffi::OsString::from("PATH=");
        assignment.push(path);
        command.arg("env").arg(assignment);
    }
    command.arg(program);
    Ok(command)
}

/// Runs a command with its output shown; an error names it.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("could not start: {shown}"))?;
    if !status.success() {
        bail!("this command failed ({status}): {shown}");
    }
    Ok(())
}

/// Runs a command silently; its standard output if it succeeded.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
pub fn show(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .filter(|word| !word.starts_with("PATH="))
        .collect::<Vec<_>>()
        .join(" ")
}
