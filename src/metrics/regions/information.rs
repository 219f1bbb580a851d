//! Measures of partitions: agreeing pairs of pixels, and information.

use super::segments::{Pair, SharedPixels};

/// The Rand index: the share of pairs of different pixels that are together in both segmentations or apart in both; 1 of fewer than
/// two pixels.
pub fn rand_index(shared: &SharedPixels) -> f64 {
    let pixels = u128::from(shared.pixels());
    if pixels < 2 {
        return 1.0;
    }
    let squares = |areas_px: &[u64]| areas_px.iter().map(|&area_px| u128::from(area_px).pow(2)).sum::<u128>();
    // Of ordered pairs, and exact.
    let together_in_both = squares(&shared.shared_px);
    let differing = squares(&shared.truth.areas_px) + squares(&shared.predicted.areas_px) - 2 * together_in_both;
    1.0 - differing as f64 / (pixels * (pixels - 1)) as f64
}

/// The variation of information in bits: H(truth | prediction) + H(prediction | truth), in logarithms to base 2; 0 for the same
/// partition, at most log₂ of the number of pixels.
pub fn variation_of_information(shared: &SharedPixels) -> f64 {
    // No term is negative, and each is 0 where the segments are the same.
    let bits = |Pair { truth, predicted, shared_px, .. }: Pair| {
        let surprise = |area_px: u64| (area_px as f64 / shared_px as f64).log2();
        shared_px as f64 * (surprise(shared.truth.areas_px[truth]) + surprise(shared.predicted.areas_px[predicted]))
    };
    match shared.pixels() {
        0 => 0.0,
        pixels => shared.pairs().map(bits).sum::<f64>() / pixels as f64,
    }
}
