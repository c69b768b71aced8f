//! Connections that were discarded: whose they were, as far as passes told.
//!
//! Connections that share a counter are one machine's, whichever that is. So a counter keeps the number of
//! those that it lost for as long as one of its connections is held: that tells its machine, even where no
//! pass had told the machine when they were discarded. What a counter lost of which no connection is held
//! goes to the machine that it surely was of, if that was announced; otherwise it may be any machine's.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::engine::flows::connection::Connection;

/// What is known of a connection after a pass, as in the fields of [`Connection`] of the same names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub serial: u32,
    machine: u32,
    is_sure: bool,
    counter: u32,
}

impl Known {
    /// What a pass told of `connection`.
    pub(super) fn of(connection: &Connection) -> Self {
        let Connection { serial, machine, is_sure, counter, .. } = *connection;
        Self { serial, machine, is_sure, counter }
    }

    /// Tells it to the same connection, which was frozen anew.
    pub(super) fn recall(&self, connection: &mut Connection) {
        let Self { serial: _, machine, is_sure, counter } = *self;
        (connection.machine, connection.is_sure, connection.counter) = (machine, is_sure, counter);
    }
}

/// Numbers of connections that were discarded. A counter is in it only as long as a connection of it is held,
/// and a machine only as long as it is known.
#[derive(Clone, Debug, Default)]
pub(in crate::engine::machines) struct Discarded {
    by_counter: BTreeMap<u32, u64>,
    by_machine: BTreeMap<u32, u64>,
    /// Those that a pass gave a counter or a machine, of which nothing is left that tells whose they were.
    pub unowned: u64,
}

impl Discarded {
    /// How many connections of a counter were discarded.
    pub(super) fn of_counter(&self, counter: u32) -> u64 {
        self.by_counter.get(&counter).copied().unwrap_or_default()
    }

    /// How many connections of a machine were discarded, but for those of counters that are still there.
    pub(in crate::engine::machines) fn of_machine(&self, number: u32) -> u64 {
        self.by_machine.get(&number).copied().unwrap_or_default()
    }

    /// Adds those that are `gone`, where those that `stay` are held. Only an `announced` machine keeps its
    /// number. What had neither a counter nor a machine would be no machine's if it were held.
    pub(super) fn add(&mut self, gone: &[Known], stay: &[Known], announced: &BTreeSet<u32>) {
        let held: BTreeSet<u32> = stay.iter().map(|known| known.counter).filter(|&c| c != 0).collect();
        for &Known { machine, is_sure, counter, .. } in gone {
            if held.contains(&counter) {
                *self.by_counter.entry(counter).or_default() += 1;
                continue;
            }
            let number = 1 + self.by_counter.remove(&counter).unwrap_or_default();
            if is_sure && announced.contains(&machine) {
                *self.by_machine.entry(machine).or_default() += number;
            } else if counter != 0 || machine != 0 {
                self.unowned += number;
            }
        }
    }

    /// Gives each of the `counters` that a pass found, as places of their connections, a new name. Those that
    /// it lost go with most of those that it has; nothing tells whose those are that have no heir.
    pub(super) fn follow(&mut self, counters: &[Vec<usize>], connections: &mut [Connection]) {
        let mut heirs: BTreeMap<u32, BTreeMap<usize, usize>> = BTreeMap::new();
        for (heir, members) in counters.iter().enumerate() {
            for &place in members {
                let before = connections[place].counter;
                if self.by_counter.contains_key(&before) {
                    *heirs.entry(before).or_default().entry(heir).or_default() += 1;
                }
            }
        }
        connections.iter_mut().for_each(|connection| connection.counter = 0);
        let first = |members: &Vec<usize>| members.iter().map(|&place| connections[place].serial).min();
        let names: Vec<u32> = counters.iter().map(|members| first(members).unwrap_or_default()).collect();
        for (members, &name) in counters.iter().zip(&names) {
            members.iter().for_each(|&place| connections[place].counter = name);
        }
        for (before, number) in std::mem::take(&mut self.by_counter) {
            let most = |of: &BTreeMap<usize, usize>| {
                of.iter().max_by_key(|&(&heir, &members)| (members, Reverse(heir))).map(|(&heir, _)| heir)
            };
            match heirs.get(&before).and_then(most) {
                Some(heir) => *self.by_counter.entry(names[heir]).or_default() += number,
                None => self.unowned += number,
            }
        }
    }

    /// Keeps only the numbers of these machines: nothing tells any more whose the others were.
    pub(super) fn keep_machines(&mut self, held: &BTreeSet<u32>) {
        let unowned = &mut self.unowned;
        self.by_machine.retain(|machine, number| {
            let is_held = held.contains(machine);
            *unowned += if is_held { 0 } else { *number };
            is_held
        });
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.by_counter.len() + self.by_machine.len()) * size_of::<(u32, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(serial: u32, machine: u32, is_sure: bool, counter: u32) -> Known {
        Known { serial, machine, is_sure, counter }
    }

    #[test]
    fn a_counter_keeps_the_number_until_its_last_connection_goes() {
        let mut discarded = Discarded::default();
        let announced = BTreeSet::from([1]);
        let stay = [known(9, 0, false, 1), known(10, 0, false, 4)];
        discarded.add(&[known(1, 0, false, 1), known(2, 0, false, 1)], &stay, &announced);
        assert_eq!((discarded.of_counter(1), discarded.unowned), (2, 0));
        // Its last one surely was a machine's.
        discarded.add(&[known(9, 1, true, 1)], &stay[1..], &announced);
        assert_eq!((discarded.of_counter(1), discarded.of_machine(1), discarded.unowned), (0, 3, 0));
    }

    #[test]
    fn what_was_not_surely_a_known_machine_s_may_be_any_machine_s() {
        let mut discarded = Discarded::default();
        let gone =
            [known(1, 1, false, 1), known(2, 2, true, 2), known(3, 0, false, 3), known(4, 0, false, 0)];
        discarded.add(&gone, &[], &BTreeSet::from([1]));
        assert_eq!((discarded.of_machine(1), discarded.of_machine(2), discarded.unowned), (0, 0, 3));
        // A machine that is no more keeps nothing.
        discarded.add(&[known(5, 1, true, 5)], &[], &BTreeSet::from([1]));
        discarded.keep_machines(&BTreeSet::new());
        assert_eq!((discarded.of_machine(1), discarded.unowned), (0, 4));
    }
}
