//! Nearest neighbours by inner product: exactly for few vectors, approximately by random projection trees for many.
//!
//! A tree parts the vectors by random hyperplanes through their median until at most [`LEAF`] are left together; within a
//! leaf every pair is looked at. Several trees find what one of them parted, and one pass over neighbours of neighbours
//! finds most of the rest. Source of the trees: Dasgupta and Freund, "Random projection trees and low dimensional
//! manifolds", STOC 2008; of the last pass: Dong, Moses and Li, "Efficient k-nearest neighbor graph construction for
//! generic similarity measures", WWW 2011.

use rand::Rng;
use rayon::prelude::*;

use super::vectors::Vectors;
use crate::numerics::random;

/// Most vectors in a leaf of a tree.
const LEAF: usize = 192;
/// Vectors whose products with all others are taken together.
const BAND: usize = 256;
/// Up to this many vectors every pair is looked at.
pub(super) const EXACT_UP_TO: usize = 4096;

/// For every vector its nearest others, as far as they were found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Neighbours {
    /// Most neighbours of one vector, k.
    most: usize,
    /// Row-major `[N, k]`: neighbour and inner product, the nearest first; absent ones have the number of no vector.
    entries: Vec<(u32, f32)>,
}

/// No neighbour.
const ABSENT: (u32, f32) = (u32::MAX, f32::NEG_INFINITY);

/// Lists of neighbours of unequal length.
pub(super) struct Lists {
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl Lists {
    /// The neighbours of a vector with the inner products, by number.
    pub fn of(&self, row: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }
}

impl Neighbours {
    /// The `most` nearest of every vector: all pairs for few vectors, by `trees` trees for many.
    pub fn find(vectors: &Vectors, most: usize, trees: u64, seed: u64) -> Neighbours {
        if vectors.count() <= EXACT_UP_TO {
            Neighbours::exact(vectors, most)
        } else {
            Neighbours::approximate(vectors, most, trees, seed)
        }
    }

    /// Looks at every pair.
    pub fn exact(vectors: &Vectors, most: usize) -> Neighbours {
        let mut neighbours = Neighbours::none(vectors.count(), most);
        let all: Vec<u32> = (0..vectors.count() as u32).collect();
        for rows in all.chunks(BAND) {
            let products = vectors.products(&all, &values_of(vectors, rows));
            // `[all, rows]`: the products of one row stand in a column.
            neighbours.look_at(rows, |place, list| {
                all.iter().for_each(|&other| {
                    offer(list, rows[place], other, products[other as usize * rows.len() + place]);
                });
            });
        }
        neighbours.finished(vectors)
    }

    /// Looks at pairs that share a leaf of one of `trees` trees, then at neighbours of neighbours.
    pub fn approximate(vectors: &Vectors, most: usize, trees: u64, seed: u64) -> Neighbours {
        let mut neighbours = Neighbours::none(vectors.count(), most);
        for tree in 0..trees {
            let mut order: Vec<u32> = (0..vectors.count() as u32).collect();
            grow(vectors, &mut order, seed, tree, 1);
            let leaves = leaves(0, order.len());
            // As many leaves at a time as keep the processor busy.
            for leaves in leaves.chunks(64) {
                let looked_at: Vec<(&[u32], Vec<f32>)> = leaves
                    .par_iter()
                    .map(|&(start, end)| {
                        let rows = &order[start..end];
                        (rows, vectors.products(rows, &values_of(vectors, rows)))
                    })
                    .collect();
                for (rows, products) in looked_at {
                    neighbours.look_at(rows, |place, list| {
                        for (&other, &product) in rows.iter().zip(&products[place * rows.len()..]) {
                            offer(list, rows[place], other, product);
                        }
                    });
                }
            }
        }
        let before = neighbours.clone();
        // Only the nearer half of the neighbours introduces its own: they bring nearly all that is to be found.
        let introducing = neighbours.most.div_ceil(2);
        neighbours.entries.par_chunks_mut(neighbours.most.max(1)).enumerate().for_each(|(row, list)| {
            for &(neighbour, _) in before.of(row).iter().take(introducing) {
                for &(other, _) in before.of(neighbour as usize).iter().take(introducing) {
                    if other as usize != row && list.iter().all(|entry| entry.0 != other) {
                        let product = product(vectors.row(row), vectors.row(other as usize));
                        offer(list, row as u32, other, product);
                    }
                }
            }
        });
        neighbours.finished(vectors)
    }

    /// Gives the lists of `rows` to a function, with the place of each among them.
    fn look_at(&mut self, rows: &[u32], look: impl Fn(usize, &mut [(u32, f32)])) {
        let most = self.most;
        for (place, &row) in rows.iter().enumerate() {
            look(place, &mut self.entries[row as usize * most..][..most]);
        }
    }

    /// The same lists with products that are the same from both sides of a pair, whoever found it.
    fn finished(mut self, vectors: &Vectors) -> Neighbours {
        self.entries.par_chunks_mut(self.most.max(1)).enumerate().for_each(|(row, list)| {
            for entry in list.iter_mut().filter(|entry| entry.0 != ABSENT.0) {
                entry.1 = product(vectors.row(row), vectors.row(entry.0 as usize));
            }
            list.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        });
        self
    }

    fn none(count: usize, most: usize) -> Neighbours {
        let most = most.min(count - 1);
        Neighbours { most, entries: vec![ABSENT; count * most] }
    }

    /// The nearest of a vector, the nearest first.
    pub fn of(&self, row: usize) -> &[(u32, f32)] {
        let list = &self.entries[row * self.most..][..self.most];
        let found = list.iter().position(|entry| entry.0 == ABSENT.0).unwrap_or(list.len());
        &list[..found]
    }

    /// Every pair from both sides.
    pub fn symmetric(&self) -> Lists {
        let count = self.entries.len().checked_div(self.most).unwrap_or(0);
        let listed = |row: usize, other: u32| self.of(row).iter().any(|entry| entry.0 == other);
        // A vector has its own neighbours and those that name it without being named.
        let mut extra: Vec<(u32, u32, f32)> = (0..count)
            .flat_map(|row| self.of(row).iter().map(move |&(other, product)| (other, row as u32, product)))
            .filter(|&(other, row, _)| !listed(other as usize, row))
            .collect();
        extra.par_sort_unstable_by_key(|&(row, other, _)| (row, other));
        let mut lists = Lists { starts: vec![0], entries: Vec::with_capacity(self.entries.len() + extra.len()) };
        let mut extra = extra.into_iter().peekable();
        for row in 0..count {
            let start = lists.entries.len();
            lists.entries.extend(self.of(row));
            while let Some((_, other, product)) = extra.next_if(|entry| entry.0 == row as u32) {
                lists.entries.push((other, product));
            }
            lists.entries[start..].sort_unstable_by_key(|entry| entry.0);
            lists.starts.push(lists.entries.len());
        }
        // A single vector has no neighbours, but a list.
        while lists.starts.len() < 2 {
            lists.starts.push(lists.entries.len());
        }
        lists
    }
}

/// The values of some vectors, row-major.
fn values_of(vectors: &Vectors, rows: &[u32]) -> Vec<f32> {
    rows.iter().flat_map(|&row| vectors.row(row as usize)).copied().collect()
}

/// Keeps `other` among the nearest of `row`, if it is one.
fn offer(list: &mut [(u32, f32)], row: u32, other: u32, product: f32) {
    // Of equally near ones the smaller number, so that the order of offers does not matter.
    let nearer = |entry: &(u32, f32)| product > entry.1 || (product == entry.1 && other < entry.0);
    let Some(last) = list.last() else { return };
    if other == row || !nearer(last) || list.iter().any(|entry| entry.0 == other) {
        return;
    }
    let place = list.partition_point(|entry| !nearer(entry));
    list[place..].rotate_right(1);
    list[place] = (other, product);
}

/// The inner product of two vectors, the same in either order.
fn product(one: &[f32], other: &[f32]) -> f32 {
    let mut strands = [0.0f32; 16];
    let (front, rest) = one.as_chunks::<16>();
    let (other_front, other_rest) = other.as_chunks::<16>();
    for (a, b) in front.iter().zip(other_front) {
        for lane in 0..16 {
            strands[lane] += a[lane] * b[lane];
        }
    }
    strands.iter().sum::<f32>() + rest.iter().zip(other_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Sorts vectors so that those of one leaf stand together; the leaves' bounds follow from [`leaves`].
fn grow(vectors: &Vectors, order: &mut [u32], seed: u64, tree: u64, node: u64) {
    if order.len() <= LEAF {
        return;
    }
    let mut generator = random::stream(seed, "tree", (tree << 48) | node);
    // The hyperplane between two random vectors follows the data, unlike one of random coefficients.
    let mut draw = || order[generator.random_range(0..order.len() as u64) as usize] as usize;
    let (one, other) = (draw(), draw());
    let normal: Vec<f32> = vectors.row(one).iter().zip(vectors.row(other)).map(|(a, b)| a - b).collect();
    let mut placed: Vec<(f32, u32)> =
        order.par_iter().with_min_len(512).map(|&row| (product(vectors.row(row as usize), &normal), row)).collect();
    let middle = order.len() / 2;
    placed.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    // Sorted within each side, so that the sides do not depend on how the selection went.
    placed[..middle].sort_unstable_by_key(|entry| entry.1);
    placed[middle..].sort_unstable_by_key(|entry| entry.1);
    order.iter_mut().zip(placed).for_each(|(target, (_, row))| *target = row);
    let (left, right) = order.split_at_mut(middle);
    rayon::join(|| grow(vectors, left, seed, tree, 2 * node), || grow(vectors, right, seed, tree, 2 * node + 1));
}

/// Bounds of the leaves of a tree over places `start`..`end`.
fn leaves(start: usize, end: usize) -> Vec<(usize, usize)> {
    if end - start <= LEAF {
        return vec![(start, end)];
    }
    let middle = start + (end - start) / 2;
    let mut bounds = leaves(start, middle);
    bounds.extend(leaves(middle, end));
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(count: usize, width: usize) -> Vectors {
        let centres = random::uniform(&mut random::stream(1, "centres", 0), 1.0, 8 * width);
        let noise = random::uniform(&mut random::stream(1, "noise", 0), 0.5, count * width);
        let values = noise.iter().enumerate().map(|(i, noise)| centres[i / width % 8 * width + i % width] + noise);
        Vectors::new(values.collect(), width).unwrap()
    }

    #[test]
    fn trees_find_most_of_what_looking_at_every_pair_finds() {
        let vectors = groups(3000, 24);
        let (exact, found) = (Neighbours::exact(&vectors, 10), Neighbours::approximate(&vectors, 10, 6, 0));
        let shared = (0..3000).map(|row| {
            let numbers: Vec<u32> = exact.of(row).iter().map(|entry| entry.0).collect();
            found.of(row).iter().filter(|entry| numbers.contains(&entry.0)).count()
        });
        let recall = shared.sum::<usize>() as f64 / 30_000.0;
        assert!(recall > 0.9, "{recall}");
        assert_eq!(found, Neighbours::approximate(&vectors, 10, 6, 0));
    }

    #[test]
    fn lists_are_sorted_and_symmetric_lists_hold_every_pair_twice() {
        let vectors = groups(40, 6);
        let neighbours = Neighbours::exact(&vectors, 4);
        for row in 0..40 {
            assert_eq!(neighbours.of(row).len(), 4);
            assert!(neighbours.of(row).windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
        let lists = neighbours.symmetric();
        for row in 0..40 {
            for &(other, product) in lists.of(row) {
                assert!(lists.of(other as usize).contains(&(row as u32, product)));
                let named = |row: usize, other: u32| neighbours.of(row).iter().any(|entry| entry.0 == other);
                assert!(named(row, other) || named(other as usize, row as u32));
            }
        }
    }

    #[test]
    fn few_and_equal_vectors_have_few_neighbours() {
        let vectors = Vectors::new(vec![1.0; 6], 2).unwrap();
        assert_eq!(Neighbours::exact(&vectors, 5).of(0), [(1, 2.0), (2, 2.0)]);
        let one = Vectors::new(vec![1.0, 2.0], 2).unwrap();
        assert!(Neighbours::find(&one, 5, 2, 0).symmetric().of(0).is_empty());
    }
}
