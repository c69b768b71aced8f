//! Link types, as the registry numbers them (<https://www.tcpdump.org/linktypes.html>).

use std::fmt;

use tmap_common::Link;

/// A LINKTYPE_ value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// How frames of this type begin; the type itself if tmap cannot read them.
    pub fn link(self) -> Result<Link, Self> {
        Ok(match self.0 {
            0 | 108 => Link::BsdLoopback,
            1 => Link::Ethernet,
            // DLT_RAW is 12 on most systems and 14 on OpenBSD; some files carry these instead of 101.
            12 | 14 | 101 | 228 | 229 => Link::Ip,
            113 => Link::LinuxCooked,
            276 => Link::LinuxCooked2,
            _ => return Err(self),
        })
    }
}

impl fmt::Display for LinkType {
    /// The number, with a name for types that are often captured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            9 => "PPP",
            51 => "PPPoE",
            105 => "IEEE 802.11",
            119 => "802.11 with Prism header",
            127 => "802.11 with radiotap header",
            163 => "802.11 with AVS header",
            189 | 220 => "Linux USB",
            195 | 230 => "IEEE 802.15.4",
            239 => "Linux netfilter log",
            249 => "USBPcap",
            253 => "Linux netlink",
            _ => return write!(f, "{}", self.0),
        };
        write!(f, "{} ({name})", self.0)
    }
}
