//! The parser of filters, from words to an expression: pcap-filter's grammar for TCP segments.
//!
//! ```text
//! expr  := term { ("and" | "or") term }                     equal rank, from left to right
//! term  := "not" term | "(" expr ")" | proto | qualified
//! qualified := [proto] [direction] [kind] (value | "(" values ")")
//! ```
//! A value without qualifiers takes those of the last one written.

use std::{net::IpAddr, ops::RangeInclusive};

use super::{
    FilterError,
    expr::{End, Expr, Net, Primitive},
    lex::{Word, words},
};

/// Deeper nesting than any person writes; keeps recursion bounded.
const MAX_DEPTH: usize = 64;

/// The most words, which bounds the tree (operators nest to the left).
const MAX_WORDS: usize = 1024;

/// Parses a filter that isn't blank.
pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser { text, words: words(text), next: 0, last: None, depth: 0 };
    if parser.words.len() > MAX_WORDS {
        return Err(FilterError::new(
            text,
            0..text.len(),
            format!("the filter has more than {MAX_WORDS} words; shorten it"),
        ));
    }
    let expr = parser.expr(None)?;
    match parser.words.get(parser.next) {
        None => Ok(expr),
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
            _ => return None,
        };
        self.next += 1;
        Some(protocol)
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
        if matches!(word.text, "and" | "or" | "&&" | "||" | ")" | "&" | "|") {
            return Err(self.error(word, format!("a test or a value is missing before `{}`", word.text)));
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
        port_number(word.text).ok_or_else(|| {
            let hint = match word.text {
                text if text.contains('-') => "; a range is written `portrange A-B`",
                text if text.parse::<IpAddr>().is_ok() => "; an address is written `host A`",
                text if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    " (tmap does not look up names of services)"
                }
                _ => "",
            };
            self.error(word, format!("`{}` is not a port, 0 to 65535{hint}", word.text))
        })
    }

    fn port_range(&self, word: &Word<'_>) -> Result<RangeInclusive<u16>, FilterError> {
        let range = match word.text.split_once('-') {
            Some((low, high)) => port_number(low).zip(port_number(high)),
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
                text @ ("udp" | "icmp" | "icmp6" | "arp" | "sctp") => {
                    format!("`{text}`: tmap sees only TCP, because only TCP carries timestamps")
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
    }
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
