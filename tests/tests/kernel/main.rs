//! Tests of the real kernel. They need root, and the kernel to themselves: `cargo xtask test` runs them
//! as root, one at a time. For `cargo test` they are ignored, and each says why.

mod demo;
mod descriptors;
mod interfaces;
mod live;
mod overload;
mod rtt;
mod sandbox;
mod sensor;
mod short;
mod siege;
mod top;
mod tunnels;
mod twin;
mod verifier;
