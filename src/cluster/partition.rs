//! Hard clusters of vectors, their correlation clustering objective in closed form, and moves that lower it.

use rayon::prelude::*;

use super::spread::Spread;
use super::vectors::{Vectors, squared_length};
use crate::numerics::argmax;

/// A move must gain more than this share of the largest product, so that rounding never keeps a search going.
const LEAST_GAIN: f64 = 1e-7;
/// Vectors whose inner products are taken together.
const BLOCK: usize = 1024;
/// Error of an inner product in single precision, as a share of the largest.
const ROUNDING: f64 = 1e-5;
/// Passes over all vectors after which the search for better places ends, should it not have ended by itself.
const MOST_PASSES: usize = 50;
/// Rounds of moves, merges and splits.
const MOST_ROUNDS: usize = 40;
/// Vectors that are looked at to find where a cluster may be split.
const SPLIT_SAMPLE: usize = 2048;

/// A partition of vectors into clusters 0..K.
///
/// Its objective is −Σ_ij W_ij [i and j in one cluster] with W = F Fᵀ − c, c = max(F Fᵀ)/α. With the sums s_k and sizes
/// n_k of the clusters this is −Σ_k (‖s_k‖² − c n_k²): neither W nor any pair is ever looked at.
#[derive(Debug, Clone)]
pub(super) struct Partition<'a> {
    vectors: &'a Vectors,
    /// The vectors that are partitioned, as rows of `vectors`.
    rows: Vec<u32>,
    /// c.
    offset: f64,
    /// The cluster of every one of `rows`.
    pub clusters: Vec<u32>,
    /// s_k, row-major `[K, D]`.
    pub sums: Vec<f64>,
    /// n_k, `[K]`.
    pub sizes: Vec<f64>,
}

impl<'a> Partition<'a> {
    /// Takes over clusters of all vectors, whose numbers are closed up so that none is empty.
    pub fn new(vectors: &'a Vectors, offset: f64, clusters: &[u32]) -> Partition<'a> {
        Partition::of_rows(vectors, (0..vectors.count() as u32).collect(), offset, clusters)
    }

    fn of_rows(vectors: &'a Vectors, rows: Vec<u32>, offset: f64, clusters: &[u32]) -> Partition<'a> {
        let mut partition =
            Partition { vectors, rows, offset, clusters: clusters.to_vec(), sums: Vec::new(), sizes: Vec::new() };
        partition.recount();
        partition
    }

    /// Number of clusters, K.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// −Σ_k (‖s_k‖² − c n_k²).
    pub fn objective(&self) -> f64 {
        let width = self.vectors.width();
        let together = self.sums.chunks_exact(width).zip(&self.sizes).map(|(sum, size)| {
            let squared: f64 = sum.iter().map(|value| value * value).sum();
            squared - self.offset * size * size
        });
        -together.sum::<f64>()
    }

    /// Lowers the objective until no single move, no merge of two clusters and no split found lowers it further.
    ///
    /// A split is made only if both sides hold at least `smallest` vectors and there are fewer than `most` clusters.
    pub fn descend(&mut self, most: usize, smallest: usize) {
        for _ in 0..MOST_ROUNDS {
            self.move_single();
            // A merge or a split opens new moves.
            let merged = self.merge();
            if !self.split(most, smallest) && !merged {
                return;
            }
        }
        self.move_single();
    }

    /// Closes up the numbers of clusters, the earlier first, and computes sums and sizes anew.
    fn recount(&mut self) {
        let most = self.clusters.iter().copied().max().map_or(0, |largest| largest as usize + 1);
        let mut number = vec![u32::MAX; most];
        let mut used = vec![false; most];
        self.clusters.iter().for_each(|&cluster| used[cluster as usize] = true);
        let mut next = 0;
        for (cluster, used) in used.into_iter().enumerate() {
            if used {
                number[cluster] = next;
                next += 1;
            }
        }
        self.clusters.iter_mut().for_each(|cluster| *cluster = number[*cluster as usize]);
        let width = self.vectors.width();
        self.sums = vec![0.0; next as usize * width];
        self.sizes = vec![0.0; next as usize];
        for (&row, &cluster) in self.rows.iter().zip(&self.clusters) {
            self.sizes[cluster as usize] += 1.0;
            let sum = &mut self.sums[cluster as usize * width..][..width];
            sum.iter_mut().zip(self.vectors.row(row as usize)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }

    /// What a vector gains in every cluster k, its own share left out: f·s_k − c n_k.
    fn gains(&self, position: usize, gains: &mut [f64]) {
        let vector = self.vectors.row(self.rows[position] as usize);
        scores(vector, &self.sums, &self.sizes, self.offset, gains);
        gains[self.clusters[position] as usize] -= squared_length(vector) - self.offset;
    }

    /// Moves single vectors to where they gain most, until none gains anything: every move lowers the objective by twice
    /// its gain. Empty clusters are dropped.
    fn move_single(&mut self) {
        let (count, width) = (self.count(), self.vectors.width());
        if count < 2 {
            return;
        }
        let least = LEAST_GAIN * self.offset.max(f64::MIN_POSITIVE) * self.rows.len() as f64 / count as f64;
        let better = |partition: &Partition, position: usize, gains: &mut [f64]| -> Option<usize> {
            partition.gains(position, gains);
            let best = argmax(gains);
            let own = partition.clusters[position] as usize;
            (gains[best] > gains[own] + least).then_some(best)
        };
        for _ in 0..MOST_PASSES {
            // Candidates are found side by side and moved one by one, each judged again by what moved before it.
            let candidates = self.candidates();
            let mut moved = false;
            let mut gains = vec![0.0; count];
            for position in candidates {
                let Some(to) = better(self, position, &mut gains) else { continue };
                let from = self.clusters[position] as usize;
                for (channel, &value) in self.vectors.row(self.rows[position] as usize).iter().enumerate() {
                    self.sums[from * width + channel] -= f64::from(value);
                    self.sums[to * width + channel] += f64::from(value);
                }
                self.sizes[from] -= 1.0;
                self.sizes[to] += 1.0;
                self.clusters[position] = to as u32;
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.recount();
    }

    /// Vectors that may gain by a move, found quickly in single precision: those whose gain rounding could hide, too.
    fn candidates(&self) -> Vec<usize> {
        let sums: Vec<f32> = self.sums.iter().map(|&sum| sum as f32).collect();
        let positions: Vec<usize> = (0..self.rows.len()).collect();
        let of_block = |block: &[usize]| -> Vec<usize> {
            let rows = &self.rows[block[0]..block[0] + block.len()];
            let products = self.vectors.products(rows, &sums);
            let candidate = |(&position, products): (&usize, &[f32])| {
                let own = self.clusters[position] as usize;
                let squared = squared_length(self.vectors.row(self.rows[position] as usize));
                let gain = |cluster: usize| f64::from(products[cluster]) - self.offset * self.sizes[cluster];
                let kept = gain(own) - squared + self.offset;
                let best =
                    (0..products.len()).filter(|&other| other != own).map(gain).fold(f64::NEG_INFINITY, f64::max);
                let largest = products.iter().fold(0.0f32, |largest, product| largest.max(product.abs()));
                (best > kept - ROUNDING * f64::from(largest)).then_some(position)
            };
            block.iter().zip(products.chunks_exact(self.count())).filter_map(candidate).collect()
        };
        positions.par_chunks(BLOCK).flat_map_iter(of_block).collect()
    }

    /// Joins the two clusters that gain most by it, as long as any two do: s_a·s_b > c n_a n_b.
    fn merge(&mut self) -> bool {
        let width = self.vectors.width();
        let mut merged = false;
        loop {
            let mut best: Option<(f64, usize, usize)> = None;
            for first in 0..self.count() {
                for second in first + 1..self.count() {
                    let (one, other) = (&self.sums[first * width..][..width], &self.sums[second * width..][..width]);
                    let product: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
                    let gain = product - self.offset * self.sizes[first] * self.sizes[second];
                    // Of equal gains the first, so that nothing depends on rounding alone.
                    if gain > best.map_or(0.0, |(gain, ..)| gain) {
                        best = Some((gain, first, second));
                    }
                }
            }
            let Some((_, first, second)) = best else { return merged };
            self.clusters.iter_mut().filter(|cluster| **cluster == second as u32).for_each(|c| *c = first as u32);
            self.recount();
            merged = true;
        }
    }

    /// Splits clusters in two where that lowers the objective, the largest gains first; whether any was split.
    fn split(&mut self, most: usize, smallest: usize) -> bool {
        let count = self.count();
        if count >= most {
            return false;
        }
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (position, &cluster) in self.clusters.iter().enumerate() {
            members[cluster as usize].push(position);
        }
        let mut splits: Vec<(f64, usize, Vec<u32>)> = Vec::new();
        for (cluster, members) in members.iter().enumerate() {
            let rows: Vec<u32> = members.iter().map(|&position| self.rows[position]).collect();
            if let Some((gain, halves)) = self.best_split(&rows, smallest) {
                splits.push((gain, cluster, halves));
            }
        }
        splits.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        splits.truncate(most - count);
        for (added, (_, cluster, halves)) in splits.iter().enumerate() {
            for (&position, &half) in members[*cluster].iter().zip(halves) {
                if half == 1 {
                    self.clusters[position] = (count + added) as u32;
                }
            }
        }
        self.recount();
        !splits.is_empty()
    }

    /// The best of two ways to part some vectors in two, along the directions in which they spread most; none if
    /// neither lowers the objective. Gives the gain and the side of every vector.
    fn best_split(&self, rows: &[u32], smallest: usize) -> Option<(f64, Vec<u32>)> {
        let smallest = smallest.max(1);
        if rows.len() < 2 * smallest {
            return None;
        }
        let step = rows.len().div_ceil(SPLIT_SAMPLE);
        let sample: Vec<u32> = rows.iter().copied().step_by(step).collect();
        let spread = Spread::new(self.vectors, &sample);
        let mut best: Option<(f64, Vec<u32>)> = None;
        for direction in spread.directions() {
            let sides: Vec<u32> = sample.iter().map(|&row| u32::from(spread.place(row, &direction) > 0.0)).collect();
            let mut parted = Partition::of_rows(self.vectors, sample.clone(), self.offset, &sides);
            parted.move_single();
            if parted.count() == 2 && step > 1 {
                // The rest of the cluster joins the side that it gains most in.
                let sides = parted.nearest(rows);
                parted = Partition::of_rows(self.vectors, rows.to_vec(), self.offset, &sides);
                parted.move_single();
            }
            if parted.count() < 2 || parted.sizes.iter().any(|&size| size < smallest as f64) {
                continue;
            }
            let width = self.vectors.width();
            let (one, other) = parted.sums.split_at(width);
            let product: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
            let gain = self.offset * parted.sizes[0] * parted.sizes[1] - product;
            let least = LEAST_GAIN * self.offset * rows.len() as f64;
            if gain > least && best.as_ref().is_none_or(|(found, _)| gain > *found) {
                best = Some((gain, parted.clusters));
            }
        }
        best
    }

    /// The clusters in which vectors that belong to none yet gain most.
    fn nearest(&self, rows: &[u32]) -> Vec<u32> {
        let sums: Vec<f32> = self.sums.iter().map(|&sum| sum as f32).collect();
        let of_block = |rows: &[u32]| -> Vec<u32> {
            let products = self.vectors.products(rows, &sums);
            let nearest = |products: &[f32]| {
                let gains = products.iter().zip(&self.sizes).map(|(&p, size)| f64::from(p) - self.offset * size);
                argmax(&gains.collect::<Vec<f64>>()) as u32
            };
            products.chunks_exact(self.count()).map(nearest).collect()
        };
        rows.par_chunks(BLOCK).flat_map_iter(of_block).collect()
    }
}

/// f·s_k − c n_k for every cluster k: what a vector gains in it.
///
/// # Shapes
/// vector `[D]`, sums `[K, D]`, sizes `[K]` → `[K]`
pub(super) fn scores(vector: &[f32], sums: &[f64], sizes: &[f64], offset: f64, scores: &mut [f64]) {
    for ((score, sum), size) in scores.iter_mut().zip(sums.chunks_exact(vector.len())).zip(sizes) {
        *score = dot(vector, sum) - offset * size;
    }
}

/// The inner product, in eight strands that the processor can take at once and that always add up in the same order.
pub(super) fn dot(vector: &[f32], sum: &[f64]) -> f64 {
    let mut strands = [0.0f64; 8];
    let (front, rest) = vector.as_chunks::<8>();
    let (front_sum, rest_sum) = sum.as_chunks::<8>();
    for (values, sums) in front.iter().zip(front_sum) {
        for lane in 0..8 {
            strands[lane] += f64::from(values[lane]) * sums[lane];
        }
    }
    let rest: f64 = rest.iter().zip(rest_sum).map(|(value, sum)| f64::from(*value) * sum).sum();
    strands.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;

    /// `count` vectors around the given centres in turn.
    fn blobs(centres: &[[f32; 3]], count: usize, spread: f64) -> Vectors {
        let noise = random::uniform(&mut random::stream(5, "blobs", 0), spread, 3 * count);
        let values = (0..3 * count).map(|index| centres[index / 3 % centres.len()][index % 3] + noise[index]);
        Vectors::new(values.collect(), 3).unwrap()
    }

    fn dense_objective(vectors: &Vectors, offset: f64, clusters: &[u32]) -> f64 {
        let mut sum = 0.0;
        for i in 0..vectors.count() {
            for j in 0..vectors.count() {
                if clusters[i] == clusters[j] {
                    let product = vectors.row(i).iter().zip(vectors.row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b));
                    sum -= product.sum::<f64>() - offset;
                }
            }
        }
        sum
    }

    #[test]
    fn closed_form_equals_the_sum_over_pairs_and_descent_never_raises_it() {
        for seed in 0..8 {
            let mut generator = random::stream(seed, "closed form", 0);
            let vectors = Vectors::new(random::uniform(&mut generator, 1.0, 40 * 5), 5).unwrap();
            let offset = vectors.largest_product() / 3.0;
            let clusters: Vec<u32> = random::permutation(&mut generator, 40).iter().map(|&n| n as u32 % 7).collect();
            let mut partition = Partition::new(&vectors, offset, &clusters);
            let dense = dense_objective(&vectors, offset, &clusters);
            assert!((partition.objective() - dense).abs() <= 1e-9 * dense.abs().max(1.0));
            partition.descend(10, 1);
            let after = dense_objective(&vectors, offset, &partition.clusters);
            assert!((partition.objective() - after).abs() <= 1e-9 * after.abs().max(1.0));
            assert!(after < dense, "{after} is no less than {dense}");
            // A local optimum: no single vector gains by moving.
            for position in 0..40 {
                for cluster in 0..partition.count() as u32 {
                    let mut moved = partition.clusters.clone();
                    moved[position] = cluster;
                    assert!(dense_objective(&vectors, offset, &moved) >= after - 1e-5);
                }
            }
        }
    }

    #[test]
    fn one_cluster_is_split_into_the_groups_there_are() {
        let vectors = blobs(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 90, 0.1);
        let mut partition = Partition::new(&vectors, vectors.largest_product() / 3.0, &[0; 90]);
        partition.descend(10, 2);
        assert_eq!(partition.count(), 3);
        for position in 3..90 {
            assert_eq!(partition.clusters[position], partition.clusters[position % 3]);
        }
    }

    #[test]
    fn splits_respect_the_largest_number_and_the_smallest_size() {
        let vectors = blobs(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 90, 0.1);
        let offset = vectors.largest_product() / 3.0;
        for (most, smallest, expected) in [(2, 2, 2), (1, 2, 1), (10, 46, 1)] {
            let mut partition = Partition::new(&vectors, offset, &[0; 90]);
            partition.descend(most, smallest);
            assert_eq!(partition.count(), expected, "at most {most}, at least {smallest}");
        }
    }
}
