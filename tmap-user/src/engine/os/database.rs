//! Signatures of TCP stacks: tmap's own small set, or the user's p0f database.
//!
//! The format is that of `p0f.fp` (p0f 3, README section 5): sections in brackets, of which
//! `[tcp:request]` and `[tcp:response]` matter here; `label = type:class:name:flavour`, then `sig =`
//! lines. One thing is added: `mss*44-55`, any multiple in that range.
//!
//! Why no crate: huginn-net-db 2.2.1, which reads this format, needs a packet-capture stack for its
//! TCP part, matches current Linux SYNs to Windows and iOS in its bundled database, and stops at the
//! first match. The guess at a system needs all matches.

use std::{fmt, ops::RangeInclusive, str::FromStr, sync::LazyLock};

use super::{
    quirks::Quirks,
    signature::{Fingerprint, Layout, MAX_HOPS, Multiple, parse_quirks},
};
use crate::engine::types::Side;

/// tmap's own signatures, from the stacks' sources and from traffic.
static BUILT_IN: LazyLock<Database> =
    LazyLock::new(|| include_str!("stacks.fp").parse().expect("the built-in signatures are sound"));

/// A set of signatures.
#[derive(Clone, Debug, Default)]
pub struct Database {
    entries: Vec<Entry>,
}

/// A label and its signatures for one side of the handshake.
#[derive(Clone, Debug)]
struct Entry {
    label: Label,
    side: Side,
    signatures: Vec<Signature>,
}

/// What a signature stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The system's name, for instance `Linux`.
    pub name: String,
    /// Its version or kind; may be empty.
    pub flavour: String,
    /// Whether it stands for a whole family, as a last resort, rather than for a particular version.
    pub generic: bool,
    /// Whether it names a program that builds its own packets rather than a system.
    pub tool: bool,
}

/// How well a fingerprint fits, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// All fields fit a particular version.
    Exact,
    /// All fields fit a family.
    Generic,
    /// All fields fit except those that networks change on the way: TTL, DF, IP id, ECN.
    Fuzzy,
}

/// A syntax error in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for Malformed {}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    ip6: Option<bool>,
    initial_ttl: u8,
    /// Whether the TTL is drawn at random, up to the initial one.
    random_ttl: bool,
    ip_options_bytes: u16,
    mss: Option<u16>,
    window: Window,
    scale: Option<RangeInclusive<u8>>,
    layout: Layout,
    quirks: Quirks,
    has_payload: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Window {
    Any,
    Exactly(u16),
    MultipleOf(u16),
    Mss(RangeInclusive<u16>),
    Mtu(u16),
}

impl Database {
    /// tmap's own signatures.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// The labels whose signatures fit `fingerprint` best, and how well; `None` where none fits.
    pub fn matches(&self, fingerprint: &Fingerprint) -> Option<(Fit, Vec<&Label>)> {
        let mut best: Option<(Fit, Vec<&Label>)> = None;
        for entry in self.entries.iter().filter(|entry| entry.side == fingerprint.side) {
            let fits = entry.signatures.iter().filter_map(|signature| signature.fit(fingerprint));
            let Some(fit) = fits.min().map(|fit| entry.label.rank(fit)) else { continue };
            match &mut best {
                Some((known, labels)) if *known == fit => labels.push(&entry.label),
                Some((known, _)) if *known < fit => {}
                _ => best = Some((fit, vec![&entry.label])),
            }
        }
        best
    }

    /// How many signatures there are.
    pub fn len(&self) -> usize {
        self.entries.iter().map(|entry| entry.signatures.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromStr for Database {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut database = Self::default();
        let mut side = None;
        for (index, line) in text.lines().enumerate() {
            let malformed = |reason| Malformed { line: index + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') {
                continue;
            }
            if line.starts_with('[') {
                side = match line {
                    "[tcp:request]" => Some(Side::Client),
                    "[tcp:response]" => Some(Side::Server),
                    _ => None,
                };
                continue;
            }
            let Some(side) = side else { continue };
            let (key, value) =
                line.split_once('=').ok_or(malformed("expected a [section] or `key = value`"))?;
            match (key.trim(), value.trim()) {
                ("label", value) if value.chars().any(char::is_control) => {
                    return Err(malformed("a label with a control character, which would steer terminals"));
                }
                ("label", value) => database.entries.push(Entry {
                    label: Label::parse(value)
                        .ok_or(malformed("expected a label type:class:name:flavour"))?,
                    side,
                    signatures: Vec::new(),
                }),
                ("sig", value) => {
                    let entry =
                        database.entries.last_mut().ok_or(malformed("a signature before any label"))?;
                    if entry.side != side {
                        return Err(malformed("a signature before any label of its section"));
                    }
                    entry.signatures.extend(Signature::parse(value).map_err(malformed)?);
                }
                ("sys", _) => {}
                _ => return Err(malformed("expected label, sys or sig")),
            }
        }
        if database.is_empty() {
            return Err(Malformed {
                line: text.lines().count(),
                reason: "no signature in [tcp:request] or [tcp:response]",
            });
        }
        Ok(database)
    }
}

impl Label {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':').map(str::trim);
        let generic = match parts.next()? {
            "s" => false,
            "g" => true,
            _ => return None,
        };
        let tool = parts.next()? == "!";
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        Some(Self { name, flavour: parts.next().unwrap_or_default().to_owned(), generic, tool })
    }

    fn rank(&self, fit: Fit) -> Fit {
        if fit == Fit::Exact && self.generic { Fit::Generic } else { fit }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.flavour.is_empty() { Ok(()) } else { write!(f, " {}", self.flavour) }
    }
}

impl Signature {
    /// Reads a signature; `Ok(None)` for one that can never match here.
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let parts: Vec<&str> = text.split(':').map(str::trim).collect();
        let [version, ttl, ip_options, mss, window, layout, quirks, payload] = parts[..] else {
            return Err("expected a signature of eight parts between colons");
        };
        let ip6 = match version {
            "4" => Some(false),
            "6" => Some(true),
            "*" => None,
            _ => return Err("expected an IP version of 4, 6 or *"),
        };
        let (initial_ttl, random_ttl) =
            ttl_of(ttl).ok_or("expected a TTL from 1 to 255, such as 64, 60+4 or 255-")?;
        let (window, scale) = window.split_once(',').ok_or("expected window and scale, such as mss*20,7")?;
        let quirks = parse_quirks(quirks).ok_or("unknown quirk; see the quirks of p0f")?;
        let Some(quirks) = quirks else { return Ok(None) };
        Ok(Some(Self {
            ip6,
            initial_ttl,
            random_ttl,
            ip_options_bytes: ip_options
                .parse()
                .map_err(|_| "expected the length of IP options as a number")?,
            mss: number_or_any(mss).ok_or("expected an MSS: a number or *")?,
            window: Window::parse(window)
                .ok_or("expected a window: number, *, %n, mss*n, mss*n-m from n up to m, or mtu*n")?,
            scale: scales_of(scale).ok_or("expected a window scale: number, *, or n-m from n up to m")?,
            layout: Layout::parse(layout).ok_or("unknown TCP option")?,
            quirks,
            has_payload: match payload {
                "0" => Some(false),
                "+" => Some(true),
                "*" => None,
                _ => return Err("expected a payload of 0, + or *"),
            },
        }))
    }

    /// How well `seen` fits this signature; `None` where it doesn't.
    fn fit(&self, seen: &Fingerprint) -> Option<Fit> {
        let syn = &seen.syn;
        let fits = self.ip6.is_none_or(|ip6| ip6 == seen.ip6)
            && self.ip_options_bytes == syn.quirk_fields.ip_options_bytes
            && self.mss.is_none_or(|mss| mss == syn.mss)
            && self.window.fits(seen)
            && self.scale.as_ref().is_none_or(|scales| scales.contains(&seen.scale()))
            && self.layout == seen.layout()
            && self.has_payload.is_none_or(|payload| payload == seen.has_payload);
        if !fits {
            return None;
        }
        let near = seen.hop_limit <= self.initial_ttl
            && (self.random_ttl || self.initial_ttl - seen.hop_limit <= MAX_HOPS);
        if self.random_ttl && !near {
            return None;
        }
        let wanted = self.quirks_for(seen.ip6);
        let missing = wanted.without(seen.quirks);
        let added = seen.quirks.without(wanted);
        match (near, missing.is_empty() && added.is_empty()) {
            (true, true) => Some(Fit::Exact),
            _ if VANISHING.contains(missing) && APPEARING.contains(added) => Some(Fit::Fuzzy),
            _ => None,
        }
    }

    /// The quirks to expect: a signature for both IP versions lists quirks that only one can show.
    fn quirks_for(&self, ip6: bool) -> Quirks {
        match (self.ip6, ip6) {
            (None, true) => self.quirks.without(Quirks::ONLY_IP4),
            (None, false) => self.quirks.without(Quirks::FLOW_LABEL),
            _ => self.quirks,
        }
    }
}

/// Quirks that may be missing in a fuzzy match, and quirks that may be there in addition (p0f's README).
/// Flow labels are this project's addition: hosts and sockets choose whether to set them (RFC 6437).
const VANISHING: Quirks = Quirks::DONT_FRAGMENT.with(Quirks::ID_WITH_DF).with(Quirks::FLOW_LABEL);
const APPEARING: Quirks = Quirks::NO_ID_WITHOUT_DF.with(Quirks::ECN).with(Quirks::FLOW_LABEL);

/// Parses `7`, `6-12` (any from 6 to 12) or `*` (`Some(None)`).
fn scales_of(text: &str) -> Option<Option<RangeInclusive<u8>>> {
    let Some((least, most)) = text.split_once('-') else {
        return number_or_any(text).map(|scale| scale.map(|scale: u8| scale..=scale));
    };
    let scales = least.parse().ok()?..=most.parse().ok()?;
    (!scales.is_empty()).then_some(Some(scales))
}

/// Parses `64`, `60+4` (observed TTL and distance) or `255-` (random, up to that); `64+?` counts as `64`.
/// Returns the initial TTL, and whether it is random.
fn ttl_of(text: &str) -> Option<(u8, bool)> {
    let (initial, random): (u8, bool) = if let Some(highest) = text.strip_suffix('-') {
        (highest.parse().ok()?, true)
    } else if let Some((seen, distance)) = text.split_once('+') {
        let distance = if distance == "?" { 0 } else { distance.parse().ok()? };
        (seen.parse::<u8>().ok()?.checked_add(distance)?, false)
    } else {
        (text.parse().ok()?, false)
    };
    (initial > 0).then_some((initial, random))
}

/// Parses a number or `*`: `Some(None)` for `*`, `None` for anything else.
fn number_or_any<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == "*" { Some(None) } else { text.parse().ok().map(Some) }
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        Some(if text == "*" {
            Self::Any
        } else if let Some(factors) = text.strip_prefix("mss*") {
            let (first, last) = factors.split_once('-').unwrap_or((factors, factors));
            let factors = first.parse().ok()?..=last.parse().ok()?;
            (!factors.is_empty()).then_some(Self::Mss(factors))?
        } else if let Some(factor) = text.strip_prefix("mtu*") {
            Self::Mtu(factor.parse().ok()?)
        } else if let Some(unit) = text.strip_prefix('%') {
            Self::MultipleOf(unit.parse().ok().filter(|unit| *unit > 0)?)
        } else {
            Self::Exactly(text.parse().ok()?)
        })
    }

    fn fits(&self, seen: &Fingerprint) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(window) => seen.syn.window == *window,
            Self::MultipleOf(unit) => seen.syn.window.is_multiple_of(*unit),
            Self::Mss(factors) => {
                matches!(seen.window_multiple(), Some(Multiple::Mss(factor)) if factors.contains(&factor))
            }
            Self::Mtu(factor) => seen.window_multiple() == Some(Multiple::Mtu(*factor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::Syn;

    const SMALL: &str = "
classes = win,unix
[mtu]
label = Ethernet
sig = 1500
[tcp:request]
label = s:unix:Linux:3.11 and newer
sys = Linux
sig = *:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0
label = g:unix:Linux:
sig = *:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:0
label = s:!:Tool:
sig = 4:255-:0:1400:%1024,0:ts:bad:*
sig = 4:255-:0:1400:%1024,0:ts::*
[tcp:response]
label = s:unix:Linux:3.x
sig = *:60+4:0:*:mss*10,7:mss,sok,ts,nop,ws:df:0
[http:request]
ua_os = Linux,Windows
";

    fn seen(text: &str, window: u16) -> Fingerprint {
        Fingerprint {
            side: Side::Client,
            ip6: false,
            hop_limit: 60,
            has_payload: false,
            quirks: Quirks::DONT_FRAGMENT | Quirks::ID_WITH_DF,
            syn: Syn {
                window,
                mss: 1460,
                window_scale: 7,
                option_order: Layout::parse(text).unwrap().order,
                ..Syn::default()
            },
        }
    }

    fn names(database: &Database, fingerprint: &Fingerprint) -> Option<(Fit, Vec<String>)> {
        let (fit, labels) = database.matches(fingerprint)?;
        Some((fit, labels.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn the_best_fit_wins() {
        let database: Database = SMALL.parse().unwrap();
        assert_eq!(database.len(), 4, "a signature with `bad` never matches");
        let mut linux = seen("mss,sok,ts,nop,ws", 29200);
        assert_eq!(names(&database, &linux), Some((Fit::Exact, vec!["Linux 3.11 and newer".to_owned()])));
        linux.syn.window = 30000;
        assert_eq!(names(&database, &linux), Some((Fit::Generic, vec!["Linux".to_owned()])));
        linux.quirks = Quirks::ECN | Quirks::DONT_FRAGMENT;
        assert_eq!(names(&database, &linux), Some((Fit::Fuzzy, vec!["Linux".to_owned()])));
        linux.quirks = Quirks::SEQUENCE_ZERO;
        assert_eq!(names(&database, &linux), None);
        assert_eq!(names(&database, &seen("mss,ts", 29200)), None);
        assert_eq!(database.matches(&Fingerprint { side: Side::Server, ..seen("ts", 1) }), None);
    }

    #[test]
    fn ttls_and_ip_versions_are_told_apart() {
        let database: Database = SMALL.parse().unwrap();
        let mut linux = seen("mss,sok,ts,nop,ws", 29200);
        linux.hop_limit = 128;
        assert_eq!(names(&database, &linux).map(|(fit, _)| fit), Some(Fit::Fuzzy));
        linux.hop_limit = 64;
        linux.ip6 = true;
        linux.quirks = Quirks::default();
        assert_eq!(names(&database, &linux).map(|(fit, _)| fit), Some(Fit::Exact), "IPv6 has no DF");
        let mut tool = seen("ts", 2048);
        tool.quirks = Quirks::default();
        tool.syn = Syn { mss: 1400, window_scale: Syn::NO_SCALE, ..tool.syn };
        assert_eq!(names(&database, &tool), Some((Fit::Exact, vec!["Tool".to_owned()])));
        tool.syn.window = 2049;
        assert_eq!(names(&database, &tool), None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let broken = |text: &str| text.parse::<Database>().map(|_| ()).unwrap_err();
        let section = "[tcp:request]\nlabel = s:unix:A:\n";
        for (text, line) in [
            ("", 0),
            ("[http:request]\nsig = whatever", 2),
            ("[tcp:request]\nsig = *:64:0:*:*,*:ts::0", 2),
            ("[tcp:request]\nlabel = Linux", 2),
            (&format!("{section}sig = *:64:0:*:*:ts::0"), 3),
            (&format!("{section}sig = *:0:0:*:*,*:ts::0"), 3),
            (&format!("{section}sig = *:64:0:*:mss*x,*:ts::0"), 3),
            (&format!("{section}sig = *:64:0:*:%0,*:ts::0"), 3),
            (&format!("{section}sig = *:64:0:*:mss*9-2,*:ts::0"), 3),
            ("[tcp:request]\nlabel = s:unix:\u{1b}[31mA:", 2),
            (&format!("{section}sig = *:64:0:*:*,9-2:ts::0"), 3),
            (&format!("{section}sig = *:64:0:*:*,*:tss::0"), 3),
            (&format!("{section}sig = *:64:0:*:*,*:ts:xx:0"), 3),
            (&format!("{section}colour = red"), 3),
            (&format!("{section}[tcp:response]\nsig = *:64:0:*:*,*:ts::0"), 4),
        ] {
            assert_eq!(broken(text).line, line, "{text}");
        }
    }
}
