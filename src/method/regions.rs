//! One code book for every image: all regions, with labels that mean the same in every image.

use std::path::Path;

use super::model::{adjusted_settings, read_file};
use super::patch_kinds::{nodes_of_patches, patch_picture};
use super::{Decision, Finish, Method, MethodError, ModelOptions, Segmentation, Timings, open_backbone};
use crate::config::{Purpose, Resolved};
use crate::features::Backbone;
use crate::nodes::Layout;
use crate::parallel::workers;
use crate::pixels::{DecodeConfig, lab_from_rgb};
use crate::raster::{Mask, RgbImage};
use crate::segment::Legend;
use crate::segment::grapl::colour_components;
use crate::segment::regions::{COLOURS, Nodes, RegionAffinity, RegionCheckpoint, RegionHeader, divide};
use crate::tensor::Device;

/// What a code book that is no file is called in messages.
const UNNAMED: &str = "the code book";

/// Further settings that a code book does not depend on.
const ADJUSTABLE: [&str; 4] = ["regions.lambda", "regions.affinity", "regions.split", "regions.least_nodes"];

/// Most positions along a side at which colours are looked at: more do not change the mean of a node.
const MOST_SAMPLED: usize = 1024;

/// A code book that was learned from a collection, ready to divide any number of images into regions, whose labels mean the same
/// in all of them.
///
/// Two models in two threads do not disturb each other, and one model may be used by several threads.
///
/// # Example
///
/// ```
/// use burn_dataset::InMemDataset;
/// use deepcut::{RegionModel, RgbImage, Settings, event::Silent};
///
/// // Sky above a meadow.
/// let pixels = (0..48 * 32).map(|place| if place < 48 * 15 { [90, 150, 230] } else { [60, 140, 40] });
/// let image = RgbImage::from_values(48, 32, pixels.collect());
/// let mut settings = Settings::default();
/// settings.regions.labels = 2;
/// let learned = deepcut::train_regions(&InMemDataset::new(vec![image.clone()]), &settings, &Silent)?;
///
/// let model = RegionModel::from_bytes(&learned.to_bytes()?)?;
/// let found = model.segment(&image)?;
/// assert_eq!((found.mask.width, found.mask.height), (48, 32));
/// let [sky, meadow] = [found.mask.at(24, 4), found.mask.at(24, 28)];
/// assert!(sky != meadow && sky > 0 && meadow > 0);
/// println!("{} above {}", found.legend[usize::from(sky)].name, found.legend[usize::from(meadow)].name);
/// # Ok::<(), deepcut::Error>(())
/// ```
pub struct RegionModel {
    hash: blake3::Hash,
    method: RegionMethod,
    threads: usize,
}

/// A code book on the backbone that it was learned with.
pub struct RegionMethod {
    checkpoint: RegionCheckpoint,
    resolved: Resolved,
    backbone: Backbone,
    legend: Legend,
    device: Device,
}

impl RegionModel {
    /// Opens a code book that [`crate::train_regions`] or the program wrote, with installed weights where its backbone needs any.
    ///
    /// # Errors
    /// If the file cannot be read, is no undamaged code book, or its backbone's weights are not at hand.
    pub fn open(path: impl AsRef<Path>) -> Result<RegionModel, MethodError> {
        RegionModel::open_with(path, &ModelOptions::default())
    }

    /// The same with weights, settings or a device of one's own.
    pub fn open_with(path: impl AsRef<Path>, options: &ModelOptions) -> Result<RegionModel, MethodError> {
        let path = path.as_ref();
        let (checkpoint, hash) = read_code_book(path)?;
        RegionModel::of_checkpoint(checkpoint, hash, &path.display().to_string(), options)
    }

    /// A model from the bytes of a code book's file.
    ///
    /// # Errors
    /// As [`RegionModel::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<RegionModel, MethodError> {
        RegionModel::from_bytes_with(bytes, &ModelOptions::default())
    }

    /// The same with weights, settings or a device of one's own.
    ///
    /// # Errors
    /// As [`RegionModel::open`], and if the weights are not those that the code book was learned with.
    pub fn from_bytes_with(bytes: &[u8], options: &ModelOptions) -> Result<RegionModel, MethodError> {
        let unusable = |source| MethodError::Checkpoint { name: UNNAMED.to_string(), source };
        let checkpoint = RegionCheckpoint::from_bytes(bytes).map_err(unusable)?;
        RegionModel::of_checkpoint(checkpoint, blake3::hash(bytes), UNNAMED, options)
    }

    fn of_checkpoint(
        checkpoint: RegionCheckpoint,
        hash: blake3::Hash,
        name: &str,
        options: &ModelOptions,
    ) -> Result<RegionModel, MethodError> {
        let settings = adjusted_settings(&checkpoint.header.config, name, &options.overrides, &ADJUSTABLE)?;
        let resolved = settings.resolve(Purpose::Reuse, false, options.machine.precision)?;
        let device = options.machine.open(resolved.backbone())?;
        let expected = checkpoint.header.backbone_hash.as_deref();
        let backbone = open_backbone(&resolved, options.weights.as_deref(), expected, &device)?;
        let method = RegionMethod::new(checkpoint, name, resolved, backbone, device)?;
        Ok(RegionModel { hash, method, threads: options.machine.threads })
    }

    /// The model of a code book on a backbone that is ready.
    pub(crate) fn with_backbone(
        checkpoint: RegionCheckpoint,
        hash: blake3::Hash,
        backbone: Backbone,
        device: Device,
    ) -> Result<RegionModel, MethodError> {
        let settings = adjusted_settings(&checkpoint.header.config, UNNAMED, &[], &ADJUSTABLE)?;
        let resolved = settings.resolve(Purpose::Reuse, false, None)?;
        let method = RegionMethod::new(checkpoint, UNNAMED, resolved, backbone, device)?;
        Ok(RegionModel { hash, method, threads: 0 })
    }

    /// Divides an image into regions.
    ///
    /// # Shapes
    /// image `[height, width]` → mask `[height, width]`: the number of every pixel's kind of region, from 1 on, or with
    /// `regions.split` that of its region
    ///
    /// # Errors
    /// Only if a GPU stops computing.
    pub fn segment(&self, image: &RgbImage) -> Result<Segmentation, MethodError> {
        self.method.segment_timed(image, None, true, &mut Timings::start())
    }

    /// Divides several images at once, on all threads; the same as one after the other.
    ///
    /// # Errors
    /// Only if a GPU stops computing, or threads cannot be started.
    pub fn segment_batch(&self, images: &[RgbImage]) -> Result<Vec<Segmentation>, MethodError> {
        self.method.segment_all(images, workers(self.threads)?)
    }

    /// The bytes of the code book's file, for [`RegionModel::from_bytes`]; the same model always gives the same.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MethodError> {
        self.method.checkpoint.to_bytes().map_err(MethodError::Unkept)
    }

    /// What the code book's file says about itself: settings, the collection, kinds of regions.
    pub fn header(&self) -> &RegionHeader {
        &self.method.checkpoint.header
    }

    /// blake3 of the file's bytes.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// How the code book divides images, for whoever reads pictures one by one: see [`segment_each`](super::segment_each).
    pub fn method(&self) -> &RegionMethod {
        &self.method
    }
}

/// Reads and checks the file of a code book; gives it with the blake3 of the file.
pub fn read_code_book(path: &Path) -> Result<(RegionCheckpoint, blake3::Hash), MethodError> {
    read_file(path, RegionCheckpoint::from_bytes)
}

impl RegionMethod {
    fn new(
        checkpoint: RegionCheckpoint,
        name: &str,
        resolved: Resolved,
        backbone: Backbone,
        device: Device,
    ) -> Result<RegionMethod, MethodError> {
        let (found, given) = (checkpoint.header.width, backbone.extractor.width());
        if checkpoint.network.is_none() && found != given {
            return Err(MethodError::OtherChannels { name: name.to_string(), found, given });
        }
        if !checkpoint.position_directions.is_empty() {
            backbone.extractor.adopt_position_directions(&checkpoint.position_directions);
        }
        let legend = match resolved.settings().regions.split {
            true => Legend::numbered_regions(),
            false => Legend::regions(checkpoint.header.labels).ok_or(MethodError::TooManyValues)?,
        };
        Ok(RegionMethod { checkpoint, resolved, backbone, legend, device })
    }

    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Method for RegionMethod {
    fn legend(&self) -> Legend {
        self.legend
    }

    fn finish(&self) -> Finish<'_> {
        let settings = self.resolved.settings();
        Finish { refine: &settings.refine, objects: &settings.objects }
    }

    fn decoding(&self) -> &DecodeConfig {
        &self.resolved.settings().pixels
    }

    fn decide(&self, image: &RgbImage, outside: Option<&Mask>, timings: &mut Timings) -> Result<Decision, MethodError> {
        let (book, config) = (&self.checkpoint.book, &self.resolved.settings().regions);
        let (layout, costs, compared, unit_length) = if let Some(network) = &self.checkpoint.network {
            let picture = patch_picture(image, outside, network.sizes());
            let (layout, costs, compared) = nodes_of_patches(network, book, picture, outside);
            timings.lap(|spent| &mut spent.features);
            (layout, costs, compared, false)
        } else {
            let nodes = self.backbone.extractor.extract_within(image, outside);
            let colours = mean_colours(image, &nodes.layout);
            timings.lap(|spent| &mut spent.features);
            let costs = book.costs(&nodes.values, &colours);
            match config.affinity {
                RegionAffinity::Features => (nodes.layout, costs, nodes.values, true),
                RegionAffinity::Colour => {
                    let compared = colours_compared(image, &nodes.layout);
                    (nodes.layout, costs, compared, false)
                }
            }
        };
        let divided = divide(&Nodes { layout: &layout, costs: &costs, compared: &compared, unit_length }, config);
        timings.lap(|spent| &mut spent.graph);
        let likely = likelihoods(&costs, book.labels());
        Ok(decision(layout, &divided.labels, &likely, config.split.then_some(&divided.pieces)))
    }
}

/// How much a node is of the region it is in, at least: the rest tells where between the middles of nodes boundaries lie.
const OWN_SHARE: f32 = 0.6;

/// A decision for nodes with their kinds, and where regions are numbered their numbers.
fn decision(layout: Layout, labels: &[usize], likely: &[f32], pieces: Option<&Vec<usize>>) -> Decision {
    let kinds = likely.len() / labels.len();
    // More regions than masks of 8 bits have values are told apart by their kinds, which differ wherever two of them touch.
    let is_wide = pieces.is_some_and(|pieces| pieces.iter().any(|&piece| piece >= usize::from(u8::MAX)));
    let numbers = pieces.filter(|_| is_wide).map(|pieces| pieces.iter().map(|&piece| (piece + 1) as u16).collect());
    let pieces = pieces.filter(|_| !is_wide);
    let regions = pieces.map_or(labels, |pieces| pieces.as_slice());
    let classes = 1 + if pieces.is_some() { regions.iter().max().map_or(0, |last| last + 1) } else { kinds };
    let mut shares = vec![0.0; labels.len() * classes];
    for (node, row) in shares.chunks_exact_mut(classes).enumerate() {
        if pieces.is_none() {
            let of_node = &likely[node * kinds..][..kinds];
            row[1..].iter_mut().zip(of_node).for_each(|(share, likely)| *share = (1.0 - OWN_SHARE) * likely);
        }
        row[1 + regions[node]] += OWN_SHARE;
    }
    let mut used = labels.to_vec();
    used.sort_unstable();
    used.dedup();
    Decision {
        // Of kinds there are at most 255, and of regions here.
        values: regions.iter().map(|&region| (region + 1) as u8).collect(),
        objects: None,
        numbers,
        shares,
        foreground: labels.iter().enumerate().map(|(node, &label)| likely[node * kinds + label]).collect(),
        clusters: used.len(),
        negative_share: None,
        final_loss: None,
        layout,
    }
}

/// How likely every kind is by the costs alone: exp(−cost) to sum 1.
///
/// # Shapes
/// `[N, K]` → `[N, K]`
fn likelihoods(costs: &[f64], kinds: usize) -> Vec<f32> {
    costs
        .chunks_exact(kinds)
        .flat_map(|row| {
            let least = row.iter().copied().fold(f64::INFINITY, f64::min);
            let sum: f64 = row.iter().map(|cost| (least - cost).exp()).sum();
            row.iter().map(move |cost| ((least - cost).exp() / sum) as f32)
        })
        .collect()
}

/// The mean colour of every node in L*a*b*, `[N, 3]`; of nodes smaller than a pixel that of the pixel they lie in.
pub(crate) fn mean_colours(image: &RgbImage, layout: &Layout) -> Vec<f32> {
    means(image, layout, |row| lab_from_rgb(row).values)
}

/// What GraPL compares patches by: components of mean colours, whose range in the image is −1 to 1, `[N, 3]`.
pub(super) fn colours_compared(image: &RgbImage, layout: &Layout) -> Vec<f32> {
    let of_row = |row: &RgbImage| row.values.iter().map(|pixel| pixel.map(f32::from)).collect();
    let colours = means(image, layout, of_row);
    let range = image
        .values
        .as_flattened()
        .iter()
        .fold((u8::MAX, u8::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    let (low, span) = (f64::from(range.0), f64::from(range.1) - f64::from(range.0));
    let scaled = |value: f32| if span > 0.0 { 2.0 * (f64::from(value) - low) / span - 1.0 } else { 0.0 };
    let colours: Vec<[f64; COLOURS]> =
        colours.as_chunks::<COLOURS>().0.iter().map(|colour| colour.map(scaled)).collect();
    colour_components(&colours).iter().flatten().map(|&value| value as f32).collect()
}

/// Means of what `colours_of` makes of the pixels of a row.
fn means(image: &RgbImage, layout: &Layout, colours_of: impl Fn(&RgbImage) -> Vec<[f32; COLOURS]>) -> Vec<f32> {
    let positions = layout.positions();
    let mut sums = vec![[0.0f64; COLOURS + 1]; layout.nodes()];
    let mut add = |node: Option<usize>, colour: [f32; COLOURS]| {
        let Some(node) = node else { return };
        let [red, green, blue] = colour.map(f64::from);
        let [sums_of_three @ .., count] = &mut sums[node];
        sums_of_three.iter_mut().zip([red, green, blue]).for_each(|(sum, value)| *sum += value);
        *count += 1.0;
    };
    let (across, down) = (image.width.div_ceil(MOST_SAMPLED).max(1), image.height.div_ceil(MOST_SAMPLED).max(1));
    for y in (0..image.height).step_by(down) {
        let row = &image.values[y * image.width..][..image.width];
        let chosen: Vec<[u8; 3]> = row.iter().step_by(across).copied().collect();
        let colours = colours_of(&RgbImage::from_values(chosen.len(), 1, chosen));
        let of_row = y * positions.height / image.height;
        for (x, colour) in (0..image.width).step_by(across).zip(colours) {
            add(positions.at(x * positions.width / image.width, of_row), colour);
        }
    }
    let missing: Vec<usize> = (0..sums.len()).filter(|&node| sums[node][COLOURS] == 0.0).collect();
    if !missing.is_empty() {
        let mut first = vec![None; sums.len()];
        for (place, node) in positions.values.iter().enumerate() {
            node.iter().for_each(|&node| _ = first[node].get_or_insert(place));
        }
        for node in missing {
            let Some(place) = first[node] else { continue };
            let x = (place % positions.width) * image.width / positions.width;
            let y = (place / positions.width) * image.height / positions.height;
            let colour = colours_of(&RgbImage::from_values(1, 1, vec![image.at(x, y)]))[0].map(f64::from);
            sums[node] = [colour[0], colour[1], colour[2], 1.0];
        }
    }
    let mean = |[lightness, a, b, count]: [f64; 4]| [lightness, a, b].map(|sum| (sum / count.max(1.0)) as f32);
    sums.into_iter().flat_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_the_colours_of_their_pixels() {
        let image = RgbImage::from_values(4, 2, (0..8).map(|at| if at % 4 < 2 { [0; 3] } else { [255; 3] }).collect());
        let lightness = |layout: Layout| -> Vec<f32> {
            mean_colours(&image, &layout).chunks(3).map(|colour| colour[0].round()).collect()
        };
        assert_eq!(lightness(Layout::Grid { rows: 1, columns: 2 }), [0.0, 100.0]);
        assert_eq!(lightness(Layout::Grid { rows: 2, columns: 1 }), [50.0, 50.0]);
        // Finer than the image.
        assert_eq!(lightness(Layout::Grid { rows: 1, columns: 8 }), [0.0, 0.0, 0.0, 0.0, 100.0, 100.0, 100.0, 100.0]);
        let part = Layout::Part { whole: Box::new(Layout::Grid { rows: 1, columns: 2 }), inside: vec![1] };
        assert_eq!(lightness(part), [100.0]);
    }

    #[test]
    fn the_largest_share_is_that_of_the_nodes_region() {
        let likely = likelihoods(&[0.0, 2.0, 800.0, 3.0, 0.0, 1.0], 3);
        assert!((likely[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6 && likely[2] == 0.0, "{likely:?}");
        let layout = Layout::Grid { rows: 1, columns: 2 };
        let found = decision(layout.clone(), &[1, 1], &likely, None);
        assert_eq!((found.values, found.clusters), (vec![2, 2], 1));
        for row in found.shares.chunks(4) {
            assert!((0..4).all(|class| class == 2 || row[class] < row[2]) && row[0] == 0.0, "{row:?}");
        }
        let found = decision(layout, &[1, 1], &likely, Some(&vec![0, 1]));
        assert_eq!((found.values, found.shares), (vec![1, 2], vec![0.0, 0.6, 0.0, 0.0, 0.0, 0.6]));
    }
}
