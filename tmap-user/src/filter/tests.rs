use proptest::prelude::*;
use tmap_common::{Address, Flags};

use super::{
    expr::{End, Net},
    *,
};

/// A segment from text addresses.
fn segment(src: &str, src_port: u16, dst: &str, dst_port: u16) -> Segment {
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    Segment {
        src: address(src),
        dst: address(dst),
        src_port,
        dst_port,
        flags: Flags::ACK,
        has_payload: false,
        payload_bytes: 0,
        hop_limit: 64,
        tsval: 1,
        tsecr: 1,
        syn: None,
        tunnel: None,
    }
}

/// Four segments that differ in every respect that a filter can ask for.
fn samples() -> [Segment; 4] {
    [
        segment("10.0.0.1", 40000, "192.0.2.7", 80),
        segment("192.0.2.7", 80, "10.0.0.1", 40000),
        segment("2001:db8::1", 50000, "2001:db8:1::2", 443),
        segment("10.1.2.3", 443, "10.0.0.1", 22),
    ]
}

/// Which of the samples the filter accepts.
fn accepted(text: &str) -> Vec<usize> {
    let program = Program::new(text).unwrap_or_else(|error| panic!("{error}"));
    let samples = samples();
    (0..samples.len()).filter(|&index| program.accepts(&samples[index])).collect()
}

#[test]
fn the_familiar_words_mean_what_they_mean() {
    for (text, expected) in [
        ("", &[0, 1, 2, 3][..]),
        ("tcp", &[0, 1, 2, 3]),
        ("not tcp", &[]),
        ("ip", &[0, 1, 3]),
        ("ip6", &[2]),
        ("10.0.0.1", &[0, 1, 3]),
        ("host 10.0.0.1", &[0, 1, 3]),
        ("src 10.0.0.1", &[0]),
        ("dst host 10.0.0.1", &[1, 3]),
        ("src and dst net 10", &[3]),
        ("src or dst net 10.1", &[3]),
        ("src net 10/8", &[0, 3]),
        ("10.0.0.0/8 and not dst port 22", &[0, 1]),
        ("net 10.0.0.0 mask 255.255.0.0", &[0, 1, 3]),
        ("net 2001:db8::/32", &[2]),
        ("net ::/0", &[2]),
        ("net 0.0.0.0/0", &[0, 1, 3]),
        ("not net ::/0", &[0, 1, 3]),
        ("host ::ffff:10.0.0.1", &[]),
        ("ip6 host 2001:db8::1", &[2]),
        ("port 443", &[2, 3]),
        ("tcp dst port 80 or 443", &[0, 2]),
        ("port (80 or 22) and not src 10.1.2.3", &[0, 1]),
        ("portrange 20-80", &[0, 1, 3]),
        ("portrange 80-20", &[0, 1, 3]),
        ("src portrange 443", &[3]),
        ("port 80 and not 40000", &[]),
        ("host 10.0.0.1 and not 192.0.2.7", &[3]),
        // Equal rank, from left to right: (22 or 80) and src 10.0.0.1.
        ("port 22 or port 80 and src host 10.0.0.1", &[0]),
        ("port 22 || (port 80 && src host 10.0.0.1)", &[0, 3]),
        ("!(port 80)&&!ip6", &[3]),
        ("not not port 22", &[3]),
        ("port http", &[0, 1]),
        ("tcp dst port https or ssh", &[2, 3]),
        ("portrange ftp-ssh", &[3]),
        ("tcp or udp", &[0, 1, 2, 3]),
        ("port 80 or udp", &[0, 1]),
        ("not udp and not icmp", &[0, 1, 2, 3]),
        ("tcp port 22 or udp port 80", &[3]),
        ("(tcp or udp) and port (22 or 80)", &[0, 1, 3]),
        ("proto 6", &[0, 1, 2, 3]),
        ("proto tcp", &[0, 1, 2, 3]),
        ("ip proto 6", &[0, 1, 3]),
        ("ip proto \\tcp and port 443", &[3]),
        ("ip6 proto 6", &[2]),
        ("ip proto 17 or proto 6 and ip6", &[2]),
        ("not ip proto 6", &[2]),
    ] {
        assert_eq!(accepted(text), expected, "{text}");
    }
}

#[test]
fn errors_point_at_the_word() {
    for (text, word, says) in [
        ("prot 80", "prot", "not a filter word"),
        ("port 80 and udp", "udp", "only TCP carries"),
        ("udp", "udp", "only TCP carries"),
        ("not tcp and not udp or icmp", "udp", "only TCP carries"),
        ("udp port 53", "udp", "only TCP carries"),
        ("udp host 10.0.0.1", "udp", "only TCP carries"),
        ("ip proto 17", "17", "only TCP carries"),
        ("ip proto 256", "256", "write `proto 6`"),
        ("ip proto", "", "missing at the end"),
        ("port nosuchname", "nosuchname", "write its number"),
        ("vlan", "vlan", "leave it out"),
        ("vlan 5 and port 80", "vlan", "leave it out"),
        ("port 80 and vlan", "vlan", "leave it out"),
        ("tcp[tcpflags] & tcp-syn != 0", "tcp[tcpflags]", "`tcpdump -w FILE`"),
        ("port 80 and (tcp[13] & 2 != 0)", "tcp[13]", "`tcpdump -w FILE`"),
        ("tcp [13]", "[13]", "`tcpdump -w FILE`"),
        ("host 10.0.0.1 and greater 100", "greater", "`tcpdump -w FILE`"),
        ("port 70000", "70000", "not a port"),
        ("port 80-90", "80-90", "portrange"),
        ("port 10.0.0.1", "10.0.0.1", "host A"),
        ("port +80", "+80", "not a port"),
        ("portrange 1-x", "1-x", "range"),
        ("80", "80", "write `port 80`"),
        ("host 10.0.0.1/8", "10.0.0.1/8", "net"),
        ("host 10.0.0.256", "10.0.0.256", "not an IP"),
        ("net 10.0.0.1/8", "10.0.0.1/8", "outside its mask"),
        ("net 10.0.0.0/33", "10.0.0.0/33", "0 to 32"),
        ("net ::/129", "::/129", "0 to 128"),
        ("net 10.0.0.0 mask ff", "ff", "mask"),
        ("ip6 host 10.0.0.1", "10.0.0.1", "IPv4"),
        ("ip host ::1", "::1", "IPv6"),
        ("tcp host 10.0.0.1", "tcp", "before `port`"),
        ("ip port 80", "ip", "before `host`"),
        ("(port 80", "(", "never closed"),
        ("port 80)", ")", "closes nothing"),
        ("port 80 port 90", "port", "expected `and`"),
        ("and port 80", "and", "missing before"),
        ("port 80 or", "", "missing at the end"),
        ("src", "", "missing at the end"),
        ("port 80 & port 90", "&", "expected `and`"),
    ] {
        let error = Program::new(text).expect_err(text);
        assert_eq!(&text[error.at.clone()], word, "{text}: {error}");
        assert!(error.message.contains(says), "{text}: {error}");
    }
}

#[test]
fn the_caret_stands_under_the_word() {
    let error = Program::new("src net 10/8 and prot 80").expect_err("prot is no word").to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[1].find("prot"), lines[2].find('^'));
    assert_eq!(lines[2].trim(), "^^^^");
}

/// A format takes no width above 65,535.
#[test]
fn a_caret_may_stand_far_to_the_right() {
    let error = Program::new(&format!("{}nonsense", " ".repeat(100_000))).expect_err("no word").to_string();
    assert!(error.ends_with('^'), "{} characters", error.len());
}

#[test]
fn too_long_a_program_is_refused_with_its_length() {
    let ports = |count: u16| {
        let words: Vec<String> = (1..=count).map(|port| port.to_string()).collect();
        format!("src port {}", words.join(" or "))
    };
    assert_eq!(Program::new(&ports(32)).unwrap().tests().len(), filter::MAX_TESTS);
    let error = Program::new(&ports(33)).expect_err("33 tests").to_string();
    assert!(error.contains("33 tests") && error.contains("limit is 32"), "{error}");
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("{}port 80{}", "(".repeat(5000), ")".repeat(5000));
    assert!(Program::new(&deep).is_err());
    assert!(Program::new(&"not ".repeat(900)).is_err());
    assert!(Program::new(&format!("port 1{}", " or 1".repeat(5000))).is_err());
}

fn an_end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Src), Just(End::Dst)]
}

/// Addresses from a small pool, so that random filters and random segments meet.
fn an_address() -> impl Strategy<Value = Address> {
    prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(c, d)| Address::from_ip4([10, 0, c, d])),
        (0u8..4).prop_map(|d| Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, d])),
    ]
}

fn a_primitive() -> impl Strategy<Value = Primitive> {
    prop_oneof![
        1 => Just(Primitive::Any),
        4 => (an_end(), an_address(), 0u32..=128).prop_map(|(end, address, bits)| {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Primitive::Net(end, Net { net: Net::host(address).net & mask, mask })
        }),
        4 => (an_end(), 0u16..8, 0u16..8).prop_map(|(end, a, b)| Primitive::Port(end, a.min(b)..=a.max(b))),
    ]
}

fn an_expr() -> impl Strategy<Value = Expr> {
    a_primitive().prop_map(Expr::Is).prop_recursive(6, 48, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(Expr::negated),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner).prop_map(|(a, b)| a.or(b)),
        ]
    })
}

fn a_segment() -> impl Strategy<Value = Segment> {
    (an_address(), an_address(), 0u16..8, 0u16..8).prop_map(|(src, dst, src_port, dst_port)| Segment {
        src,
        dst,
        src_port,
        dst_port,
        flags: Flags::ACK,
        has_payload: false,
        payload_bytes: 0,
        hop_limit: 64,
        tsval: 1,
        tsecr: 1,
        syn: None,
        tunnel: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_program_means_what_the_tree_means(
        expr in an_expr(),
        segments in prop::collection::vec(a_segment(), 64),
    ) {
        if let Ok(tests) = compile::compile(&expr) {
            let program = Program { tests };
            for (index, test) in program.tests.iter().enumerate() {
                for target in [test.on_yes, test.on_no] {
                    let forwards = usize::from(target) > index && usize::from(target) < program.tests.len();
                    prop_assert!(forwards || matches!(target, filter::ACCEPT | filter::REJECT));
                }
            }
            for segment in &segments {
                prop_assert_eq!(program.accepts(segment), expr.accepts(segment), "{:?}", segment);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "(src|dst|host|net|port|portrange|and|or|not|ip6|mask|[(]|[)]|!|&&| |10|/|\\.|-|::|é|\\PC){0,24}") {
        let _ = Program::new(&text).map_err(|error| error.to_string());
    }
}
