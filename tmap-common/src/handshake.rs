//! [`QuirkFields`]: the header fields of a handshake that tell TCP/IP stacks apart, beside clock and sizes.
//!
//! Only SYN and SYN-ACK pay for this: it reads the headers once more. User space interprets the fields: a
//! comparison is a branch in BPF, and the verifier walks both sides of each. Fields of which only "zero or
//! not" matters are folded into one byte here, by or-ing their bytes.

use crate::{Packet, ip::Network};

/// Header fields that stacks fill in differently, from which user space tells quirks (p0f's word). Those
/// called "folded" are 0 if the field is 0; any other value says only that it isn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QuirkFields {
    /// IPv4 type of service or IPv6 traffic class (RFC 2474, 3168).
    pub traffic_class: u8,
    /// The octet with the IPv4 flags (RFC 791: reserved 0x80, don't fragment 0x40); 0 for IPv6.
    pub fragment_flags: u8,
    /// IPv4 identification, folded; 0 for IPv6.
    pub id: u8,
    /// IPv6 flow label, folded; 0 for IPv4.
    pub flow_label: u8,
    /// TCP sequence number, folded.
    pub sequence: u8,
    /// TCP acknowledgement number, folded.
    pub acknowledgement: u8,
    /// TCP urgent pointer, folded.
    pub urgent: u8,
    /// The last eight bytes of the TCP header, as far as they lie behind the end of the option list, folded.
    pub trailing: u8,
    /// Bytes in the TCP header behind the end of the option list (RFC 9293, kind 0).
    pub eol_padding: u8,
    /// Length of the TCP header with its options, in bytes.
    pub tcp_header_bytes: u8,
    /// Length of IPv4 options or IPv6 extension headers, in bytes.
    pub ip_options_bytes: u16,
}

impl QuirkFields {
    /// The fields as two words, in which records carry them.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 2] {
        let folded = [
            self.traffic_class,
            self.fragment_flags,
            self.id,
            self.flow_label,
            self.sequence,
            self.acknowledgement,
            self.urgent,
            self.trailing,
        ];
        let lengths = self.eol_padding as u64
            | (self.tcp_header_bytes as u64) << 8
            | (self.ip_options_bytes as u64) << 16;
        [u64::from_le_bytes(folded), lengths]
    }

    /// The fields from the two words of [`QuirkFields::to_words`]. The upper half of the second word is
    /// ignored.
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Self {
        let [folded, lengths] = words;
        let [traffic_class, fragment_flags, id, flow_label, sequence, acknowledgement, urgent, trailing] =
            folded.to_le_bytes();
        Self {
            traffic_class,
            fragment_flags,
            id,
            flow_label,
            sequence,
            acknowledgement,
            urgent,
            trailing,
            eol_padding: lengths as u8,
            tcp_header_bytes: (lengths >> 8) as u8,
            ip_options_bytes: (lengths >> 16) as u16,
        }
    }
}

/// Reads the fields of a handshake, whose TCP header `header` lies at `tcp_at` and whose option list ends
/// before `padding_at`; both are offsets in the frame, in bytes. Never returns `None` for headers of this
/// `packet`: all bytes were there when they were parsed.
#[inline(always)]
pub fn quirk_fields<P: Packet + ?Sized>(
    packet: &P,
    network: &Network,
    header: &[u8; 20],
    tcp_at: usize,
    padding_at: usize,
) -> Option<QuirkFields> {
    let ip_at = network.header_at;
    let [first, second, third, fourth, id_high, id_low, flags, _] = packet.read(ip_at)?;
    let tcp_header_bytes = usize::from(header[12] >> 4) * 4;
    let tcp_end = packet.opaque_cursor(tcp_at + tcp_header_bytes);
    let tcp = QuirkFields {
        sequence: header[4] | header[5] | header[6] | header[7],
        acknowledgement: header[8] | header[9] | header[10] | header[11],
        urgent: header[18] | header[19],
        trailing: trailing(packet, padding_at, tcp_end)?,
        eol_padding: (tcp_end - padding_at) as u8,
        tcp_header_bytes: tcp_header_bytes as u8,
        ..QuirkFields::default()
    };
    let bytes_between = tcp_at - ip_at;
    Some(if network.is_ip4() {
        QuirkFields {
            traffic_class: second,
            fragment_flags: flags,
            id: id_high | id_low,
            ip_options_bytes: (bytes_between - 20) as u16,
            ..tcp
        }
    } else {
        QuirkFields {
            traffic_class: first << 4 | second >> 4,
            flow_label: (second & 0x0f) | third | fourth,
            ip_options_bytes: (bytes_between - 40) as u16,
            ..tcp
        }
    })
}

/// The last eight bytes, or fewer, from `at` to `end`, folded. A TCP header lies before `end`, so
/// eight bytes can always be read there; those before `at` are shifted out.
#[inline(always)]
fn trailing<P: Packet + ?Sized>(packet: &P, at: usize, end: usize) -> Option<u8> {
    let bytes = packet.opaque(end as u64 - at as u64);
    if bytes == 0 {
        return Some(0);
    }
    let last = u64::from_be_bytes(packet.read(packet.opaque_cursor(end - 8))?);
    let before = 8_u64.saturating_sub(bytes);
    let all = last << ((before * 8) & 63);
    let all = all | all >> 32;
    let all = all | all >> 16;
    Some((all | all >> 8) as u8)
}
