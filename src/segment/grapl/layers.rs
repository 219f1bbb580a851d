//! Convolutions of 3×3 without padding, of sixteen planes at once.
//!
//! Parts of images, as patches, lie side by side in lanes: `[channels, height, width, 16]`. What a tap sees of all of them is
//! then a step away from what the tap before it saw, whatever their width, and nothing is copied to be convolved.

use pulp::{Arch, Simd, WithSimd};

/// Places that an output of a convolution sees.
pub const TAPS: usize = 9;
/// Places along a side of them.
const REACH: usize = 3;
/// Parts side by side.
pub const LANES: usize = 16;
/// Filters that are computed together, so that what they see is read once.
const GROUP: usize = 8;

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

    /// With two more on every side: what is convolved to all that sees something of this.
    fn padded(self) -> Extent {
        Extent { width: self.width + 4, height: self.height + 4 }
    }
}

/// Parts of an image in lanes; lanes without a part are 0.
///
/// # Shapes
/// planes `[channels, parts, area]`, of at most 16 parts → `[channels, area, 16]`
pub fn side_by_side(planes: &[f32], channels: usize, parts: usize) -> Vec<f32> {
    let mut lanes = vec![0.0; planes.len() / parts * LANES];
    let area = planes.len() / (channels * parts);
    for (planes, lanes) in planes.chunks_exact(parts * area).zip(lanes.chunks_exact_mut(area * LANES)) {
        for (pixel, lanes) in lanes.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            lanes.iter_mut().zip(planes[pixel..].iter().step_by(area)).for_each(|(lane, value)| *lane = *value);
        }
    }
    lanes
}

/// Sets the lanes after the first `parts` to 0.
pub fn clear_unused(values: &mut [f32], parts: usize) {
    if parts < LANES {
        values.as_chunks_mut::<LANES>().0.iter_mut().for_each(|lanes| lanes[parts..].fill(0.0));
    }
}

/// The weights of a convolution in the order in which they are used.
#[derive(Debug, Clone)]
pub struct Filters {
    /// `[filters / 8, channels, 9, 8]`
    weights: Vec<f32>,
    filters: usize,
    channels: usize,
}

impl Filters {
    /// The weights that `weight` tells of a filter, a channel and a tap.
    ///
    /// # Panics
    /// If there is no whole number of groups of 8 filters.
    pub fn new(filters: usize, channels: usize, weight: impl Fn(usize, usize, usize) -> f32) -> Filters {
        assert!(filters.is_multiple_of(GROUP), "groups of {GROUP} filters");
        let mut weights = Vec::with_capacity(filters * channels * TAPS);
        for first in (0..filters).step_by(GROUP) {
            for place in 0..channels * TAPS {
                weights.extend((first..first + GROUP).map(|filter| weight(filter, place / TAPS, place % TAPS)));
            }
        }
        Filters { weights, filters, channels }
    }

    /// Tells `observe` every filter, channel and tap with its weight.
    pub fn each(&self, mut observe: impl FnMut(usize, usize, usize, f32)) {
        let of_group = self.channels * TAPS * GROUP;
        for (place, &weight) in self.weights.iter().enumerate() {
            let filter = place / of_group * GROUP + place % GROUP;
            observe(filter, place % of_group / (TAPS * GROUP), place / GROUP % TAPS, weight);
        }
    }

    /// The convolution of planes.
    ///
    /// # Shapes
    /// `[channels, height, width, 16]` → `[filters, height − 2, width − 2, 16]`
    pub fn convolve(&self, into: &mut Vec<f32>, from: &[f32], extent: Extent) {
        into.resize(self.filters * extent.convolved().area() * LANES, 0.0);
        Arch::new().dispatch(Convolve { into, from, filters: self, extent });
    }

    /// Adds to these the gradients of a convolution's weights, from those of what it gave.
    ///
    /// # Shapes
    /// gradients `[filters, height − 2, width − 2, 16]`, from `[channels, height, width, 16]`
    pub fn add_gradients(&mut self, gradients: &[f32], from: &[f32], extent: Extent) {
        Arch::new().dispatch(AddGradients { into: self, gradients, from, extent });
    }
}

/// The way back through a convolution: its filters with channels and filters, and every side with the other, exchanged.
#[derive(Debug)]
pub struct WayBack {
    filters: Filters,
    /// Gradients within a border of zeros.
    padded: Vec<f32>,
}

impl WayBack {
    /// Of the filters whose weights `weight` tells, as [`Filters::new`].
    pub fn new(filters: usize, channels: usize, weight: impl Fn(usize, usize, usize) -> f32) -> WayBack {
        let turned = |channel, filter, tap| weight(filter, channel, TAPS - 1 - tap);
        WayBack { filters: Filters::new(channels, filters, turned), padded: Vec::new() }
    }

    /// The gradients of what was convolved, from those of what the convolution gave.
    ///
    /// # Shapes
    /// `[filters, height − 2, width − 2, 16]` → `[channels, height, width, 16]`
    pub fn convolve(&mut self, into: &mut Vec<f32>, gradients: &[f32], extent: Extent) {
        let inner = extent.convolved();
        let padded = inner.padded();
        // The border stays 0 from one call to the next of one extent.
        if self.padded.len() != self.filters.channels * padded.area() * LANES {
            self.padded = vec![0.0; self.filters.channels * padded.area() * LANES];
        }
        let planes = self.padded.chunks_exact_mut(padded.area() * LANES);
        for (padded_plane, plane) in planes.zip(gradients.chunks_exact(inner.area() * LANES)) {
            let rows = padded_plane.chunks_exact_mut(padded.width * LANES).skip(2);
            for (padded_row, row) in rows.zip(plane.chunks_exact(inner.width * LANES)) {
                padded_row[2 * LANES..][..row.len()].copy_from_slice(row);
            }
        }
        self.filters.convolve(into, &self.padded, padded);
    }
}

struct Convolve<'a> {
    into: &'a mut [f32],
    from: &'a [f32],
    filters: &'a Filters,
    extent: Extent,
}

impl WithSimd for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        /// Outputs side by side: with [`GROUP`] filters they fill half of the widest registers.
        const PLACES: usize = 2;
        let Convolve { into, from, filters, extent } = self;
        let (inner, step) = (extent.convolved(), LANES / S::F32_LANES);
        let (from, into) = (S::as_simd_f32s(from).0, S::as_mut_simd_f32s(into).0);
        let of_groups = filters.weights.chunks_exact(filters.channels * TAPS * GROUP);
        for (into, weights) in into.chunks_exact_mut(GROUP * inner.area() * step).zip(of_groups) {
            for (row, part) in (0..inner.height).flat_map(|row| (0..step).map(move |part| (row, part))) {
                let mut column = 0;
                while column < inner.width {
                    let start = (row * extent.width + column) * step + part;
                    let target = (row * inner.width + column) * step + part;
                    if column + PLACES <= inner.width {
                        let sums = responses::<PLACES, S>(simd, &from[start..], weights, extent);
                        for (filter, sums) in sums.into_iter().enumerate() {
                            for (place, sum) in sums.into_iter().enumerate() {
                                into[filter * inner.area() * step + target + place * step] = sum;
                            }
                        }
                        column += PLACES;
                    } else {
                        let sums = responses::<1, S>(simd, &from[start..], weights, extent);
                        for (filter, [sum]) in sums.into_iter().enumerate() {
                            into[filter * inner.area() * step + target] = sum;
                        }
                        column += 1;
                    }
                }
            }
        }
    }
}

/// What a group of filters gives at some places side by side; `from` begins with what the first tap sees at the first one.
#[inline(always)]
fn responses<const PLACES: usize, S: Simd>(
    simd: S,
    from: &[S::f32s],
    weights: &[f32],
    extent: Extent,
) -> [[S::f32s; PLACES]; GROUP] {
    let step = LANES / S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); PLACES]; GROUP];
    for (channel, weights) in weights.chunks_exact(TAPS * GROUP).enumerate() {
        for (tap, weights) in weights.as_chunks::<GROUP>().0.iter().enumerate() {
            let start = channel * extent.area() + tap / REACH * extent.width + tap % REACH;
            let seen: [S::f32s; PLACES] = std::array::from_fn(|place| from[(start + place) * step]);
            for (sums, &weight) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(weight);
                for (sum, seen) in sums.iter_mut().zip(seen) {
                    *sum = simd.mul_add_e_f32s(weight, seen, *sum);
                }
            }
        }
    }
    sums
}

struct AddGradients<'a> {
    into: &'a mut Filters,
    gradients: &'a [f32],
    from: &'a [f32],
    extent: Extent,
}

impl WithSimd for AddGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddGradients { into: Filters { weights, channels, .. }, gradients, from, extent } = self;
        let (inner, step) = (extent.convolved(), LANES / S::F32_LANES);
        let (from, gradients) = (S::as_simd_f32s(from).0, S::as_simd_f32s(gradients).0);
        let of_groups = gradients.chunks_exact(GROUP * inner.area() * step);
        for (weights, gradients) in weights.chunks_exact_mut(*channels * TAPS * GROUP).zip(of_groups) {
            // One row of taps at a time: its sums fill the registers.
            for (place, weights) in weights.as_chunks_mut::<{ REACH * GROUP }>().0.iter_mut().enumerate() {
                let (channel, tap_row) = (place / REACH, place % REACH);
                let mut sums = [[simd.splat_f32s(0.0); REACH]; GROUP];
                for row in 0..inner.height {
                    let start = (channel * extent.area() + (row + tap_row) * extent.width) * step;
                    let seen = &from[start..][..extent.width * step];
                    let of_row: [&[S::f32s]; GROUP] = std::array::from_fn(|filter| {
                        &gradients[(filter * inner.height + row) * inner.width * step..][..inner.width * step]
                    });
                    for column in 0..inner.width * step {
                        let seen: [S::f32s; REACH] = std::array::from_fn(|tap| seen[column + tap * step]);
                        for (sums, gradients) in sums.iter_mut().zip(of_row) {
                            let gradient = gradients[column];
                            for (sum, seen) in sums.iter_mut().zip(seen) {
                                *sum = simd.mul_add_e_f32s(seen, gradient, *sum);
                            }
                        }
                    }
                }
                for (filter, sums) in sums.into_iter().enumerate() {
                    for (tap, sum) in sums.into_iter().enumerate() {
                        weights[tap * GROUP + filter] += simd.reduce_sum_f32s(sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { width: 5, height: 4 };
    const CHANNELS: usize = 8;
    const FILTERS: usize = 16;

    fn weight(filter: usize, channel: usize, tap: usize) -> f32 {
        ((filter * 7 + channel * 5 + tap * 3) % 11) as f32 - 5.0
    }

    fn numbers(count: usize, period: usize) -> Vec<f32> {
        (0..count).map(|place| (place * place % period) as f32 - 6.0).collect()
    }

    #[test]
    fn every_output_is_the_sum_of_what_it_sees() {
        let (parts, area, inner) = (3, EXTENT.area(), EXTENT.convolved());
        let planes = numbers(CHANNELS * parts * area, 23);
        let lanes = side_by_side(&planes, CHANNELS, parts);
        let mut found = Vec::new();
        Filters::new(FILTERS, CHANNELS, weight).convolve(&mut found, &lanes, EXTENT);
        for (place, &found) in found.iter().enumerate() {
            let (filter, pixel, part) = (place / (inner.area() * LANES), place / LANES % inner.area(), place % LANES);
            let (row, column) = (pixel / inner.width, pixel % inner.width);
            let seen = |channel: usize, tap: usize| {
                let (row, column) = (row + tap / REACH, column + tap % REACH);
                let at = (channel * parts + part) * area + row * EXTENT.width + column;
                if part < parts { planes[at] } else { 0.0 }
            };
            let places = (0..CHANNELS).flat_map(|channel| (0..TAPS).map(move |tap| (channel, tap)));
            let expected: f32 = places.map(|(channel, tap)| weight(filter, channel, tap) * seen(channel, tap)).sum();
            assert_eq!(found, expected, "filter {filter}, pixel {pixel}, part {part}");
        }
    }

    #[test]
    fn the_ways_back_are_the_transposes_of_the_way_there() {
        let product = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
        let from = numbers(CHANNELS * EXTENT.area() * LANES, 13);
        let gradients = numbers(FILTERS * EXTENT.convolved().area() * LANES, 7);
        let (mut there, mut back) = (Vec::new(), Vec::new());
        Filters::new(FILTERS, CHANNELS, weight).convolve(&mut there, &from, EXTENT);
        let expected = product(&there, &gradients);
        let mut way_back = WayBack::new(FILTERS, CHANNELS, weight);
        for _ in 0..2 {
            way_back.convolve(&mut back, &gradients, EXTENT);
            assert_eq!(product(&back, &from), expected);
        }
        let mut of_weights = Filters::new(FILTERS, CHANNELS, |_, _, _| 0.0);
        of_weights.add_gradients(&gradients, &from, EXTENT);
        let mut found = 0.0;
        of_weights.each(|filter, channel, tap, gradient| found += gradient * weight(filter, channel, tap));
        assert_eq!(found, expected);
    }

    #[test]
    fn lanes_without_a_part_are_nothing() {
        let mut lanes = side_by_side(&[1.0, 2.0, 3.0, 4.0], 1, 2);
        assert_eq!([&lanes[..3], &lanes[16..19]], [[1.0, 3.0, 0.0], [2.0, 4.0, 0.0]]);
        clear_unused(&mut lanes, 1);
        assert_eq!([&lanes[..3], &lanes[16..19]], [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]);
    }
}
