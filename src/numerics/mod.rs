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
