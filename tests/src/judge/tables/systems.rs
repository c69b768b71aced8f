//! Operating systems guessed, against those whose handshakes and clocks were simulated.
//!
//! Handshakes are drawn from the built-in signatures, so this tells how well evidence is weighed and
//! whether labels are told apart, not how complete the signatures are. Every stack counts the same,
//! however common it is: where only the clock is known, a rare one is taken for a common one with the
//! same clock.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{
    os::{
        ClockTraits, Observations, UNKNOWN,
        database::Database,
        guess,
        signature::{Fingerprint, Layout},
        stacks::{Family, STACKS, Stack},
    },
    snapshot::Regime,
};
use tmap_common::{Address, Flags, QuirkFields, Segment, Syn};

use crate::wire::frame::documentation_ip6;

/// The built-in signatures.
const SIGNATURES: &str = include_str!("../../../../tmap-user/src/engine/os/stacks.fp");

/// Machines a stack and row.
const MACHINES: usize = 200;

/// Usual segment sizes, the last one of jumbo frames.
const SIZES: [u16; 6] = [1460, 1440, 1400, 1380, 1360, 8960];

/// A row: machines by what was said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// The stack itself; of strangers, that they are unknown.
    pub right: usize,
    /// Its family.
    pub family: usize,
    /// That it can't be told.
    pub unknown: usize,
    /// Another stack, or another family.
    pub wrong: usize,
}

/// What is known of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Both,
    Handshake,
    Clock,
}

/// All rows.
pub fn measure() -> Vec<(String, Verdicts)> {
    let stacks = |family: Family| STACKS.iter().filter(move |stack| stack.family == family);
    let mut rows = Vec::new();
    let families = [
        Family::Linux,
        Family::Apple,
        Family::Windows,
        Family::FreeBsd,
        Family::OpenBsd,
        Family::NetBsd,
        Family::Solaris,
    ];
    for family in families {
        rows.push((format!("system {}", family.name()), row(stacks(family), Evidence::Both)));
    }
    rows.push(("systems, offsets not yet known".to_owned(), row(STACKS.iter(), Evidence::Handshake)));
    rows.push(("systems, no handshake seen".to_owned(), row(STACKS.iter(), Evidence::Clock)));
    rows.push(("systems nobody wrote down".to_owned(), strangers()));
    rows
}

fn row<'a>(stacks: impl Iterator<Item = &'a Stack>, evidence: Evidence) -> Verdicts {
    let mut rng = Pcg64::seed_from_u64(12);
    let mut verdicts = Verdicts::default();
    for stack in stacks {
        let templates = templates(stack.label);
        for _ in 0..MACHINES {
            let hops = rng.random_range(0..20);
            let template = templates[rng.random_range(0..templates.len())];
            let fingerprint = template.draw(&mut rng, hops);
            let seen = (evidence != Evidence::Clock).then_some(fingerprint);
            let mut observations = Observations::default();
            observations.add(seen, stack.initial_ttl - hops, 1.0);
            let drawn = clock(&mut rng, stack);
            let regime = if evidence == Evidence::Handshake { Regime::Undetermined } else { drawn.regime };
            let said = guess(Some(ClockTraits { regime, ..drawn }), &observations, Database::built_in()).name;
            *if said == stack.name {
                &mut verdicts.right
            } else if stack.family.is_named(&said) {
                &mut verdicts.family
            } else if said == UNKNOWN {
                &mut verdicts.unknown
            } else {
                &mut verdicts.wrong
            } += 1;
        }
    }
    verdicts
}

/// A stack's clock as it may be found.
fn clock(rng: &mut Pcg64, stack: &Stack) -> ClockTraits {
    let drawn: f64 = rng.random();
    let mut below = 0.0;
    let hz = stack.rates.iter().find(|(_, share)| {
        below += share;
        drawn < below
    });
    let drawn: f64 = rng.random();
    let regime = if drawn < stack.offsets.global {
        Regime::Global
    } else if drawn < stack.offsets.global + stack.offsets.per_pair {
        Regime::PerPair
    } else {
        Regime::PerConnection
    };
    ClockTraits { hz: hz.or(stack.rates.last()).map(|(hz, _)| *hz), regime }
}

/// Handshakes that fit no signature, with usual clocks.
fn strangers() -> Verdicts {
    let mut rng = Pcg64::seed_from_u64(13);
    let mut verdicts = Verdicts::default();
    while verdicts.right + verdicts.wrong < MACHINES * 5 {
        let mut words = vec!["ts", "mss", "ws", "sok", "nop", "nop"];
        let mut options = Vec::new();
        while !words.is_empty() {
            options.push(words.swap_remove(rng.random_range(0..words.len())));
        }
        let options = options.join(",");
        let template = Template {
            version: "4",
            ttl: 64,
            mss: "*",
            window: "*",
            scale: "*",
            options: &options,
            quirks: "df",
        };
        let fingerprint = template.draw(&mut rng, 5);
        if Database::built_in().matches(&fingerprint).is_some() {
            continue;
        }
        let mut observations = Observations::default();
        observations.add(Some(fingerprint), 59, 1.0);
        let stack = &STACKS[rng.random_range(0..STACKS.len())];
        let said = guess(Some(clock(&mut rng, stack)), &observations, Database::built_in()).name;
        *if said == UNKNOWN { &mut verdicts.right } else { &mut verdicts.wrong } += 1;
    }
    verdicts
}

/// A line of the signatures: `version:ttl:ip_options:mss:window,scale:options:quirks:payload`.
#[derive(Clone, Copy, Debug)]
struct Template<'a> {
    version: &'a str,
    ttl: u8,
    mss: &'a str,
    window: &'a str,
    scale: &'a str,
    options: &'a str,
    quirks: &'a str,
}

/// The SYNs of a label.
fn templates(label: &str) -> Vec<Template<'static>> {
    let requests = SIGNATURES.lines().take_while(|line| *line != "[tcp:response]");
    let mut is_own = false;
    let mut found = Vec::new();
    for line in requests {
        if let Some((_, text)) = line.split_once("label = ") {
            let words: Vec<&str> = text.splitn(4, ':').collect();
            is_own = words[0] == "s" && format!("{} {}", words[2], words[3]).trim() == label;
        } else if let Some((_, text)) = line.split_once("sig   = ").filter(|_| is_own) {
            found.push(Template::read(text));
        }
    }
    assert!(!found.is_empty(), "no signatures of {label}");
    found
}

impl<'a> Template<'a> {
    fn read(text: &'a str) -> Self {
        let fields: Vec<&str> = text.split(':').collect();
        let [version, ttl, _, mss, window, options, quirks, _] = fields[..] else { panic!("{text}") };
        let (window, scale) = window.split_once(',').expect("a window and a scale");
        Self { version, ttl: ttl.parse().expect("a TTL"), mss, window, scale, options, quirks }
    }

    /// A SYN so many hops away: what the signature leaves open is drawn.
    fn draw(&self, rng: &mut Pcg64, hops: u8) -> Fingerprint {
        let ip6 = self.version == "6" || self.version == "*" && rng.random();
        let (mss, window) = self.window(rng);
        let has = |name: &str| self.quirks.split(',').any(|quirk| quirk == name);
        let layout = Layout::parse(self.options).expect("options");
        let end = |host| match ip6 {
            true => Address::from_ip6(documentation_ip6(0, host)),
            false => Address::from_ip4([192, 0, 2, host]),
        };
        let congestion = if has("ecn") { Flags::ECE | Flags::CWR } else { Flags(0) };
        let segment = Segment {
            src: end(1),
            dst: end(2),
            src_port: 40_000,
            dst_port: 443,
            flags: Flags::SYN | congestion,
            hop_limit: self.ttl - hops,
            tsval: if has("ts1-") { 0 } else { rng.random_range(1..=u32::MAX) },
            syn: Some(Syn {
                window,
                mss,
                window_scale: if self.options.contains("ws") {
                    let (least, most) = self.scale.split_once('-').unwrap_or(("0", "14"));
                    let [least, most]: [u8; 2] = [least, most].map(|scale| scale.parse().expect("a scale"));
                    rng.random_range(least..=most)
                } else {
                    Syn::NO_SCALE
                },
                option_order: layout.order,
                other_kind: layout.other_kind,
                quirk_fields: QuirkFields {
                    fragment_flags: if !ip6 && has("df") { 0x40 } else { 0 },
                    id: u8::from(!ip6 && (has("id+") || !has("df"))),
                    flow_label: u8::from(has("flow")),
                    sequence: 1,
                    eol_padding: layout.eol_padding,
                    tcp_header_bytes: 40,
                    ..QuirkFields::default()
                },
            }),
            ..Segment::default()
        };
        Fingerprint::of(&segment).expect("a SYN")
    }

    /// Segment size and window.
    fn window(&self, rng: &mut Pcg64) -> (u16, u16) {
        loop {
            let mss = self.mss.parse().unwrap_or_else(|_| SIZES[rng.random_range(0..SIZES.len())]);
            let window = match self.window.strip_prefix("mss*") {
                None if self.window == "*" => Some(rng.random_range(1_000..=u16::MAX)),
                None => self.window.parse().ok(),
                Some(factors) => {
                    let (least, most) = factors.split_once('-').unwrap_or((factors, factors));
                    let [least, most]: [u16; 2] =
                        [least, most].map(|factor| factor.parse().expect("a factor"));
                    rng.random_range(least..=most).checked_mul(mss)
                }
            };
            if let Some(window) = window {
                return (mss, window);
            }
        }
    }
}
