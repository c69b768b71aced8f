//! The parser of filters, from words to an expression: pcap-filter's grammar for TCP segments.
//!
//! ```text
//! expr  := term { ("and" | "or") term }                     equal rank, from left to right
//! term  := "not" term | "(" expr ")" | proto | [proto] "proto" value | qualified
//! qualified := [proto] [direction] [kind] (value | "(" values ")")
//! ```
//! A value without qualifiers takes those of the last one written.

use std::{net::IpAddr, ops::RangeInclusive};

use super::{
    FilterError,
    expr::{End, Expr, Net, Primitive},
    lex::{Word, words},
    services,
};

/// Deeper nesting than any person writes; keeps recursion bounded.
const MAX_DEPTH: usize = 64;

/// The most words, which bounds the tree (operators nest to the left).
const MAX_WORDS: usize = 1024;

/// The number of TCP in IP headers.
const TCP: &str = "6";

/// pcap-filter's words for tags and tunnels.
const TAGS: [&str; 6] = ["vlan", "mpls", "pppoes", "pppoed", "vxlan", "geneve"];

/// pcap-filter's words for what is neither address nor port of a segment.
const OTHER_TESTS: [&str; 9] =
    ["less", "greater", "len", "ether", "gateway", "broadcast", "multicast", "inbound", "outbound"];

/// What to do instead of selecting by anything but addresses and ports.
const SELECT_BEFORE: &str =
    "filters test addresses and ports only; leave it out, or select with `tcpdump -w FILE` and read FILE";

/// A filter that was parsed.
pub(super) struct Parsed {
    /// The filter as a tree.
    pub expr: Expr,
    /// The first protocol other than TCP that it names, and where: its tests never hold.
    pub other_protocol: Option<FilterError>,
}

/// Parses a filter that isn't blank.
pub(super) fn parse(text: &str) -> Result<Parsed, FilterError> {
    let mut parser = Parser { text, words: words(text), next: 0, last: None, depth: 0, other_protocol: None };
    if parser.words.len() > MAX_WORDS {
        return Err(FilterError::new(
            text,
            0..text.len(),
            format!("the filter has more than {MAX_WORDS} words; shorten it"),
        ));
    }
    if let Some(word) = parser.words.iter().find(|word| reads_bytes(word.text)) {
        return Err(parser.error(word, format!("`{}`: {SELECT_BEFORE}", word.text)));
    }
    let expr = parser.expr(None)?;
    match parser.words.get(parser.next) {
        None => Ok(Parsed { expr, other_protocol: parser.other_protocol }),
        Some(word) if word.text == ")" => Err(parser.error(word, "this `)` closes nothing")),
        Some(word) => Err(parser.error(word, format!("expected `and` or `or` before `{}`", word.text))),
    }
}

/// The direction of a qualifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Src,
    Dst,
    Either,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Ip,
    Ip6,
    Tcp,
    /// Any but TCP: no segment is of it.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
}

/// The qualifiers before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Qualifiers {
    protocol: Option<Protocol>,
    direction: Option<Direction>,
    kind: Option<Kind>,
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Word<'a>>,
    next: usize,
    /// The last qualifiers written, for values that come without.
    last: Option<Qualifiers>,
    depth: usize,
    /// What is wrong with the first protocol other than TCP, if nothing but it is asked for.
    other_protocol: Option<FilterError>,
}

impl<'a> Parser<'a> {
    fn error(&self, word: &Word<'_>, message: impl Into<String>) -> FilterError {
        FilterError::new(self.text, word.at.clone(), message)
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).map(|word| word.text)
    }

    fn take(&mut self, options: &[&str]) -> bool {
        let taken = self.peek().is_some_and(|word| options.contains(&word));
        self.next += usize::from(taken);
        taken
    }

    /// The next word, or an error at the end of the text that says what is missing.
    fn word(&mut self, wanted: &str) -> Result<Word<'a>, FilterError> {
        let word = self.words.get(self.next).cloned().ok_or_else(|| {
            FilterError::new(
                self.text,
                self.text.len()..self.text.len(),
                format!("{wanted} is missing at the end"),
            )
        })?;
        self.next += 1;
        Ok(word)
    }

    /// A chain of terms. `inside` holds the qualifiers of a list in parentheses: `port (80 or 443)`.
    fn expr(&mut self, inside: Option<Qualifiers>) -> Result<Expr, FilterError> {
        let mut expr = self.term(inside)?;
        loop {
            if self.take(&["and", "&&"]) {
                expr = expr.and(self.term(inside)?);
            } else if self.take(&["or", "||"]) {
                expr = expr.or(self.term(inside)?);
            } else {
                return Ok(expr);
            }
        }
    }

    fn term(&mut self, inside: Option<Qualifiers>) -> Result<Expr, FilterError> {
        if self.take(&["not", "!"]) {
            return self.deeper(|parser| Ok(parser.term(inside)?.negated()));
        }
        if self.peek() == Some("(") {
            return self.parentheses(inside);
        }
        if let Some(qualifiers) = inside {
            let word = self.word("a value")?;
            return self.value(&word, qualifiers);
        }
        self.primitive()
    }

    fn parentheses(&mut self, inside: Option<Qualifiers>) -> Result<Expr, FilterError> {
        let open = self.word("`(`")?;
        let expr = self.deeper(|parser| parser.expr(inside))?;
        if self.take(&[")"]) {
            return Ok(expr);
        }
        match self.words.get(self.next) {
            None => Err(self.error(&open, "this `(` is never closed; add a `)`")),
            Some(word) => {
                Err(self.error(word, format!("expected `and`, `or` or `)` before `{}`", word.text)))
            }
        }
    }

    /// Runs `inner` one level deeper.
    fn deeper(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Expr, FilterError>,
    ) -> Result<Expr, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError::new(
                self.text,
                0..self.text.len(),
                format!("parentheses and `not` are nested deeper than {MAX_DEPTH}; simplify the filter"),
            ));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Qualifiers and a value, a protocol alone, or a value that takes the last qualifiers.
    fn primitive(&mut self) -> Result<Expr, FilterError> {
        let first = self.next;
        if let Some(expr) = self.protocol_by_number()? {
            return Ok(expr);
        }
        let qualifiers =
            Qualifiers { protocol: self.protocol(), direction: self.direction()?, kind: self.kind() };
        let bare = Qualifiers { protocol: None, direction: None, kind: None };
        if qualifiers == bare {
            let word = self.word("a test, such as `host A` or `port P`,")?;
            return self.value(&word, self.last.unwrap_or(bare));
        }
        if let Qualifiers { protocol: Some(protocol), direction: None, kind: None } = qualifiers
            && matches!(self.peek(), None | Some(")" | "and" | "or" | "&&" | "||"))
        {
            return Ok(protocol_alone(protocol));
        }
        if qualifiers.protocol == Some(Protocol::Other) && qualifiers.kind.is_none() {
            return Err(only_tcp(self.text, &self.words[first]));
        }
        self.check(qualifiers, first)?;
        self.last = Some(qualifiers);
        if self.peek() == Some("(") {
            return self.parentheses(Some(qualifiers));
        }
        let word = self.word("a value")?;
        self.value(&word, qualifiers)
    }

    fn protocol(&mut self) -> Option<Protocol> {
        let protocol = match self.peek()? {
            "ip" => Protocol::Ip,
            "ip6" => Protocol::Ip6,
            "tcp" => Protocol::Tcp,
            word if is_other_protocol(word) => {
                self.note_other_protocol();
                Protocol::Other
            }
            _ => return None,
        };
        self.next += 1;
        Some(protocol)
    }

    /// `ip proto 6`, `ip6 proto tcp`, `proto \tcp`.
    fn protocol_by_number(&mut self) -> Result<Option<Expr>, FilterError> {
        let after = self.words.get(self.next + 1).map(|word| word.text);
        let version = match (self.peek(), after) {
            (Some("proto"), _) => None,
            (Some("ip"), Some("proto")) => Some(Protocol::Ip),
            (Some("ip6"), Some("proto")) => Some(Protocol::Ip6),
            _ => return Ok(None),
        };
        self.next += 1 + usize::from(version.is_some());
        let word = self.word("a protocol, such as `6` or `tcp`,")?;
        let name = word.text.trim_start_matches('\\');
        let protocol = if matches!(name, "tcp" | TCP) {
            Protocol::Tcp
        } else if is_other_protocol(name) || name.parse::<u8>().is_ok() {
            self.next -= 1;
            self.note_other_protocol();
            self.next += 1;
            Protocol::Other
        } else {
            return Err(
                self.error(&word, format!("`{}` is not a protocol; write `proto 6` or `tcp`", word.text))
            );
        };
        let expr = protocol_alone(protocol);
        Ok(Some(version.map_or(expr.clone(), |version| protocol_alone(version).and(expr))))
    }

    /// Notes down that the next word names a protocol other than TCP.
    fn note_other_protocol(&mut self) {
        if let Some(word) = self.words.get(self.next) {
            self.other_protocol.get_or_insert_with(|| only_tcp(self.text, word));
        }
    }

    fn direction(&mut self) -> Result<Option<Direction>, FilterError> {
        let first = match self.peek() {
            Some("src") => Direction::Src,
            Some("dst") => Direction::Dst,
            _ => return Ok(None),
        };
        self.next += 1;
        let opposite = if first == Direction::Src { "dst" } else { "src" };
        let joined = match (self.peek(), self.words.get(self.next + 1).map(|word| word.text)) {
            (Some("or" | "||"), Some(word)) if word == opposite => Direction::Either,
            (Some("and" | "&&"), Some(word)) if word == opposite => Direction::Both,
            _ => return Ok(Some(first)),
        };
        self.next += 2;
        Ok(Some(joined))
    }

    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek()? {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            _ => return None,
        };
        self.next += 1;
        Some(kind)
    }

    /// `ip port` and `tcp host` mean nothing, in pcap-filter as here.
    fn check(&self, qualifiers: Qualifiers, first: usize) -> Result<(), FilterError> {
        let word = &self.words[first];
        match (qualifiers.protocol, qualifiers.kind) {
            (Some(Protocol::Tcp), None | Some(Kind::Host | Kind::Net)) => {
                Err(self.error(word, "`tcp` goes before `port` and `portrange` only; write `tcp and ...`"))
            }
            (Some(Protocol::Ip | Protocol::Ip6), Some(Kind::Port | Kind::PortRange)) => Err(self.error(
                word,
                format!("`{0}` goes before `host` and `net` only; write `{0} and ...`", word.text),
            )),
            _ => Ok(()),
        }
    }

    /// The expression for one value under its qualifiers.
    fn value(&mut self, word: &Word<'a>, qualifiers: Qualifiers) -> Result<Expr, FilterError> {
        let expr = self.any_protocol_value(word, qualifiers)?;
        let is_other = qualifiers.protocol == Some(Protocol::Other);
        Ok(if is_other { protocol_alone(Protocol::Other).and(expr) } else { expr })
    }

    /// The expression for one value, whatever the protocol.
    fn any_protocol_value(&mut self, word: &Word<'a>, qualifiers: Qualifiers) -> Result<Expr, FilterError> {
        if matches!(word.text, "and" | "or" | "&&" | "||" | ")" | "&" | "|") {
            return Err(self.error(word, format!("a test or a value is missing before `{}`", word.text)));
        }
        if let Some(advice) = advice(word.text) {
            return Err(self.error(word, format!("`{}`: {advice}", word.text)));
        }
        match qualifiers.kind {
            Some(Kind::Port) => {
                let port = self.port(word)?;
                Ok(self.ends(qualifiers, |end| Primitive::Port(end, port..=port)))
            }
            Some(Kind::PortRange) => {
                let range = self.port_range(word)?;
                Ok(self.ends(qualifiers, |end| Primitive::Port(end, range.clone())))
            }
            kind => self.network(word, qualifiers, kind),
        }
    }

    fn network(
        &mut self,
        word: &Word<'a>,
        qualifiers: Qualifiers,
        kind: Option<Kind>,
    ) -> Result<Expr, FilterError> {
        let (net, is_ip4) = match (kind, word.text.split_once('/')) {
            (Some(Kind::Net), Some((address, bits))) | (None, Some((address, bits))) => {
                self.prefix(word, address, bits)?
            }
            (Some(Kind::Net), None) => self.net_without_length(word)?,
            (Some(Kind::Host), Some(_)) => {
                return Err(self.error(word, format!("`{0}` is a net: write `net {0}`", word.text)));
            }
            _ => {
                let address = self.address(word)?;
                (Net::host(address.into()), address.is_ipv4())
            }
        };
        match (qualifiers.protocol, is_ip4) {
            (Some(Protocol::Ip), false) => {
                return Err(self.error(word, "`ip` before an IPv6 address: write `ip6`"));
            }
            (Some(Protocol::Ip6), true) => {
                return Err(self.error(word, "`ip6` before an IPv4 address: write `ip`"));
            }
            _ => {}
        }
        let expr = self.ends(qualifiers, |end| Primitive::Net(end, net));
        // IPv4 is held as ::ffff:a.b.c.d; a net written as IPv6 mustn't catch it. Both ends of a
        // segment have the same version, so checking one is enough.
        let ip6_only = !is_ip4 && net.meets_ip4();
        Ok(if ip6_only { protocol_alone(Protocol::Ip6).and(expr) } else { expr })
    }

    /// Applies a primitive to the ends that the direction names.
    fn ends(&self, qualifiers: Qualifiers, primitive: impl Fn(End) -> Primitive) -> Expr {
        let [src, dst] = [End::Src, End::Dst].map(|end| Expr::Is(primitive(end)));
        match qualifiers.direction.unwrap_or(Direction::Either) {
            Direction::Src => src,
            Direction::Dst => dst,
            Direction::Either => src.or(dst),
            Direction::Both => src.and(dst),
        }
    }

    fn port(&self, word: &Word<'_>) -> Result<u16, FilterError> {
        port_or_service(word.text).ok_or_else(|| {
            let hint = match word.text {
                text if text.contains('-') => "; a range is written `portrange A-B`",
                text if text.parse::<IpAddr>().is_ok() => "; an address is written `host A`",
                text if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    ", nor one of the names of services that tmap knows; write its number"
                }
                _ => "",
            };
            self.error(word, format!("`{}` is not a port, 0 to 65535{hint}", word.text))
        })
    }

    fn port_range(&self, word: &Word<'_>) -> Result<RangeInclusive<u16>, FilterError> {
        let range = match word.text.split_once('-') {
            _ if services::port(word.text).is_some() => services::port(word.text).map(|port| (port, port)),
            Some((low, high)) => port_or_service(low).zip(port_or_service(high)),
            // As in pcap-filter, one port is a range too.
            None => port_number(word.text).map(|port| (port, port)),
        };
        match range {
            // pcap-filter takes the ends in either order.
            Some((low, high)) => Ok(low.min(high)..=low.max(high)),
            None => {
                Err(self.error(word, format!("`{}` is not a range of ports such as 8000-8080", word.text)))
            }
        }
    }

    fn address(&self, word: &Word<'_>) -> Result<IpAddr, FilterError> {
        word.text.parse().map_err(|_| {
            let message = match word.text {
                text if text.parse::<u32>().is_ok() => {
                    format!("`{text}` is not an address; for a port, write `port {text}`")
                }
                text if text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(':') => {
                    format!("`{text}` is not an IP address")
                }
                text if self.last.is_some() || self.next > 1 => {
                    format!("`{text}` is no IP address (tmap does not look up names) and no filter word")
                }
                text => format!(
                    "`{text}` is not a filter word; use src dst host net port portrange ip ip6 tcp and or not"
                ),
            };
            self.error(word, message)
        })
    }

    /// `A/len`, A of one to four parts in IPv4.
    fn prefix(&self, word: &Word<'_>, address: &str, bits: &str) -> Result<(Net, bool), FilterError> {
        let (base, is_ip4) = match (partial_ip4(address), address.parse::<IpAddr>()) {
            (Some((base, _)), _) => (u128::from(base), true),
            (None, Ok(IpAddr::V6(base))) => (u128::from(base), false),
            _ => return Err(self.error(word, format!("`{address}` is not an IP address"))),
        };
        let width = if is_ip4 { 32 } else { 128 };
        let Some(bits) = bits.parse::<u32>().ok().filter(|bits| *bits <= width) else {
            return Err(self.error(word, format!("the prefix length is 0 to {width}")));
        };
        let mask = u128::MAX.checked_shl(width - bits).unwrap_or(0);
        self.masked(word, base, mask, is_ip4)
    }

    /// `net 10.1`, `net 10.0.0.0 mask 255.0.0.0`, `net A` (an address: all its bits count).
    fn net_without_length(&mut self, word: &Word<'a>) -> Result<(Net, bool), FilterError> {
        let Some((base, bits)) = partial_ip4(word.text) else {
            let address = self.address(word)?;
            return Ok((Net::host(address.into()), address.is_ipv4()));
        };
        if !self.take(&["mask"]) {
            let mask = u128::MAX.checked_shl(32 - bits).unwrap_or(0);
            return self.masked(word, u128::from(base), mask, true);
        }
        let mask_word = self.word("the mask")?;
        let Some((mask, _)) = partial_ip4(mask_word.text) else {
            return Err(
                self.error(&mask_word, format!("`{}` is not a mask such as 255.255.0.0", mask_word.text))
            );
        };
        self.masked(word, u128::from(base), u128::MAX << 32 | u128::from(mask), true)
    }

    /// A net from its base and mask, both in the low bits. As in pcap-filter, bits outside the mask are an
    /// error.
    fn masked(
        &self,
        word: &Word<'_>,
        base: u128,
        mask: u128,
        is_ip4: bool,
    ) -> Result<(Net, bool), FilterError> {
        if base & !mask != 0 {
            return Err(
                self.error(word, format!("`{}` has bits set outside its mask; clear them", word.text))
            );
        }
        if !is_ip4 {
            return Ok((Net { net: base, mask }, false));
        }
        Ok((Net { net: Net::IP4.net | base, mask: Net::IP4.mask | mask }, true))
    }
}

fn protocol_alone(protocol: Protocol) -> Expr {
    let ip4 = Expr::Is(Primitive::Net(End::Src, Net::IP4));
    match protocol {
        Protocol::Ip => ip4,
        Protocol::Ip6 => ip4.negated(),
        Protocol::Tcp => Expr::Is(Primitive::Any),
        Protocol::Other => Expr::Is(Primitive::Any).negated(),
    }
}

/// Whether the word names a protocol that isn't TCP.
fn is_other_protocol(word: &str) -> bool {
    matches!(word, "udp" | "icmp" | "icmp6" | "igmp" | "arp" | "rarp" | "sctp" | "esp" | "ah")
}

/// The error where a filter leaves nothing but another protocol.
fn only_tcp(text: &str, word: &Word<'_>) -> FilterError {
    let message =
        format!("`{}`: tmap sees only TCP, because only TCP carries timestamps; leave it out", word.text);
    FilterError::new(text, word.at.clone(), message)
}

/// Whether the word asks for bytes of a packet, such as `tcp[tcpflags]`. IPv6 addresses in brackets don't.
fn reads_bytes(word: &str) -> bool {
    word.contains('[') && !(word.starts_with('[') && word.contains("::"))
}

/// What to do instead of using a word of pcap-filter that tmap lacks; `None` for all other words.
fn advice(word: &str) -> Option<&'static str> {
    if TAGS.contains(&word) {
        return Some(
            "filters test the packet inside of tags and tunnels, which tmap finds by itself; leave it out",
        );
    }
    OTHER_TESTS.contains(&word).then_some(SELECT_BEFORE)
}

/// A port by its number or its service's name.
fn port_or_service(text: &str) -> Option<u16> {
    port_number(text).or_else(|| services::port(text))
}

/// Digits only: `u16::from_str` would take a sign.
fn port_number(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// One to four decimal parts, left-aligned (`10.1` is 10.1.0.0), and how many bits they fill.
fn partial_ip4(text: &str) -> Option<(u32, u32)> {
    let mut octets = [0u8; 4];
    let mut count = 0;
    for part in text.split('.') {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octets.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    Some((u32::from_be_bytes(octets), count as u32 * 8))
}
