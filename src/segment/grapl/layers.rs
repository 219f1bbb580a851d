//! Convolutions of 3×3 without padding, as products of matrices.
//!
//! Planes of several patches lie side by side, channel by channel: `[channels, n, height, width]`. Either the inputs of every
//! output are collected before the product, or the product is taken of every input alone and its nine responses are gathered
//! after it: whichever has the fewer channels is the smaller to copy.

/// Places that an output of a convolution sees.
pub const TAPS: usize = 9;

/// Sides of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub width: usize,
    pub height: usize,
}

impl Extent {
    pub fn square(side: usize) -> Extent {
        Extent { width: side, height: side }
    }

    pub fn area(self) -> usize {
        self.width * self.height
    }

    /// What a convolution leaves.
    pub fn convolved(self) -> Extent {
        Extent { width: self.width - 2, height: self.height - 2 }
    }

    /// The rows, as parts of a plane, of which a tap sees those of the convolved plane in their order.
    fn seen_rows(self, tap: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let Extent { width, height } = self.convolved();
        let first = tap / 3 * self.width + tap % 3;
        (0..height).map(move |row| first + row * self.width..first + row * self.width + width)
    }
}

/// For every output of a convolution the inputs that it sees.
///
/// # Shapes
/// planes `[channels, n, height, width]` → `[channels · 9, n, height − 2, width − 2]`
pub fn columns(into: &mut Vec<f32>, planes: &[f32], channels: usize, extent: Extent) {
    into.clear();
    for plane in planes.chunks_exact(planes.len() / channels) {
        for tap in 0..TAPS {
            for patch in plane.chunks_exact(extent.area()) {
                extent.seen_rows(tap).for_each(|row| into.extend_from_slice(&patch[row]));
            }
        }
    }
}

/// The outputs of a convolution from what every input contributes to each of the nine outputs that see it.
///
/// # Shapes
/// contributions `[channels · 9, n, height, width]` → `[n, channels, height − 2, width − 2]`
pub fn gather_taps(into: &mut [f32], contributions: &[f32], channels: usize, extent: Extent) {
    let inner = extent.convolved();
    let plane = contributions.len() / (channels * TAPS);
    into.fill(0.0);
    for (place, output) in into.chunks_exact_mut(inner.area()).enumerate() {
        let (patch, channel) = (place / channels, place % channels);
        for tap in 0..TAPS {
            let start = (channel * TAPS + tap) * plane + patch * extent.area();
            let input = &contributions[start..start + extent.area()];
            for (output, seen) in output.chunks_exact_mut(inner.width).zip(extent.seen_rows(tap)) {
                output.iter_mut().zip(&input[seen]).for_each(|(output, input)| *output += input);
            }
        }
    }
}

/// The way back from [`gather_taps`]: the gradient of every contribution is that of its output.
///
/// # Shapes
/// `[n, channels, height − 2, width − 2]` → `[channels · 9, n, height, width]`
pub fn spread_taps(into: &mut Vec<f32>, gradients: &[f32], channels: usize, extent: Extent) {
    let inner = extent.convolved();
    let patches = gradients.len() / (channels * inner.area());
    let plane = patches * extent.area();
    into.clear();
    into.resize(channels * TAPS * plane, 0.0);
    for (place, gradient) in gradients.chunks_exact(inner.area()).enumerate() {
        let (patch, channel) = (place / channels, place % channels);
        for tap in 0..TAPS {
            let start = (channel * TAPS + tap) * plane + patch * extent.area();
            let target = &mut into[start..start + extent.area()];
            for (gradient, seen) in gradient.chunks_exact(inner.width).zip(extent.seen_rows(tap)) {
                target[seen].copy_from_slice(gradient);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { width: 5, height: 4 };

    #[test]
    fn both_ways_convolve_alike() {
        // Two patches of one channel.
        let planes: Vec<f32> = (0..40).map(|value| (value * value % 23) as f32).collect();
        let weights: Vec<f32> = (0..9).map(|tap| (tap * 5 % 7) as f32).collect();
        let mut collected = Vec::new();
        columns(&mut collected, &planes, 1, EXTENT);
        let outputs = collected.len() / TAPS;
        let expected: Vec<f32> = (0..outputs)
            .map(|place| (0..TAPS).map(|tap| weights[tap] * collected[tap * outputs + place]).sum())
            .collect();
        let contributions: Vec<f32> =
            weights.iter().flat_map(|weight| planes.iter().map(move |value| weight * value)).collect();
        let mut gathered = vec![0.0; outputs];
        gather_taps(&mut gathered, &contributions, 1, EXTENT);
        assert_eq!(gathered, expected);
        let by_hand: f32 = (0..TAPS).map(|tap| weights[tap] * planes[5 + 1 + tap / 3 * 5 + tap % 3]).sum();
        assert_eq!(gathered[4], by_hand);
    }

    #[test]
    fn spreading_is_the_transpose_of_gathering() {
        let (channels, patches) = (2, 2);
        let inner = EXTENT.convolved().area();
        let contributions: Vec<f32> =
            (0..channels * TAPS * patches * EXTENT.area()).map(|value| (value % 13) as f32).collect();
        let gradients: Vec<f32> = (0..patches * channels * inner).map(|value| (value % 5) as f32).collect();
        let (mut gathered, mut spread) = (vec![0.0; gradients.len()], Vec::new());
        gather_taps(&mut gathered, &contributions, channels, EXTENT);
        spread_taps(&mut spread, &gradients, channels, EXTENT);
        let product = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
        assert_eq!(product(&gathered, &gradients), product(&contributions, &spread));
    }
}
