//! How the BPF object is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Packet fields lie at any offset. The CPUs that have XDP drivers load unaligned words, and the
    // verifier allows it there; so one load does what would take four (linkers before LLVM 22 don't
    // know the feature, say so, and go on).
    println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
}
