//! Stable machine numbers: a machine keeps its number as long as its connections are held.

use crate::engine::machines::analysis::Analysis;

/// Gives every group of `analysis` a number.
///
/// `previous(position)` is the number that a connection had before (0 for none). A group takes over the
/// number that most of its members had. The group with the most members of a number comes first, and
/// each number is given once. New machines are numbered from `next`, in the order of their first members.
pub(super) fn number(analysis: &Analysis, previous: impl Fn(usize) -> u32, mut next: u32) -> Vec<u32> {
    let mut claims: Vec<(f64, usize, u32)> = Vec::new();
    for (index, group) in analysis.groups.iter().enumerate() {
        let mut votes: Vec<(u32, f64)> = Vec::new();
        for &(member, probability) in &group.members {
            let id = previous(member);
            if id == 0 {
                continue;
            }
            match votes.iter_mut().find(|(voted, _)| *voted == id) {
                Some((_, weight)) => *weight += probability,
                None => votes.push((id, probability)),
            }
        }
        claims.extend(votes.into_iter().map(|(id, weight)| (weight, index, id)));
    }
    claims.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)).then(a.1.cmp(&b.1)));
    let mut numbers = vec![0; analysis.groups.len()];
    let mut taken = Vec::new();
    for (_, index, id) in claims {
        if numbers[index] == 0 && !taken.contains(&id) {
            numbers[index] = id;
            taken.push(id);
        }
    }
    let mut fresh: Vec<usize> = (0..numbers.len()).filter(|&index| numbers[index] == 0).collect();
    fresh.sort_by_key(|&index| analysis.groups[index].members.iter().map(|&(member, _)| member).min());
    for index in fresh {
        numbers[index] = next;
        next += 1;
    }
    numbers
}
