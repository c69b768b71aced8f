//! How the BPF object is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in [
        // Packet fields lie at any offset. The CPUs that have XDP drivers load unaligned words, and
        // the verifier allows it there; so one load does what would take four. (Linkers before LLVM
        // 22 don't know the feature, say so, and go on.)
        "--cpu-features=+allows-misaligned-mem-access",
        // Expanding copies in order rules out expanding `memset`: a call and a loop over bytes.
        "--disable-expand-memcpy-in-order",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // Else the linker makes it one of the program's own functions.
    for object in ["tmap-ebpf", "tmap-cautious", "tmap-steps"] {
        println!("cargo:rustc-link-arg-bin={object}=--export=log_skip");
    }
}
