//! Numbers without a domain.

pub mod bipartite_matching;
pub mod bytes;
pub mod expansion;
pub mod k_means;
pub mod max_flow;
pub mod normalised_affinity;
pub mod optimal_assignment;
pub mod principal;
#[allow(unsafe_code, reason = "the product is called by addresses; the block says why it is sound")]
pub mod product;
pub mod random;
pub mod range;
pub mod union_find;
#[allow(unsafe_code, reason = "versions for other instruction sets are called once these are detected")]
pub mod vectorised;

/// Index of the largest entry, the first of equals.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    (1..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

/// `target += weight · source`.
pub fn add_scaled(target: &mut [f32], source: &[f32], weight: f32) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += weight * source;
    }
}

/// Divides a vector by its Euclidean length; the zero vector stays.
pub fn scale_to_unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
