//! Panics, which cost one address or one thread's share, and never the report.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tmap_common::Address;

use super::{
    flows::{Analysed, FrozenSource},
    types::Depth,
};

/// The most addresses that are remembered by name.
const MOST_NAMED: usize = 8;

/// What panicked so far; copies are the same, so that threads share it.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<Failed>>);

/// What panicked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// Addresses whose analysis panicked, the first ones.
    pub addresses: Vec<Address>,
    /// How many more times the analysis of an address panicked.
    pub more: u64,
    /// Panics anywhere else, which cost what a thread held.
    pub elsewhere: u64,
}

impl Failed {
    /// Whether nothing did.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Failures {
    /// What panicked so far.
    pub fn so_far(&self) -> Failed {
        self.lock().clone()
    }

    /// Analyses a source. Where that panics, it counts as analysed, so that it isn't due again before it has
    /// changed.
    ///
    /// # Errors
    /// What to tell the flow table where it panicked.
    pub fn analyse<T>(
        &self,
        frozen: FrozenSource,
        analyse: impl FnOnce(FrozenSource) -> T,
    ) -> Result<T, Analysed> {
        let FrozenSource { id, address, life, connections_total, .. } = frozen;
        let done = caught(&address.to_string(), || analyse(frozen));
        done.ok_or_else(|| {
            self.lock().note(address);
            Analysed { id, life, depth: Some(Depth::Offsets), random_offsets: 0, connections_total }
        })
    }

    /// Does something else; `None` where it panics.
    pub fn guard<T>(&self, name: &str, work: impl FnOnce() -> T) -> Option<T> {
        let done = caught(name, work);
        self.lock().elsewhere += u64::from(done.is_none());
        done
    }

    fn lock(&self) -> MutexGuard<'_, Failed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    fn note(&mut self, address: Address) {
        if self.addresses.contains(&address) {
            return;
        }
        if self.addresses.len() < MOST_NAMED {
            self.addresses.push(address);
        } else {
            self.more += 1;
        }
    }
}

/// The result, or `None` after a panic, of which the panic hook tells. What was worked on may then be half
/// done. It is safe code, so it can be used on: the worst is a wrong figure or another panic.
fn caught<T>(name: &str, work: impl FnOnce() -> T) -> Option<T> {
    let work = || {
        fault(name);
        work()
    };
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Nothing, in the product.
#[cfg(not(all(feature = "faults", debug_assertions)))]
fn fault(_: &str) {}

/// Panics where a test wants it, or never goes on.
#[cfg(all(feature = "faults", debug_assertions))]
fn fault(name: &str) {
    static WANTED: std::sync::OnceLock<[Option<String>; 2]> = std::sync::OnceLock::new();
    let variables = || ["TMAP_TEST_PANIC", "TMAP_TEST_STUCK"].map(|variable| std::env::var(variable).ok());
    let [panic, stuck] = WANTED.get_or_init(variables);
    assert!(panic.as_deref() != Some(name), "a test wanted this");
    while stuck.as_deref() == Some(name) {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_noted_and_ends_nothing() {
        let failures = Failures::default();
        assert_eq!(failures.guard("one", || 1), Some(1));
        assert!(failures.so_far().is_nothing());
        assert_eq!(failures.clone().guard("other", || -> u8 { panic!("on purpose") }), None);
        assert_eq!(failures.so_far(), Failed { elsewhere: 1, ..Failed::default() });
    }

    #[test]
    fn addresses_are_named_once_and_not_all() {
        let failures = Failures::default();
        let of = |host: u8| Address::from_ip4([192, 0, 2, host]);
        for host in [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] {
            failures.lock().note(of(host));
        }
        let failed = failures.so_far();
        assert_eq!((failed.addresses.len(), failed.addresses[1], failed.more), (MOST_NAMED, of(2), 2));
    }
}
