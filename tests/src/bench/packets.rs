//! One frame of each class that costs differently.

/// NOP, NOP, Timestamps: what data segments carry.
pub const DATA_OPTIONS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0x10, 0, 0, 0, 0x20, 0];

/// MSS, SACK permitted, Timestamps, NOP, window scale: Linux's SYN.
const LINUX_SYN: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0x10, 0, 0, 0, 0, 0, 1, 3, 3, 7];

/// MSS, NOP, window scale, NOP, NOP, Timestamps, SACK permitted, end: a SYN that takes the walk.
const OTHER_SYN: [u8; 24] = [2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0x10, 0, 0, 0, 0, 0, 4, 2, 0, 0];

/// NOP, NOP, Timestamps, NOP, NOP, one SACK block: what a receiver with a gap sends.
const SACK_OPTIONS: [u8; 24] =
    [1, 1, 8, 10, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];

/// ACK, and SYN.
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

/// Two MAC addresses; no host's own.
const MACS: [u8; 12] = [0x02, 0, 0, 0, 0xbe, 2, 0x02, 0, 0, 0, 0xbe, 1];

/// One class of frames.
#[derive(Clone, Debug)]
pub struct Class {
    /// What it is.
    pub name: &'static str,
    /// One frame of it.
    pub frame: Vec<u8>,
    /// Whether it holds time stamps, so that it yields a record.
    pub stamped: bool,
}

/// Every class.
pub fn classes() -> Vec<Class> {
    let class = |name, stamped, frame| Class { name, frame, stamped };
    let ack = |options: &[u8]| tcp(ACK, options);
    vec![
        class("ARP", false, ethernet(&[], 0x0806, &[0; 46])),
        class("UDP", false, ethernet(&[], 0x0800, &ip4(17, &[0; 26]))),
        class("UDP, IPv6", false, ethernet(&[], 0x86dd, &ip6(17, &[0; 26]))),
        class("TCP without options", false, ethernet(&[], 0x0800, &ip4(6, &ack(&[])))),
        class("TCP without Timestamps", false, ethernet(&[], 0x0800, &ip4(6, &ack(&[2, 4, 5, 180])))),
        class("data", true, data()),
        class("data, VLAN", true, ethernet(&[0x81, 0, 0, 7], 0x0800, &ip4(6, &ack(&DATA_OPTIONS)))),
        class("data, IPv6", true, ethernet(&[], 0x86dd, &ip6(6, &ack(&DATA_OPTIONS)))),
        class("data with SACK", true, ethernet(&[], 0x0800, &ip4(6, &ack(&SACK_OPTIONS)))),
        class("SYN of Linux", true, ethernet(&[], 0x0800, &ip4(6, &tcp(SYN, &LINUX_SYN)))),
        class("SYN of others", true, ethernet(&[], 0x0800, &ip4(6, &tcp(SYN, &OTHER_SYN)))),
    ]
}

/// An acknowledgement with time stamps: IPv4, no tag, 66 bytes.
pub fn data() -> Vec<u8> {
    ethernet(&[], 0x0800, &ip4(6, &tcp(ACK, &DATA_OPTIONS)))
}

/// `tag` is an 802.1Q tag, or nothing.
fn ethernet(tag: &[u8], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&MACS, tag, &ethertype.to_be_bytes(), payload].concat()
}

fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let header = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1];
    [&header, payload].concat()
}

fn ip6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, high, low, protocol, 64];
    for host in [1, 2] {
        bytes.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    [&bytes, payload].concat()
}

fn tcp(flags: u8, options: &[u8]) -> Vec<u8> {
    let words = 5 + options.len() as u8 / 4;
    let [high, low] = 443u16.to_be_bytes();
    let header = [0x80, 1, high, low, 0, 0, 0, 1, 0, 0, 0, 1, words << 4, flags, 1, 0, 0, 0, 0, 0];
    [&header, options].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::{Link, parse};

    #[test]
    fn classes_are_what_they_say() {
        for class in classes() {
            assert_eq!(
                parse(&class.frame[..], Link::Ethernet, true).is_ok(),
                class.stamped,
                "{}",
                class.name
            );
        }
        assert_eq!(data().len(), 66);
    }
}
