//! The parser's one entry: a frame in, a [`Segment`] or the reason why not out.

use crate::{Link, Packet, Segment, Skip, ip, link, tcp};

/// Parses one frame that begins with `link`.
///
/// # Errors
/// The [`Skip`] reason of the first layer that holds nothing for tmap.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, link: Link) -> Result<Segment, Skip> {
    let start = link::parse(packet, link)?;
    let network = ip::parse(packet, start)?;
    tcp::parse(packet, &network)
}
