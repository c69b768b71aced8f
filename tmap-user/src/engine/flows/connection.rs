//! A connection side with its cached clock: the unit that analysis works on.

use std::cell::Cell;

use tmap_common::Address;

use super::{flow::Flow, handshake::Handshake, table::Packed};
use crate::engine::{
    clock::fit::{self, Fitted},
    phase::sample::Sample,
    types::{Estimate, FlowKey, Side},
};

/// Ports below this are services by convention (RFC 6335: system ports).
const SYSTEM_PORTS: u16 = 1024;

/// A connection side, open or finished.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its addresses and ports.
    pub key: FlowKey,
    /// What was seen of it.
    pub flow: Flow,
    /// Its number among the connections of its address, which identifies it from one pass to the next.
    pub serial: u32,
    /// The number of the machine that it was last assigned to; 0 for none.
    pub machine: u32,
    /// Whether it surely is that machine's.
    pub is_sure: bool,
    /// The counter that it shares with others: the serial of the first of them; 0 for none.
    pub counter: u32,
    /// How far its handshake came.
    pub handshake: Handshake,
    /// The TSval of the peer's SYN or SYN-ACK; `None` where this side didn't complete the handshake, or that
    /// was 0.
    pub peers_opening: Option<u32>,
    /// The last fit, and the number of points that it used.
    fitted: Cell<Option<(u64, Fitted)>>,
    /// Points that aren't in the flow's sample and, until [`Connection::unpack`], not in its envelope.
    packed: Packed,
    is_unpacked: bool,
}

impl Connection {
    /// A connection side that is assigned to no machine yet.
    pub fn new(
        key: FlowKey,
        (flow, packed): (Flow, Packed),
        serial: u32,
        handshake: Handshake,
        peers_opening: Option<u32>,
    ) -> Self {
        let fitted = Cell::new(None);
        Self {
            key,
            flow,
            serial,
            machine: 0,
            is_sure: false,
            counter: 0,
            handshake,
            peers_opening,
            fitted,
            packed,
            is_unpacked: false,
        }
    }

    /// Adds the packed points to the envelope. Call it before [`Connection::clock`].
    pub fn unpack(&mut self) {
        if !self.is_unpacked {
            self.is_unpacked = true;
            self.flow.extend_envelope(self.packed.points());
        }
    }

    /// The number of points: TSvals that its clock showed.
    pub fn tsvals(&self) -> u64 {
        let packed = if self.is_unpacked { 0 } else { self.packed.points().count() as u64 };
        self.flow.envelope.offered() + packed
    }

    /// The sample of all points. It is built at each call, because only passes by phase need it.
    pub fn sample(&self) -> Sample {
        let mut sample = self.flow.sample.clone();
        self.packed.points().for_each(|point| sample.add(point));
        sample
    }

    /// The fit of the connection's clock, which is repeated only when points were added.
    /// `resolution_ns` is the resolution of the capture's time stamps.
    pub fn clock(&self, resolution_ns: u64) -> Fitted {
        debug_assert!(self.is_unpacked);
        let offered = self.flow.envelope.offered();
        match self.fitted.get() {
            Some((points, fitted)) if points == offered => fitted,
            _ => {
                let fitted = fit::fit(&self.flow.envelope, resolution_ns);
                self.fitted.set(Some((offered, fitted)));
                fitted
            }
        }
    }

    /// The measured tick rate in Hz of the last fit; `None` where there was none.
    pub fn measured_rate(&self) -> Option<Estimate> {
        match self.fitted.get()?.1 {
            Fitted::Steady(clock) => Some(clock.rate_hz),
            Fitted::Odd(rate_hz) | Fitted::Weak(rate_hz) => Some(rate_hz),
            Fitted::Unclear => None,
        }
    }

    /// The tick rate in Hz of the last fit: the nominal one, or the measured one of an unsteady clock.
    /// `None` where the rate is unclear.
    pub fn tick_hz(&self) -> Option<f64> {
        match self.fitted.get()?.1 {
            Fitted::Steady(clock) => Some(clock.hz),
            Fitted::Odd(rate_hz) => Some(rate_hz.value),
            Fitted::Weak(_) | Fitted::Unclear => None,
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> Address {
        self.key.dst
    }

    /// The service port, and this side's role. They are known from the handshake, or else from the ports:
    /// the service has the system port, or the lower port.
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
