//! Which operating system a machine runs: clock, handshake and TTL in one guess.
//!
//! No single property is enough today. A clock of 1000 Hz with random offsets is Linux, macOS or
//! FreeBSD. A SYN with Linux's options is Linux, but only the clock shows its age. Behind a proxy, both
//! SYN and clock are the proxy's. So each property contributes a likelihood for each [stack](stacks).
//! The posterior is reported: the best name with its probability, the alternatives, and "unknown"
//! where nothing is probable enough.

pub mod database;
pub mod likeness;
pub mod quirks;
pub mod signature;
pub mod stacks;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::engine::types::Regime;
use database::{Database, Fit};
use signature::{Fingerprint, hops, initial_ttl};
use stacks::{ANDROID, Family, LINUX_OR_ANDROID, STACKS, Stack};

/// A guess at an operating system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OsReport {
    /// The name; [`UNKNOWN`] where nothing is probable enough.
    pub name: String,
    /// The name's probability, 0 to 1; 0 where it is unknown.
    pub confidence: f64,
    /// Other names, the most probable first, each with its probability. Where `name` names a whole
    /// family, its members are among them.
    pub alternatives: Vec<(String, f64)>,
    /// The handshake that most of its connections showed, in p0f's notation.
    pub signature: Option<String>,
    /// Routers between the machine and the sensor; `None` where the TTL doesn't show them.
    pub hops: Option<u8>,
    /// The probability that the machine's counter is Linux's jiffies, 0 to 1.
    pub jiffies: f64,
    /// How likely such systems choose offsets per machine, per pair of addresses and per connection: before
    /// offsets decide it, by the shares of the systems that may be meant.
    pub offsets: [f64; 3],
}

/// The name that is reported where the evidence doesn't suffice.
pub const UNKNOWN: &str = "unknown";

/// The lowest probability with which a name is reported.
const MIN_CONFIDENCE: f64 = 0.7;

/// No name is reported if more than this share of the handshakes fits no signature. Clocks of unlisted
/// stacks are no rarer at 1000 Hz than at any other rate, so the clock alone must not decide then.
const MAX_UNHEARD_OF: f64 = 0.5;

/// The highest confidence reported: machines can imitate each other, and the table has errors.
const MAX_CONFIDENCE: f64 = 0.99;

/// The lowest probability of an alternative, and the most alternatives listed.
const MIN_ALTERNATIVE: f64 = 0.05;
const MAX_ALTERNATIVES: usize = 4;

/// The most different fingerprints of one machine that are used, the commonest first.
const MAX_FINGERPRINTS: usize = 16;

/// The number of hops is reported if this share of the connections has the same TTL.
const MIN_TTL_SHARE: f64 = 0.5;

/// The traits of a machine's clock that help to tell its system: tick rate and regime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockTraits {
    /// Nominal tick rate in Hz; `None` for an unsteady clock.
    pub hz: Option<f64>,
    /// How it chooses offsets.
    pub regime: Regime,
}

/// The handshakes and TTLs seen from one machine, weighted by the probability that they are its own.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    fingerprints: Vec<(Fingerprint, f64)>,
    /// The index of each fingerprint.
    indices: HashMap<Fingerprint, usize, RandomState>,
    /// The index of the last fingerprint added: the next one is often the same.
    last: usize,
    ttls: BTreeMap<u8, f64>,
    /// When the last of them was seen, engine time in nanoseconds: no system runs before its release.
    pub last_seen_ns: u64,
}

impl Observations {
    /// Adds a connection: its fingerprint, if the handshake was seen, and its TTL. `weight` is the
    /// probability that the connection is the machine's.
    pub fn add(&mut self, fingerprint: Option<Fingerprint>, hop_limit: u8, weight: f64) {
        if let Some(fingerprint) = fingerprint {
            if self.fingerprints.get(self.last).is_none_or(|(last, _)| *last != fingerprint) {
                self.last = *self.indices.entry(fingerprint).or_insert(self.fingerprints.len());
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

/// Guesses the operating system from everything known of a machine; `clock` is `None` where none was seen.
pub fn guess(clock: Option<ClockTraits>, observations: &Observations, database: &Database) -> OsReport {
    let shares = observations.shares();
    let matches = matches(&shares, database);
    let ttl = observations.ttl();
    let candidates = candidates(clock, observations, &matches);
    let hops = ttl.filter(|(_, share)| *share >= MIN_TTL_SHARE).and_then(|(ttl, _)| hops(ttl));
    let unheard_of: f64 =
        matches.iter().filter(|(_, found)| found.fit.is_none()).map(|(share, _)| share).sum();
    let least = if unheard_of > MAX_UNHEARD_OF { f64::INFINITY } else { MIN_CONFIDENCE };
    report(candidates, least, shares.first().map(|(fingerprint, _)| fingerprint.to_string()), hops)
}

/// The tick rates in Hz that handshakes and TTLs suggest, each with its probability. They sum to less than 1
/// by the probability of systems of which no rate is known.
pub fn likely_rates(observations: &Observations, database: &Database) -> Vec<(f64, f64)> {
    let candidates = candidates(None, observations, &matches(&observations.shares(), database));
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let of = |candidate: &Candidate| {
        let weight = candidate.weight / total;
        candidate
            .stack
            .map_or(&[][..], |stack| stack.rates)
            .iter()
            .map(move |(hz, share)| (*hz, weight * share))
    };
    candidates.iter().flat_map(of).collect()
}

/// What handshakes match, each with its share.
fn matches(shares: &[(Fingerprint, f64)], database: &Database) -> Vec<(f64, Match)> {
    shares.iter().map(|(fingerprint, share)| (*share, Match::of(fingerprint, database))).collect()
}

/// All systems, weighted by what was seen.
fn candidates(
    clock: Option<ClockTraits>,
    observations: &Observations,
    matches: &[(f64, Match)],
) -> Vec<Candidate> {
    let ttl = observations.ttl();
    let mut candidates: Vec<Candidate> = STACKS.iter().map(|stack| stack.into()).collect();
    candidates.push(Candidate::other());
    for (_, found) in matches {
        for label in found.strangers() {
            if !candidates.iter().any(|candidate| candidate.name == label) {
                candidates.push(Candidate::stranger(label));
            }
        }
    }
    for candidate in &mut candidates {
        candidate.weight *= clock.map_or(1.0, |clock| candidate.of_clock(clock));
        candidate.weight *= candidate.of_date(observations.last_seen_ns);
        candidate.weight *= match matches {
            [] => ttl.map_or(1.0, |(ttl, _)| candidate.of_ttl(ttl)),
            _ => matches.iter().map(|(share, found)| share * candidate.of_match(found)).sum(),
        };
    }
    candidates
}

/// Normalises the candidates' weights and reports the best name, if its probability is at least `least`.
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
            Some((family, probability)) => (name_of(family, &candidates, least).to_owned(), probability),
            None => (UNKNOWN.to_owned(), 0.0),
        },
    };
    alternatives.retain(|(alternative, _)| *alternative != name);
    alternatives.truncate(MAX_ALTERNATIVES);
    let jiffies = candidates.iter().filter(|c| c.stack.is_some_and(Stack::counts_jiffies));
    let jiffies = jiffies.map(|candidate| candidate.weight).sum();
    let offsets = likely_offsets(&candidates);
    let confidence = confidence.min(MAX_CONFIDENCE);
    OsReport { name, confidence, alternatives, signature, hops, jiffies, offsets }
}

/// How the candidates choose offsets, each by its weight. Of an unknown system anything is as likely.
fn likely_offsets(candidates: &[Candidate]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for candidate in candidates {
        let own = candidate.stack.map_or([1.0 / 3.0; 3], |stack| {
            [stack.offsets.global, stack.offsets.per_pair, stack.offsets.per_connection]
        });
        sums.iter_mut().zip(own).for_each(|(sum, share)| *sum += candidate.weight * share);
    }
    sums
}

/// The most that a tick rate alone says for jiffies, as a probability: only Linux ticks at 250 and 300 Hz,
/// and a SYN-ACK says little of its sender, because its options answer the client's.
pub fn jiffies_by_rate(hz: f64) -> f64 {
    if hz == 250.0 || hz == 300.0 { 1.0 } else { 0.5 }
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

/// The name of a family that is probable enough. Android is named where Linux isn't probable enough without
/// it.
fn name_of(family: Family, candidates: &[Candidate], least: f64) -> &'static str {
    let others = candidates.iter().filter(|one| one.family == Some(family) && one.name != ANDROID);
    let without_android: f64 = others.map(|candidate| candidate.weight).sum();
    if family == Family::Linux && without_android < least { LINUX_OR_ANDROID } else { family.name() }
}

/// The result of looking up one fingerprint in a database.
#[derive(Clone, Debug)]
struct Match {
    fit: Option<Fit>,
    /// Labels as text, and the families that they name.
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

    /// Labels of systems that are not in the table of stacks.
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

/// The share of machines that run none of the stacks in the table.
const OTHER_PRIOR: f64 = 0.03;

/// The share of machines that run one particular stack that only the user's database lists.
const STRANGER_PRIOR: f64 = 0.01;

/// The lowest likelihoods of a rate and of a regime: measurements can be wrong and settings unusual.
const LEAST_RATE: f64 = 1e-4;
const LEAST_REGIME: f64 = 0.02;

/// The likelihood of a particular rate or regime for a system whose clock isn't known.
const ANY_RATE: f64 = 0.1;
const ANY_REGIME: f64 = 0.3;

// The likelihoods of TTLs and handshakes below are this project's own rough figures: no published
// statistics exist. They are checked by the confusion table of simulated stacks (`eval`).

/// The likelihood of a stack's own initial TTL, and of another: proxies and NATs rewrite a few TTLs.
const OWN_TTL: f64 = 0.95;
const OTHER_TTL: f64 = 0.03;

/// The likelihood of each of the four usual initial TTLs for a system whose TTL isn't known.
const ANY_TTL: f64 = 0.25;

/// The likelihood of a handshake that fits no signature, for a stack in the table and for other
/// systems: an unlisted signature is more often an unlisted system's.
const UNLISTED_OF_KNOWN: f64 = 0.05;
const UNLISTED_OF_OTHER: f64 = 0.3;

/// The likelihood of a handshake that fits the system's own signatures, by how well it fits.
const OWN_EXACT: f64 = 0.9;
const OWN_GENERIC: f64 = 0.5;
const OWN_FUZZY: f64 = 0.3;

/// The likelihood of a handshake that fits only other systems' signatures, for a system outside the
/// table.
const OTHERS_OF_OTHER: f64 = 0.02;

/// The likelihood of a handshake that fits only another family's signatures: a fuzzy fit is weaker
/// evidence against a stack.
const FAMILY_FUZZY: f64 = 0.02;
const FAMILY_CLOSE: f64 = 0.004;

/// The likelihood of a handshake that fits only other versions of the stack's family: users tune
/// stacks.
const OTHER_VERSION: f64 = 0.03;

/// The likelihood that a stack shows another one's handshake because `tcp_rmem` was raised, as guides to
/// tuning servers have it. Nothing else in the SYN tells Linux from Android then: the window scale follows
/// the largest buffer (`tcp_select_initial_window()`), which either raises.
const RAISED_BUFFERS: f64 = 0.1;

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

    /// The likelihood of this clock for the candidate.
    fn of_clock(&self, clock: ClockTraits) -> f64 {
        let Some(stack) = self.stack else { return ANY_RATE * ANY_REGIME };
        let rate = match clock.hz {
            Some(hz) => stack.rates.iter().find(|(rate, _)| *rate == hz).map_or(0.0, |(_, share)| *share),
            None => f64::from(u8::from(stack.rates.is_empty())),
        };
        let regime = match clock.regime {
            Regime::Global => stack.offsets.global,
            Regime::PerPair => stack.offsets.per_pair,
            Regime::PerConnection => stack.offsets.per_connection,
            Regime::Mixed | Regime::Undetermined => ANY_REGIME,
        };
        rate.max(LEAST_RATE) * regime.max(LEAST_REGIME)
    }

    /// The likelihood that the candidate runs at this time.
    fn of_date(&self, seen_ns: u64) -> f64 {
        if self.stack.is_none_or(|stack| stack.may_run_at(seen_ns)) { 1.0 } else { 0.0 }
    }

    /// The likelihood of this TTL for the candidate, used where no handshake was seen.
    fn of_ttl(&self, ttl: u8) -> f64 {
        match self.stack {
            Some(stack) if stack.initial_ttl == initial_ttl(ttl) => OWN_TTL,
            Some(_) => OTHER_TTL,
            None => ANY_TTL,
        }
    }

    /// The likelihood of this handshake for the candidate.
    fn of_match(&self, found: &Match) -> f64 {
        let Some(fit) = found.fit else {
            return if self.stack.is_some() { UNLISTED_OF_KNOWN } else { UNLISTED_OF_OTHER };
        };
        let own_fit = match fit {
            Fit::Exact => OWN_EXACT,
            Fit::Generic => OWN_GENERIC,
            Fit::Fuzzy => OWN_FUZZY,
        };
        let Some(stack) = self.stack else {
            let own = found.labels.iter().any(|(label, _)| *label == self.name);
            return if own { own_fit } else { OTHERS_OF_OTHER };
        };
        if found.labels.iter().any(|(label, _)| label == stack.label) {
            return own_fit;
        }
        if found.labels.iter().any(|(label, _)| stack.passes_for(label)) {
            return RAISED_BUFFERS;
        }
        if !found.labels.iter().any(|(_, family)| *family == Some(stack.family)) {
            return if fit == Fit::Fuzzy { FAMILY_FUZZY } else { FAMILY_CLOSE };
        }
        // The signature is another version's, unless the label is the user's own or a whole family's.
        let versions = |label: &str| STACKS.iter().any(|stack| stack.label == label);
        if found.labels.iter().all(|(label, _)| versions(label)) { OTHER_VERSION } else { own_fit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::Side;
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
        let mut observations = Observations::default();
        for fingerprint in seen {
            observations.add(Some(*fingerprint), fingerprint.hop_limit, 1.0);
        }
        let clock = ClockTraits { hz: (hz > 0.0).then_some(hz), regime };
        guess(Some(clock), &observations, Database::built_in())
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

    /// Linux with a `tcp_rmem` beyond 128 KiB offers what Android does.
    #[test]
    fn a_window_of_65535_is_linux_or_android() {
        let with = |window: u16, scale: u8| {
            let syn = syn("mss,sok,ts,nop,ws", window, 64, DF_ID);
            [Fingerprint { syn: Syn { window_scale: scale, ..syn.syn }, ..syn }]
        };
        for scale in [7, 9] {
            for regime in [Regime::Undetermined, Regime::PerPair, Regime::PerConnection] {
                let report = told(1000.0, regime, &with(65535, scale));
                assert_eq!(report.name, LINUX_OR_ANDROID, "{report:?}");
                let lists = |start: &str| report.alternatives.iter().any(|(name, _)| name.starts_with(start));
                assert!(lists("Linux ") && lists(ANDROID), "{report:?}");
            }
            // The clock of an old kernel, where Linux doesn't offer that much.
            let old = told(100.0, Regime::Global, &with(65535, scale));
            assert_eq!(old.name, ANDROID, "{old:?}");
        }
        // Of a program that chose its buffer, and of the largest buffer that there may be.
        for (window, scale) in [(64240, 7), (65535, 2), (65535, 14)] {
            let report = told(1000.0, Regime::Undetermined, &with(window, scale));
            assert_eq!(report.name, "Linux", "{window} {scale}: {report:?}");
        }
    }

    #[test]
    fn a_random_clock_alone_stays_open_and_the_handshake_settles_it() {
        let mut bare = Observations::default();
        bare.add(None, 64, 1.0);
        let clock = ClockTraits { hz: Some(1000.0), regime: Regime::PerConnection };
        let alone = guess(Some(clock), &bare, Database::built_in());
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
            Some(ClockTraits { hz: Some(100.0), regime: Regime::Undetermined }),
            &Observations::default(),
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
        let mut observations = Observations::default();
        observations.add(Some(syn("ts,mss", 32768, 60, Quirks::default())), 60, 3.0);
        let clock = ClockTraits { hz: Some(64.0), regime: Regime::Undetermined };
        let report = guess(Some(clock), &observations, &console.parse().unwrap());
        assert_eq!(report.name, "Nintendo 3DS");
        let linux = "[tcp:request]\nlabel = s:unix:Linux:3.11 and newer\n\
                     sig = *:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0";
        let mut observations = Observations::default();
        observations.add(Some(syn("mss,sok,ts,nop,ws", 64240, 60, DF_ID)), 60, 3.0);
        let clock = ClockTraits { hz: Some(1000.0), regime: Regime::PerConnection };
        let report = guess(Some(clock), &observations, &linux.parse().unwrap());
        assert!(report.name.starts_with("Linux"), "{report:?}");
    }
}
