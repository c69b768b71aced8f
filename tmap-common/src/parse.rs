//! The parser's entry: a frame in, a [`Segment`] or the reason why not out.

use crate::{
    Link, Packet, Segment, Skip, fast, ip,
    link::Layer,
    tcp::{self, Options},
    tunnel::{self, Descent, Place},
};

/// Parses one frame that begins with `link`; `decap` says whether to look into tunnels.
///
/// # Errors
/// The [`Skip`] reason of the first layer that holds nothing for tmap.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool) -> Result<Segment, Skip> {
    match fast::parse(packet, link, decap) {
        Some(outcome) => outcome,
        None => walk(packet, link, decap),
    }
}

/// [`parse`] without its short way.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn walk<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool) -> Result<Segment, Skip> {
    let mut way = Descent::default();
    find(packet, link, decap, &mut way)?;
    segment(packet, &way.place)
}

/// The first half of [`walk`]: down to TCP, which then is at `way.place`. `way` comes as its default.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn find<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool, way: &mut Descent) -> Result<(), Skip> {
    let layer = Layer::first(packet, link)?;
    let start = match layer.network() {
        Err(Skip::NotIp) if decap && tunnel::is_below_ip(layer.ethertype) => {
            return way.follow(packet, layer);
        }
        start => start?,
    };
    let network = ip::parse(packet, start)?;
    // All there is to nearly every frame: its own network header, and TCP.
    if network.is_tcp() {
        way.place.set(&network);
        Ok(())
    } else if decap && tunnel::may_follow(packet, &network) {
        way.follow(packet, layer)
    } else {
        Err(Skip::NotTcp)
    }
}

/// The second half of [`walk`]: the segment at `place`.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn segment<P: Packet + ?Sized>(packet: &P, place: &Place) -> Result<Segment, Skip> {
    let mut segment = Segment::default();
    segment_into(packet, place, &mut Options::default(), &mut segment)?;
    Ok(segment)
}

/// [`segment`], put where it will stay, by way of `options`; it may be half filled in where that fails.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn segment_into<P: Packet + ?Sized>(
    packet: &P,
    place: &Place,
    options: &mut Options,
    segment: &mut Segment,
) -> Result<(), Skip> {
    tcp::parse_into(packet, &place.network(packet), options, segment)?;
    segment.tunnel = place.tunnel(packet);
    Ok(())
}
