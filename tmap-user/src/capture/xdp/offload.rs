//! Receive offloads, with which a network card merges segments before tmap sees them.
//!
//! Large receive offload and its stricter form, GRO in hardware, pass several segments up as one when the
//! last of them has arrived, so the arrival time of the first is wrong. For XDP the kernel turns both off
//! where it knows that it must (generic XDP, and most drivers), so they are checked after attaching.

use anyhow::{Context as _, Result};
use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolFeatureBit, EthtoolMessage};

use super::netlink;

/// Features that merge segments: their names in the kernel (`netdev_features_strings`) and in `ethtool -K`.
const MERGING: [(&str, &str); 2] = [("rx-lro", "lro"), ("rx-gro-hw", "rx-gro-hw")];

/// The features of `interface` that are on and merge segments, by their names in `ethtool -K`.
/// Linux 5.7 or later answers.
///
/// # Errors
/// If the kernel does not answer.
pub fn merging(interface: &str) -> Result<Vec<&'static str>> {
    let replies = netlink::ask_family(EthtoolMessage::new_feature_get(Some(interface)))
        .with_context(|| format!("cannot read the offload features of {interface}"))?;
    Ok(replies.iter().flat_map(|reply| merging_of(&reply.nlas)).collect())
}

/// The merging features that one reply says are on.
fn merging_of(attributes: &[EthtoolAttr]) -> Vec<&'static str> {
    let active = attributes.iter().filter_map(|attribute| match attribute {
        EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => Some(bits),
        _ => None,
    });
    let is_on = |bit: &EthtoolFeatureBit, name: &str| bit.value && bit.name == name;
    let bits: Vec<&EthtoolFeatureBit> = active.flatten().collect();
    MERGING
        .into_iter()
        .filter(|(name, _)| bits.iter().any(|bit| is_on(bit, name)))
        .map(|(_, option)| option)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::ParseableParametrized as _;
    use netlink_packet_generic::GenlHeader;

    /// An attribute: length, type, value, padding to four bytes.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A bit of a set without a mask, which lists those that are on: index and name.
    fn bit(index: u32, name: &str) -> Vec<u8> {
        let name = [name.as_bytes(), &[0]].concat();
        attribute(1, &[attribute(1, &index.to_ne_bytes()), attribute(2, &name)].concat())
    }

    /// What ETHTOOL_MSG_FEATURES_GET answers where `names` are on, and all of them could be.
    fn reply(names: &[&str]) -> Vec<&'static str> {
        let set = |names: &[&str]| {
            let bits: Vec<u8> = names.iter().zip(1..).flat_map(|(name, index)| bit(index, name)).collect();
            [attribute(1, &[]), attribute(2, &64u32.to_ne_bytes()), attribute(3, &bits)].concat()
        };
        let possible = ["tx-checksum-ipv4", "rx-gro", "rx-lro", "rx-gro-hw"];
        let attributes = [attribute(2, &set(&possible)), attribute(4, &set(names))].concat();
        // ETHTOOL_MSG_FEATURES_GET_REPLY, version 1.
        let header = GenlHeader { cmd: 11, version: 1 };
        merging_of(&EthtoolMessage::parse_with_param(&attributes, header).expect("sound").nlas)
    }

    /// The loopback has features, none of which merges; an interface that isn't there has none.
    #[test]
    fn this_kernel_answers() {
        let found = merging("lo").expect("since Linux 5.7");
        assert_eq!(found, [""; 0]);
        let error = merging("no-such-if").expect_err("isn't there");
        assert!(error.to_string().contains("no-such-if"), "{error:#}");
    }

    #[test]
    fn only_merging_features_that_are_on() {
        assert_eq!(reply(&["tx-checksum-ipv4", "rx-gro"]), [""; 0]);
        assert_eq!(reply(&["rx-gro", "rx-lro"]), ["lro"]);
        assert_eq!(reply(&["rx-gro-hw", "tx-checksum-ipv4", "rx-lro"]), ["lro", "rx-gro-hw"]);
        assert_eq!(reply(&[]), [""; 0]);
    }
}
