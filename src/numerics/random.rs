//! Random streams that depend on nothing but a seed and what they are for.
//!
//! A stream is derived afresh for every purpose and step, so a resumed run needs no saved generator state and draws
//! the same numbers as an uninterrupted one.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The random stream for `purpose` at `step` of the run with this `seed`.
pub fn stream(seed: u64, purpose: &str, step: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&step.to_le_bytes());
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// `count` draws from the uniform distribution over [−`bound`, `bound`).
pub fn uniform(generator: &mut ChaCha8Rng, bound: f64, count: usize) -> Vec<f32> {
    (0..count).map(|_| ((generator.random::<f64>() * 2.0 - 1.0) * bound) as f32).collect()
}

/// The numbers 0..`count` in random order (Fisher–Yates).
pub fn permutation(generator: &mut ChaCha8Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, generator.random_range(0..=last as u64) as usize);
    }
    order
}

/// A dropout mask: each of `count` entries is 0 with probability `rate`, else 1 / (1 − `rate`).
///
/// `rate` is resolved to 1/65536, which is exact for the usual 0.25 and 0.5.
pub fn dropout_mask(generator: &mut ChaCha8Rng, rate: f64, count: usize) -> Vec<f32> {
    let threshold = (rate * 65536.0).round() as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    // Two entries of every 32-bit draw.
    let mut draws = vec![0u8; 4 * count.div_ceil(2)];
    generator.fill_bytes(&mut draws);
    let halves = draws.as_chunks::<2>().0[..count].iter().map(|&half| u32::from(u16::from_le_bytes(half)));
    halves.map(|half| if half < threshold { 0.0 } else { kept }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose_seed_and_step() {
        let draw = |seed, purpose, step| uniform(&mut stream(seed, purpose, step), 1.0, 4);
        assert_eq!(draw(1, "order", 2), draw(1, "order", 2));
        for other in [draw(2, "order", 2), draw(1, "dropout", 2), draw(1, "order", 3)] {
            assert_ne!(draw(1, "order", 2), other);
        }
    }

    #[test]
    fn permutation_holds_every_number_once() {
        let mut order = permutation(&mut stream(7, "order", 0), 100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn dropout_keeps_the_expected_value() {
        let mask = dropout_mask(&mut stream(7, "dropout", 0), 0.25, 40_001);
        assert_eq!(mask.len(), 40_001);
        let dropped = mask.iter().filter(|&&value| value == 0.0).count() as f64 / 40_001.0;
        assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
        assert!(mask.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    }
}
