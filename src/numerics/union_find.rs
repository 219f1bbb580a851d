//! Disjoint sets of indices.

/// Disjoint sets over the indices from 0, joined one pair at a time.
///
/// Every set is represented by its smallest index, whatever the order of the joins, so that numbering the sets by their
/// representatives numbers them in the order in which they first occur.
#[derive(Debug, Clone)]
pub struct UnionFind {
    parents: Vec<u32>,
}

impl UnionFind {
    /// `size` sets of one index each.
    ///
    /// # Panics
    /// If `size` exceeds 2³².
    pub fn new(size: usize) -> UnionFind {
        assert!(size as u64 <= 1 << 32, "disjoint sets hold at most 2^32 indices, not {size}");
        UnionFind { parents: (0..size).map(|index| index as u32).collect() }
    }

    /// The smallest index in the set of `index`.
    pub fn find(&mut self, index: usize) -> usize {
        let mut current = index;
        loop {
            let parent = self.parents[current] as usize;
            if parent == current {
                return current;
            }
            // Halving the way for the next search keeps all ways short without a second pass.
            let grandparent = self.parents[parent];
            self.parents[current] = grandparent;
            current = grandparent as usize;
        }
    }

    /// Joins the sets of two indices; whether they were apart.
    pub fn join(&mut self, first: usize, second: usize) -> bool {
        let (first, second) = (self.find(first), self.find(second));
        self.parents[first.max(second)] = first.min(second) as u32;
        first != second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named_by_their_smallest_index() {
        let mut sets = UnionFind::new(8);
        for (first, second, apart) in
            [(6, 7, true), (7, 3, true), (3, 6, false), (5, 1, true), (5, 7, true), (2, 2, false)]
        {
            assert_eq!(sets.join(first, second), apart, "{first} and {second}");
        }
        let names: Vec<usize> = (0..8).map(|index| sets.find(index)).collect();
        assert_eq!(names, [0, 1, 2, 1, 4, 1, 1, 1]);
    }

    #[test]
    fn long_chains_join() {
        let mut sets = UnionFind::new(100_000);
        assert!((1..100_000).rev().all(|index| sets.join(index, index - 1)));
        assert!((0..100_000).all(|index| sets.find(index) == 0));
    }
}
