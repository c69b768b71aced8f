//! The parser's entry: a frame in, a [`Segment`] or the reason why not out.

use crate::{
    Link, Packet, Segment, Skip, ip,
    link::Layer,
    tcp,
    tunnel::{Descent, Place},
};

/// Parses one frame that begins with `link`; `decap` says whether to look into tunnels.
///
/// # Errors
/// The [`Skip`] reason of the first layer that holds nothing for tmap.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool) -> Result<Segment, Skip> {
    segment(packet, &find(packet, link, decap)?)
}

/// The first half of [`parse`]: down to TCP.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn find<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool) -> Result<Place, Skip> {
    let layer = Layer::first(packet, link)?;
    // All there is to nearly every frame: its own network header, and TCP.
    match layer.network().and_then(|start| ip::parse(packet, start)) {
        Err(Skip::NotTcp | Skip::NotIp) if decap => Descent::to_tcp(packet, layer),
        plain => Ok(Place::plain(packet, &plain?)),
    }
}

/// The second half: the segment at `place`.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn segment<P: Packet + ?Sized>(packet: &P, place: &Place) -> Result<Segment, Skip> {
    let segment = tcp::parse(packet, &place.network(packet))?;
    Ok(Segment { tunnel: place.tunnel(packet), ..segment })
}
