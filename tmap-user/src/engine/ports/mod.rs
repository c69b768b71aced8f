//! Source ports: a second witness of machines, which needs no timestamps.
//!
//! Many hosts choose the source ports of their connections one after the other: Linux in a *walk* for each
//! service that it talks to, Apple's systems from one counter. Where a NAT keeps ports, a SYN's port tells
//! which earlier SYN came from the same host. And Linux begins its walks anew every ten seconds of its own
//! clock: when its walks break tells that clock modulo ten seconds, where TSvals have random offsets.
//!
//! ```text
//! Opening (a SYN) -> rule: how likely is each step? -> walks: which SYN goes on from which
//!                 -> counters: SYNs that look like walks, but whose ports count up
//!                 -> boundary: when walks break, modulo ten seconds
//! ```
//!
//! Ports are chosen by their sender, so a link is a probability and never a fact.

mod at_once;
pub mod boundary;
mod counters;
mod machines;
mod opening;
pub mod rule;
pub mod union_find;
pub mod walks;

pub use opening::Opening;
use rule::Rule;
use walks::{Link, Walk, Walks};

/// What an address's source ports tell.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// The SYNs, in order of time.
    pub openings: Vec<Opening>,
    /// The walks of each rule that they follow, the one with most evidence first; empty where ports tell
    /// nothing, because there are few, or because a NAT draws them.
    pub walks: Vec<Walks>,
}

/// The least evidence for a rule, in nats (a thousand to one), and the fewest links.
const LEAST_NATS: f64 = 7.0;
const FEWEST_LINKS: f64 = 3.0;

/// How many times more SYNs go on than would by chance.
const CLEARLY: f64 = 3.0;

impl Ports {
    /// Reads SYNs, in order of time.
    pub fn read(openings: Vec<Opening>) -> Self {
        let mut ports = Self { openings, walks: Vec::new() };
        let mut is_taken = vec![false; ports.openings.len()];
        let mut rules = Rule::ALL.to_vec();
        while let Some(walks) = ports.best(&rules, &is_taken) {
            // What one rule explains is no evidence for another. Linux has one of its rules.
            rules.retain(|rule| rule.is_per_service() != walks.rule.is_per_service());
            for Walk(members) in walks.walks() {
                members.into_iter().for_each(|at| is_taken[at] = true);
            }
            ports.walks.push(walks);
        }
        ports
    }

    /// The rule that SYNs follow best, if they follow one.
    fn best(&self, rules: &[Rule], is_taken: &[bool]) -> Option<Walks> {
        let told = rules.iter().filter_map(|rule| self.follow(*rule, is_taken));
        told.max_by(|a, b| a.nats().total_cmp(&b.nats()))
    }

    /// The walks of a rule, without SYNs that counters explain better; `None` where SYNs don't clearly follow
    /// the rule.
    fn follow(&self, rule: Rule, is_taken: &[bool]) -> Option<Walks> {
        let walks = Some(Walks::follow(rule, &self.openings, |at| !is_taken[at])).filter(is_told)?;
        if !rule.is_per_service() {
            return Some(walks);
        }
        let is_counted = counters::explain(&walks, &self.openings, |at| !is_taken[at]);
        if !is_counted.contains(&true) {
            return Some(walks);
        }
        let is_free = |at: usize| !is_taken[at] && !is_counted[at];
        Some(Walks::follow(rule, &self.openings, is_free)).filter(is_told)
    }

    /// The link of a SYN to an earlier one of the same host; `None` where it begins a walk. One counter for
    /// all services links nothing: a NAT that numbers its connections one after the other shows the same.
    pub fn link(&self, at: usize) -> Option<Link> {
        let mut walks = self.walks.iter().filter(|walks| walks.rule.is_per_service());
        walks.find_map(|walks| walks.links[at])
    }

    /// The fewest machines that explain the walks; 0 where none is certain.
    pub fn fewest_machines(&self) -> usize {
        self.walks.iter().map(|walks| machines::fewest(walks, &self.openings)).max().unwrap_or(0)
    }

    /// The most hosts that certainly sent SYNs at once, each with an address of its own; 0 where no walks
    /// show any, or where a service has too many SYNs. A machine may have several addresses.
    pub fn most_at_once(&self) -> usize {
        self.walks.iter().map(|walks| at_once::hosts(walks, &self.openings)).max().unwrap_or(0)
    }
}

/// Whether SYNs clearly follow the rule of these walks.
fn is_told(walks: &Walks) -> bool {
    let linked = walks.linked() as f64;
    walks.nats() >= LEAST_NATS && linked >= FEWEST_LINKS && linked > CLEARLY * walks.by_chance
}
