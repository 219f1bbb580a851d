//! The ways in which the processor computes products: in single precision, in bfloat16 and in bytes.

use super::bfloat::{self, Pair, PairLinear};
use super::int8::{self, AttentionBuffers, ByteLinear, ByteProjection, LinearBuffers};
use super::kernels::{self, LANES};
use super::layers::Linear;

/// Buffers of one thread, of all arithmetics.
#[derive(Default)]
pub struct Buffers {
    single: Vec<f32>,
    pairs: Vec<Pair>,
    scores: Vec<f32>,
    linear: LinearBuffers,
    attention: AttentionBuffers,
}

/// What the transformer does with a strip between normalisations.
pub trait Arithmetic {
    /// A linear layer as products take it.
    type Linear: Send + Sync;
    /// The projection that gives descriptors.
    type Facet: Send + Sync;
    /// Queries, keys and values of a strip as attention takes them.
    type Projected: Default + Send + Sync;

    fn outputs(linear: &Self::Linear) -> usize;

    /// `target = weight · strip + bias`, for so many tokens.
    ///
    /// # Shapes
    /// strip `[inputs, LANES]` → target `[outputs, LANES]`
    fn linear(target: &mut [f32], strip: &[f32], linear: &Self::Linear, tokens: usize, buffers: &mut Buffers);

    /// The same of the projection that gives descriptors; the target takes its size.
    fn facet(target: &mut Vec<f32>, strip: &[f32], facet: &Self::Facet, tokens: usize, buffers: &mut Buffers);

    /// `target = GELU(weight · strip + bias)`.
    fn linear_with_gelu(target: &mut [f32], strip: &[f32], linear: &Self::Linear, tokens: usize, buffers: &mut Buffers);

    /// `target += weight · strip + bias`.
    fn add_linear(target: &mut [f32], strip: &[f32], linear: &Self::Linear, tokens: usize, buffers: &mut Buffers);

    /// Prepares the projection `[3 · width, LANES]` of a strip, which is lost, for attention.
    fn projected(target: &mut Self::Projected, projection: &mut Vec<f32>, head_width: usize, tokens: usize);

    /// Attention of one strip's queries over all tokens of its image, of which `strips` hold [`LANES`] each; `counts` are the
    /// number of these and of the strip's own.
    ///
    /// # Shapes
    /// context `[width, LANES]`
    fn attend(
        context: &mut [f32],
        queries: &Self::Projected,
        strips: &[Self::Projected],
        head_width: usize,
        counts: [usize; 2],
        buffers: &mut Buffers,
    );
}

/// The tokens of the strips of an image with so many tokens, with the place of the first.
fn tokens_of_strips(tokens: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..tokens).step_by(LANES).map(move |first| (first, LANES.min(tokens - first)))
}

/// How products of floating-point numbers are computed, and how their left operands lie in memory.
///
/// Functions that make an operand give where it lies: single precision takes values as they are.
pub trait Products {
    /// An element of a left operand.
    type Operand: Copy + Default + Send + Sync;
    /// A linear layer as products take it.
    type Linear: Send + Sync;
    /// Values in one element of an operand.
    const VALUES: usize;

    /// The buffer of operands, and that of scores.
    fn buffers(buffers: &mut Buffers) -> (&mut Vec<Self::Operand>, &mut Vec<f32>);

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

impl<P: Products> Arithmetic for P {
    type Linear = P::Linear;
    type Facet = P::Linear;
    type Projected = Vec<P::Operand>;

    fn outputs(linear: &P::Linear) -> usize {
        P::bias(linear).len()
    }

    fn linear(target: &mut [f32], strip: &[f32], linear: &P::Linear, tokens: usize, buffers: &mut Buffers) {
        kernels::fill_bias(target, P::bias(linear));
        P::add_product(target, P::operand(P::buffers(buffers).0, strip), linear, tokens);
    }

    fn facet(target: &mut Vec<f32>, strip: &[f32], facet: &P::Linear, tokens: usize, buffers: &mut Buffers) {
        target.resize(P::bias(facet).len() * LANES, 0.0);
        Self::linear(target, strip, facet, tokens, buffers);
    }

    fn linear_with_gelu(target: &mut [f32], strip: &[f32], linear: &P::Linear, tokens: usize, buffers: &mut Buffers) {
        Self::linear(target, strip, linear, tokens, buffers);
        P::gelu(target);
    }

    fn add_linear(target: &mut [f32], strip: &[f32], linear: &P::Linear, tokens: usize, buffers: &mut Buffers) {
        kernels::add_bias(target, P::bias(linear));
        P::add_product(target, P::operand(P::buffers(buffers).0, strip), linear, tokens);
    }

    fn projected(target: &mut Vec<P::Operand>, projection: &mut Vec<f32>, _: usize, _: usize) {
        P::attention_operands(target, projection);
    }

    fn attend(
        context: &mut [f32],
        queries: &Vec<P::Operand>,
        strips: &[Vec<P::Operand>],
        head_width: usize,
        [keys, tokens]: [usize; 2],
        buffers: &mut Buffers,
    ) {
        let width = context.len() / LANES;
        // Operands of one channel, and of one head.
        let channel = LANES / P::VALUES;
        let head_length = head_width * channel;
        let (operands, scores) = P::buffers(buffers);
        let scores = first(scores, keys * LANES);
        context.fill(0.0);
        for (head, context) in context.chunks_exact_mut(head_width * LANES).enumerate() {
            let query = &queries[head * head_length..][..head_length];
            // Queries, keys and values follow each other in the projection.
            let part = |kind: usize| (kind * width + head * head_width) * channel..;
            for ((first, count), values) in tokens_of_strips(keys).zip(strips) {
                let scores = &mut scores[first * LANES..][..count * LANES];
                P::scores(scores, query, &values[part(1)], count, tokens);
            }
            let mut inverse_sum = [0.0; LANES];
            let numerators = P::exponentiate(operands, scores, &mut inverse_sum);
            for ((first, count), values) in tokens_of_strips(keys).zip(strips) {
                let numerators = &numerators[first * channel..][..count.div_ceil(P::VALUES) * LANES];
                P::add_values(context, numerators, &values[part(2)], tokens);
            }
            kernels::scale_lanes(context, &inverse_sum);
        }
    }
}

/// Everything in single precision.
pub enum Single {}

/// Operands of products in bfloat16, sums and everything else in single precision.
pub enum Bfloat {}

/// Operands of products in bytes, sums in integers, everything else and the descriptors in single precision.
pub enum Bytes {}

impl Products for Single {
    type Operand = f32;
    type Linear = Linear;
    const VALUES: usize = 1;

    fn buffers(buffers: &mut Buffers) -> (&mut Vec<f32>, &mut Vec<f32>) {
        (&mut buffers.single, &mut buffers.scores)
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

impl Products for Bfloat {
    type Operand = Pair;
    type Linear = PairLinear;
    const VALUES: usize = 2;

    fn buffers(buffers: &mut Buffers) -> (&mut Vec<Pair>, &mut Vec<f32>) {
        (&mut buffers.pairs, &mut buffers.scores)
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

impl Arithmetic for Bytes {
    type Linear = ByteLinear;
    type Facet = Linear;
    type Projected = ByteProjection;

    fn outputs(linear: &ByteLinear) -> usize {
        linear.bias.len()
    }

    fn linear(target: &mut [f32], strip: &[f32], linear: &ByteLinear, tokens: usize, buffers: &mut Buffers) {
        buffers.linear.apply(target, strip, linear, tokens, |_| {});
    }

    fn facet(target: &mut Vec<f32>, strip: &[f32], facet: &Linear, tokens: usize, buffers: &mut Buffers) {
        Single::facet(target, strip, facet, tokens, buffers);
    }

    fn linear_with_gelu(target: &mut [f32], strip: &[f32], linear: &ByteLinear, tokens: usize, buffers: &mut Buffers) {
        buffers.linear.apply(target, strip, linear, tokens, int8::gelu);
    }

    fn add_linear(target: &mut [f32], strip: &[f32], linear: &ByteLinear, tokens: usize, buffers: &mut Buffers) {
        buffers.linear.add(target, strip, linear, tokens);
    }

    fn projected(target: &mut ByteProjection, projection: &mut Vec<f32>, head_width: usize, tokens: usize) {
        target.quantise(projection, head_width, tokens);
    }

    fn attend(
        context: &mut [f32],
        queries: &ByteProjection,
        strips: &[ByteProjection],
        head_width: usize,
        [keys, tokens]: [usize; 2],
        buffers: &mut Buffers,
    ) {
        let others = strips.iter().zip(tokens_of_strips(keys).map(|(_, count)| count));
        buffers.attention.attend(context, queries, others, head_width, tokens);
    }
}

/// The first `length` values of a buffer that grows as needed; what they hold is left over from earlier use.
pub fn first<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}
