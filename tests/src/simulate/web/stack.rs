//! Stacks: how a machine's counter starts, ticks, and shows in handshakes.

use tmap_common::{QuirkFields, Syn};

use crate::{simulate::Offsets, wire::frame::LINUX_SYN};

/// A TCP/IP stack, as far as time stamps go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stack {
    /// How it draws offsets.
    pub offsets: Offsets,
    /// Whether the one offset of all its connections is random, so that it tells no boot time.
    pub is_shifted: bool,
    /// Nominal tick rate.
    pub tick_hz: f64,
    /// The counter at boot, in seconds: Linux's jiffies start at -300 s.
    pub start_s: f64,
    /// Its handshake.
    pub syn: Syn,
    /// Whether SYNs and SYN-ACKs carry TSval 0.
    pub is_zero_in_syn: bool,
}

/// Linux of today that shows its uptime (`net.ipv4.tcp_timestamps=2`).
pub const UPTIME: Stack = Stack {
    offsets: Offsets::Global,
    is_shifted: false,
    tick_hz: 1000.0,
    start_s: 0.0,
    syn: LINUX_SYN,
    is_zero_in_syn: false,
};

/// Linux up to early 2026.
pub const PAIR: Stack = Stack { offsets: Offsets::PerPair, ..UPTIME };

/// Linux since 2026.
pub const CONNECTION: Stack = Stack { offsets: Offsets::PerConnection, ..UPTIME };

/// A Mac whose counter starts at random once per boot. It loses no ticks here.
pub const MAC: Stack = Stack { is_shifted: true, syn: MAC_SYN, ..UPTIME };

/// Windows 2000: 10 Hz, and no clock in handshakes.
pub const WINDOWS: Stack = Stack { tick_hz: 10.0, syn: WINDOWS_SYN, is_zero_in_syn: true, ..UPTIME };

/// Linux up to 4.9 at 100, 250 or 1000 Hz.
pub const fn jiffies(tick_hz: f64) -> Stack {
    Stack { tick_hz, start_s: -300.0, syn: Syn { window: 29_200, ..LINUX_SYN }, ..UPTIME }
}

/// MSS, NOP, window scale, NOP, NOP, Timestamps, SACK permitted, end.
const MAC_SYN: Syn = Syn {
    window: 65_535,
    window_scale: 6,
    option_order: 0xe481_1312,
    quirk_fields: QuirkFields { eol_padding: 1, tcp_header_bytes: 44, ..LINUX_SYN.quirk_fields },
    ..LINUX_SYN
};

/// MSS, NOP, window scale, NOP, NOP, Timestamps, NOP, NOP, SACK permitted.
const WINDOWS_SYN: Syn = Syn {
    window: 65_535,
    window_scale: 0,
    option_order: 0x4_1181_1312,
    quirk_fields: QuirkFields { tcp_header_bytes: 44, ..LINUX_SYN.quirk_fields },
    ..LINUX_SYN
};
