//! Loops over values compiled for the vector width found at run time.

/// Compiles loops for the vector width found at run time.
///
/// The versions differ in vector width only: without fused multiplication they give the same bits.
macro_rules! vectorised {
    ($($(#[$attribute:meta])* pub fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        $(#[$attribute])*
        pub fn $name($($argument: $type),*) {
            #[inline(always)]
            fn plain($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn wide($($argument: $type),*) {
                    plain($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                fn medium($($argument: $type),*) {
                    plain($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f") {
                    // SAFETY: the one requirement of the call, AVX-512F, has just been detected.
                    return unsafe { wide($($argument),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the one requirement of the call, AVX2, has just been detected.
                    return unsafe { medium($($argument),*) };
                }
            }
            plain($($argument),*)
        }
    )*};
}

pub(crate) use vectorised;

vectorised! {
    /// The squared length of every row is added to its place in the target.
    ///
    /// # Shapes
    /// rows `[n, width]` → target `[n]`
    pub fn add_squared_norms(target: &mut [f32], rows: &[f32], width: usize) {
        for (target, row) in target.iter_mut().zip(rows.chunks_exact(width)) {
            *target += inner_product(row, row);
        }
    }

    /// max(x − offset, 0) · scale, in place.
    pub fn shift_and_clamp(values: &mut [f32], offset: f32, scale: f32) {
        for value in values {
            *value = (*value - offset).max(0.0) * scale;
        }
    }

    /// What a band of columns of a symmetric matrix, taken from the diagonal down, adds to the products with few vectors:
    /// entry (i, j) below the band's square on the diagonal stands for (j, i) too.
    ///
    /// # Shapes
    /// band `[length, n]`, the first n rows being those of the square; vectors `[m, length]` → target `[m, length]`
    pub fn add_symmetric_products(target: &mut [f32], band: &[f32], vectors: &[f32], length: usize) {
        let square = band.len() / length;
        for (place, row) in band.chunks_exact(square).enumerate() {
            for (target, vector) in target.chunks_exact_mut(length).zip(vectors.chunks_exact(length)) {
                let factor = vector[place];
                for (target, value) in target.iter_mut().zip(row) {
                    *target += factor * value;
                }
                if place >= square {
                    target[place] += inner_product(row, &vector[..square]);
                }
            }
        }
    }

    /// ELU(x) = x for x > 0, eˣ − 1 otherwise, in place.
    pub fn elu(values: &mut [f32]) {
        for value in values {
            let negative = exp_nonpositive(if *value < 0.0 { *value } else { 0.0 }) - 1.0;
            // NaN stays what it is.
            *value = if *value <= 0.0 { negative } else { *value };
        }
    }

    /// The gradient of an ELU's input from that of its output, in place; `outputs` are what [`elu`] gave.
    pub fn elu_backward(gradients: &mut [f32], outputs: &[f32]) {
        for (gradient, &output) in gradients.iter_mut().zip(outputs) {
            *gradient *= if output > 0.0 { 1.0 } else { output + 1.0 };
        }
    }

    /// target = tanh(scale · x + shift), to 3e-7.
    pub fn scaled_tanh(target: &mut [f32], values: &[f32], scale: f32, shift: f32) {
        for (target, &value) in target.iter_mut().zip(values) {
            *target = tanh(scale * value + shift);
        }
    }

    /// target = tanh(scale · x + shift), dropped out as `dropout` says.
    pub fn dropped_tanh(target: &mut [f32], values: &[f32], scale: f32, shift: f32, dropout: Dropout) {
        let draws = dropout.draws.as_chunks::<2>().0;
        for ((target, &value), draw) in target.iter_mut().zip(values).zip(draws) {
            *target = tanh(scale * value + shift) * dropout.factor(draw);
        }
    }

    /// The gradient of a tanh's input from `incoming`, that of its outputs after `dropout`, which are in `values` and give
    /// way to it.
    pub fn dropped_tanh_backward(values: &mut [f32], incoming: &[f32], dropout: Dropout) {
        let (draws, kept) = (dropout.draws.as_chunks::<2>().0, 1.0 / dropout.scale);
        for ((value, &incoming), draw) in values.iter_mut().zip(incoming).zip(draws) {
            let output = *value * kept;
            *value = incoming * dropout.factor(draw) * (1.0 - output * output);
        }
    }

    /// Values dropped out as `dropout` says, in place.
    pub fn drop_out(values: &mut [f32], dropout: Dropout) {
        for (value, draw) in values.iter_mut().zip(dropout.draws.as_chunks::<2>().0) {
            *value *= dropout.factor(draw);
        }
    }

    /// Adds Σ x and Σ x² to the first and the second of `moments`.
    pub fn add_moments(moments: &mut [f64; 2], values: &[f32]) {
        let [sum, squares] = paired_sums(values, values, 0.0, 1.0);
        moments[0] += f64::from(sum);
        moments[1] += f64::from(squares);
    }

    /// Adds Σ g and Σ g · (x − offset) · scale to the first and the second of `moments`.
    pub fn add_gradient_moments(moments: &mut [f64; 2], gradients: &[f32], values: &[f32], offset: f32, scale: f32) {
        let [sum, products] = paired_sums(gradients, values, offset, scale);
        moments[0] += f64::from(sum);
        moments[1] += f64::from(products);
    }

    /// g = a · g + b · x + c, in place.
    pub fn combine(gradients: &mut [f32], values: &[f32], a: f32, b: f32, c: f32) {
        for (gradient, &value) in gradients.iter_mut().zip(values) {
            *gradient = a * *gradient + b * value + c;
        }
    }
}

/// Which values are dropped, and what the others are multiplied by.
#[derive(Debug, Clone, Copy)]
pub struct Dropout<'a> {
    /// Two random bytes for every value.
    draws: &'a [u8],
    /// Of 65536 values so many are dropped.
    threshold: u32,
    /// 1 / the share that is kept.
    scale: f32,
}

impl<'a> Dropout<'a> {
    /// Drops a value with probability `rate`, which is resolved to 1/65536, by the random `draws`.
    ///
    /// # Shapes
    /// draws `[2n]`
    pub fn new(draws: &'a [u8], rate: f64) -> Dropout<'a> {
        Dropout { draws, threshold: (rate * 65536.0).round() as u32, scale: (1.0 / (1.0 - rate)) as f32 }
    }

    #[inline(always)]
    fn factor(&self, draw: &[u8; 2]) -> f32 {
        if u32::from(u16::from_le_bytes(*draw)) < self.threshold { 0.0 } else { self.scale }
    }
}

#[inline(always)]
fn tanh(argument: f32) -> f32 {
    let decayed = exp_nonpositive(-2.0 * argument.abs());
    ((1.0 - decayed) / (1.0 + decayed)).copysign(argument)
}

/// Σ g and Σ g · (x − offset) · scale, in lanes as [`inner_product`].
#[inline(always)]
fn paired_sums(gradients: &[f32], values: &[f32], offset: f32, scale: f32) -> [f32; 2] {
    const LANES: usize = 32;
    let (chunks, rest) = gradients.as_chunks::<LANES>();
    let (others, other_rest) = values.as_chunks::<LANES>();
    let (mut sums, mut products) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (gradients, values) in chunks.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += gradients[lane];
            products[lane] += gradients[lane] * ((values[lane] - offset) * scale);
        }
    }
    let mut total = [sums.iter().sum::<f32>(), products.iter().sum::<f32>()];
    for (&gradient, &value) in rest.iter().zip(other_rest) {
        total[0] += gradient;
        total[1] += gradient * ((value - offset) * scale);
    }
    total
}

/// Sums 64 lanes side by side, so that the order of addition is the same at every vector width.
#[inline(always)]
fn inner_product(one: &[f32], other: &[f32]) -> f32 {
    let (ones, rest) = one.as_chunks::<64>();
    let (others, other_rest) = other.as_chunks::<64>();
    let mut sums = [0.0f32; 64];
    for (one, other) in ones.iter().zip(others) {
        for lane in 0..64 {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let ends: f32 = rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    // By halves: one after the other they would take longer than a short row.
    for half in [32, 16, 8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0] + ends
}

/// e^x for x ≤ 0 to 4e-7 relative: 2^n · e^r with |r| ≤ ln 2 / 2 and e^r by its series. Below −87 the result stays at
/// e^−87.
#[inline(always)]
pub fn exp_nonpositive(x: f32) -> f32 {
    /// 1.5 · 2^23: adding it rounds to an integer, which then sits in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    // ln 2 in two parts, so that the first product is exact.
    let r = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let series =
        1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    series * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elu_and_its_gradient_match_the_formula() {
        let inputs: Vec<f32> = (-40..40).map(|step| step as f32 * 0.21).collect();
        let mut outputs = inputs.clone();
        elu(&mut outputs);
        let mut gradients = vec![2.0; inputs.len()];
        elu_backward(&mut gradients, &outputs);
        for ((&x, &y), &gradient) in inputs.iter().zip(&outputs).zip(&gradients) {
            assert!((y - if x > 0.0 { x } else { x.exp_m1() }).abs() < 1e-6);
            assert!((gradient - if x > 0.0 { 2.0 } else { 2.0 * x.exp() }).abs() < 2e-6);
        }
    }

    #[test]
    fn tanh_and_its_gradient_match_the_formula() {
        let inputs: Vec<f32> = (-400..400).map(|step| step as f32 * 0.031).collect();
        let mut values = vec![0.0; inputs.len()];
        scaled_tanh(&mut values, &inputs, 2.0, 0.5);
        for (&x, &y) in inputs.iter().zip(&values) {
            let expected = (2.0 * f64::from(x) + 0.5).tanh();
            assert!((f64::from(y) - expected).abs() < 3e-7, "{x}: {y} is not {expected}");
        }
        // Every fourth is dropped, and the others are scaled.
        let draws: Vec<u8> =
            (0..inputs.len()).flat_map(|place| if place % 4 == 0 { [0; 2] } else { [0, 64] }).collect();
        let dropout = Dropout::new(&draws, 0.25);
        let mut dropped = vec![0.0; inputs.len()];
        dropped_tanh(&mut dropped, &inputs, 2.0, 0.5, dropout);
        drop_out(&mut values, dropout);
        assert_eq!(dropped, values);
        dropped_tanh_backward(&mut values, &inputs, dropout);
        for (place, (&x, &gradient)) in inputs.iter().zip(&values).enumerate() {
            let output = (2.0 * x + 0.5).tanh();
            let factor = if place % 4 == 0 { 0.0 } else { 4.0 / 3.0 };
            assert!((gradient - x * factor * (1.0 - output * output)).abs() < 1e-5, "{x}: {gradient}");
        }
    }

    #[test]
    fn sums_of_any_length_are_whole() {
        for length in [0, 1, 31, 32, 100] {
            let (gradients, values): (Vec<f32>, Vec<f32>) = (0..length).map(|i| (i as f32, (2 * i) as f32)).unzip();
            let mut moments = [1.0, 2.0];
            add_gradient_moments(&mut moments, &gradients, &values, 1.0, 0.5);
            let sum = |of: fn(f64) -> f64| (0..length).map(|i| of(f64::from(i))).sum::<f64>();
            assert_eq!(moments, [1.0 + sum(|i| i), 2.0 + sum(|i| i * (2.0 * i - 1.0) * 0.5)]);
            let mut moments = [0.0; 2];
            add_moments(&mut moments, &values);
            assert_eq!(moments, [sum(|i| 2.0 * i), sum(|i| 4.0 * i * i)]);
        }
    }
}
