//! Damaged captures: whatever the bytes, reading ends with a report and a sane exit code.

use std::{io::Read as _, sync::LazyLock};

use flate2::{Compression, read::GzEncoder};
use proptest::prelude::*;
use tmap::capture::file::{Capture, Location, Room, Stop};
use tmap_common::Link;
use tmap_tests::{
    command::tmap_with_input,
    simulate::conversation::mail_cluster,
    wire::capture::{Order, Packet, in_every_format, packets, pcap},
};

/// Sound captures to start from, short, so that damage to headers is frequent.
static CAPTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let packets: Vec<Packet> = packets(&mail_cluster(), Link::Ethernet).into_iter().take(40).collect();
    let mut all = in_every_format(&packets);
    all.push(zstd::encode_all(&all[4][..], 1).expect("packed"));
    let mut packed = Vec::new();
    let mut encoder = GzEncoder::new(&all[0][..], Compression::fast());
    encoder.read_to_end(&mut packed).expect("packed");
    all.push(packed);
    all
});

/// What happens to a capture.
#[derive(Clone, Debug)]
enum Damage {
    Overwrite(prop::sample::Index, u8),
    OverwriteWord(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

/// Failures aren't kept in files: a case worth keeping becomes a test.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        4 => (at(), prop_oneof![Just(0), Just(u32::MAX), Just(1 << 20), 0u32..64, any::<u32>()])
            .prop_map(|(at, word)| Damage::OverwriteWord(at, word)),
        1 => at().prop_map(Damage::Cut),
        1 => at().prop_map(Damage::Remove),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn damaged(mut capture: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for damage in all {
        if capture.is_empty() {
            break;
        }
        match damage {
            Damage::Overwrite(at, byte) => {
                let at = at.index(capture.len());
                capture[at] = *byte;
            }
            Damage::OverwriteWord(at, word) => {
                let at = at.index(capture.len()) & !3;
                let bytes = word.to_le_bytes();
                capture[at..].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
            }
            Damage::Cut(at) => capture.truncate(at.index(capture.len())),
            Damage::Remove(at) => drop(capture.remove(at.index(capture.len()))),
            Damage::Insert(at, bytes) => {
                let at = at.index(capture.len());
                capture.splice(at..at, bytes.iter().copied());
            }
        }
    }
    capture
}

/// Where tcpdump starts again with the same name, it truncates what is being read. Such a file ends with an
/// error, even between two packets, and ends nothing else.
#[test]
fn a_file_that_shrinks_while_it_is_read_is_told_of() {
    const PACKETS: usize = 20_000;
    let conversations = packets(&mail_cluster(), Link::Ethernet);
    let many: Vec<Packet> = conversations.iter().cycle().take(PACKETS).cloned().collect();
    let whole = pcap(&many, 1, Order::Little, true);
    let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    for rest_bytes in [0, 24, whole.len() / 2] {
        std::fs::write(&path, &whole).expect("written");
        let opened = Location::new(&path).open(&Stop::new(|| false), Room::default(), |reader, _| reader);
        let mut capture = opened.expect("a capture");
        let file = std::fs::File::options().write(true).open(&path).expect("a file");
        file.set_len(rest_bytes as u64).expect("truncated");
        let mut count = 0;
        let error = loop {
            match capture.next_frame() {
                Ok(Some(_)) => count += 1,
                Ok(None) => panic!("{rest_bytes}: it ends as if it were whole"),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(error, "truncated by another program while it was read", "{rest_bytes}");
        assert!(count > 0 && count < PACKETS, "{rest_bytes}: {count}");
    }
}

proptest! {
    #![proptest_config(config(4_000))]

    /// The reader never panics and never goes on for ever: each packet takes bytes.
    #[test]
    fn the_reader_survives(which in 0usize..6, damage in prop::collection::vec(damage(), 0..6)) {
        let bytes = damaged(CAPTURES[which].clone(), &damage);
        // A decompressor may make much out of little, but each packet has a header of its own.
        let bound = 64 + bytes.len() * 1_100;
        let mut frames = 0;
        if let Ok(mut capture) = Capture::new(Box::new(std::io::Cursor::new(bytes))) {
            while let Ok(Some(frame)) = capture.next_frame() {
                prop_assert!(frame.bytes.len() <= 16 * 1024 * 1024);
                frames += 1;
                prop_assert!(frames < bound);
            }
            prop_assert!(capture.resolution_ns() > 0);
        }
    }
}

proptest! {
    #![proptest_config(config(200))]

    /// Neither does the command: it reports, says what is wrong, and ends with 0 or 1.
    #[test]
    fn the_command_survives(which in 0usize..6, damage in prop::collection::vec(damage(), 1..6)) {
        let bytes = damaged(CAPTURES[which].clone(), &damage);
        let run = tmap_with_input(["read", "--json", "-"], &bytes);
        prop_assert!(matches!(run.code, 0 | 1), "code {}: {}", run.code, run.err);
        prop_assert_eq!(run.code == 1, !run.err.is_empty(), "{}", run.err);
        let last = run.out.lines().last().unwrap_or_default();
        prop_assert!(last.starts_with("{\"type\":\"summary\""), "{}", last);
    }
}
