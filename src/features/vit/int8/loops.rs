//! From values to bytes and back, and what lies between: loops over strips that run along the lanes.
//!
//! They are compiled for several vector widths and give the same bits with each. Values become bytes by adding
//! [`ROUNDER`], which leaves the integer, rounded to the nearest and of ties to the even one, in the lowest bits.

use super::super::kernels::LANES;
use super::kernels::Quad;
use crate::numerics::vectorised::vectorised;

/// 1.5 · 2^23.
const ROUNDER: f32 = 12_582_912.0;

/// Numerators are counted in steps of 1/255 of the largest.
const NUMERATOR_STEPS: f32 = 255.0;

/// Ranges below are taken for none: their inverse is not finite.
const LEAST_RANGE: f32 = 1e-35;

/// The lowest byte of a value between −2^22 and 2^22, rounded.
#[inline(always)]
fn byte(value: f32) -> u32 {
    (value + ROUNDER).to_bits() & 0xff
}

/// The factor that stretches a range to `steps` steps; 0 for a range of nothing.
#[inline(always)]
fn inverse(range: f32, steps: f32) -> f32 {
    if range > LEAST_RANGE { steps / range } else { 0.0 }
}

vectorised! {
    /// Rounds the values of every lane to 255 steps between their least and their largest; missing values of the last quad are
    /// 0 steps. A lane with a value that is not finite gets a scale of NaN.
    ///
    /// value ≈ low + scale · byte
    ///
    /// # Shapes
    /// strip `[features, LANES]` → quads `[⌈features / 4⌉, LANES]`
    pub fn quantise(quads: &mut [Quad], scale: &mut [f32; LANES], low: &mut [f32; LANES], strip: &[f32]) {
        let features = strip.as_chunks::<LANES>().0;
        let mut least = [f32::INFINITY; LANES];
        let mut largest = [f32::NEG_INFINITY; LANES];
        let mut poison = [0.0f32; LANES];
        for feature in features {
            for lane in 0..LANES {
                least[lane] = if feature[lane] < least[lane] { feature[lane] } else { least[lane] };
                largest[lane] = if feature[lane] > largest[lane] { feature[lane] } else { largest[lane] };
                poison[lane] += feature[lane] * 0.0;
            }
        }
        let mut factor = [0.0f32; LANES];
        for lane in 0..LANES {
            let range = largest[lane] - least[lane];
            factor[lane] = inverse(range, 255.0);
            scale[lane] = if range > LEAST_RANGE { range / 255.0 } else { 0.0 } + poison[lane];
            low[lane] = least[lane];
        }
        let (fours, rest) = features.as_chunks::<4>();
        let quads = quads.as_chunks_mut::<LANES>().0;
        for (quad, four) in quads.iter_mut().zip(fours) {
            for lane in 0..LANES {
                let steps = |feature: usize| byte((four[feature][lane] - low[lane]) * factor[lane]);
                quad[lane] = steps(0) | steps(1) << 8 | steps(2) << 16 | steps(3) << 24;
            }
        }
        if let Some(quad) = quads.get_mut(fours.len()).filter(|_| !rest.is_empty()) {
            quad.fill(0);
            for (place, feature) in rest.iter().enumerate() {
                for lane in 0..LANES {
                    quad[lane] |= byte((feature[lane] - low[lane]) * factor[lane]) << (8 * place);
                }
            }
        }
    }

    /// Rounds the values of every lane to 127 steps on either side of 0; missing values of the last quad are 0. `sum` is that of
    /// the values that the bytes stand for. A lane with a value that is not finite gets a scale of NaN.
    ///
    /// value ≈ scale · byte
    ///
    /// # Shapes
    /// strip `[features, LANES]` → quads `[⌈features / 4⌉, LANES]`
    pub fn quantise_evenly(quads: &mut [Quad], scale: &mut [f32; LANES], sum: &mut [f32; LANES], strip: &[f32]) {
        let features = strip.as_chunks::<LANES>().0;
        let mut largest = [0.0f32; LANES];
        let mut poison = [0.0f32; LANES];
        for feature in features {
            for lane in 0..LANES {
                let size = feature[lane].abs();
                largest[lane] = if size > largest[lane] { size } else { largest[lane] };
                poison[lane] += feature[lane] * 0.0;
            }
        }
        let mut factor = [0.0f32; LANES];
        for lane in 0..LANES {
            factor[lane] = inverse(largest[lane], 127.0);
            scale[lane] = if largest[lane] > LEAST_RANGE { largest[lane] / 127.0 } else { 0.0 } + poison[lane];
        }
        let mut sums = [0.0f32; LANES];
        let (fours, rest) = features.as_chunks::<4>();
        let quads = quads.as_chunks_mut::<LANES>().0;
        for (quad, four) in quads.iter_mut().zip(fours) {
            for lane in 0..LANES {
                let shifted = |feature: usize| four[feature][lane] * factor[lane] + ROUNDER;
                let shifted = [shifted(0), shifted(1), shifted(2), shifted(3)];
                let steps = shifted.map(|value| value.to_bits() & 0xff);
                quad[lane] = steps[0] | steps[1] << 8 | steps[2] << 16 | steps[3] << 24;
                let whole = shifted.map(|value| value - ROUNDER);
                sums[lane] += (whole[0] + whole[1]) + (whole[2] + whole[3]);
            }
        }
        if let Some(quad) = quads.get_mut(fours.len()).filter(|_| !rest.is_empty()) {
            quad.fill(0);
            for (place, feature) in rest.iter().enumerate() {
                for lane in 0..LANES {
                    let shifted = feature[lane] * factor[lane] + ROUNDER;
                    quad[lane] |= (shifted.to_bits() & 0xff) << (8 * place);
                    sums[lane] += shifted - ROUNDER;
                }
            }
        }
        for lane in 0..LANES {
            sum[lane] = sums[lane] * scale[lane];
        }
    }

    /// Rounds the first `tokens` lanes of every feature to 127 steps on either side of 0, four neighbouring lanes to a quad; the
    /// other lanes are 0. A feature with a value that is not finite gets a scale of NaN.
    ///
    /// # Shapes
    /// strip `[features, LANES]` → quads `[features, LANES / 4]`, scales `[features]`
    pub fn quantise_lanes(quads: &mut [Quad], scales: &mut [f32], strip: &mut [f32], tokens: usize) {
        let features = strip.as_chunks_mut::<LANES>().0;
        for ((feature, quads), scale) in features.iter_mut().zip(quads.as_chunks_mut::<16>().0).zip(scales) {
            feature[tokens..].fill(0.0);
            let mut largest = [0.0f32; 16];
            let mut poison = [0.0f32; 16];
            for lanes in feature.as_chunks::<16>().0 {
                for lane in 0..16 {
                    let size = lanes[lane].abs();
                    largest[lane] = if size > largest[lane] { size } else { largest[lane] };
                    poison[lane] += lanes[lane] * 0.0;
                }
            }
            let (mut most, mut spoilt) = (0.0f32, 0.0f32);
            for lane in 0..16 {
                most = if largest[lane] > most { largest[lane] } else { most };
                spoilt += poison[lane];
            }
            let factor = inverse(most, 127.0);
            *scale = if most > LEAST_RANGE { most / 127.0 } else { 0.0 } + spoilt;
            for (quad, four) in quads.iter_mut().zip(feature.as_chunks::<4>().0) {
                let steps = four.map(|value| byte(value * factor));
                *quad = steps[0] | steps[1] << 8 | steps[2] << 16 | steps[3] << 24;
            }
        }
    }

    /// Adds what sums of bytes stand for: `target += (scale · sums + low · weight sums) · weight scales`, scale and low in
    /// `activations`.
    ///
    /// # Shapes
    /// sums `[outputs, LANES]`, weights `[outputs]`: scale and scaled sum of each output → target `[outputs, LANES]`
    pub fn add_sums(
        target: &mut [f32],
        sums: &[i32],
        activations: [&[f32; LANES]; 2],
        weights: &[[f32; 2]],
    ) {
        let [scale, low] = activations;
        let rows = target.as_chunks_mut::<LANES>().0.iter_mut().zip(sums.as_chunks::<LANES>().0);
        for ((target, sums), &[weight_scale, weight_sum]) in rows.zip(weights) {
            for lane in 0..LANES {
                let product = sums[lane] as f32 * scale[lane] * weight_scale;
                target[lane] += product + low[lane] * weight_sum;
            }
        }
    }

    /// The GELU to 2e-4 absolute up to 12, and to 2e-5 of larger values, in place: x · Φ(x), Φ by an odd polynomial between
    /// −4 and 4, fitted for the least largest error.
    pub fn gelu(values: &mut [f32]) {
        for lanes in values.as_chunks_mut::<16>().0 {
            for value in lanes {
                let x = *value;
                let most = if x < 4.0 { x } else { 4.0 };
                let y = if most > -4.0 { most } else { -4.0 };
                let square = y * y;
                let polynomial = 0.397_883_2
                    + square
                        * (-0.064_572_945
                            + square
                                * (8.772_322e-3
                                    + square
                                        * (-8.140_03e-4
                                            + square
                                                * (4.795_433_8e-5 + square * (-1.598_547_3e-6 + square * 2.278_044e-8)))));
                *value = x * (0.5 + y * polynomial);
            }
        }
    }

    /// Softmax numerators of one strip's keys, in steps of 1/255 of the largest of each lane, four neighbouring keys to a quad;
    /// missing keys of the last quad are 0.
    ///
    /// Scores are binary logarithms: `(scale · sums + low · key sums) · key scales`, scale and low in `queries`, those of a key
    /// together in `keys`. They are left in `scores`.
    ///
    /// # Shapes
    /// sums `[keys, LANES]` → numerators `[⌈keys / 4⌉, LANES]`, largest score and sum of the numerators' steps `[LANES]`
    pub fn numerators(
        numerators: &mut [Quad],
        largest: &mut [f32; LANES],
        total: &mut [f32; LANES],
        scores: &mut [f32],
        sums: &[i32],
        queries: [&[f32; LANES]; 2],
        keys: &[[f32; 2]],
    ) {
        let [scale, low] = queries;
        let scores = scores.as_chunks_mut::<LANES>().0;
        let mut most = [f32::NEG_INFINITY; LANES];
        for ((scores, sums), &[key_scale, key_sum]) in scores.iter_mut().zip(sums.as_chunks::<LANES>().0).zip(keys) {
            for lane in 0..LANES {
                let score = sums[lane] as f32 * scale[lane] * key_scale + low[lane] * key_sum;
                scores[lane] = score;
                most[lane] = if score > most[lane] { score } else { most[lane] };
            }
        }
        let mut totals = [0u32; LANES];
        for (quad, scores) in numerators.as_chunks_mut::<LANES>().0.iter_mut().zip(scores[..keys.len()].chunks(4)) {
            if let [first, second, third, fourth] = scores {
                for lane in 0..LANES {
                    let of = |scores: &[f32; LANES]| steps_of_power(scores[lane] - most[lane]);
                    let steps = [of(first), of(second), of(third), of(fourth)];
                    totals[lane] += (steps[0] + steps[1]) + (steps[2] + steps[3]);
                    quad[lane] = steps[0] | steps[1] << 8 | steps[2] << 16 | steps[3] << 24;
                }
            } else {
                quad.fill(0);
                for (place, scores) in scores.iter().enumerate() {
                    for lane in 0..LANES {
                        let steps = steps_of_power(scores[lane] - most[lane]);
                        totals[lane] += steps;
                        quad[lane] |= steps << (8 * place);
                    }
                }
            }
        }
        for lane in 0..LANES {
            largest[lane] = most[lane];
            total[lane] = totals[lane].cast_signed() as f32;
        }
    }

    /// Joins the weighted values of a further strip of keys to those before: both count relatively to the largest score of
    /// either, which `most` becomes.
    ///
    /// # Shapes
    /// sums `[channels, LANES]`, scales `[channels]` → context `[channels, LANES]`; the rest `[LANES]`
    pub fn join(
        context: &mut [f32],
        most: &mut [f32; LANES],
        denominator: &mut [f32; LANES],
        sums: &[i32],
        scales: &[f32],
        largest: &[f32; LANES],
        total: &[f32; LANES],
    ) {
        let (mut before, mut after) = ([0.0f32; LANES], [0.0f32; LANES]);
        for lane in 0..LANES {
            let next = if largest[lane] > most[lane] { largest[lane] } else { most[lane] };
            before[lane] = power_of_two(most[lane] - next);
            after[lane] = power_of_two(largest[lane] - next);
            denominator[lane] = denominator[lane] * before[lane] + total[lane] * after[lane];
            most[lane] = next;
        }
        let rows = context.as_chunks_mut::<LANES>().0.iter_mut().zip(sums.as_chunks::<LANES>().0);
        for ((context, sums), &scale) in rows.zip(scales) {
            for lane in 0..LANES {
                context[lane] = context[lane] * before[lane] + sums[lane] as f32 * after[lane] * scale;
            }
        }
    }
}

/// 255 · 2^x for x ≤ 0, rounded.
#[inline(always)]
fn steps_of_power(x: f32) -> u32 {
    byte(NUMERATOR_STEPS * power_of_two(x))
}

/// 2^x for x ≤ 0 to 1.1e-4 relative, a twentieth of half a step of the numerators, and 1 for 0: 2^n · 2^r with |r| ≤ 1/2.
/// Below −100, and for what is no number, the result stays at 2^−100.
#[inline(always)]
fn power_of_two(x: f32) -> f32 {
    let x = if x > -100.0 { x } else { -100.0 };
    let shifted = x + ROUNDER;
    let r = x - (shifted - ROUNDER);
    // Fitted for the least largest relative error.
    let series = 1.0 + r * (0.693_282_9 + r * (0.242_210_97 + r * 0.055_008_94));
    series * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}
