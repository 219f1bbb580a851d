//! Numbers without a domain.

pub mod assignment;
pub mod random;
pub mod range;
pub mod union_find;

/// Index of the largest entry, the first of equals.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
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
