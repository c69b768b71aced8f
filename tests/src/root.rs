//! Tests of the real kernel need root; without it they fail, rather than pass and test nothing.

/// Ends the test with a word on what to do, unless it runs as root.
///
/// # Panics
/// Without root.
pub fn require() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test loads programs into the kernel, which takes root: use `cargo xtask test`"
    );
}
