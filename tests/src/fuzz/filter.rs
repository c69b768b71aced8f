//! Filters of any text.

use tmap::filter::Program;
use tmap_common::{Address, Segment};

/// The longest filter that is tried, in bytes.
const MOST_BYTES: usize = 512;

/// A filter is compiled or refused. What it accepts, its negation rejects; what is wrong with it is told of a
/// place in it.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_BYTES)]);
    let program = match Program::new(&text) {
        Ok(program) => program,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let Ok(negated) = Program::new(&format!("not ({text})")) else { return };
    for segment in segments() {
        assert_ne!(program.accepts(&segment), negated.accepts(&segment), "{text}: {segment:?}");
    }
}

/// Segments that the seeds' filters tell apart.
fn segments() -> impl Iterator<Item = Segment> {
    let ip6 = |last| Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let addresses = [Address::from_ip4([10, 1, 2, 3]), Address::from_ip4([192, 0, 2, 1]), ip6(1), ip6(2)];
    let ports = [0, 22, 80, 443, 65_535];
    let pairs = addresses.map(|src| addresses.map(|dst| (src, dst))).into_iter().flatten();
    pairs.flat_map(move |(src, dst)| {
        ports.into_iter().zip([443, 80, 1024, 22, 0]).map(move |(src_port, dst_port)| Segment {
            src,
            dst,
            src_port,
            dst_port,
            ..Segment::default()
        })
    })
}

/// Filters that use every word.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "host 10.1.2.3 and port 443",
        "src net 192.0.2.0/24 or dst net 10.0.0.0 mask 255.0.0.0",
        "not (port 80 or 443) && !portrange 1000-2000",
        "ip6 and src or dst host 2001:db8::1",
        "tcp port https and src and dst net 10.1",
        "proto 6 || ip host (10.1.2.3 or 192.0.2.1)",
        "10/8",
        "2001:db8::/32 and tcp",
        "((src port ssh))",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
