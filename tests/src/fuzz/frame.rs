//! Frames of any bytes.

use rand::SeedableRng;
use rand_pcg::Pcg64;
use tmap_common::{Link, parse};

use crate::wire::random;

/// How frames may begin.
const LINKS: [Link; 5] = [Link::Ethernet, Link::Ip, Link::LinuxCooked, Link::LinuxCooked2, Link::BsdLoopback];

/// The parser's fast path says what the slow path says. The first byte chooses how the frame begins, and
/// whether tunnels are looked into.
pub fn run(bytes: &[u8]) {
    let Some((&choice, frame)) = bytes.split_first() else { return };
    let link = LINKS[usize::from(choice >> 1) % LINKS.len()];
    let decap = choice & 1 == 1;
    assert_eq!(parse(frame, link, decap), parse::walk(frame, link, decap));
}

/// Random frames of every shape, with and without their Ethernet header.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut random = Pcg64::seed_from_u64(1);
    let mut seeds = Vec::new();
    for number in 0..48_u8 {
        let frame = random::next(&mut random);
        let (choice, begin) = if number % 4 == 3 { (2, 14) } else { (0, 0) };
        let mut seed = vec![choice | (number & 1)];
        seed.extend(frame[begin..].iter().take(512));
        seeds.push(seed);
    }
    seeds
}
