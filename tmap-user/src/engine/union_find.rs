//! Union-find: which items links join into one chain, directly or by way of others.

/// Chains of items 0, 1, ...; at first, each is one by itself.
pub(in crate::engine) struct UnionFind {
    /// For each item, an earlier one of its chain, or itself where it is the first.
    before: Vec<usize>,
}

impl UnionFind {
    /// So many items, which nothing joins yet.
    pub(in crate::engine) fn new(items: usize) -> Self {
        Self { before: (0..items).collect() }
    }

    /// The first item of an item's chain. Ways to it become shorter.
    pub(in crate::engine) fn first(&mut self, mut item: usize) -> usize {
        while self.before[item] != item {
            self.before[item] = self.before[self.before[item]];
            item = self.before[item];
        }
        item
    }

    /// Makes one chain of those of two items.
    pub(in crate::engine) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        self.before[a.max(b)] = a.min(b);
    }
}
