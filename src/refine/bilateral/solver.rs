//! Smoothing a target on the bilateral grid.

use std::array::from_fn;

use super::config::BilateralConfig;
use super::grid::{BLUR_DIAGONAL, BilateralGrid};
use crate::raster::{Mask, RgbImage};

/// The bilateral solver for one image: it smooths any target over that image, but not across its edges.
///
/// The solution x minimises λ/2 Σ_ij Ŵ_ij (x_i − x_j)² + Σ_i c (x_i − t_i)² over all pixels i and j, where Ŵ is large for
/// pixels that are close in place and colour. Ŵ factors through the grid: with S summing pixels into the grid's vertices,
/// B blurring there, and diagonal n, m with n ∘ B n = m, the solution is x = Sᵀ y for
///
/// A y = b, A = λ (diag(m) − diag(n) B diag(n)) + diag(S c), b = S (c ∘ t).
///
/// Source: Barron and Poole, "The Fast Bilateral Solver", arXiv 1511.03296, equations 3 to 9.
#[derive(Debug, Clone)]
pub struct BilateralSolver {
    pub(super) width: usize,
    pub(super) height: usize,
    config: BilateralConfig,
    grid: BilateralGrid,
    n: Vec<f64>,
    m: Vec<f64>,
    /// λ m + S c: what of A belongs to a vertex alone, but for the blur's part.
    own: Vec<f64>,
    /// One over A's diagonal, the preconditioner.
    inverse_diagonal: Vec<f64>,
}

impl BilateralSolver {
    /// Builds the grid of `image` and balances it. Settings outside their range are brought to the nearest usable one;
    /// [`BilateralConfig::validate`] tells of them.
    pub fn new(image: &RgbImage, config: BilateralConfig) -> Self {
        let config = config.usable();
        let grid = BilateralGrid::new(image, config.sigma_spatial, config.sigma_luma, config.sigma_chroma);
        let (n, m) = bistochastise(&grid, config.bistochastic_iterations);
        let of_vertices = m.iter().zip(grid.areas_px());
        let own: Vec<f64> = of_vertices.map(|(m, area_px)| config.lambda * m + config.confidence * area_px).collect();
        let diagonal = n.iter().zip(&own).map(|(n, own)| own - config.lambda * BLUR_DIAGONAL * n * n);
        let inverse_diagonal = diagonal.map(|entry| 1.0 / entry.max(config.smallest_diagonal)).collect();
        BilateralSolver { width: image.width, height: image.height, config, grid, n, m, own, inverse_diagonal }
    }

    /// How many cells of the bilateral grid hold a pixel.
    pub fn vertices(&self) -> usize {
        self.grid.vertices()
    }

    /// The diagonals (n, m), one entry per vertex, for which the rows of diag(n) B diag(n) sum to m.
    pub fn bistochastic_diagonals(&self) -> (&[f64], &[f64]) {
        (&self.n, &self.m)
    }

    /// The smooth version of `target`, which may hold any finite values; at convergence it stays within their range.
    ///
    /// # Shapes
    /// target `[height · width]`, row-major as the image → the same
    ///
    /// # Panics
    /// If the target does not have one value for every pixel of the image.
    pub fn solve(&self, target: &[f64]) -> Vec<f64> {
        let pixels = self.width * self.height;
        assert_eq!(target.len(), pixels, "a target for {}x{} needs that many values", self.width, self.height);
        let smooth = self.solve_on_grid(target.iter().map(|&value| [value]));
        self.grid.slice(&smooth).into_iter().map(|[value]| value).collect()
    }

    /// The smooth versions of several targets, each as [`BilateralSolver::solve`] gives it, for every vertex of the grid: their
    /// systems have one matrix, which is then read once for all of them.
    ///
    /// # Shapes
    /// targets `[height · width]`, of every pixel a value of each → `[vertices]`
    pub(super) fn solve_on_grid<const N: usize>(&self, targets: impl Iterator<Item = [f64; N]>) -> Vec<[f64; N]> {
        let mut right = self.grid.splat(targets);
        // Without any smoothing every vertex has the mean of its pixels.
        let start =
            right.iter().zip(self.grid.areas_px()).map(|(sums, area_px)| sums.map(|sum| sum / area_px)).collect();
        right.iter_mut().for_each(|sums| *sums = sums.map(|sum| sum * self.config.confidence));
        self.conjugate_gradients(&right, start)
    }

    /// What every pixel takes from its vertex.
    pub(super) fn slice<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.grid.slice(values)
    }

    /// `mask` in the size of the image, by nearest neighbour.
    pub(super) fn mask_of_image(&self, mask: &Mask) -> Mask {
        if (mask.width, mask.height) == (self.width, self.height) {
            mask.clone()
        } else if mask.values.is_empty() {
            Mask::filled(self.width, self.height, 0)
        } else {
            mask.resized_nearest(self.width, self.height)
        }
    }

    /// A y of several y, given n ∘ y.
    fn apply<const N: usize>(&self, y: &[[f64; N]], scaled: &[[f64; N]], product: &mut [[f64; N]]) {
        self.grid.blur(scaled, product);
        let lambda = self.config.lambda;
        for (((product, y), n), own) in product.iter_mut().zip(y).zip(&self.n).zip(&self.own) {
            let shared = lambda * n;
            *product = from_fn(|side| own * y[side] - shared * product[side]);
        }
    }

    /// n ∘ y of several y.
    fn scaled<const N: usize>(&self, y: &[[f64; N]]) -> Vec<[f64; N]> {
        y.iter().zip(&self.n).map(|(y, n)| y.map(|y| n * y)).collect()
    }

    /// Conjugate gradients from `y`, preconditioned by A's diagonal, for several right-hand sides: each until its residual is
    /// below the tolerance's share of it or the steps are used up.
    fn conjugate_gradients<const N: usize>(&self, right: &[[f64; N]], mut y: Vec<[f64; N]>) -> Vec<[f64; N]> {
        let enough = dot(right, right).map(|square| self.config.tolerance * square.sqrt());
        let vertices = right.len();
        let mut scaled = self.scaled(&y);
        let mut product = vec![[0.0; N]; vertices];
        self.apply(&y, &scaled, &mut product);
        let mut residual: Vec<[f64; N]> =
            right.iter().zip(&product).map(|(right, product)| from_fn(|side| right[side] - product[side])).collect();
        let mut direction = vec![[0.0; N]; vertices];
        let (mut previous, mut is_over) = ([f64::INFINITY; N], [false; N]);
        for _ in 0..self.config.iterations {
            let squares = dot(&residual, &residual);
            is_over = from_fn(|side| is_over[side] || squares[side].sqrt() <= enough[side]);
            if is_over == [true; N] {
                break;
            }
            let current = weighted_squares(&residual, &self.inverse_diagonal);
            // The first step has no direction before it: the ratio to infinity is 0. Those that are over may have 0 to 0.
            let ratio: [f64; N] = from_fn(|side| if is_over[side] { 0.0 } else { current[side] / previous[side] });
            let of_vertices =
                direction.iter_mut().zip(&mut scaled).zip(&residual).zip(&self.inverse_diagonal).zip(&self.n);
            for ((((direction, scaled), residual), inverse), n) in of_vertices {
                *direction = from_fn(|side| residual[side] * inverse + ratio[side] * direction[side]);
                *scaled = direction.map(|direction| n * direction);
            }
            self.apply(&direction, &scaled, &mut product);
            let curvature = dot(&direction, &product);
            // A is positive definite, so only rounding at the very end brings this; a step would divide by it.
            is_over = from_fn(|side| is_over[side] || curvature[side] <= 0.0);
            // Those that are over stay as they are.
            let step: [f64; N] = from_fn(|side| if is_over[side] { 0.0 } else { current[side] / curvature[side] });
            for (((y, residual), direction), product) in y.iter_mut().zip(&mut residual).zip(&direction).zip(&product) {
                *y = from_fn(|side| y[side] + step[side] * direction[side]);
                *residual = from_fn(|side| residual[side] - step[side] * product[side]);
            }
            previous = current;
        }
        y
    }
}

/// n and m with n ∘ B n = m, where m comes close to the number of pixels per vertex: n ← √(n ∘ m / B n), repeated.
fn bistochastise(grid: &BilateralGrid, iterations: usize) -> (Vec<f64>, Vec<f64>) {
    let mut n = vec![[1.0]; grid.vertices()];
    let mut blurred = vec![[0.0]; grid.vertices()];
    for _ in 0..iterations {
        grid.blur(&n, &mut blurred);
        for (([n], area_px), [blurred]) in n.iter_mut().zip(grid.areas_px()).zip(&blurred) {
            *n = (*n * area_px / blurred).sqrt();
        }
    }
    // Taking m from n makes the rows sum to m exactly after any number of steps, so a constant is never smoothed away.
    grid.blur(&n, &mut blurred);
    let m = n.iter().zip(&blurred).map(|([n], [blurred])| n * blurred).collect();
    (n.into_iter().map(|[n]| n).collect(), m)
}

/// The inner products of several vectors, each with its own.
fn dot<const N: usize>(a: &[[f64; N]], b: &[[f64; N]]) -> [f64; N] {
    sum(a, b, |a, b| from_fn(|side| a[side] * b[side]))
}

/// Σ w a² of several vectors.
fn weighted_squares<const N: usize>(a: &[[f64; N]], weights: &[f64]) -> [f64; N] {
    sum(a, weights, |a, weight| a.map(|a| a * weight * a))
}

/// The sum of `term` over two vectors: in several partial sums, which a processor adds to side by side.
fn sum<const N: usize, A, B>(a: &[A], b: &[B], term: impl Fn(&A, &B) -> [f64; N]) -> [f64; N] {
    const PARTIAL_SUMS: usize = 8;
    let mut sums = [[0.0; N]; PARTIAL_SUMS];
    let add = |sums: &mut [f64; N], a: &A, b: &B| {
        sums.iter_mut().zip(term(a, b)).for_each(|(sum, term)| *sum += term);
    };
    let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<PARTIAL_SUMS>(), b.as_chunks::<PARTIAL_SUMS>());
    for (block_a, block_b) in blocks_a.iter().zip(blocks_b) {
        for (place, sums) in sums.iter_mut().enumerate() {
            add(sums, &block_a[place], &block_b[place]);
        }
    }
    for ((a, b), sums) in rest_a.iter().zip(rest_b).zip(&mut sums) {
        add(sums, a, b);
    }
    from_fn(|side| sums.iter().map(|sums| sums[side]).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two flat halves with some texture, 60 × 40.
    fn halves() -> RgbImage {
        let pixel = |index: usize| {
            let texture = (index * 37 % 11) as u8;
            if index % 60 < 30 { [40 + texture, 60, 50] } else { [200, 180 - texture, 90 + texture] }
        };
        RgbImage::from_values(60, 40, (0..60 * 40).map(pixel).collect())
    }

    /// Settings under which the conjugate gradients come to their end.
    fn exact() -> BilateralConfig {
        BilateralConfig { iterations: 2000, tolerance: 1e-13, ..BilateralConfig::default() }
    }

    #[test]
    fn blurred_grid_is_symmetric_and_its_rows_sum_to_m() {
        let solver = BilateralSolver::new(&halves(), BilateralConfig { sigma_spatial: 6.0, ..Default::default() });
        let vertices = solver.vertices();
        let (n, m) = solver.bistochastic_diagonals();
        let normalised = |y: &[[f64; 1]]| {
            let scaled: Vec<[f64; 1]> = y.iter().zip(n).map(|([y], n)| [y * n]).collect();
            let mut blurred = vec![[0.0]; vertices];
            solver.grid.blur(&scaled, &mut blurred);
            blurred.iter().zip(n).map(|([blurred], n)| [blurred * n]).collect::<Vec<_>>()
        };
        for (row, m) in normalised(&vec![[1.0]; vertices]).as_flattened().iter().zip(m) {
            assert!((row - m).abs() < 1e-12 * m, "{row} instead of {m}");
        }
        let a: Vec<[f64; 1]> = (0..vertices).map(|index| [(index as f64 * 0.7).sin()]).collect();
        let b: Vec<[f64; 1]> = (0..vertices).map(|index| [(index as f64 * 1.3).cos()]).collect();
        let ([one], [other]) = (dot(&a, &normalised(&b)), dot(&b, &normalised(&a)));
        assert!((one - other).abs() < 1e-9 * one.abs().max(1.0), "{one} and {other}");
        // With many steps the row sums are the number of pixels.
        let many = BilateralConfig { bistochastic_iterations: 1000, ..Default::default() };
        let balanced = BilateralSolver::new(&halves(), many);
        for (m, area_px) in balanced.m.iter().zip(balanced.grid.areas_px()) {
            assert!((m - area_px).abs() < 1e-6 * area_px, "{m} instead of {area_px}");
        }
    }

    #[test]
    fn solution_stays_within_the_target_and_stops_at_edges() {
        let image = halves();
        // The target's edge is 6 pixels left of the image's.
        let target: Vec<f64> = (0..60 * 40).map(|index| if index % 60 < 24 { -2.0 } else { 3.0 }).collect();
        let soft = BilateralSolver::new(&image, exact()).solve(&target);
        assert!(soft.iter().all(|&value| (-2.0 - 1e-6..=3.0 + 1e-6).contains(&value)));
        for (index, &value) in soft.iter().enumerate() {
            assert_eq!(value > 0.5, index % 60 >= 30, "{value} in column {}", index % 60);
        }
        // A constant is its own smooth version, whatever the settings.
        let flat = BilateralSolver::new(&image, BilateralConfig::default()).solve(&[0.3; 60 * 40]);
        assert!(flat.iter().all(|value| (value - 0.3).abs() < 1e-9));
    }

    #[test]
    fn solution_satisfies_its_equation_and_without_smoothness_is_the_mean() {
        let image = halves();
        let target: Vec<f64> = (0..60 * 40).map(|index| f64::from(u8::from(index % 7 < 3))).collect();
        let solver = BilateralSolver::new(&image, exact());
        let targets = || target.iter().map(|&value| [value]);
        let right: Vec<[f64; 1]> = solver.grid.splat(targets()).iter().map(|[sum]| [sum * 0.999]).collect();
        let solution = solver.conjugate_gradients(&right, vec![[0.0]; solver.vertices()]);
        let mut product = vec![[0.0]; solver.vertices()];
        solver.apply(&solution, &solver.scaled(&solution), &mut product);
        for ([product], [right]) in product.iter().zip(&right) {
            assert!((product - right).abs() < 1e-8, "{product} instead of {right}");
        }
        let rough = BilateralSolver::new(&image, BilateralConfig { lambda: 0.0, ..exact() });
        let sums = rough.grid.splat(targets());
        let means: Vec<_> = sums.iter().zip(rough.grid.areas_px()).map(|([sum], area_px)| sum / area_px).collect();
        assert_eq!(rough.solve(&target), rough.grid.slice(&means));
    }

    #[test]
    fn targets_together_are_as_each_alone() {
        // They come to their end after different numbers of steps, one of them at once.
        let targets: [fn(usize) -> f64; 4] = [
            |index| f64::from(u8::from(index % 60 < 24)),
            |index| (index as f64 * 0.37).sin(),
            |_| 0.0,
            |index| f64::from(u8::from(index == 77)),
        ];
        for config in [BilateralConfig::default(), exact()] {
            let solver = BilateralSolver::new(&halves(), config);
            let together = solver.solve_on_grid((0..60 * 40).map(|index| targets.map(|target| target(index))));
            let together = solver.slice(&together);
            for (place, target) in targets.into_iter().enumerate() {
                let alone = solver.solve(&(0..60 * 40).map(target).collect::<Vec<_>>());
                assert_eq!(together.iter().map(|values| values[place]).collect::<Vec<_>>(), alone, "target {place}");
            }
        }
    }

    #[test]
    fn tolerance_is_relative_to_the_target() {
        let config = BilateralConfig { tolerance: 1e-3, iterations: 2000, ..BilateralConfig::default() };
        let target: Vec<f64> = (0..60 * 40).map(|index| if index % 60 < 24 { 0.25 } else { 1.0 }).collect();
        let solver = BilateralSolver::new(&halves(), config);
        let soft = solver.solve(&target);
        // Powers of two scale without rounding, so the steps taken must be the same ones.
        for scale in [1024.0, 1.0 / 1024.0] {
            let scaled: Vec<f64> = target.iter().map(|value| value * scale).collect();
            let expected: Vec<f64> = soft.iter().map(|value| value * scale).collect();
            assert_eq!(solver.solve(&scaled), expected, "scaled by {scale}");
        }
    }
}
