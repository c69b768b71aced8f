//! How BPF objects are linked. The benchmarks' package (`tests/ebpf-bench`) has this build script as well.

fn main() {
    // Nothing else changes what is printed here, and cargo runs a build script again that it compiled anew.
    println!("cargo:rerun-if-changed=Cargo.toml");
    for argument in [
        // Packet fields lie at any offset. The CPUs that have XDP drivers load unaligned words, and
        // the verifier allows it there; so one load does what would take four. (Linkers before LLVM
        // 22 don't know the feature, say so, and go on.)
        "--cpu-features=+allows-misaligned-mem-access",
        // Expanding copies in order rules out expanding `memset`: a call and a loop over bytes.
        "--disable-expand-memcpy-in-order",
        // Otherwise the linker makes this subprogram one of the program's own functions.
        "--export=log_skip",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
