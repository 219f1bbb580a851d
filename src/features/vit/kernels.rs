//! The hot operations of the transformer on the processor.
//!
//! Activations live in *strips*: [`LANES`] neighbouring tokens, feature-major, so that feature c of lane r is
//! `strip[c * LANES + r]`. Why: a strip is exactly the packed left operand the matrix kernel wants and a weight
//! matrix `[outputs, inputs]`, as stored in every checkpoint, is the right one, so no product copies or transposes
//! anything; normalisation, softmax and GELU run along the lanes without a horizontal reduction.
//!
//! Every function here is sequential and its result depends on its arguments alone: callers run strips in parallel
//! and get the same bytes on any number of threads. All panic if a slice is shorter than its shape.

use gemm::{Parallelism, gemm};

use crate::numerics::vectorised::{exp_nonpositive, vectorised};

/// Tokens in one strip: a multiple of every vector width, and the tile height of the AVX-512 matrix kernel.
pub const LANES: usize = 64;

/// Lanes computed for `tokens` tokens: whole vectors only.
fn computed_lanes(tokens: usize) -> usize {
    tokens.next_multiple_of(16).min(LANES)
}

/// Where a product's right operand lies: input i of output o is at `i · input_stride + o · output_stride`.
struct Right<'a> {
    values: &'a [f32],
    input_stride: usize,
    output_stride: usize,
}

/// `target = right · strip`, or `+=` if `ADD`: `[inputs, LANES]` by `[outputs, inputs]` into `[outputs, LANES]`.
///
/// Only the lanes of the first `tokens` tokens (rounded up to whole vectors) are computed.
fn product<const ADD: bool>(
    target: &mut [f32],
    strip: &[f32],
    right: Right,
    [inputs, outputs]: [usize; 2],
    tokens: usize,
) {
    assert!(target.len() >= outputs * LANES && strip.len() >= inputs * LANES);
    let last = inputs.saturating_sub(1) * right.input_stride + outputs.saturating_sub(1) * right.output_stride;
    assert!(inputs * outputs == 0 || right.values.len() > last);
    // SAFETY: with m <= LANES, n = outputs and k = inputs the largest index touched is (outputs - 1) * LANES + m - 1 in the
    // target, (inputs - 1) * LANES + m - 1 in the strip and `last` on the right, all inside by the assertions; the target is
    // borrowed exclusively, so it overlaps neither operand.
    unsafe {
        gemm(
            computed_lanes(tokens),
            outputs,
            inputs,
            target.as_mut_ptr(),
            LANES as isize,
            1,
            ADD,
            strip.as_ptr(),
            LANES as isize,
            1,
            right.values.as_ptr(),
            right.output_stride as isize,
            right.input_stride as isize,
            if ADD { 1.0f32 } else { 0.0 },
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `target += weight · strip`: `[inputs, LANES]` by `[outputs, inputs]` into `[outputs, LANES]`.
pub fn add_product(target: &mut [f32], strip: &[f32], weight: &[f32], inputs: usize, outputs: usize, tokens: usize) {
    let weight = Right { values: weight, input_stride: 1, output_stride: inputs };
    product::<true>(target, strip, weight, [inputs, outputs], tokens);
}

/// `scores = keyᵀ · query` of one head: two strips `[channels, LANES]` into `[keys, LANES]`.
pub fn scores(scores: &mut [f32], query: &[f32], key: &[f32], channels: usize, keys: usize, tokens: usize) {
    assert!(keys <= LANES);
    let key = Right { values: key, input_stride: LANES, output_stride: 1 };
    product::<false>(scores, query, key, [channels, keys], tokens);
}

/// `context += value · probabilities` of one head: `[channels, LANES]` by `[keys, LANES]` into `[channels, LANES]`.
pub fn add_values(
    context: &mut [f32],
    probabilities: &[f32],
    value: &[f32],
    channels: usize,
    keys: usize,
    tokens: usize,
) {
    assert!(keys <= LANES);
    let value = Right { values: value, input_stride: 1, output_stride: LANES };
    product::<true>(context, probabilities, value, [keys, channels], tokens);
}

/// Sets every lane of feature c to `bias[c]`, ready for [`add_product`] to add to.
pub fn fill_bias(strip: &mut [f32], bias: &[f32]) {
    for (lanes, &bias) in strip.as_chunks_mut::<LANES>().0.iter_mut().zip(bias) {
        lanes.fill(bias);
    }
}

/// Adds `bias[c]` to every lane of feature c: with [`add_product`] this is bias and residual in one.
pub fn add_bias(strip: &mut [f32], bias: &[f32]) {
    for (lanes, &bias) in strip.as_chunks_mut::<LANES>().0.iter_mut().zip(bias) {
        for value in lanes {
            *value += bias;
        }
    }
}

vectorised! {
    /// Layer normalisation along the features: `(x − mean) / sqrt(variance + epsilon) · scale + shift`.
    ///
    /// # Shapes
    /// `strip`, `target` `[width, LANES]`; `scale`, `shift` `[width]`
    pub fn layer_norm(target: &mut [f32], strip: &[f32], scale: &[f32], shift: &[f32], epsilon: f32) {
        let features = &strip.as_chunks::<LANES>().0[..scale.len()];
        let count = scale.len() as f32;
        let mut mean = [0.0f32; LANES];
        for feature in features {
            for lane in 0..LANES {
                mean[lane] += feature[lane];
            }
        }
        for value in &mut mean {
            *value /= count;
        }
        let mut inverse = [0.0f32; LANES];
        for feature in features {
            for lane in 0..LANES {
                let centred = feature[lane] - mean[lane];
                inverse[lane] += centred * centred;
            }
        }
        for value in &mut inverse {
            *value = 1.0 / (*value / count + epsilon).sqrt();
        }
        let target = target.as_chunks_mut::<LANES>().0;
        for (((out, feature), &scale), &shift) in target.iter_mut().zip(features).zip(scale).zip(shift) {
            for lane in 0..LANES {
                out[lane] = (feature[lane] - mean[lane]) * inverse[lane] * scale + shift;
            }
        }
    }

    /// Softmax numerators over the keys of every lane, in place, and the inverse of their sum.
    ///
    /// The largest score of a lane is subtracted first, so nothing overflows. The division is left to
    /// [`scale_lanes`], on the much smaller context.
    ///
    /// # Shapes
    /// `scores` `[keys, LANES]`; `inverse_sum` `[LANES]`
    pub fn exponentiate(scores: &mut [f32], inverse_sum: &mut [f32; LANES]) {
        let keys = scores.as_chunks_mut::<LANES>().0;
        let mut largest = [f32::NEG_INFINITY; LANES];
        for key in keys.iter() {
            for lane in 0..LANES {
                largest[lane] = if key[lane] > largest[lane] { key[lane] } else { largest[lane] };
            }
        }
        let mut sum = [0.0f32; LANES];
        // Sums of sums keep the rounding error small for thousands of keys.
        for group in keys.chunks_mut(32) {
            let mut partial = [0.0f32; LANES];
            for key in group {
                for lane in 0..LANES {
                    let value = exp_nonpositive(key[lane] - largest[lane]);
                    key[lane] = value;
                    partial[lane] += value;
                }
            }
            for lane in 0..LANES {
                sum[lane] += partial[lane];
            }
        }
        for lane in 0..LANES {
            inverse_sum[lane] = 1.0 / sum[lane];
        }
    }

    /// Multiplies every lane by its own factor.
    pub fn scale_lanes(strip: &mut [f32], factors: &[f32; LANES]) {
        for feature in strip.as_chunks_mut::<LANES>().0 {
            for lane in 0..LANES {
                feature[lane] *= factors[lane];
            }
        }
    }

    /// The exact GELU, x · Φ(x) = x/2 · (1 + erf(x/√2)), in place.
    pub fn gelu(values: &mut [f32]) {
        for lanes in values.as_chunks_mut::<16>().0 {
            for value in lanes {
                *value = 0.5 * *value * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
            }
        }
    }
}

vectorised! {
    /// Multiplies values by the SiLU of their gates, x · σ(x), and leaves the products in the gates' place.
    pub fn gate(gates: &mut [f32], values: &[f32]) {
        for (gates, values) in gates.as_chunks_mut::<16>().0.iter_mut().zip(values.as_chunks::<16>().0) {
            for (gate, value) in gates.iter_mut().zip(values) {
                // σ(x) = 1 / (1 + e⁻ˣ), and e⁻ˣ of the size alone, so that nothing overflows.
                let exponential = exp_nonpositive(-gate.abs());
                let numerator = if *gate >= 0.0 { 1.0 } else { exponential };
                *gate = *gate * numerator / (1.0 + exponential) * value;
            }
        }
    }
}

/// The error function to 4e-7 absolute, by formula 7.1.26 of Abramowitz and Stegun: straight-line arithmetic, so that
/// a loop over it vectorises.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let polynomial = t * (0.254_829_6 + t * (-0.284_496_73 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - polynomial * exp_nonpositive(-size * size)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(length: usize, step: f32) -> Vec<f32> {
        (0..length).map(|index| (index as f32 * step).sin()).collect()
    }

    #[test]
    fn exponential_and_error_function_match_known_values() {
        for x in [0.0f32, -1e-6, -0.3, -0.5, -1.0, -7.25, -40.0, -86.9] {
            let expected = f64::from(x).exp();
            assert!((f64::from(exp_nonpositive(x)) / expected - 1.0).abs() < 4e-7, "exp({x})");
        }
        assert!(exp_nonpositive(f32::NEG_INFINITY) < 1e-37);
        // Values from tables of the error function.
        let known = [(0.0, 0.0), (0.1, 0.112_462_916), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3)];
        for (x, expected) in known.into_iter().chain([(3.5, 0.999_999_3), (12.0, 1.0)]) {
            assert!((erf(x) - expected).abs() < 1e-6, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + expected).abs() < 1e-6);
        }
    }

    #[test]
    fn products_equal_the_plain_sums() {
        for (inputs, outputs, tokens) in [(7, 5, 64), (130, 33, 17), (3, 70, 1)] {
            let (strip, weight) = (wave(inputs * LANES, 0.37), wave(inputs * outputs, 0.71));
            let mut target = vec![0.25; outputs * LANES];
            add_product(&mut target, &strip, &weight, inputs, outputs, tokens);
            for output in 0..outputs {
                for lane in 0..tokens {
                    let sum: f32 = (0..inputs).map(|i| weight[output * inputs + i] * strip[i * LANES + lane]).sum();
                    assert!((target[output * LANES + lane] - 0.25 - sum).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn attention_of_one_strip_equals_the_formula() {
        let (channels, keys) = (16, 37);
        let [query, key, value] = [0.31, 0.17, 0.53].map(|step| wave(channels * LANES, step));
        let mut numerators = vec![0.0; keys * LANES];
        scores(&mut numerators, &query, &key, channels, keys, 20);
        let mut inverse = [0.0; LANES];
        exponentiate(&mut numerators, &mut inverse);
        let mut context = vec![0.0; channels * LANES];
        add_values(&mut context, &numerators, &value, channels, keys, 20);
        scale_lanes(&mut context, &inverse);
        for lane in 0..20 {
            let score = |k: usize| -> f64 {
                (0..channels).map(|c| f64::from(query[c * LANES + lane] * key[c * LANES + k])).sum::<f64>().exp()
            };
            let total: f64 = (0..keys).map(score).sum();
            for c in 0..channels {
                let expected: f64 = (0..keys).map(|k| score(k) / total * f64::from(value[c * LANES + k])).sum();
                assert!((f64::from(context[c * LANES + lane]) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn gates_equal_the_formula() {
        let (gates, values) =
            (wave(320, 0.61).into_iter().map(|gate| 20.0 * gate).collect::<Vec<_>>(), wave(320, 0.23));
        let mut gated = gates.clone();
        gate(&mut gated, &values);
        for ((gated, gate), value) in gated.iter().zip(gates).zip(values) {
            let expected = f64::from(gate) / (1.0 + f64::from(-gate).exp()) * f64::from(value);
            assert!((f64::from(*gated) - expected).abs() < 1e-5, "{gate} {value}");
        }
    }

    #[test]
    fn layer_norm_centres_and_scales() {
        let width = 48;
        let strip = wave(width * LANES, 0.9);
        let mut target = vec![0.0; width * LANES];
        layer_norm(&mut target, &strip, &vec![2.0; width], &vec![0.5; width], 1e-6);
        for lane in 0..LANES {
            let column: Vec<f32> = (0..width).map(|c| target[c * LANES + lane]).collect();
            let mean = column.iter().sum::<f32>() / width as f32;
            let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / width as f32;
            assert!((mean - 0.5).abs() < 1e-5 && (variance - 4.0).abs() < 1e-3);
        }
    }
}
