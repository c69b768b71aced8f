//! Which walks are of Linux's one hint, and which of the walks since.
//!
//! Hosts of both kinds may share an address. In short, walks of either look like those of the other, so for
//! each walk, what is likelier is told by all of its SYNs together.

use super::{
    opening::Opening,
    rule::Rule,
    walks::{LEAST_HINTED, Walk, Walks},
};

/// Walks of fewer SYNs than this tell neither.
const LEAST_TELLING: usize = 3;

/// For each SYN, which of the two rules explains its walk better; `None` where it is in none that tells.
/// `is_free` tells which SYNs take part, and `may_hint` which of them may be of a hint.
pub(super) fn likelier(
    openings: &[Opening],
    is_free: impl Fn(usize) -> bool,
    may_hint: impl Fn(usize) -> bool,
) -> Vec<Option<Rule>> {
    let by_hint = Walks::follow(Rule::LinuxHint, openings, may_hint);
    let by_walk = Walks::follow_beside(Rule::LinuxWalk, Rule::LinuxHint, openings, is_free);
    let mut likelier = vec![None; openings.len()];
    let (mut telling, mut hinted) = (0, 0);
    for Walk(members) in by_walk.walks().into_iter().filter(|walk| walk.0.len() >= LEAST_TELLING) {
        let gain_nats: f64 = members.iter().map(|&at| by_hint.nats_of[at] - by_walk.nats_of[at]).sum();
        let is_hint = gain_nats > 0.0;
        telling += members.len();
        hinted += if is_hint { members.len() } else { 0 };
        let rule = if is_hint { Rule::LinuxHint } else { Rule::LinuxWalk };
        members.into_iter().for_each(|at| likelier[at] = Some(rule));
    }
    if (hinted as f64) < LEAST_HINTED * telling as f64 {
        likelier.iter_mut().flatten().for_each(|rule| *rule = Rule::LinuxWalk);
    }
    likelier
}
