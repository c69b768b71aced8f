//! Memory of tables that is used again by the next ones.
//!
//! A look at an address makes tables of some hundred kilobytes, many times, and drops them. Given back to
//! the system and asked for again, such memory costs a tenth of a look, in page faults. So each thread keeps
//! some.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::HashMap,
    ops::{Deref, DerefMut},
};

thread_local! {
    /// Empty vectors, by the type of vector.
    static KEPT: RefCell<HashMap<TypeId, Vec<Box<dyn Any>>>> = RefCell::default();
}

/// The most vectors of a type that a thread keeps, and the most bytes of one.
const MOST_KEPT: usize = 6;
const MOST_BYTES: usize = 1 << 20;

/// A vector whose memory is kept when it is dropped.
#[derive(Debug)]
pub(super) struct Recycled<T: 'static>(Vec<T>);

impl<T: 'static> Default for Recycled<T> {
    fn default() -> Self {
        let kept = KEPT.with_borrow_mut(|kept| kept.get_mut(&TypeId::of::<Vec<T>>())?.pop());
        Self(kept.and_then(|any| any.downcast().ok()).map_or_else(Vec::new, |vector| *vector))
    }
}

impl<T: Clone + 'static> Clone for Recycled<T> {
    fn clone(&self) -> Self {
        let mut other = Self::default();
        other.extend_from_slice(self);
        other
    }
}

impl<T: 'static> Drop for Recycled<T> {
    fn drop(&mut self) {
        let mut vector = std::mem::take(&mut self.0);
        if vector.capacity() == 0 || vector.capacity() * size_of::<T>() > MOST_BYTES {
            return;
        }
        vector.clear();
        // A thread that ends has nothing left to keep.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let of_type = kept.entry(TypeId::of::<Vec<T>>()).or_default();
            if of_type.len() < MOST_KEPT {
                of_type.push(Box::new(vector));
            }
        });
    }
}

impl<T: 'static> Deref for Recycled<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: 'static> DerefMut for Recycled<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_contents_are_not() {
        let mut first: Recycled<u64> = Recycled::default();
        first.extend(0..1000);
        let place = first.as_ptr();
        let copy = first.clone();
        assert_eq!(copy.len(), 1000);
        drop(first);
        let second: Recycled<u64> = Recycled::default();
        assert!(second.is_empty() && second.as_ptr() == place);
        assert!(Recycled::<u32>::default().is_empty(), "another type has memory of its own");
    }

    #[test]
    fn large_memory_is_not_kept() {
        let mut large: Recycled<u8> = Recycled::default();
        large.resize(MOST_BYTES + 1, 0);
        drop(large);
        assert_eq!(Recycled::<u8>::default().capacity(), 0);
    }
}
