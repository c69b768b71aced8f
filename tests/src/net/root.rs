//! Root's rights, which loading a program into the kernel and making a namespace take.
//!
//! Tests that need them are in the binary `kernel`, and each says so by
//! `#[ignore = "needs root: cargo xtask test"]`. So `cargo test` lists them as ignored, whoever runs
//! it, and `cargo xtask test` runs them as root. Started without root by other means, they fail.

/// Ends the test with advice unless it runs as root.
///
/// # Panics
/// Without root.
pub fn require() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test loads programs into the kernel, which takes root: use `cargo xtask test`"
    );
}
