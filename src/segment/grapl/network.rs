//! The network that tells an image's patches apart, with its training written out as convolutions of sixteen patches side by side.
//!
//! dropout → convolution 3×3 to 32 channels → batch normalisation → tanh → dropout → convolution 3×3 to 8 channels → batch
//! normalisation → tanh → dropout → one answer for every label from all that is left of the patch. Nothing is padded, so
//! that a patch within an image is answered as it is by itself.
//!
//! Differs from the paper: the convolutions have no biases. In training the normalisation takes them away again, and their
//! gradient is rounding alone.

use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::layers::{Extent, Filters, LANES, TAPS, WayBack, clear_unused, side_by_side};
use super::normalisation::{Running, Statistics, combine_planes, normalise, normalise_and_drop, planes};
use super::patches::{CHANNELS, PatchImage};
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::random::uniform;
use crate::numerics::vectorised::{Dropout, add_gradient_moments, add_moments, drop_out, dropped_tanh_backward};

/// Channels after the first convolution.
const FILTERS: usize = 32;
/// Channels after the second.
const FEATURES: usize = 8;
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

/// How much is dropped: of the input, and after either convolution.
pub type DropoutRates = [f64; 3];

/// What a forward pass leaves for the backward pass, and for the next pass to be written over.
#[derive(Debug, Default)]
pub struct Pass {
    blocks: Vec<Block>,
    statistics: [Vec<Statistics>; 2],
    rates: DropoutRates,
    /// `[n, labels]`
    pub logits: Vec<f32>,
}

/// Sixteen patches of a pass side by side, which stay in cache while they are worked on.
#[derive(Debug, Default)]
struct Block {
    /// As many patches as there are; the others are 0.
    patches: usize,
    /// What the first convolution sees, `[3, side, side, 16]`.
    pixels: Vec<f32>,
    /// Before the normalisations, `[32, …, 16]` and `[8, …, 16]`.
    first: Vec<f32>,
    second: Vec<f32>,
    /// Two random bytes for every value of the following two.
    draws: [Vec<u8>; 2],
    /// What the second convolution sees, and in the backward pass the gradient of the first normalisation's output.
    hidden: Vec<f32>,
    /// What the head sees, and in the backward pass the gradient of the second normalisation's output.
    features: Vec<f32>,
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
        pass.rates = rates;
        pass.blocks.resize_with(patches.len().div_ceil(LANES), Block::default);
        let (filters, mut moments) = (self.first_filters(), [[0.0; 2]; FILTERS]);
        let mut draws = Vec::new();
        for (patches, block) in patches.chunks(LANES).zip(&mut pass.blocks) {
            block.patches = patches.len();
            block.pixels = side_by_side(&image.of_patches(patches), CHANNELS, patches.len());
            draw(&mut draws, generator, block.pixels.len());
            drop_out(&mut block.pixels, Dropout::new(&draws, rates[0]));
            filters.convolve(&mut block.first, &block.pixels, extent);
            for (moments, plane) in moments.iter_mut().zip(planes(&block.first, FILTERS)) {
                add_moments(moments, plane);
            }
        }
        pass.statistics[0] = self.running[0].take_in(&moments, (patches.len() * inner.area()) as f64);

        let affine = self.affine(FIRST, &pass.statistics[0]);
        let (filters, mut moments) = (self.second_filters(), [[0.0; 2]; FEATURES]);
        for block in &mut pass.blocks {
            draw(&mut block.draws[0], generator, block.first.len());
            normalise_and_drop(&mut block.hidden, &block.first, &affine, &block.draws[0], rates[1]);
            clear_unused(&mut block.hidden, block.patches);
            filters.convolve(&mut block.second, &block.hidden, inner);
            for (moments, plane) in moments.iter_mut().zip(planes(&block.second, FEATURES)) {
                add_moments(moments, plane);
            }
        }
        pass.statistics[1] = self.running[1].take_in(&moments, (patches.len() * last.area()) as f64);

        let affine = self.affine(SECOND, &pass.statistics[1]);
        pass.logits.clear();
        for block in &mut pass.blocks {
            draw(&mut block.draws[1], generator, block.second.len());
            normalise_and_drop(&mut block.features, &block.second, &affine, &block.draws[1], rates[2]);
            self.answer(&mut pass.logits, &block.features, block.patches);
        }
    }

    /// The gradients of all parameters from that of the logits, which are those of `pass`.
    ///
    /// # Shapes
    /// `[n, labels]` → as the parameters
    pub fn backward(&self, pass: &mut Pass, logits: &[f32]) -> Vec<Vec<f32>> {
        let extent = Extent::square(self.patch_side);
        let (inner, last) = (extent.convolved(), extent.convolved().convolved());
        let patches = logits.len() / self.labels;
        let mut gradients: Vec<Vec<f32>> = self.parameters.iter().map(|values| vec![0.0; values.len()]).collect();
        let inputs = FEATURES * last.area();
        let (mut incoming, mut moments) = (Vec::new(), [[0.0; 2]; FEATURES]);
        for (block, logits) in pass.blocks.iter_mut().zip(logits.chunks(LANES * self.labels)) {
            for row in logits.chunks_exact(self.labels) {
                gradients[HEAD_BIAS].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let of_logits = side_by_side(logits, 1, block.patches);
            let of_logits = Matrix::of_rows(&of_logits, LANES);
            add_product(&mut gradients[HEAD], of_logits, Matrix::of_rows(&block.features, LANES).transposed());
            incoming.clear();
            incoming.resize(block.features.len(), 0.0);
            add_product(&mut incoming, Matrix::of_rows(&self.parameters[HEAD], inputs).transposed(), of_logits);
            dropped_tanh_backward(&mut block.features, &incoming, Dropout::new(&block.draws[1], pass.rates[2]));
            let of_planes = planes(&block.features, FEATURES).zip(planes(&block.second, FEATURES));
            for ((moments, (gradients, values)), of) in moments.iter_mut().zip(of_planes).zip(&pass.statistics[1]) {
                add_gradient_moments(moments, gradients, values, of.mean, of.inverse);
            }
        }
        let count = (patches * last.area()) as f64;
        let ways_back = self.normalise_backward(SECOND, &pass.statistics[1], &moments, count, &mut gradients);

        let mut of_filters = Filters::new(FEATURES, FILTERS, |_, _, _| 0.0);
        let mut convolution = WayBack::new(FEATURES, FILTERS, |filter, channel, tap| self.second(filter, channel, tap));
        let mut moments = [[0.0; 2]; FILTERS];
        for block in &mut pass.blocks {
            combine_planes(&mut block.features, &block.second, &ways_back);
            clear_unused(&mut block.features, block.patches);
            of_filters.add_gradients(&block.features, &block.hidden, inner);
            convolution.convolve(&mut incoming, &block.features, inner);
            dropped_tanh_backward(&mut block.hidden, &incoming, Dropout::new(&block.draws[0], pass.rates[1]));
            let of_planes = planes(&block.hidden, FILTERS).zip(planes(&block.first, FILTERS));
            for ((moments, (gradients, values)), of) in moments.iter_mut().zip(of_planes).zip(&pass.statistics[0]) {
                add_gradient_moments(moments, gradients, values, of.mean, of.inverse);
            }
        }
        of_filters.each(|filter, channel, tap, value| gradients[SECOND][second_place(filter, channel, tap)] = value);
        let count = (patches * inner.area()) as f64;
        let ways_back = self.normalise_backward(FIRST, &pass.statistics[0], &moments, count, &mut gradients);

        let mut of_filters = Filters::new(FILTERS, CHANNELS, |_, _, _| 0.0);
        for block in &mut pass.blocks {
            // Where there is no patch there are no pixels either that could tell of these gradients.
            combine_planes(&mut block.hidden, &block.first, &ways_back);
            of_filters.add_gradients(&block.hidden, &block.pixels, extent);
        }
        of_filters.each(|filter, channel, tap, value| gradients[FIRST][first_place(filter, channel, tap)] = value);
        gradients
    }

    /// The answers to some patches of an image once trained.
    ///
    /// # Shapes
    /// → `[n, labels]`
    pub fn logits(&self, image: &PatchImage, patches: &[usize]) -> Vec<f32> {
        let extent = Extent::square(self.patch_side);
        let mut logits = Vec::with_capacity(patches.len() * self.labels);
        for patches in patches.chunks(LANES) {
            let pixels = side_by_side(&image.of_patches(patches), CHANNELS, patches.len());
            self.answer(&mut logits, &self.features(&pixels, extent), patches.len());
        }
        logits
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
        let (rows, width) = (extent.height - 4, extent.width - 4);
        // Columns of features that are computed in one lane.
        let tile = width.div_ceil(LANES);
        for top in (0..rows).step_by(BAND) {
            let height = BAND.min(rows - top);
            let of_tile = Extent { width: tile + 4, height: height + 4 };
            let features = self.features(&tiles(values, extent, top, tile, of_tile), of_tile);
            for row in 0..height {
                seen.clear();
                for plane in planes(&features, FEATURES) {
                    let of_row = plane[row * tile * LANES..][..tile * LANES].as_chunks::<LANES>().0;
                    let feature = |column: usize| of_row[column % tile][column / tile];
                    let of_row: Vec<f32> = (0..width).map(feature).collect();
                    (0..reach).for_each(|dx| seen.extend_from_slice(&of_row[dx..dx + places]));
                }
                let row = top + row;
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
    /// `[3, height, width, 16]` → `[8, height − 4, width − 4, 16]`
    fn features(&self, pixels: &[f32], extent: Extent) -> Vec<f32> {
        let [mut first, mut hidden, mut second, mut features] = [const { Vec::new() }; 4];
        self.first_filters().convolve(&mut first, pixels, extent);
        normalise(&mut hidden, &first, &self.affine(FIRST, &self.running[0].statistics()));
        self.second_filters().convolve(&mut second, &hidden, extent.convolved());
        normalise(&mut features, &second, &self.affine(SECOND, &self.running[1].statistics()));
        features
    }

    /// Adds the head's answers to patches side by side.
    ///
    /// # Shapes
    /// `[8 · positions, 16]` → `[patches, labels]`
    fn answer(&self, logits: &mut Vec<f32>, features: &[f32], patches: usize) {
        let mut answers: Vec<f32> = self.parameters[HEAD_BIAS].iter().flat_map(|&bias| [bias; LANES]).collect();
        let features = Matrix::of_rows(features, LANES);
        add_product(&mut answers, Matrix::of_rows(&self.parameters[HEAD], features.rows()), features);
        let answers = answers.as_chunks::<LANES>().0;
        (0..patches).for_each(|patch| logits.extend(answers.iter().map(|lanes| lanes[patch])));
    }

    fn first_filters(&self) -> Filters {
        let weight = |filter, channel, tap| self.parameters[FIRST][first_place(filter, channel, tap)];
        Filters::new(FILTERS, CHANNELS, weight)
    }

    fn second_filters(&self) -> Filters {
        Filters::new(FEATURES, FILTERS, |filter, channel, tap| self.second(filter, channel, tap))
    }

    fn second(&self, filter: usize, channel: usize, tap: usize) -> f32 {
        self.parameters[SECOND][second_place(filter, channel, tap)]
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

fn first_place(filter: usize, channel: usize, tap: usize) -> usize {
    (filter * CHANNELS + channel) * TAPS + tap
}

fn second_place(filter: usize, channel: usize, tap: usize) -> usize {
    (filter * TAPS + tap) * FILTERS + channel
}

/// Parts of some rows of an image from `top` on, each `tile` columns after the one before it; what is outside is 0.
///
/// # Shapes
/// `[3, height, width]` → `[3, …, 16]` of the extent of a tile
fn tiles(values: &[f32], extent: Extent, top: usize, tile: usize, of_tile: Extent) -> Vec<f32> {
    let mut planes = vec![0.0; CHANNELS * LANES * of_tile.area()];
    for (place, row) in planes.chunks_exact_mut(of_tile.width).enumerate() {
        let (part, y) = (place / of_tile.height, place % of_tile.height);
        let (channel, left) = (part / LANES, part % LANES * tile);
        let there = extent.width.saturating_sub(left).min(of_tile.width);
        let start = channel * extent.area() + (top + y) * extent.width + left.min(extent.width);
        row[..there].copy_from_slice(&values[start..start + there]);
    }
    side_by_side(&planes, CHANNELS, LANES)
}

/// Two random bytes for each of `count` values.
fn draw(draws: &mut Vec<u8>, generator: &mut ChaCha8Rng, count: usize) {
    draws.resize(2 * count, 0);
    generator.fill_bytes(draws);
}
