//! The addresses, ports and devices of the laboratory's network.

use std::net::Ipv4Addr;

/// The address that all machines share.
pub(super) const NAT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The addresses of the echo server.
pub(super) const SERVERS: [Ipv4Addr; 5] = [
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(203, 0, 113, 2),
    Ipv4Addr::new(203, 0, 113, 3),
    Ipv4Addr::new(203, 0, 113, 4),
    Ipv4Addr::new(203, 0, 113, 5),
];
/// The ports of the echo server.
pub(super) const PORTS: [u16; 3] = [25, 80, 443];

/// The own address of machine `index`.
pub(super) fn private(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, index as u8, 2)
}

/// The NAT's address on the link to machine `index`.
pub(super) fn gateway(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, index as u8, 1)
}

/// The TAP device of machine `index`.
pub(super) fn tap(index: usize) -> String {
    format!("vm{index}")
}
