//! Filters mean what tcpdump takes them to mean: the same capture, the same words, the same count.

use std::process::Command;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Segment};
use tmap_tests::{
    command::tmap,
    simulate::{conversation::START_NS, received},
    wire::{capture::plain, frame::documentation_ip6},
};

/// Segments between addresses and ports of small pools, so that every filter meets some.
fn segments(count: u64) -> Vec<Record> {
    let mut rng = Pcg64::seed_from_u64(7);
    let mut record = |index: u64| {
        let six = rng.random_bool(0.3);
        let mut address = || match six {
            true => Address::from_ip6(documentation_ip6(rng.random_range(0..2), rng.random_range(1..4))),
            false => Address::from_ip4([
                10,
                rng.random_range(0..3),
                rng.random_range(0..2),
                rng.random_range(1..4),
            ]),
        };
        let (src, dst) = (address(), address());
        const PORTS: [u16; 6] = [22, 25, 80, 443, 8080, 40_000];
        let mut port = || PORTS[rng.random_range(0..PORTS.len())];
        let segment = Segment {
            src,
            dst,
            src_port: port(),
            dst_port: port(),
            flags: Flags::ACK,
            hop_limit: 60,
            tsval: index as u32,
            tsecr: 1,
            ..Segment::default()
        };
        received(START_NS + index * 1_000_000, segment)
    };
    (0..count).map(&mut record).collect()
}

const FILTERS: [&str; 39] = [
    "tcp",
    "ip",
    "ip6",
    "not ip6",
    "host 10.0.0.1",
    "src host 10.0.0.1",
    "src or dst host 10.1.1.2",
    "src and dst host 10.1.1.2",
    "ip host 10.0.0.1",
    "net 10.1",
    "net 10.1.0.0/16",
    "src net 10.1.0.0 mask 255.255.0.0",
    "net 10.0.0.0/8",
    "net 0.0.0.0/0",
    "net ::/0",
    "ip6 net 2001:db8:0:100::/56",
    "dst net 2001:db8::/63",
    "host 2001:db8::1",
    "port 80",
    "tcp port 80",
    "src port 80 or 443",
    "port (80 or 22)",
    "portrange 22-80",
    "dst portrange 80-22",
    "host 10.0.0.1 or 10.0.0.2 and port 22",
    "host 10.0.0.1 or (host 10.0.0.2 and port 22)",
    "not host 10.0.0.1 and 10.0.0.2",
    "! port 80 && ! ip6",
    "not (port 80 or port 443) and src net 10.2.0.0/15",
    "port 25 and not src net 10.0.0.0/9",
    "port http",
    "tcp src port ssh or https",
    "portrange ssh-http",
    "tcp or udp",
    "not udp and port smtp",
    "tcp port 80 or udp port 22",
    "ip proto 6",
    "ip proto \\tcp and port 443",
    "ip6 proto 6 or port 22",
];

#[test]
#[ignore = "needs tcpdump: cargo xtask test"]
fn filters_mean_what_they_mean_to_tcpdump() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let capture = folder.path().join("filter.pcap");
    std::fs::write(&capture, plain(&segments(600))).expect("written");
    for filter in FILTERS {
        let output =
            Command::new("tcpdump").arg("-nr").arg(&capture).arg(filter).output().expect("tcpdump runs");
        assert!(output.status.success(), "{filter}: {}", String::from_utf8_lossy(&output.stderr));
        let expected = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
        let run = tmap([
            "read".as_ref(),
            "--json".as_ref(),
            "--filter".as_ref(),
            filter.as_ref(),
            capture.as_os_str(),
        ]);
        let summary: serde_json::Value =
            serde_json::from_str(run.out.lines().last().unwrap_or_default()).expect("a summary");
        assert_eq!(summary["packets"]["emitted"], expected, "{filter}: {}", run.err);
    }
}
