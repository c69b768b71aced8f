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
mod hint;
mod hint_or_walk;
mod machines;
mod opening;
pub mod rule;
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

    /// The walks of a rule, without SYNs that counters or other walks explain better; `None` where SYNs don't
    /// clearly follow the rule.
    fn follow(&self, rule: Rule, is_taken: &[bool]) -> Option<Walks> {
        let is_free = |at: usize| !is_taken[at];
        let is_even = self.most_are_even();
        let may_hint = |at: usize| is_free(at) && self.openings[at].port.is_multiple_of(2) == is_even;
        let may_follow = |at: usize| if rule == Rule::LinuxHint { may_hint(at) } else { is_free(at) };
        let mut walks = Some(Walks::follow(rule, &self.openings, may_follow)).filter(is_told)?;
        if !rule.is_per_service() {
            return Some(walks);
        }
        let mut is_others = counters::explain(&walks, &self.openings, is_free);
        let mut is_hint = vec![false; self.openings.len()];
        if let Rule::LinuxWalk | Rule::LinuxHint = rule {
            let is_left = |at: usize| is_free(at) && !is_others[at];
            let likelier = hint_or_walk::likelier(&self.openings, is_left, |at| is_left(at) && may_hint(at));
            is_hint = likelier.iter().map(|of| *of == Some(Rule::LinuxHint)).collect();
            let others = is_others.iter_mut().zip(likelier);
            others.for_each(|(is_others, likelier)| *is_others |= likelier.is_some_and(|of| of != rule));
        }
        if is_others.contains(&true) {
            let is_own = |at: usize| may_follow(at) && !is_others[at];
            walks = Some(Walks::follow(rule, &self.openings, is_own)).filter(is_told)?;
        }
        Some(Walks { is_hint, ..walks })
    }

    /// Whether most ports are even: Linux's have the parity of its range's low end, while counters have both.
    fn most_are_even(&self) -> bool {
        let even = self.openings.iter().filter(|opening| opening.port.is_multiple_of(2)).count();
        2 * even >= self.openings.len()
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
