//! The two ways in which the processor computes products: in single precision and in bfloat16.

use super::bfloat::{self, Pair, PairLinear};
use super::kernels::{self, LANES};
use super::layers::Linear;

/// How products are computed, and how their left operands lie in memory.
///
/// Functions that make an operand give where it lies: single precision takes values as they are.
pub trait Arithmetic {
    /// An element of a left operand.
    type Operand: Copy + Default + Send + Sync;
    /// A linear layer as products take it.
    type Linear: Send + Sync;
    /// Values in one element of an operand.
    const VALUES: usize;

    /// The buffers of this thread.
    fn buffers(both: &mut (Vec<f32>, Vec<Pair>)) -> &mut Vec<Self::Operand>;

    /// The layer's bias `[outputs]`.
    fn bias(linear: &Self::Linear) -> &[f32];

    /// `values` `[features, LANES]` as an operand.
    fn operand<'a>(buffer: &'a mut Vec<Self::Operand>, values: &'a [f32]) -> &'a [Self::Operand];

    /// `target += weight · strip` for so many tokens.
    ///
    /// # Shapes
    /// strip `[inputs, LANES]` → target `[outputs, LANES]`
    fn add_product(target: &mut [f32], strip: &[Self::Operand], linear: &Self::Linear, tokens: usize);

    /// The GELU, in place.
    fn gelu(values: &mut [f32]);

    /// Queries, keys and values of a strip, in operands, from their projection `[3 · width, LANES]`, which is lost.
    fn attention_operands(target: &mut Vec<Self::Operand>, projected: &mut Vec<f32>);

    /// `scores = keyᵀ · query` of one head.
    ///
    /// # Shapes
    /// query, key `[channels, LANES]` → scores `[keys, LANES]`
    fn scores(scores: &mut [f32], query: &[Self::Operand], key: &[Self::Operand], keys: usize, tokens: usize);

    /// Softmax numerators of `scores` `[keys, LANES]`, which are lost, and the inverse of their sums.
    fn exponentiate<'a>(
        buffer: &'a mut Vec<Self::Operand>,
        scores: &'a mut [f32],
        inverse_sum: &mut [f32; LANES],
    ) -> &'a [Self::Operand];

    /// `context += value · numerators` of one head and one strip's keys.
    ///
    /// # Shapes
    /// numerators `[keys, LANES]`, value `[channels, LANES]` → context `[channels, LANES]`
    fn add_values(context: &mut [f32], numerators: &[Self::Operand], value: &[Self::Operand], tokens: usize);
}

/// Everything in single precision.
pub enum Single {}

/// Operands of products in bfloat16, sums and everything else in single precision.
pub enum Bfloat {}

impl Arithmetic for Single {
    type Operand = f32;
    type Linear = Linear;
    const VALUES: usize = 1;

    fn buffers(both: &mut (Vec<f32>, Vec<Pair>)) -> &mut Vec<f32> {
        &mut both.0
    }

    fn bias(linear: &Linear) -> &[f32] {
        &linear.bias
    }

    fn operand<'a>(_: &'a mut Vec<f32>, values: &'a [f32]) -> &'a [f32] {
        values
    }

    fn add_product(target: &mut [f32], strip: &[f32], linear: &Linear, tokens: usize) {
        kernels::add_product(target, strip, &linear.weight, linear.inputs(), linear.outputs(), tokens);
    }

    fn gelu(values: &mut [f32]) {
        kernels::gelu(values);
    }

    fn attention_operands(target: &mut Vec<f32>, projected: &mut Vec<f32>) {
        std::mem::swap(target, projected);
    }

    fn scores(scores: &mut [f32], query: &[f32], key: &[f32], keys: usize, tokens: usize) {
        kernels::scores(scores, query, key, query.len() / LANES, keys, tokens);
    }

    fn exponentiate<'a>(_: &'a mut Vec<f32>, scores: &'a mut [f32], inverse_sum: &mut [f32; LANES]) -> &'a [f32] {
        kernels::exponentiate(scores, inverse_sum);
        scores
    }

    fn add_values(context: &mut [f32], numerators: &[f32], value: &[f32], tokens: usize) {
        kernels::add_values(context, numerators, value, context.len() / LANES, numerators.len() / LANES, tokens);
    }
}

impl Arithmetic for Bfloat {
    type Operand = Pair;
    type Linear = PairLinear;
    const VALUES: usize = 2;

    fn buffers(both: &mut (Vec<f32>, Vec<Pair>)) -> &mut Vec<Pair> {
        &mut both.1
    }

    fn bias(linear: &PairLinear) -> &[f32] {
        &linear.bias
    }

    fn operand<'a>(buffer: &'a mut Vec<Pair>, values: &'a [f32]) -> &'a [Pair] {
        let buffer = first(buffer, (values.len() / LANES).div_ceil(2) * LANES);
        bfloat::pair_features(buffer, values);
        buffer
    }

    fn add_product(target: &mut [f32], strip: &[Pair], linear: &PairLinear, tokens: usize) {
        bfloat::add_product(target, strip, linear, tokens);
    }

    fn gelu(values: &mut [f32]) {
        bfloat::gelu(values);
    }

    /// Queries and keys are summed over channels, values over tokens: they are paired along these.
    fn attention_operands(target: &mut Vec<Pair>, projected: &mut Vec<f32>) {
        target.resize(projected.len() / 2, 0);
        let (with_channels, with_tokens) = projected.split_at(projected.len() / 3 * 2);
        let (channels, tokens) = target.split_at_mut(with_channels.len() / 2);
        bfloat::pair_features(channels, with_channels);
        bfloat::pair_lanes(tokens, with_tokens);
    }

    fn scores(scores: &mut [f32], query: &[Pair], key: &[Pair], keys: usize, tokens: usize) {
        bfloat::scores(scores, query, key, keys, tokens);
    }

    fn exponentiate<'a>(
        buffer: &'a mut Vec<Pair>,
        scores: &'a mut [f32],
        inverse_sum: &mut [f32; LANES],
    ) -> &'a [Pair] {
        let numerators = first(buffer, (scores.len() / LANES).div_ceil(2) * LANES);
        bfloat::exponentiate(numerators, scores, inverse_sum);
        numerators
    }

    fn add_values(context: &mut [f32], numerators: &[Pair], value: &[Pair], tokens: usize) {
        bfloat::add_values(context, numerators, value, tokens);
    }
}

/// The first `length` values of a buffer that grows as needed; what they hold is left over from earlier use.
pub fn first<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}
