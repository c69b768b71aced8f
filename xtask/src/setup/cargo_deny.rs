//! cargo-deny, which checks the licences and the sources of all dependencies.

use std::process::Command;

use crate::shell;

/// The version that `setup` installs.
pub(super) const VERSION: &str = "0.20.2";
/// The oldest version that reads our `.cargo/deny.toml`: (major, minor).
const OLDEST: (u32, u32) = (0, 20);

/// Whether cargo can run a cargo-deny that reads our configuration.
pub(super) fn is_installed() -> bool {
    shell::output(Command::new("cargo").args(["deny", "--version"])).is_some_and(|text| serves(&text))
}

/// True if the output of `cargo deny --version` names a version that reads our configuration.
fn serves(text: &str) -> bool {
    let version = text.trim().trim_start_matches("cargo-deny ");
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
}

/// The arguments with which cargo installs it. Without default features it needs no OpenSSL and no
/// network: we do not check advisories. A debug build takes less than half of the time to compile,
/// and its check of our dependencies still takes seconds.
pub(super) fn install_arguments() -> [String; 5] {
    [
        "install".into(),
        format!("cargo-deny@{VERSION}"),
        "--no-default-features".into(),
        "--locked".into(),
        "--debug".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::serves;

    #[test]
    fn old_versions_and_errors_do_not_serve() {
        assert!(serves("cargo-deny 0.20.2\n") && serves("cargo-deny 1.0.0"));
        assert!(!serves("cargo-deny 0.14.2") && !serves("error: no such command: `deny`"));
    }
}
