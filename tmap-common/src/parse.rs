//! The parser's entry: it takes a frame and returns a [`Segment`], or the reason why there is none.

use crate::{
    Link, Packet, Segment, Skip, fast, ip,
    link::Layer,
    tcp::{self, OptionOffsets},
    tunnel::{DecapCursor, InnerHeader},
};

/// Parses one frame that begins with `link`; `decap` says whether to decapsulate tunnels.
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

/// Parses one frame on the slow path only: it walks through all layers, whatever they are. The result is
/// that of [`parse`].
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn walk<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool) -> Result<Segment, Skip> {
    let mut cursor = DecapCursor::default();
    find(packet, link, decap, &mut cursor)?;
    segment(packet, &cursor.inner)
}

/// Walks down to the TCP header and notes it in `cursor.inner`: the first half of [`walk`]. The caller
/// passes `cursor` as its default.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn find<P: Packet + ?Sized>(
    packet: &P,
    link: Link,
    decap: bool,
    cursor: &mut DecapCursor,
) -> Result<(), Skip> {
    let layer = Layer::first(packet, link)?;
    if decap {
        return cursor.follow(packet, layer);
    }
    let network = ip::parse(packet, layer.behind_tags(packet)?.network()?)?;
    if !network.is_tcp() {
        return Err(network.skip());
    }
    cursor.inner.set(&network);
    Ok(())
}

/// Reads the segment whose headers [`find`] found: the second half of [`walk`].
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn segment<P: Packet + ?Sized>(packet: &P, inner: &InnerHeader) -> Result<Segment, Skip> {
    let mut segment = Segment::default();
    segment_into(packet, inner, &mut OptionOffsets::default(), &mut segment)?;
    Ok(segment)
}

/// Reads the segment whose headers [`find`] found into `segment`, which may be half filled in after an
/// error. `options` is working memory: in the kernel it lies in a map, because the stack has no room.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn segment_into<P: Packet + ?Sized>(
    packet: &P,
    inner: &InnerHeader,
    options: &mut OptionOffsets,
    segment: &mut Segment,
) -> Result<(), Skip> {
    tcp::parse_into(packet, &inner.network(packet), options, segment)?;
    segment.tunnel = inner.tunnel(packet);
    Ok(())
}
