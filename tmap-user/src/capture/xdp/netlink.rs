//! Questions to the kernel by netlink: one request, and all replies to it.
//!
//! Netlink rather than sysfs, because it answers for the network namespace that the caller is in.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, ParseableParametrized,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{
        GenlCtrl, GenlCtrlCmd,
        nlas::GenlCtrlAttrs::{FamilyId, FamilyName},
    },
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket,
    protocols::{NETLINK_GENERIC, NETLINK_ROUTE},
};

/// What the kernel answered.
pub(super) struct Answer<T> {
    pub(super) replies: Vec<T>,
    /// Messages that aren't understood, such as an interface whose name is no UTF-8, from their headers on.
    pub(super) unread: Vec<Vec<u8>>,
    /// Whether the list changed while the kernel told it: something may be missing, or there twice.
    is_torn: bool,
}

/// How often a list is asked for again that changed while the kernel told it.
const MOST_AGAIN: usize = 5;

/// All that rtnetlink has of what `request` asks for.
pub(super) fn dump(request: RouteNetlinkMessage) -> Result<Answer<RouteNetlinkMessage>> {
    whole(|| ask_all(NETLINK_ROUTE, NLM_F_DUMP, request.clone()))
}

/// Asks until the answer is not torn. One that is torn each time is taken as it is: what it lacks comes with
/// the next check.
fn whole<T>(mut ask: impl FnMut() -> Result<Answer<T>>) -> Result<Answer<T>> {
    let mut answer = ask()?;
    for _ in 0..MOST_AGAIN {
        if !answer.is_torn {
            break;
        }
        answer = ask()?;
    }
    Ok(answer)
}

/// What rtnetlink has of what `request` asks for, until `take` has enough. Messages that aren't understood
/// are `None`.
pub(super) fn dump_until(
    request: RouteNetlinkMessage,
    mut take: impl FnMut(Option<RouteNetlinkMessage>) -> ControlFlow<()>,
) -> Result<()> {
    // A list that changed meanwhile is told again by the next check.
    ask(NETLINK_ROUTE, NLM_F_DUMP, request, |reply| take(reply.ok())).map(|_| ())
}

/// What the generic netlink family of `request` answers.
pub(super) fn ask_family<T>(request: T) -> Result<Vec<T>>
where
    T: GenlFamily + netlink_packet_core::Emitable + ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
{
    let mut message = GenlMessage::from_payload(request);
    message.set_resolved_family_id(family_id(T::family_name())?);
    let Answer { replies, .. } = ask_all(NETLINK_GENERIC, NLM_F_ACK, message)?;
    Ok(replies.into_iter().map(|reply| reply.payload).collect())
}

/// The number that the kernel gave to a generic netlink family.
fn family_id(name: &str) -> Result<u16> {
    let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![FamilyName(name.to_owned())] };
    let Answer { replies, .. } = ask_all(NETLINK_GENERIC, NLM_F_ACK, GenlMessage::from_payload(request))?;
    let mut attributes = replies.iter().flat_map(|reply| &reply.payload.nlas);
    let id = attributes.find_map(|attribute| if let FamilyId(id) = attribute { Some(*id) } else { None });
    id.with_context(|| format!("this kernel has no {name} netlink"))
}

/// Sends `request` and collects all replies.
fn ask_all<T: NetlinkSerializable + NetlinkDeserializable>(
    protocol: isize,
    flags: u16,
    request: T,
) -> Result<Answer<T>> {
    let (mut replies, mut unread) = (Vec::new(), Vec::new());
    let is_torn = ask(protocol, flags, request, |reply| {
        match reply {
            Ok(reply) => replies.push(reply),
            Err(bytes) => unread.push(bytes.to_vec()),
        }
        ControlFlow::Continue(())
    })?;
    Ok(Answer { replies, unread, is_torn })
}

/// Sends `request` and hands replies to `take`, up to the last one or until it has enough. Of those that
/// aren't understood it gets the bytes. Returns whether the list changed while the kernel told it.
fn ask<T: NetlinkSerializable + NetlinkDeserializable>(
    protocol: isize,
    flags: u16,
    request: T,
    mut take: impl FnMut(Result<T, &[u8]>) -> ControlFlow<()>,
) -> Result<bool> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    let mut request = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(request));
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut is_torn = false;
    loop {
        let (datagram, from) = socket.recv_from_full()?;
        // The kernel's own port. The socket isn't connected to it, because a sandboxed process connects none.
        if from.port_number() == 0 && hand_over(&datagram, &mut is_torn, &mut take)?.is_break() {
            return Ok(is_torn);
        }
    }
}

/// Hands the replies of a datagram to `take`, and breaks after the last one of all.
fn hand_over<T: NetlinkDeserializable>(
    datagram: &[u8],
    is_torn: &mut bool,
    take: &mut impl FnMut(Result<T, &[u8]>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let header = NetlinkBuffer::new_checked(rest)?;
        let length = header.length() as usize;
        *is_torn |= header.flags() & NLM_F_DUMP_INTR != 0;
        // Messages are padded to four bytes.
        let next = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        let message = NetlinkMessage::<T>::deserialize(rest);
        let bytes = rest.get(..length).unwrap_or(rest);
        rest = next;
        // One that isn't understood costs no other.
        let reply = match message.map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(reply)) => Ok(reply),
            Ok(NetlinkPayload::Done(_)) => return Ok(ControlFlow::Break(())),
            // An error of no code acknowledges the request.
            Ok(NetlinkPayload::Error(error)) if error.code.is_none() => return Ok(ControlFlow::Break(())),
            Ok(NetlinkPayload::Error(error)) => return Err(error.to_io().into()),
            Ok(_) => continue,
            Err(_) => Err(bytes),
        };
        if take(reply).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DoneMessage;

    use super::*;

    /// The last message of a list, with these flags.
    fn last(flags: u16) -> Vec<u8> {
        let done = NetlinkPayload::<RouteNetlinkMessage>::Done(DoneMessage::default());
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), done);
        message.header.flags = flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    #[test]
    fn a_list_that_changed_while_it_was_told_is_asked_for_again_but_not_for_ever() {
        let asked_of = |torn: usize| {
            let mut asked = 0;
            let answer = whole(|| {
                asked += 1;
                let flags = if asked <= torn { NLM_F_DUMP_INTR } else { 0 };
                let mut is_torn = false;
                let mut take = |_: Result<RouteNetlinkMessage, &[u8]>| ControlFlow::Continue(());
                assert!(hand_over(&last(flags), &mut is_torn, &mut take)?.is_break(), "the last message");
                Ok(Answer::<RouteNetlinkMessage> { replies: Vec::new(), unread: Vec::new(), is_torn })
            });
            (asked, answer.expect("an answer").is_torn)
        };
        assert_eq!(asked_of(0), (1, false));
        assert_eq!(asked_of(2), (3, false));
        assert_eq!(asked_of(usize::MAX), (1 + MOST_AGAIN, true));
    }
}
