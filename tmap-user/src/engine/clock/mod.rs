//! One connection's clock: from first arrivals of TSvals to rate, skew, offset, phase and boot time.

pub mod boot;
pub mod envelope;
pub mod fit;
pub mod phase_point;
pub mod rate;
pub mod roundness;
pub mod unsteady;
