//! Which operating system a machine runs: clock, handshake and TTL in one guess.
//!
//! No single property tells any more. A clock of 1000 Hz with random offsets is Linux, macOS or
//! FreeBSD; a SYN with Linux's options is Linux, but of which age its clock tells; behind a proxy
//! the SYN is the proxy's and so is the clock. Each property therefore contributes a likelihood for
//! each [stack](stacks), and the posterior is reported: the best name with its probability, the
//! alternatives, and "unknown" where nothing is probable enough.

pub mod database;
pub mod likeness;
pub mod quirks;
pub mod signature;
pub mod stacks;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::snapshot::{OsReport, Regime};
use database::{Database, Fit};
use signature::{Fingerprint, hops, initial_ttl};
use stacks::{Family, STACKS, Stack};

/// What is said where the evidence doesn't suffice.
pub const UNKNOWN: &str = "unknown";

/// A name is given if it is at least this probable.
const MIN_CONFIDENCE: f64 = 0.7;

/// Nothing is named by its clock if more than this part of its handshakes fits no signature: clocks of
/// stacks that nobody wrote down are no rarer at 1000 Hz than at any other rate.
const MAX_UNHEARD_OF: f64 = 0.5;

/// No guess is surer: hosts can imitate each other, and the table has errors.
const MAX_CONFIDENCE: f64 = 0.99;

/// Alternatives are listed from this probability on, and this many.
const MIN_ALTERNATIVE: f64 = 0.05;
const MAX_ALTERNATIVES: usize = 4;

/// The most different fingerprints of one machine that are looked at; the commonest come first.
const MAX_FINGERPRINTS: usize = 16;

/// Hops are reported if this part of the connections agrees on the TTL.
const MIN_TTL_SHARE: f64 = 0.5;

/// A machine's clock, as far as it tells the system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Nominal tick rate in Hz; `None` for a clock that keeps no rate.
    pub hz: Option<f64>,
    /// How its offsets are drawn.
    pub regime: Regime,
}

/// The handshakes and TTLs seen from one machine, weighted by how surely they are its own.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    fingerprints: Vec<(Fingerprint, f64)>,
    /// Where each of them is.
    places: HashMap<Fingerprint, usize, RandomState>,
    /// Where the last one that was added is: the next is often the same.
    last: usize,
    ttls: BTreeMap<u8, f64>,
}

impl Sightings {
    /// Adds a connection: its fingerprint, if the handshake was seen, and its TTL.
    pub fn add(&mut self, fingerprint: Option<Fingerprint>, hop_limit: u8, weight: f64) {
        if let Some(fingerprint) = fingerprint {
            if self.fingerprints.get(self.last).is_none_or(|(last, _)| *last != fingerprint) {
                self.last = *self.places.entry(fingerprint).or_insert(self.fingerprints.len());
                if self.last == self.fingerprints.len() {
                    self.fingerprints.push((fingerprint, 0.0));
                }
            }
            self.fingerprints[self.last].1 += weight;
        }
        *self.ttls.entry(hop_limit).or_default() += weight;
    }

    /// Fingerprints with their shares, the commonest first.
    fn shares(&self) -> Vec<(Fingerprint, f64)> {
        let mut all = self.fingerprints.clone();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.to_string().cmp(&b.0.to_string())));
        all.truncate(MAX_FINGERPRINTS);
        let total: f64 = all.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in &mut all {
            *weight /= total.max(f64::MIN_POSITIVE);
        }
        all
    }

    /// The TTL that most connections have, with its share.
    fn ttl(&self) -> Option<(u8, f64)> {
        let total: f64 = self.ttls.values().sum();
        let (ttl, weight) = self.ttls.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
        (total > 0.0).then_some((*ttl, weight / total))
    }
}

/// One guess from everything known of a machine.
pub fn guess(pace: Pace, sightings: &Sightings, database: &Database) -> OsReport {
    let shares = sightings.shares();
    let ttl = sightings.ttl();
    let matches: Vec<(f64, Match)> =
        shares.iter().map(|(fingerprint, share)| (*share, Match::of(fingerprint, database))).collect();
    let mut candidates: Vec<Candidate> = STACKS.iter().map(|stack| stack.into()).collect();
    candidates.push(Candidate::other());
    for (_, found) in &matches {
        for label in found.strangers() {
            if !candidates.iter().any(|candidate| candidate.name == label) {
                candidates.push(Candidate::stranger(label));
            }
        }
    }
    for candidate in &mut candidates {
        candidate.weight *= candidate.of_pace(pace);
        candidate.weight *= match &matches[..] {
            [] => ttl.map_or(1.0, |(ttl, _)| candidate.of_ttl(ttl)),
            _ => matches.iter().map(|(share, found)| share * candidate.of_match(found)).sum(),
        };
    }
    let hops = ttl.filter(|(_, share)| *share >= MIN_TTL_SHARE).and_then(|(ttl, _)| hops(ttl));
    let unheard_of: f64 =
        matches.iter().filter(|(_, found)| found.fit.is_none()).map(|(share, _)| share).sum();
    let least = if unheard_of > MAX_UNHEARD_OF { f64::INFINITY } else { MIN_CONFIDENCE };
    report(candidates, least, shares.first().map(|(fingerprint, _)| fingerprint.to_string()), hops)
}

/// Normalises the candidates and says what can be said: a name that is at least `least` probable.
fn report(
    mut candidates: Vec<Candidate>,
    least: f64,
    signature: Option<String>,
    hops: Option<u8>,
) -> OsReport {
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    for candidate in &mut candidates {
        candidate.weight /= total;
    }
    candidates.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let named = |candidate: &Candidate| candidate.name != UNKNOWN && candidate.weight >= MIN_ALTERNATIVE;
    let mut alternatives: Vec<(String, f64)> =
        candidates.iter().filter(|c| named(c)).map(|c| (c.name.clone(), c.weight)).collect();
    let (name, confidence) = match candidates.iter().find(|candidate| candidate.weight >= least) {
        Some(best) if best.name != UNKNOWN => (best.name.clone(), best.weight),
        _ => match likely_family(&candidates, least) {
            Some((family, probability)) => (family.name().to_owned(), probability),
            None => (UNKNOWN.to_owned(), 0.0),
        },
    };
    alternatives.retain(|(alternative, _)| *alternative != name);
    alternatives.truncate(MAX_ALTERNATIVES);
    OsReport { name, confidence: confidence.min(MAX_CONFIDENCE), alternatives, signature, hops }
}

/// The family that is probable enough though none of its members is.
fn likely_family(candidates: &[Candidate], least: f64) -> Option<(Family, f64)> {
    let mut families: BTreeMap<Family, f64> = BTreeMap::new();
    for candidate in candidates {
        if let Some(family) = candidate.family {
            *families.entry(family).or_default() += candidate.weight;
        }
    }
    families.into_iter().find(|(_, probability)| *probability >= least)
}

/// What a database makes of one fingerprint.
#[derive(Clone, Debug)]
struct Match {
    fit: Option<Fit>,
    /// Labels as text, and the families that they speak of.
    labels: Vec<(String, Option<Family>)>,
}

impl Match {
    fn of(fingerprint: &Fingerprint, database: &Database) -> Self {
        let (fit, labels) = database.matches(fingerprint).unzip();
        let labels = labels.unwrap_or_default();
        Self {
            fit,
            labels: labels.iter().map(|label| (label.to_string(), Family::of_label(&label.name))).collect(),
        }
    }

    /// Labels of systems that are none of the known stacks.
    fn strangers(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter(|(_, family)| family.is_none()).map(|(label, _)| label.as_str())
    }
}

/// A system under consideration.
#[derive(Clone, Debug)]
struct Candidate {
    name: String,
    stack: Option<&'static Stack>,
    family: Option<Family>,
    weight: f64,
}

/// The part of hosts that run none of the stacks in the table.
const OTHER_PRIOR: f64 = 0.03;

/// The part that run any particular one that only the user's database knows.
const STRANGER_PRIOR: f64 = 0.01;

/// A clock can be measured wrongly, and a setting be unusual: no likelihood is below these.
const LEAST_RATE: f64 = 1e-4;
const LEAST_REGIME: f64 = 0.02;

/// Likelihood of any particular rate or regime of a system about whose clock nothing is known.
const ANY_RATE: f64 = 0.1;
const ANY_REGIME: f64 = 0.3;

impl From<&'static Stack> for Candidate {
    fn from(stack: &'static Stack) -> Self {
        Self {
            name: stack.name.to_owned(),
            stack: Some(stack),
            family: Some(stack.family),
            weight: stack.prior,
        }
    }
}

impl Candidate {
    fn other() -> Self {
        Self { name: UNKNOWN.to_owned(), stack: None, family: None, weight: OTHER_PRIOR }
    }

    fn stranger(label: &str) -> Self {
        Self { name: label.to_owned(), stack: None, family: None, weight: STRANGER_PRIOR }
    }

    /// How likely this clock is here.
    fn of_pace(&self, pace: Pace) -> f64 {
        let Some(stack) = self.stack else { return ANY_RATE * ANY_REGIME };
        let rate = match pace.hz {
            Some(hz) => stack.rates.iter().find(|(rate, _)| *rate == hz).map_or(0.0, |(_, share)| *share),
            None => f64::from(u8::from(stack.rates.is_empty())),
        };
        let regime = match pace.regime {
            Regime::Global => stack.offsets.global,
            Regime::PerPair => stack.offsets.per_pair,
            Regime::PerConnection => stack.offsets.per_connection,
            Regime::Mixed | Regime::Undetermined => ANY_REGIME,
        };
        rate.max(LEAST_RATE) * regime.max(LEAST_REGIME)
    }

    /// How likely this TTL is here, where no handshake says more. Proxies and NATs rewrite a few.
    fn of_ttl(&self, ttl: u8) -> f64 {
        match self.stack {
            Some(stack) if stack.initial_ttl == initial_ttl(ttl) => 0.95,
            Some(_) => 0.03,
            None => 0.25,
        }
    }

    /// How likely this handshake is here. Users tune stacks, and middleboxes rewrite options.
    fn of_match(&self, found: &Match) -> f64 {
        let Some(fit) = found.fit else {
            // A signature that nobody wrote down yet: more often of a system that isn't known.
            return if self.stack.is_some() { 0.05 } else { 0.3 };
        };
        let likeliest = match fit {
            Fit::Exact => 0.9,
            Fit::Generic => 0.5,
            Fit::Fuzzy => 0.3,
        };
        let Some(stack) = self.stack else {
            let own = found.labels.iter().any(|(label, _)| *label == self.name);
            return if own { likeliest } else { 0.02 };
        };
        if found.labels.iter().any(|(label, _)| label == stack.label) {
            return likeliest;
        }
        if !found.labels.iter().any(|(_, family)| *family == Some(stack.family)) {
            return if fit == Fit::Fuzzy { 0.02 } else { 0.004 };
        }
        // Another version's, unless the label is the user's own or for the whole family.
        let versions = |label: &str| STACKS.iter().any(|stack| stack.label == label);
        if found.labels.iter().all(|(label, _)| versions(label)) { 0.03 } else { likeliest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::snapshot::Side;
    use quirks::Quirks;
    use signature::Layout;
    use tmap_common::{QuirkFields, Syn};

    fn syn(layout: &str, window: u16, hop_limit: u8, quirks: Quirks) -> Fingerprint {
        Fingerprint {
            side: Side::Client,
            ip6: false,
            hop_limit,
            has_payload: false,
            quirks,
            syn: Syn {
                window,
                mss: 1460,
                window_scale: 7,
                option_order: Layout::parse(layout).unwrap().order,
                quirk_fields: QuirkFields {
                    eol_padding: u8::from(layout.contains("eol")),
                    ..QuirkFields::default()
                },
                ..Syn::default()
            },
        }
    }

    const DF_ID: Quirks = Quirks::DONT_FRAGMENT.with(Quirks::ID_WITH_DF);

    fn told(hz: f64, regime: Regime, seen: &[Fingerprint]) -> OsReport {
        let mut sightings = Sightings::default();
        for fingerprint in seen {
            sightings.add(Some(*fingerprint), fingerprint.hop_limit, 1.0);
        }
        let pace = Pace { hz: (hz > 0.0).then_some(hz), regime };
        guess(pace, &sightings, Database::built_in())
    }

    #[test]
    fn clock_and_handshake_together_tell_the_age() {
        let linux = syn("mss,sok,ts,nop,ws", 64240, 61, DF_ID);
        let new = told(1000.0, Regime::PerConnection, &[linux]);
        assert_eq!((new.name.as_str(), new.hops), ("Linux 2026 or later", Some(3)));
        assert_eq!(new.signature.as_deref(), Some("4:61+3:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"));
        assert_eq!(told(1000.0, Regime::PerPair, &[linux]).name, "Linux 4.20 to early 2026");
        let undecided = told(1000.0, Regime::Undetermined, &[linux]);
        assert_eq!(undecided.name, "Linux", "the clock would tell which");
        assert_eq!(undecided.alternatives.len(), 2);
        let old = syn("mss,sok,ts,nop,ws", 29200, 64, DF_ID);
        assert_eq!(told(250.0, Regime::Global, &[old]).name, "Linux 3.11 to 4.12");
        assert_eq!(told(1000.0, Regime::PerPair, &[old]).name, "Linux 4.13 to 4.19");
    }

    #[test]
    fn a_random_clock_alone_stays_open_and_the_handshake_settles_it() {
        let mut bare = Sightings::default();
        bare.add(None, 64, 1.0);
        let pace = Pace { hz: Some(1000.0), regime: Regime::PerConnection };
        let alone = guess(pace, &bare, Database::built_in());
        assert_eq!(alone.name, UNKNOWN, "{alone:?}");
        assert!(alone.alternatives.len() >= 2, "{alone:?}");
        let apple = syn("mss,nop,ws,nop,nop,ts,sok,eol+1", 65535, 64, Quirks::DONT_FRAGMENT);
        assert_eq!(told(1000.0, Regime::PerConnection, &[apple]).name, "macOS or iOS, recent");
        assert_eq!(told(0.0, Regime::Undetermined, &[apple]).name, "macOS or iOS, before random offsets");
        let bsd = syn("mss,nop,ws,sok,ts", 65535, 64, Quirks::DONT_FRAGMENT);
        assert_eq!(told(1000.0, Regime::PerConnection, &[bsd]).name, "FreeBSD");
        let windows = syn("mss,nop,ws,sok,ts", 65535, 118, DF_ID);
        assert_eq!(told(1000.0, Regime::Undetermined, &[windows]).name, "Windows 8 or later");
    }

    #[test]
    fn an_unheard_of_stack_is_unknown() {
        let odd = syn("ts,mss,mss", 1234, 64, Quirks::SEQUENCE_ZERO);
        let report = told(128.0, Regime::Undetermined, &[odd]);
        assert_eq!((report.name.as_str(), report.confidence), (UNKNOWN, 0.0));
        assert!(report.signature.is_some());
        let like_linux = told(1000.0, Regime::PerPair, &[syn("sok,mss,ts,ws,nop,nop", 64240, 61, DF_ID)]);
        assert_eq!(like_linux.name, UNKNOWN, "its clock is Linux's, its handshake isn't: {like_linux:?}");
        assert!(like_linux.alternatives.iter().any(|(name, _)| name.starts_with("Linux")));
        let hundred = guess(
            Pace { hz: Some(100.0), regime: Regime::Undetermined },
            &Sightings::default(),
            Database::built_in(),
        );
        assert_eq!(hundred.name, UNKNOWN, "100 Hz alone is Linux, Windows or Solaris: {hundred:?}");
    }

    #[test]
    fn fingerprints_that_disagree_lower_the_confidence() {
        let linux = syn("mss,sok,ts,nop,ws", 64240, 64, DF_ID);
        let apple = syn("mss,nop,ws,nop,nop,ts,sok,eol+1", 65535, 64, Quirks::DONT_FRAGMENT);
        let pure = told(1000.0, Regime::PerConnection, &[linux]);
        let mixed = told(1000.0, Regime::PerConnection, &[linux, apple]);
        assert!(mixed.confidence < pure.confidence, "{mixed:?} {pure:?}");
        assert!(mixed.alternatives.iter().any(|(name, _)| name.starts_with("macOS")), "{mixed:?}");
    }

    #[test]
    fn a_users_database_names_what_the_table_lacks() {
        let console = "[tcp:request]\nlabel = s:other:Nintendo:3DS\nsig = *:64:0:*:32768,7:ts,mss::0";
        let mut sightings = Sightings::default();
        sightings.add(Some(syn("ts,mss", 32768, 60, Quirks::default())), 60, 3.0);
        let pace = Pace { hz: Some(64.0), regime: Regime::Undetermined };
        let report = guess(pace, &sightings, &console.parse().unwrap());
        assert_eq!(report.name, "Nintendo 3DS");
        let linux = "[tcp:request]\nlabel = s:unix:Linux:3.11 and newer\nsig = *:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0";
        let mut sightings = Sightings::default();
        sightings.add(Some(syn("mss,sok,ts,nop,ws", 64240, 60, DF_ID)), 60, 3.0);
        let pace = Pace { hz: Some(1000.0), regime: Regime::PerConnection };
        let report = guess(pace, &sightings, &linux.parse().unwrap());
        assert!(report.name.starts_with("Linux"), "{report:?}");
    }
}
