//! Kinds of regions told apart by one network that sees patches themselves, for users without a transformer.
//!
//! The network is GraPL's ("GraPL: Graph-based Patch Learning", arXiv 2311.01475), which is trained once on a collection instead
//! of for every image. Its labels are those of a code book of colours and one cut per image, so that a label means the same in
//! every image. Differs from GraPL: a step sees patches of several images, so that the network is normalised as the collection is
//! and not as each image; colours are not stretched to the image's range, so that they mean the same in every image, too; and
//! neighbours need not be alike for the network, which is the cut's business: where the network merges, no cut can part again.

use super::checkpoint::PatchSizes;
use super::code_book::{COLOURS, CodeBook, PatchSample};
use super::{Nodes, RegionsConfig, divide};
use crate::nodes::Layout;
use crate::numerics::random;
use crate::raster::RgbImage;
use crate::segment::grapl::{GraplConfig, Pass, PatchImage, PatchNetwork, label_costs};
use crate::train::HostOptimiser;

/// Passes over the images, unless they are few.
const EPOCHS: usize = 8;
/// Steps that the network takes at least.
const LEAST_STEPS: usize = 240;
/// Images of which a step sees patches.
const TOGETHER: usize = 8;
/// So many patches of the whole collection tell its colours.
const MOST_PATCHES: usize = 16_384;

/// An image as the network sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPicture {
    /// The image as a square of whole patches.
    pub square: RgbImage,
    /// The mean L*a*b* of every patch, row-major `[patches², 3]`.
    pub colours: Vec<f32>,
    /// What patches are compared by along boundaries, row-major `[patches², D]`.
    pub compared: Vec<f32>,
}

/// A network that tells the kinds of patches apart.
#[derive(Debug, Clone)]
pub struct PatchKinds {
    pub(super) sizes: PatchSizes,
    pub(super) network: PatchNetwork,
}

/// An image while the network learns from it.
struct Pupil<'a> {
    image: PatchImage,
    /// The kinds of its patches.
    targets: &'a [usize],
    /// The order in which its patches are seen.
    order: Vec<usize>,
}

/// A code book of the colours of patches, without any features: one channel that never varies stands for them.
///
/// # Panics
/// If there is no picture.
pub fn colour_book(pictures: &[PatchPicture], labels: usize, seed: u64) -> CodeBook {
    let all: Vec<&[f32]> = pictures.iter().flat_map(|picture| picture.colours.chunks_exact(COLOURS)).collect();
    let mut order = random::permutation(&mut random::stream(seed, "colours", 0), all.len());
    order.truncate(MOST_PATCHES);
    let colours: Vec<f32> = order.iter().flat_map(|&patch| all[patch]).copied().collect();
    CodeBook::fit(&PatchSample { features: vec![0.0; order.len()], colours }, labels, 1, seed)
}

impl PatchKinds {
    /// How often the network sees every one of so many images.
    pub fn epochs(images: usize) -> usize {
        // As many steps for an image as there are halves of its patches.
        EPOCHS.max(LEAST_STEPS.div_ceil(2 * images.max(1)))
    }

    /// Trains a network to tell the kinds of a book of colours apart, as one cut per image leaves them. `go_on` is asked before
    /// every image and every step, with the number of epochs that are over; none if it says no.
    ///
    /// # Panics
    /// If the pictures are not of one size.
    pub fn learn(
        pictures: &[PatchPicture],
        book: &CodeBook,
        regions: &RegionsConfig,
        config: &GraplConfig,
        seed: u64,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Option<PatchKinds> {
        let sizes = PatchSizes::of(config);
        let (count, labels) = (sizes.patches * sizes.patches, book.labels());
        let mut targets = Vec::with_capacity(pictures.len());
        for picture in pictures {
            targets.push(go_on(0).then(|| kinds_by_colour(picture, book, sizes, regions))?);
        }

        let mut network = PatchNetwork::new(sizes.patch_side, labels, &mut random::stream(seed, "patch network", 0));
        let mut optimiser = HostOptimiser::new(0.0, &network.parameters);
        let (rates, mut pass, mut step) = (network.dropout_rates(), Pass::default(), 0);
        let epochs = PatchKinds::epochs(pictures.len());
        for epoch in 0..epochs {
            // Down along half a cosine, so that the last images do not weigh more than the first.
            let over = epoch as f64 / epochs as f64;
            let rate = config.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * over).cos());
            let order = random::permutation(&mut random::stream(seed, "pictures", epoch as u64), pictures.len());
            // No group is much smaller than the others.
            let together = order.len().div_ceil(order.len().div_ceil(TOGETHER));
            for group in order.chunks(together) {
                let mut orders = random::stream(seed, "patches of pictures", step);
                let pupil = |&picture: &usize| Pupil {
                    image: seen(&pictures[picture].square, sizes),
                    targets: &targets[picture],
                    order: random::permutation(&mut orders, count),
                };
                let pupils: Vec<Pupil> = group.iter().map(pupil).collect();
                // As many patches in all as there are in half an image.
                let share = count.div_ceil(2 * group.len());
                for first in (0..count).step_by(share) {
                    if !go_on(epoch) {
                        return None;
                    }
                    let chosen = first..(first + share).min(count);
                    let batch = side_by_side(&pupils, chosen.clone(), sizes.patch_side);
                    let numbers: Vec<usize> = (0..pupils.len() * chosen.len()).collect();
                    let mut generator = random::stream(seed, "patch dropout", step);
                    network.forward(&batch, &numbers, rates, &mut generator, &mut pass);
                    let wanted = pupils
                        .iter()
                        .flat_map(|pupil| pupil.order[chosen.clone()].iter().map(|&patch| pupil.targets[patch]));
                    let gradient = cross_entropy_gradient(&pass.logits, labels, wanted);
                    let gradients = network.backward(&mut pass, &gradient);
                    optimiser.step(rate, &mut network.parameters, &gradients);
                    step += 1;
                }
            }
        }
        Some(PatchKinds { sizes, network })
    }

    /// What every patch of an image costs as one of every kind: the mean of −ln of its probability by the network and of what it
    /// costs by its colour. The network sees texture and blurs kinds of alike colours, which the book keeps apart; together they
    /// are better than either.
    ///
    /// # Shapes
    /// a square of [`PatchSizes::side`] → `[patches², K]`
    pub fn costs(&self, picture: &PatchPicture, book: &CodeBook) -> Vec<f64> {
        let all: Vec<usize> = (0..self.sizes.patches * self.sizes.patches).collect();
        let logits = self.network.logits(&seen(&picture.square, self.sizes), &all);
        let by_network = label_costs(&logits, self.network.labels());
        by_network.iter().zip(costs_by_colour(picture, book)).map(|(one, other)| 0.5 * (one + other)).collect()
    }

    pub fn sizes(&self) -> PatchSizes {
        self.sizes
    }
}

/// The slope of the mean cross-entropy of wanted labels.
///
/// # Shapes
/// logits `[n, labels]`, wanted `[n]` → `[n, labels]`
fn cross_entropy_gradient(logits: &[f32], labels: usize, wanted: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut gradient: Vec<f32> = label_costs(logits, labels).iter().map(|cost| (-cost).exp() as f32).collect();
    gradient.chunks_exact_mut(labels).zip(wanted).for_each(|(row, wanted)| row[wanted] -= 1.0);
    let count = (logits.len() / labels) as f32;
    gradient.iter_mut().for_each(|slope| *slope /= count);
    gradient
}

/// What every patch of a picture costs by its colour, `[patches², K]`.
fn costs_by_colour(picture: &PatchPicture, book: &CodeBook) -> Vec<f64> {
    book.costs(&vec![0.0; picture.colours.len() / COLOURS], &picture.colours)
}

/// The kinds of a picture's patches by their colours and one cut, `[patches²]`.
fn kinds_by_colour(picture: &PatchPicture, book: &CodeBook, sizes: PatchSizes, regions: &RegionsConfig) -> Vec<usize> {
    let layout = sizes.layout();
    let costs = costs_by_colour(picture, book);
    let nodes = Nodes { layout: &layout, costs: &costs, compared: &picture.compared, unit_length: false };
    divide(&nodes, regions).labels
}

/// A square as the network sees it: 0 to 255 become −1 to 1.
fn seen(square: &RgbImage, sizes: PatchSizes) -> PatchImage {
    let plane = |channel: usize| square.values.iter().map(move |pixel| f32::from(pixel[channel]) * (2.0 / 255.0) - 1.0);
    PatchImage::of_planes((0..COLOURS).flat_map(plane).collect(), square.width, sizes.patches)
}

/// The patches of several images that stand at these places of their orders, one image after the other, as patches of one square.
fn side_by_side(pupils: &[Pupil], chosen: std::ops::Range<usize>, patch_side: usize) -> PatchImage {
    let count = pupils.len() * chosen.len();
    let patches = (1..).find(|side| side * side >= count).unwrap_or(1);
    let side = patches * patch_side;
    let mut planes = vec![0.0; COLOURS * side * side];
    let area = patch_side * patch_side;
    for (number, pupil) in pupils.iter().enumerate() {
        let pixels = pupil.image.of_patches(&pupil.order[chosen.clone()]);
        for (at, patch) in pixels.chunks_exact(area).enumerate() {
            let (channel, place) = (at / chosen.len(), number * chosen.len() + at % chosen.len());
            let corner = channel * side * side + place / patches * patch_side * side + place % patches * patch_side;
            for (row, values) in patch.chunks_exact(patch_side).enumerate() {
                planes[corner + row * side..][..patch_side].copy_from_slice(values);
            }
        }
    }
    PatchImage::of_planes(planes, side, patches)
}

impl PatchSizes {
    /// Those of the settings: as large as the square allows.
    pub fn of(config: &GraplConfig) -> PatchSizes {
        PatchSizes { patches: config.patches, patch_side: config.most_patch_pixels() }
    }

    /// Pixels along each side of an image as the network sees it.
    pub fn side(self) -> usize {
        self.patches * self.patch_side
    }

    /// Where an image's patches lie.
    pub fn layout(self) -> Layout {
        Layout::Grid { rows: self.patches, columns: self.patches }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::argmax;
    use crate::raster::Raster;

    const PATCHES: usize = 8;
    const PATCH_SIDE: usize = 6;

    fn config() -> GraplConfig {
        GraplConfig { patches: PATCHES, side: PATCHES * PATCH_SIDE, ..GraplConfig::default() }
    }

    /// An image that is red grass left of a line, and green sand right of it.
    fn picture(line: usize, seed: usize) -> PatchPicture {
        let side = PATCHES * PATCH_SIDE;
        let pixel = |place: usize| {
            let (x, y) = (place % side, place / side);
            let noise = ((place + seed) * 7 % 11) as u8;
            if x < line * PATCH_SIDE {
                [150 + 6 * noise, 40, 60]
            } else {
                [40, 130 + 40 * ((x + y) % 2) as u8, 50 + noise]
            }
        };
        let square = Raster::from_values(side, side, (0..side * side).map(pixel).collect());
        let colours: Vec<f32> = (0..PATCHES * PATCHES)
            .flat_map(|patch| if patch % PATCHES < line { [45.0, 55.0, 25.0] } else { [58.0, -50.0, 48.0] })
            .collect();
        PatchPicture { square, compared: colours.clone(), colours }
    }

    #[test]
    fn kinds_are_the_same_in_every_image_also_where_one_fills_it() {
        let pictures: Vec<PatchPicture> = (0..10).map(|seed| picture(2 + seed % 5, seed)).collect();
        let book = colour_book(&pictures, 2, 1);
        let regions = RegionsConfig { least_nodes: 1, ..RegionsConfig::default() };
        let learn = |seed| PatchKinds::learn(&pictures, &book, &regions, &config(), seed, |_| true).unwrap();
        let kinds = learn(1);
        let all: Vec<usize> = (0..PATCHES * PATCHES).collect();
        // By the network alone.
        let found = |line: usize| -> Vec<usize> {
            let logits = kinds.network.logits(&seen(&picture(line, 99).square, kinds.sizes), &all);
            logits.chunks_exact(2).map(argmax).collect()
        };
        let by_colour = book.costs(&[0.0], &[45.0, 55.0, 25.0]);
        let red = usize::from(by_colour[1] < by_colour[0]);
        for line in [0, 3, 8] {
            let expected: Vec<usize> =
                (0..PATCHES * PATCHES).map(|patch| if patch % PATCHES < line { red } else { 1 - red }).collect();
            assert_eq!(found(line), expected, "{line}");
        }
        let both = kinds.costs(&pictures[0], &book);
        let alone = label_costs(&kinds.network.logits(&seen(&pictures[0].square, kinds.sizes), &all), 2);
        let of_first = book.costs(&[0.0], &pictures[0].colours[..3]);
        assert_eq!(both[..2], [0, 1].map(|kind| 0.5 * (alone[kind] + of_first[kind])));
        assert_eq!(learn(1), kinds);
        assert_ne!(learn(2), kinds);
    }

    #[test]
    fn learning_ends_as_soon_as_it_is_told() {
        let pictures = [picture(3, 0)];
        let book = colour_book(&pictures, 2, 1);
        for last in [0, 1, 5] {
            let mut asked = 0;
            let go_on = |_| {
                asked += 1;
                asked <= last
            };
            let found = PatchKinds::learn(&pictures, &book, &RegionsConfig::default(), &config(), 0, go_on);
            assert!(found.is_none() && asked == last + 1, "{asked}");
        }
    }

    #[test]
    fn patches_of_several_images_keep_their_pixels() {
        let sizes = PatchSizes { patches: PATCHES, patch_side: PATCH_SIDE };
        let targets = vec![0; PATCHES * PATCHES];
        let pupils = [3, 5].map(|line| Pupil {
            image: seen(&picture(line, line).square, sizes),
            targets: &targets,
            order: (0..PATCHES * PATCHES).rev().collect(),
        });
        let batch = side_by_side(&pupils, 4..7, PATCH_SIDE);
        assert_eq!(batch.patches(), 3);
        for (number, pupil) in pupils.iter().enumerate() {
            let here: Vec<usize> = (3 * number..3 * number + 3).collect();
            assert_eq!(batch.of_patches(&here), pupil.image.of_patches(&[59, 58, 57]));
        }
    }
}
