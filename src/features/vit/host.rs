//! The transformer on the processor: strips of tokens flow through whole blocks on one thread each.
//!
//! Within a block only attention looks at other tokens, and only at their keys and values. So one parallel pass per
//! block does everything for a strip, from attention to the next block's projection, while its activations are in
//! cache: one barrier per block, and nothing that depends on the number of threads.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::arithmetic::{Arithmetic, Buffers, first};
use super::batch::{Grid, ImageBatch, Readout};
use super::config::Facet;
use super::kernels::{self, LANES};
use super::layers::{BlockWeights, Norm, VitWeights};
use super::model::Places;
use super::rotation::Rotation;
use super::shape::VitShape;

/// Tokens of one image that travel together.
#[derive(Debug, Clone, Copy)]
struct Strip {
    image: usize,
    /// First token of these, counted from the image's first.
    first: usize,
    tokens: usize,
}

/// Buffers of one thread, kept between strips so that they stay in cache.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    projected: Vec<f32>,
    hidden: Vec<f32>,
    context: Vec<f32>,
    buffers: Buffers,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs a batch until `readout`.
///
/// Returns `[images, tokens, width]`, for [`Readout::Facets`] `[images, tokens, blocks · width]`, for [`Readout::Image`]
/// `[images, 1, width]`.
pub fn forward<A: Arithmetic>(
    shape: &VitShape,
    weights: &VitWeights<A::Linear, A::Facet>,
    batch: &ImageBatch,
    grid: Grid,
    places: &Places,
    readout: Readout<'_>,
) -> Vec<f32> {
    let tokens = shape.leading() + grid.rows * grid.columns;
    let rotation = places.rotation.as_ref();
    let strips: Vec<Strip> = (0..batch.images)
        .flat_map(|image| {
            (0..tokens).step_by(LANES).map(move |first| Strip { image, first, tokens: LANES.min(tokens - first) })
        })
        .collect();
    let strips_per_image = tokens.div_ceil(LANES);

    // How many blocks run to their end.
    let full_blocks = match readout {
        Readout::Embedded => 0,
        Readout::Facets { layers, facet } => {
            layers.last().map_or(0, |&last| if facet == Facet::Token { last + 1 } else { last })
        }
        Readout::Image => shape.depth,
    };
    // The block whose queries, keys and values are needed next, if any is.
    let following = |block: usize| weights.blocks[..full_blocks].get(block);
    let mut described: Described<A> =
        Described { readout, shape, weights, strips: &strips, tokens, values: Vec::new() };
    if let Readout::Facets { layers, .. } = readout {
        described.values = vec![0.0; batch.images * tokens * layers.len() * shape.width];
    }

    let mut states: Vec<Vec<f32>> = vec![Vec::new(); strips.len()];
    let unprojected = || -> Vec<A::Projected> { strips.iter().map(|_| A::Projected::default()).collect() };
    let mut projected = unprojected();
    (&strips, &mut states, &mut projected).into_par_iter().for_each(|(&strip, state, projected)| {
        SCRATCH.with_borrow_mut(|scratch| {
            embed(shape, weights, batch, grid, &places.start, strip, state, scratch);
            project_attention::<A>(shape, following(0), rotation, strip, state, projected, scratch);
        });
    });
    described.read(0, &states);
    let mut upcoming = unprojected();
    for (index, block) in weights.blocks[..full_blocks].iter().enumerate() {
        // The class token's last block needs no other token's output.
        let class_only = readout == Readout::Image && shape.has_class_token && index + 1 == full_blocks;
        (&strips, &mut states, &mut upcoming).into_par_iter().for_each(|(&strip, state, upcoming)| {
            if class_only && strip.first != 0 {
                return;
            }
            SCRATCH.with_borrow_mut(|scratch| {
                let image = strip.image * strips_per_image;
                let queries = image + strip.first / LANES;
                let others = &projected[image..image + strips_per_image];
                let context = first(&mut scratch.context, shape.width * LANES);
                let counts = [tokens, strip.tokens];
                A::attend(context, &projected[queries], others, shape.head_width(), counts, &mut scratch.buffers);
                finish_block::<A>(shape, block, strip, state, scratch);
                project_attention::<A>(shape, following(index + 1), rotation, strip, state, upcoming, scratch);
            });
        });
        std::mem::swap(&mut projected, &mut upcoming);
        described.read(index + 1, &states);
    }

    match readout {
        Readout::Image => {
            let mut normed = vec![0.0; shape.width * LANES];
            let mut vectors = Vec::with_capacity(batch.images * shape.width);
            for image in 0..batch.images {
                let mut of_strip = |strip: usize| {
                    weights.norm.apply(&mut normed, &states[image * strips_per_image + strip]);
                    normed.clone()
                };
                if shape.has_class_token {
                    vectors.extend(of_strip(0).iter().step_by(LANES));
                    continue;
                }
                let mut sums = vec![0.0f32; shape.width];
                for (place, strip) in strips[..strips_per_image].iter().enumerate() {
                    let normed = of_strip(place);
                    for (sum, lanes) in sums.iter_mut().zip(normed.as_chunks::<LANES>().0) {
                        *sum += lanes[..strip.tokens].iter().sum::<f32>();
                    }
                }
                vectors.extend(sums.iter().map(|sum| sum / tokens as f32));
            }
            vectors
        }
        Readout::Embedded => {
            let mut rows = vec![0.0; batch.images * tokens * shape.width];
            collect(shape, &strips, &states, tokens, &mut rows, 0..shape.width);
            rows
        }
        Readout::Facets { .. } => described.values,
    }
}

/// What has been read off the wanted blocks.
struct Described<'a, A: Arithmetic> {
    readout: Readout<'a>,
    shape: &'a VitShape,
    weights: &'a VitWeights<A::Linear, A::Facet>,
    strips: &'a [Strip],
    tokens: usize,
    /// `[images, tokens, blocks · width]`, filled block by block.
    values: Vec<f32>,
}

impl<A: Arithmetic> Described<'_, A> {
    /// Reads what is wanted of the tokens between two blocks, `finished` of which are over: they are the last one's
    /// output, and the next one's keys, queries and values follow from them.
    fn read(&mut self, finished: usize, states: &[Vec<f32>]) {
        let Readout::Facets { layers, facet } = self.readout else { return };
        let of_tokens = facet == Facet::Token;
        let Some(place) = layers.iter().position(|&layer| layer + usize::from(of_tokens) == finished) else { return };
        let width = self.shape.width;
        let columns = place * width..(place + 1) * width;
        if of_tokens {
            collect(self.shape, self.strips, states, self.tokens, &mut self.values, columns);
            return;
        }
        let (norm, linear) = (&self.weights.blocks[finished].norm1, &self.weights.facets[place]);
        let mut projected: Vec<Vec<f32>> = vec![Vec::new(); states.len()];
        (self.strips, states, &mut projected).into_par_iter().for_each(|(&strip, state, projected)| {
            SCRATCH.with_borrow_mut(|scratch| {
                let normed = first(&mut scratch.normed, state.len());
                norm.apply(normed, state);
                A::facet(projected, normed, linear, strip.tokens, &mut scratch.buffers);
            });
        });
        collect(self.shape, self.strips, &projected, self.tokens, &mut self.values, columns);
    }
}

/// Writes one strip of embedded tokens: leading tokens, patch products with positions. It is a hundredth of the work and
/// always in single precision.
#[expect(clippy::too_many_arguments, reason = "all are inputs of one formula and a struct of them would live one line")]
fn embed<L, F>(
    shape: &VitShape,
    weights: &VitWeights<L, F>,
    batch: &ImageBatch,
    grid: Grid,
    start: &[f32],
    strip: Strip,
    state: &mut Vec<f32>,
    scratch: &mut Scratch,
) {
    let (width, patch, plane) = (shape.width, shape.patch, batch.height * batch.width);
    let image = &batch.values[strip.image * 3 * plane..][..3 * plane];
    let pixels = 3 * patch * patch;
    let patches = first(&mut scratch.hidden, pixels * LANES);
    for lane in 0..strip.tokens {
        let token = strip.first + lane;
        let Some(cell) = token.checked_sub(shape.leading()) else {
            continue;
        };
        let (top, left) = (cell / grid.columns * grid.stride, cell % grid.columns * grid.stride);
        for (row, target) in patches.chunks_exact_mut(patch * LANES).enumerate() {
            let (channel, y) = (row / patch, row % patch);
            let line = &image[channel * plane + (top + y) * batch.width + left..][..patch];
            for (target, &pixel) in target[lane..].iter_mut().step_by(LANES).zip(line) {
                *target = pixel;
            }
        }
    }
    state.resize(width * LANES, 0.0);
    kernels::fill_bias(state, &weights.patch.bias);
    kernels::add_product(state, patches, &weights.patch.weight, pixels, width, strip.tokens);
    for lane in 0..LANES {
        let target = state[lane..].iter_mut().step_by(LANES);
        if lane >= strip.tokens {
            target.for_each(|value| *value = 0.0);
            continue;
        }
        let token = strip.first + lane;
        for (value, start) in target.zip(&start[token * width..]) {
            *value = if token < shape.leading() { *start } else { *value + start };
        }
    }
}

/// Normalises the tokens and projects them to the queries, keys and values of `block`, if one follows.
fn project_attention<A: Arithmetic>(
    shape: &VitShape,
    block: Option<&BlockWeights<A::Linear>>,
    rotation: Option<&Rotation>,
    strip: Strip,
    state: &[f32],
    target: &mut A::Projected,
    scratch: &mut Scratch,
) {
    let Some(block) = block else { return };
    let normed = first(&mut scratch.normed, state.len());
    block.norm1.apply(normed, state);
    let projected = &mut scratch.projected;
    projected.resize(A::outputs(&block.qkv) * LANES, 0.0);
    A::linear(projected, normed, &block.qkv, strip.tokens, &mut scratch.buffers);
    if let Some(rotation) = rotation {
        let channels = projected.len() / LANES / 3 * 2;
        rotation.turn_strip(projected, strip.first / LANES, channels);
    }
    A::projected(target, projected, shape.head_width(), strip.tokens);
}

/// The rest of a block after attention: projection and perceptron, each added to the tokens.
fn finish_block<A: Arithmetic>(
    shape: &VitShape,
    block: &BlockWeights<A::Linear>,
    strip: Strip,
    state: &mut [f32],
    scratch: &mut Scratch,
) {
    let Scratch { normed, hidden, context, buffers, .. } = scratch;
    A::add_linear(state, &context[..shape.width * LANES], &block.projection, strip.tokens, buffers);

    let normed = first(normed, shape.width * LANES);
    block.norm2.apply(normed, state);
    let length = shape.mlp_width * LANES;
    let hidden = first(hidden, A::outputs(&block.hidden) * LANES);
    if shape.is_gated {
        A::linear(hidden, normed, &block.hidden, strip.tokens, buffers);
        let (gates, values) = hidden.split_at_mut(length);
        kernels::gate(gates, values);
    } else {
        A::linear_with_gelu(hidden, normed, &block.hidden, strip.tokens, buffers);
    }
    A::add_linear(state, &hidden[..length], &block.output, strip.tokens, buffers);
}

impl Norm {
    /// Layer normalisation of a strip.
    fn apply(&self, target: &mut [f32], strip: &[f32]) {
        kernels::layer_norm(target, strip, &self.scale, &self.shift, self.epsilon);
    }
}

/// Copies strips to some `columns` of row-major tokens, `[images, tokens, any multiple of width]`.
fn collect(
    shape: &VitShape,
    strips: &[Strip],
    values: &[Vec<f32>],
    tokens: usize,
    rows: &mut [f32],
    columns: Range<usize>,
) {
    let images = strips.last().map_or(0, |strip| strip.image + 1);
    let width = rows.len() / (images * tokens).max(1);
    for (strip, values) in strips.iter().zip(values) {
        let target = &mut rows[(strip.image * tokens + strip.first) * width..][..strip.tokens * width];
        for (channel, lanes) in values.as_chunks::<LANES>().0[..shape.width].iter().enumerate() {
            for (target, &value) in target[columns.start + channel..].iter_mut().step_by(width).zip(lanes) {
                *target = value;
            }
        }
    }
}
