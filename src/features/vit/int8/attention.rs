//! Attention with queries, keys, numerators and values of one byte.
//!
//! The keys are taken strip by strip, and a strip's numerators counted in steps of 1/255 of its largest: what is far below one
//! key keeps its weight unless that key is of the same strip. The scores of a strip never leave the fastest cache.

use super::super::arithmetic::first;
use super::super::kernels::{self, LANES};
use super::kernels::{Instructions, PANEL, Quad, Right, sums};
use super::loops;

/// Quads of a strip's keys.
const KEY_QUADS: usize = LANES / 4;

/// Queries, keys and values of a strip.
#[derive(Default)]
pub struct ByteProjection {
    /// `[heads, quads of a head's channels, LANES]`; of every head and lane a scale and the least value.
    queries: Vec<Quad>,
    query_scales: Vec<[f32; LANES]>,
    query_lows: Vec<[f32; LANES]>,
    /// `[heads, quads of a head's channels, LANES]`; of every head and key the scale, and the sum of the key's channels.
    keys: Vec<Quad>,
    key_scales: Vec<[f32; 2]>,
    /// `[width, quads of lanes]`, and the scale of every channel.
    values: Vec<Quad>,
    value_scales: Vec<f32>,
}

impl ByteProjection {
    /// Takes the projection of a strip, whose scores are to be binary logarithms; values of lanes without a token become 0.
    ///
    /// # Shapes
    /// `[3 · width, LANES]`
    pub fn quantise(&mut self, projected: &mut [f32], head_width: usize, tokens: usize) {
        let (queries, rest) = projected.split_at_mut(projected.len() / 3);
        let (keys, values) = rest.split_at_mut(queries.len());
        let (heads, quads) = (queries.len() / LANES / head_width, head_width.div_ceil(4));
        for quads_of_heads in [&mut self.queries, &mut self.keys] {
            quads_of_heads.resize(heads * quads * LANES, 0);
        }
        self.query_scales.resize(heads, [0.0; LANES]);
        self.query_lows.resize(heads, [0.0; LANES]);
        self.key_scales.resize(heads * LANES, [0.0; 2]);
        for head in 0..heads {
            let values = head * head_width * LANES..(head + 1) * head_width * LANES;
            let bytes = head * quads * LANES..(head + 1) * quads * LANES;
            let (scale, low) = (&mut self.query_scales[head], &mut self.query_lows[head]);
            loops::quantise(&mut self.queries[bytes.clone()], scale, low, &queries[values.clone()]);
            let (mut scale, mut sum) = ([0.0; LANES], [0.0; LANES]);
            loops::quantise_evenly(&mut self.keys[bytes], &mut scale, &mut sum, &keys[values]);
            let scales = self.key_scales[head * LANES..].iter_mut();
            scales.zip(scale.into_iter().zip(sum)).for_each(|(both, (scale, sum))| *both = [scale, sum]);
        }
        let width = values.len() / LANES;
        self.values.resize(width * KEY_QUADS, 0);
        self.value_scales.resize(width, 0.0);
        loops::quantise_lanes(&mut self.values, &mut self.value_scales, values, tokens);
    }
}

/// Buffers of one thread for attention.
#[derive(Default)]
pub struct AttentionBuffers {
    sums: Vec<i32>,
    scores: Vec<f32>,
    numerators: Vec<Quad>,
}

impl AttentionBuffers {
    /// Attention of one strip's queries over the keys of all strips of its image, given with their numbers of tokens.
    ///
    /// # Shapes
    /// context `[width, LANES]`
    pub fn attend<'a>(
        &mut self,
        context: &mut [f32],
        queries: &ByteProjection,
        others: impl Iterator<Item = (&'a ByteProjection, usize)> + Clone,
        head_width: usize,
        tokens: usize,
    ) {
        let instructions = Instructions::fastest();
        let quads = head_width.div_ceil(4);
        context.fill(0.0);
        let buffer = first(&mut self.sums, LANES.max(head_width) * LANES);
        let scores = first(&mut self.scores, LANES * LANES);
        let numerators = first(&mut self.numerators, KEY_QUADS * LANES);
        for (head, context) in context.chunks_exact_mut(head_width * LANES).enumerate() {
            let bytes = head * quads * LANES..(head + 1) * quads * LANES;
            let query = &queries.queries[bytes.clone()];
            let scales = [&queries.query_scales[head], &queries.query_lows[head]];
            let (mut most, mut denominator) = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);
            for (other, keys) in others.clone() {
                let key = Right {
                    quads: &other.keys[bytes.clone()],
                    panel_stride: PANEL,
                    quad_stride: LANES,
                    output_stride: 1,
                };
                let found = &mut buffer[..keys * LANES];
                sums(instructions, found, query, key, tokens);
                let key_scales = &other.key_scales[head * LANES..][..keys];
                let numerators = &mut numerators[..keys.div_ceil(4) * LANES];
                let (mut largest, mut total) = ([0.0; LANES], [0.0; LANES]);
                loops::numerators(numerators, &mut largest, &mut total, scores, found, scales, key_scales);
                let value = Right {
                    quads: &other.values[head * head_width * KEY_QUADS..][..head_width * KEY_QUADS],
                    panel_stride: PANEL * KEY_QUADS,
                    quad_stride: 1,
                    output_stride: KEY_QUADS,
                };
                let found = &mut buffer[..head_width * LANES];
                sums(instructions, found, numerators, value, tokens);
                let value_scales = &other.value_scales[head * head_width..][..head_width];
                loops::join(context, &mut most, &mut denominator, found, value_scales, &largest, &total);
            }
            kernels::scale_lanes(context, &denominator.map(|sum| 1.0 / sum));
        }
    }
}
