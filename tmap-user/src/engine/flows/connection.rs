//! A connection side with its cached clock: what analysis works on.

use std::cell::Cell;

use tmap_common::Address;

use super::{flow::Flow, table::Packed};
use crate::engine::{
    clock::fit::{self, Verdict},
    phase::sample::Sample,
    types::{Estimate, FlowKey, Side},
};

/// Ports below this are services by convention (RFC 6335: system ports).
const SYSTEM_PORTS: u16 = 1024;

/// A connection side, open or finished.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who talks to whom.
    pub key: FlowKey,
    /// What was seen.
    pub flow: Flow,
    /// The how-manieth connection of its address: what names it from one look to the next.
    pub serial: u32,
    /// The number of the machine that it was last assigned to; 0 for none.
    pub machine: u32,
    /// The clock, and how many points it was fitted to.
    fitted: Cell<Option<(u64, Verdict)>>,
    /// Points that aren't in the flow's sample and, until [`Connection::unpack`], not in its envelope.
    packed: Packed,
    is_unpacked: bool,
}

impl Connection {
    /// A connection side that is assigned to no machine yet.
    pub fn new(key: FlowKey, (flow, packed): (Flow, Packed), serial: u32) -> Self {
        Self { key, flow, serial, machine: 0, fitted: Cell::new(None), packed, is_unpacked: false }
    }

    /// Puts the points that are still packed into the envelope. What asks for a clock needs it.
    pub fn unpack(&mut self) {
        if !self.is_unpacked {
            self.is_unpacked = true;
            self.flow.extend_envelope(self.packed.points());
        }
    }

    /// The sample of all points, made for whoever asks: few do.
    pub fn sample(&self) -> Sample {
        let mut sample = self.flow.sample.clone();
        self.packed.points().for_each(|point| sample.add(point));
        sample
    }

    /// The clock behind the connection; fitted anew only when points were added.
    pub fn clock(&self, resolution_ns: u64) -> Verdict {
        debug_assert!(self.is_unpacked);
        let offered = self.flow.envelope.offered();
        match self.fitted.get() {
            Some((points, verdict)) if points == offered => verdict,
            _ => {
                let verdict = fit::fit(&self.flow.envelope, resolution_ns);
                self.fitted.set(Some((offered, verdict)));
                verdict
            }
        }
    }

    /// The rate found at the last fit, if any.
    pub fn measured_rate(&self) -> Option<Estimate> {
        match self.fitted.get()?.1 {
            Verdict::Steady(clock) => Some(clock.rate_hz),
            Verdict::Odd(rate_hz) | Verdict::Weak(rate_hz) => Some(rate_hz),
            Verdict::Unclear => None,
        }
    }

    /// The tick rate in Hz, where the last fit found one: nominal, or as measured for a clock of no
    /// nominal rate.
    pub fn tick_hz(&self) -> Option<f64> {
        match self.fitted.get()?.1 {
            Verdict::Steady(clock) => Some(clock.hz),
            Verdict::Odd(rate_hz) => Some(rate_hz.value),
            Verdict::Weak(_) | Verdict::Unclear => None,
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> Address {
        self.key.dst
    }

    /// The service port and whose it is: told by the handshake, or else by the ports themselves
    /// (a system port, or the lower of the two).
    pub fn service(&self) -> (u16, Side) {
        let (own, peers) = (self.key.src_port, self.key.dst_port);
        let side = self.flow.side.unwrap_or({
            let own_is_service = match (own < SYSTEM_PORTS, peers < SYSTEM_PORTS) {
                (true, false) => true,
                (false, true) => false,
                _ => own <= peers,
            };
            if own_is_service { Side::Server } else { Side::Client }
        });
        match side {
            Side::Server => (own, side),
            Side::Client => (peers, side),
        }
    }
}
