//! The network that tells an image's patches apart, with its training written out as products of matrices.
//!
//! dropout → convolution 3×3 to 32 channels → batch normalisation → tanh → dropout → convolution 3×3 to 8 channels → batch
//! normalisation → tanh → dropout → one answer for every label from all that is left of the patch. Nothing is padded, so
//! that a patch within an image is answered as it is by itself.
//!
//! Differs from the paper: the convolutions have no biases. In training the normalisation takes them away again, and their
//! gradient is rounding alone.

use rand_chacha::ChaCha8Rng;

use super::layers::{Extent, TAPS, columns, gather_taps, spread_taps};
use super::patches::{CHANNELS, PatchImage};
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::random::{dropout_mask, uniform};
use crate::numerics::vectorised::{
    add_gradient_moments, add_moments, combine, dropped_tanh_backward, multiply, scaled_tanh,
};

/// Channels after the first convolution.
const FILTERS: usize = 32;
/// Channels after the second.
const FEATURES: usize = 8;
/// How much of a batch's statistics goes into the running ones.
const MOMENTUM: f32 = 0.1;
/// Added to variances.
const EPSILON: f32 = 1e-5;
/// Positions that are worked on together, so that they stay in cache.
const BLOCK: usize = 1024;
/// Rows of a whole image that are worked on together.
const BAND: usize = 16;
/// The default rates of dropout after either convolution.
const DROPOUT: f64 = 0.2;

// Places of the parameters.
const FIRST: usize = 0;
const SECOND: usize = 3;
const HEAD: usize = 6;
const HEAD_BIAS: usize = 7;

/// A network for patches of one size.
#[derive(Debug, Clone)]
pub struct PatchNetwork {
    patch_side: usize,
    labels: usize,
    /// First convolution `[32, 3 · 9]`, scale and shift of its normalisation `[32]`; second convolution `[8 · 9, 32]`, scale
    /// and shift `[8]`; head `[labels, 8 · (patch_side − 4)²]` and its bias.
    pub parameters: Vec<Vec<f32>>,
    /// Of either normalisation, for whole images and for patches between rounds.
    pub running: [Running; 2],
}

/// Mean and variance of every channel, over the batches of late.
#[derive(Debug, Clone)]
pub struct Running {
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// How much is dropped: of the input, and after either convolution.
pub type DropoutRates = [f64; 3];

/// What a forward pass leaves for the backward pass, and for the next pass to be written over.
#[derive(Debug, Default)]
pub struct Pass {
    blocks: Vec<Block>,
    statistics: [Vec<Statistics>; 2],
    /// Before the second normalisation, `[n, 8, positions]`.
    second: Vec<f32>,
    second_mask: Vec<f32>,
    /// What the head sees, `[n, 8, positions]`.
    features: Vec<f32>,
    kept: [f32; 2],
    /// `[n, labels]`
    pub logits: Vec<f32>,
}

/// Some patches of a pass.
#[derive(Debug, Default)]
struct Block {
    /// What the first convolution sees, `[3 · 9, positions]`.
    columns: Vec<f32>,
    /// Before the first normalisation, `[32, positions]`.
    first: Vec<f32>,
    mask: Vec<f32>,
    /// What the second convolution sees, and in the backward pass the gradient of the first normalisation's output.
    hidden: Vec<f32>,
}

/// Mean and 1 / standard deviation of a channel in a batch.
#[derive(Debug, Clone, Copy)]
struct Statistics {
    mean: f32,
    inverse: f32,
}

impl Running {
    fn new(channels: usize) -> Running {
        Running { mean: vec![0.0; channels], variance: vec![1.0; channels] }
    }

    /// The statistics of a batch of `count` values in each channel from their Σ x and Σ x², which join the running ones.
    fn take_in(&mut self, moments: &[[f64; 2]], count: f64) -> Vec<Statistics> {
        let mut statistics = Vec::with_capacity(moments.len());
        for (([sum, squares], mean), variance) in moments.iter().zip(&mut self.mean).zip(&mut self.variance) {
            let batch_mean = sum / count;
            let batch_variance = (squares / count - batch_mean * batch_mean).max(0.0);
            let unbiased = batch_variance * count / (count - 1.0).max(1.0);
            *mean += MOMENTUM * (batch_mean as f32 - *mean);
            *variance += MOMENTUM * (unbiased as f32 - *variance);
            let inverse = 1.0 / (batch_variance as f32 + EPSILON).sqrt();
            statistics.push(Statistics { mean: batch_mean as f32, inverse });
        }
        statistics
    }

    fn statistics(&self) -> Vec<Statistics> {
        let channels = self.mean.iter().zip(&self.variance);
        channels.map(|(&mean, variance)| Statistics { mean, inverse: 1.0 / (variance + EPSILON).sqrt() }).collect()
    }
}

impl PatchNetwork {
    /// A network with random weights: uniform within ±1/√inputs, as PyTorch's layers begin.
    ///
    /// # Panics
    /// If patches are smaller than 5 × 5.
    pub fn new(patch_side: usize, labels: usize, generator: &mut ChaCha8Rng) -> PatchNetwork {
        assert!(patch_side > 4, "two convolutions leave something of a patch");
        let inputs = FEATURES * (patch_side - 4) * (patch_side - 4);
        let mut random = |inputs: usize, count: usize| uniform(generator, 1.0 / (inputs as f64).sqrt(), count);
        let parameters = vec![
            random(CHANNELS * TAPS, FILTERS * CHANNELS * TAPS),
            vec![1.0; FILTERS],
            vec![0.0; FILTERS],
            random(FILTERS * TAPS, FEATURES * TAPS * FILTERS),
            vec![1.0; FEATURES],
            vec![0.0; FEATURES],
            random(inputs, labels * inputs),
            random(inputs, labels),
        ];
        PatchNetwork { patch_side, labels, parameters, running: [Running::new(FILTERS), Running::new(FEATURES)] }
    }

    pub fn labels(&self) -> usize {
        self.labels
    }

    /// The rates of the official code: the input's is the share of a patch's pixels that lie on its border.
    pub fn dropout_rates(&self) -> DropoutRates {
        let side = self.patch_side as f64;
        [(4.0 * side - 4.0) / (side * side), DROPOUT, DROPOUT]
    }

    /// The answers of training to some patches of an image, in `pass.logits`; the running statistics follow.
    pub fn forward(
        &mut self,
        image: &PatchImage,
        patches: &[usize],
        rates: DropoutRates,
        generator: &mut ChaCha8Rng,
        pass: &mut Pass,
    ) {
        let extent = Extent::square(self.patch_side);
        let (inner, last) = (extent.convolved(), extent.convolved().convolved());
        let per_block = (BLOCK / inner.area()).max(1);
        pass.kept = [rates[1], rates[2]].map(|rate| (1.0 - rate) as f32);
        pass.blocks.resize_with(patches.len().div_ceil(per_block), Block::default);
        let mut moments = [[0.0; 2]; FILTERS];
        for (patches, block) in patches.chunks(per_block).zip(&mut pass.blocks) {
            let mut pixels = image.of_patches(patches);
            let mask = dropout_mask(generator, rates[0], pixels.len());
            multiply(&mut pixels, &mask);
            columns(&mut block.columns, &pixels, CHANNELS, extent);
            convolve_columns(&mut block.first, &self.parameters[FIRST], &block.columns);
            for (moments, plane) in moments.iter_mut().zip(planes(&block.first, FILTERS)) {
                add_moments(moments, plane);
            }
        }
        pass.statistics[0] = self.running[0].take_in(&moments, (patches.len() * inner.area()) as f64);

        let affine = self.affine(FIRST, &pass.statistics[0]);
        pass.second.resize(patches.len() * FEATURES * last.area(), 0.0);
        let mut contributions = Vec::new();
        let outputs = pass.second.chunks_mut(per_block * FEATURES * last.area());
        for (block, output) in pass.blocks.iter_mut().zip(outputs) {
            normalise(&mut block.hidden, &block.first, FILTERS, &affine);
            block.mask = dropout_mask(generator, rates[1], block.hidden.len());
            multiply(&mut block.hidden, &block.mask);
            contribute(&mut contributions, &self.parameters[SECOND], &block.hidden);
            gather_taps(output, &contributions, FEATURES, inner);
        }
        let mut moments = [[0.0; 2]; FEATURES];
        for (place, plane) in pass.second.chunks_exact(last.area()).enumerate() {
            add_moments(&mut moments[place % FEATURES], plane);
        }
        pass.statistics[1] = self.running[1].take_in(&moments, (patches.len() * last.area()) as f64);

        let affine = self.affine(SECOND, &pass.statistics[1]);
        normalise_patches(&mut pass.features, &pass.second, last.area(), &affine);
        pass.second_mask = dropout_mask(generator, rates[2], pass.features.len());
        multiply(&mut pass.features, &pass.second_mask);
        self.answer(&mut pass.logits, &pass.features);
    }

    /// The gradients of all parameters from that of the logits, which are those of `pass`.
    ///
    /// # Shapes
    /// `[n, labels]` → as the parameters
    pub fn backward(&self, pass: &mut Pass, logits: &[f32]) -> Vec<Vec<f32>> {
        let extent = Extent::square(self.patch_side);
        let (inner, last) = (extent.convolved(), extent.convolved().convolved());
        let mut gradients: Vec<Vec<f32>> = self.parameters.iter().map(|values| vec![0.0; values.len()]).collect();
        let inputs = FEATURES * last.area();
        for row in logits.chunks_exact(self.labels) {
            gradients[HEAD_BIAS].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let of_logits = Matrix::of_rows(logits, self.labels);
        add_product(&mut gradients[HEAD], of_logits.transposed(), Matrix::of_rows(&pass.features, inputs));
        let mut incoming = vec![0.0; pass.features.len()];
        add_product(&mut incoming, of_logits, Matrix::of_rows(&self.parameters[HEAD], inputs));

        dropped_tanh_backward(&mut pass.features, &incoming, &pass.second_mask, pass.kept[1]);
        let mut moments = [[0.0; 2]; FEATURES];
        let of_planes = pass.features.chunks_exact(last.area()).zip(pass.second.chunks_exact(last.area()));
        for (place, (gradients, values)) in of_planes.enumerate() {
            let Statistics { mean, inverse } = pass.statistics[1][place % FEATURES];
            add_gradient_moments(&mut moments[place % FEATURES], gradients, values, mean, inverse);
        }
        let count = (logits.len() / self.labels * last.area()) as f64;
        let ways_back = self.normalise_backward(SECOND, &pass.statistics[1], &moments, count, &mut gradients);
        let of_planes = pass.features.chunks_exact_mut(last.area()).zip(pass.second.chunks_exact(last.area()));
        for (place, (gradients, values)) in of_planes.enumerate() {
            let [a, b, c] = ways_back[place % FEATURES];
            combine(gradients, values, a, b, c);
        }

        let mut moments = [[0.0; 2]; FILTERS];
        let (mut spread, mut incoming) = (Vec::new(), Vec::new());
        let mut of_features = &pass.features[..];
        for block in &mut pass.blocks {
            let positions = block.hidden.len() / FILTERS;
            let own;
            (own, of_features) = of_features.split_at(positions / inner.area() * inputs);
            spread_taps(&mut spread, own, FEATURES, inner);
            let spread = Matrix::of_rows(&spread, positions);
            add_product(&mut gradients[SECOND], spread, Matrix::of_rows(&block.hidden, positions).transposed());
            incoming.clear();
            incoming.resize(block.hidden.len(), 0.0);
            add_product(&mut incoming, Matrix::of_rows(&self.parameters[SECOND], FILTERS).transposed(), spread);
            dropped_tanh_backward(&mut block.hidden, &incoming, &block.mask, pass.kept[0]);
            let of_planes = planes(&block.hidden, FILTERS).zip(planes(&block.first, FILTERS));
            for ((moments, (gradients, values)), of) in moments.iter_mut().zip(of_planes).zip(&pass.statistics[0]) {
                add_gradient_moments(moments, gradients, values, of.mean, of.inverse);
            }
        }
        let count = (logits.len() / self.labels * inner.area()) as f64;
        let ways_back = self.normalise_backward(FIRST, &pass.statistics[0], &moments, count, &mut gradients);
        for block in &mut pass.blocks {
            let positions = block.hidden.len() / FILTERS;
            let of_planes = block.hidden.chunks_exact_mut(positions).zip(block.first.chunks_exact(positions));
            for ((gradients, values), &[a, b, c]) in of_planes.zip(&ways_back) {
                combine(gradients, values, a, b, c);
            }
            let of_first = Matrix::of_rows(&block.hidden, positions);
            add_product(&mut gradients[FIRST], of_first, Matrix::of_rows(&block.columns, positions).transposed());
        }
        gradients
    }

    /// The answers to some patches of an image once trained.
    ///
    /// # Shapes
    /// → `[n, labels]`
    pub fn logits(&self, image: &PatchImage, patches: &[usize]) -> Vec<f32> {
        let extent = Extent::square(self.patch_side);
        let (mut all, mut logits) = (Vec::with_capacity(patches.len() * self.labels), Vec::new());
        for patches in patches.chunks((BLOCK / extent.convolved().area()).max(1)) {
            self.answer(&mut logits, &self.features(&image.of_patches(patches), extent));
            all.extend_from_slice(&logits);
        }
        all
    }

    /// The answers to the patches at every place of an image, row by row: `observe` is told the number of a row of places
    /// and the logits there, `[labels, width − patch_side + 1]`.
    ///
    /// # Shapes
    /// planes `[3, height, width]`
    ///
    /// # Panics
    /// If the image is smaller than a patch.
    pub fn map(&self, values: &[f32], extent: Extent, mut observe: impl FnMut(usize, &[f32])) {
        let reach = self.patch_side - 4;
        let places = extent.width + 1 - self.patch_side;
        let last_row = extent.height - self.patch_side;
        // The head's weights for every row of features that it sees: [reach · labels, 8 · reach].
        let mut weights = vec![0.0; self.parameters[HEAD].len()];
        for (from, &weight) in self.parameters[HEAD].iter().enumerate() {
            let (label, feature) = (from / (FEATURES * reach * reach), from / (reach * reach) % FEATURES);
            let (dy, dx) = (from / reach % reach, from % reach);
            weights[((dy * self.labels + label) * FEATURES + feature) * reach + dx] = weight;
        }
        let weights = Matrix::of_rows(&weights, FEATURES * reach);
        let blank: Vec<f32> = self.parameters[HEAD_BIAS].iter().flat_map(|&bias| vec![bias; places]).collect();
        // Rows of answers that some rows of features are still to be added to.
        let mut open = vec![blank.clone(); reach];
        let (mut seen, mut contributions) = (Vec::new(), Vec::new());
        let rows = extent.height - 4;
        for top in (0..rows).step_by(BAND) {
            let band = Extent { width: extent.width, height: BAND.min(rows - top) + 4 };
            let pixels: Vec<f32> = values
                .chunks_exact(extent.area())
                .flat_map(|plane| plane[top * extent.width..][..band.area()].iter().copied())
                .collect();
            let features = self.features(&pixels, band);
            let width = extent.width - 4;
            for row in top..top + band.height - 4 {
                seen.clear();
                for plane in planes(&features, FEATURES) {
                    let of_row = &plane[(row - top) * width..][..width];
                    (0..reach).for_each(|dx| seen.extend_from_slice(&of_row[dx..dx + places]));
                }
                contributions.clear();
                contributions.resize(reach * self.labels * places, 0.0);
                add_product(&mut contributions, weights, Matrix::of_rows(&seen, places));
                for (dy, contribution) in contributions.chunks_exact(self.labels * places).enumerate().take(row + 1) {
                    if row - dy <= last_row {
                        let open = &mut open[(row - dy) % reach];
                        open.iter_mut().zip(contribution).for_each(|(sum, value)| *sum += value);
                    }
                }
                if let Some(complete) = (row + 1).checked_sub(reach) {
                    let open = &mut open[complete % reach];
                    observe(complete, open);
                    open.copy_from_slice(&blank);
                }
            }
        }
    }

    /// What the head sees of planes, by the running statistics.
    ///
    /// # Shapes
    /// `[3, n, height, width]` → `[n, 8, height − 4, width − 4]`
    fn features(&self, pixels: &[f32], extent: Extent) -> Vec<f32> {
        let (inner, last) = (extent.convolved(), extent.convolved().convolved());
        let [mut seen, mut first, mut hidden, mut contributions, mut features] = [const { Vec::new() }; 5];
        columns(&mut seen, pixels, CHANNELS, extent);
        convolve_columns(&mut first, &self.parameters[FIRST], &seen);
        normalise(&mut hidden, &first, FILTERS, &self.affine(FIRST, &self.running[0].statistics()));
        contribute(&mut contributions, &self.parameters[SECOND], &hidden);
        let mut second = vec![0.0; pixels.len() / (CHANNELS * extent.area()) * FEATURES * last.area()];
        gather_taps(&mut second, &contributions, FEATURES, inner);
        let affine = self.affine(SECOND, &self.running[1].statistics());
        normalise_patches(&mut features, &second, last.area(), &affine);
        features
    }

    /// The head.
    ///
    /// # Shapes
    /// `[n, 8 · positions]` → `[n, labels]`
    fn answer(&self, logits: &mut Vec<f32>, features: &[f32]) {
        let inputs = self.parameters[HEAD].len() / self.labels;
        *logits = self.parameters[HEAD_BIAS].repeat(features.len() / inputs);
        let weights = Matrix::of_rows(&self.parameters[HEAD], inputs).transposed();
        add_product(logits, Matrix::of_rows(features, inputs), weights);
    }

    /// The normalisation of a convolution's channels with its parameters: factor and summand of each.
    fn affine(&self, convolution: usize, statistics: &[Statistics]) -> Vec<[f32; 2]> {
        let parameters = self.parameters[convolution + 1].iter().zip(&self.parameters[convolution + 2]);
        let of_channel = |(&Statistics { mean, inverse }, (scale, shift)): (_, (&f32, &f32))| {
            [scale * inverse, shift - mean * scale * inverse]
        };
        statistics.iter().zip(parameters).map(of_channel).collect()
    }

    /// The gradients of a normalisation's parameters, and for every channel a, b and c: a · gradient + b · value + c is the
    /// gradient of its input. The moments are those of the gradient of its output, over `count` values.
    fn normalise_backward(
        &self,
        convolution: usize,
        statistics: &[Statistics],
        moments: &[[f64; 2]],
        count: f64,
        gradients: &mut [Vec<f32>],
    ) -> Vec<[f32; 3]> {
        let mut ways_back = Vec::with_capacity(statistics.len());
        for (channel, (&Statistics { mean, inverse }, [sum, product])) in statistics.iter().zip(moments).enumerate() {
            gradients[convolution + 1][channel] = *product as f32;
            gradients[convolution + 2][channel] = *sum as f32;
            let scale = self.parameters[convolution + 1][channel] * inverse;
            let of_value = -scale * inverse * (product / count) as f32;
            ways_back.push([scale, of_value, -scale * (sum / count) as f32 - of_value * mean]);
        }
        ways_back
    }
}

/// The planes of every channel.
fn planes(values: &[f32], channels: usize) -> impl Iterator<Item = &[f32]> {
    values.chunks_exact(values.len() / channels)
}

/// The first convolution of what it sees.
fn convolve_columns(into: &mut Vec<f32>, weights: &[f32], columns: &[f32]) {
    let positions = columns.len() / (CHANNELS * TAPS);
    into.clear();
    into.resize(FILTERS * positions, 0.0);
    add_product(into, Matrix::of_rows(weights, CHANNELS * TAPS), Matrix::of_rows(columns, positions));
}

/// What every position contributes to the second convolution.
fn contribute(into: &mut Vec<f32>, weights: &[f32], hidden: &[f32]) {
    let positions = hidden.len() / FILTERS;
    into.clear();
    into.resize(FEATURES * TAPS * positions, 0.0);
    add_product(into, Matrix::of_rows(weights, FILTERS), Matrix::of_rows(hidden, positions));
}

/// tanh of normalised planes, `[channels, …]`.
fn normalise(into: &mut Vec<f32>, values: &[f32], channels: usize, affine: &[[f32; 2]]) {
    into.resize(values.len(), 0.0);
    let positions = values.len() / channels;
    for ((into, values), &[scale, shift]) in into.chunks_exact_mut(positions).zip(planes(values, channels)).zip(affine)
    {
        scaled_tanh(into, values, scale, shift);
    }
}

/// tanh of normalised planes of `area` values, `[n, channels, area]`.
fn normalise_patches(into: &mut Vec<f32>, values: &[f32], area: usize, affine: &[[f32; 2]]) {
    into.resize(values.len(), 0.0);
    for (place, (into, values)) in into.chunks_exact_mut(area).zip(values.chunks_exact(area)).enumerate() {
        let [scale, shift] = affine[place % affine.len()];
        scaled_tanh(into, values, scale, shift);
    }
}
