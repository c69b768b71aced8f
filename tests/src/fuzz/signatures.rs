//! Databases of signatures of any text.

use tmap::engine::os::{database::Database, signature::Fingerprint};
use tmap_common::{Address, Flags, Segment};

use crate::wire::frame::LINUX_SYN;

/// tmap's own signatures.
const OWN: &str = include_str!("../../../tmap-user/src/engine/os/stacks.fp");

/// A database is read, or refused with the line that is wrong. A handshake is compared with what was read.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Database>() {
        Ok(database) => {
            assert!(!database.is_empty());
            for flags in [Flags::SYN, Flags::SYN | Flags::ACK] {
                let segment = Segment { flags, hop_limit: 60, syn: Some(LINUX_SYN), ..Segment::default() };
                for src in [Address::from_ip4([192, 0, 2, 1]), Address::from_ip6([1; 16])] {
                    let fingerprint = Fingerprint::of(&Segment { src, ..segment }).expect("of a handshake");
                    let found = database.matches(&fingerprint);
                    assert!(found.is_none_or(|(_, labels)| !labels.is_empty()));
                }
            }
        }
        // What is wrong with the whole is told of its last line; an empty one has none.
        Err(malformed) => assert!(malformed.line <= text.lines().count(), "{malformed}"),
    }
}

/// Parts of tmap's own signatures.
pub fn seeds() -> Vec<Vec<u8>> {
    let lines: Vec<&str> = OWN.lines().filter(|line| !line.starts_with(';')).collect();
    lines.chunks(24).map(|part| format!("[tcp:request]\n{}\n", part.join("\n")).into_bytes()).collect()
}
