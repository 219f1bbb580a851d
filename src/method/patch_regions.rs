//! Every image by itself, into regions of patches: without a backbone, by its pixels.

use std::borrow::Cow;

use super::{Decision, Finish, Machine, Method, MethodError, Segmentation, Timings};
use crate::config::{BackboneChoice, Settings};
use crate::features::{SlicParameters, slic_clusters, slic_seeds};
use crate::nodes::Layout;
use crate::numerics::argmax;
use crate::pixels::{DecodeConfig, resize_lanczos};
use crate::raster::{LabelMap, Mask, Raster, RgbImage, floor_positions};
use crate::segment::grapl::{GraplConfig, LEAST_PATCH, PatchGraph, PatchImage, label_counts, label_pixels, learn};
use crate::segment::{Legend, PerImageMethod};
use crate::tensor::DeviceChoice;

/// Divides images into regions by their pixels, each by itself: the methods `grapl` and `slic-cut` of `segment.method`.
///
/// # Example
///
/// ```
/// use deepcut::{PatchRegions, RgbImage, Settings, settings::PerImageMethod};
///
/// let mut settings = Settings::default();
/// settings.segment.method = Some(PerImageMethod::SlicCut);
/// let method = PatchRegions::new(settings)?;
/// let found = method.segment(&RgbImage::filled(60, 40, [90, 120, 30]))?;
/// assert!(found.mask.values.iter().all(|&value| value > 0));
/// # Ok::<(), deepcut::Error>(())
/// ```
#[derive(Debug)]
pub struct PatchRegions {
    settings: Settings,
    /// Most regions that an image is divided into.
    most: usize,
    legend: Legend,
}

impl PatchRegions {
    /// Prepares to segment images as `settings` say.
    ///
    /// # Errors
    /// If the settings contradict each other, or choose what only methods with a backbone have.
    pub fn new(settings: Settings) -> Result<PatchRegions, MethodError> {
        PatchRegions::on_machine(settings, &Machine::default())
    }

    /// The same with what of the machine may be used.
    pub fn on_machine(settings: Settings, machine: &Machine) -> Result<PatchRegions, MethodError> {
        settings.validate()?;
        let method = settings.segment.method();
        let needless = [
            (!method.is_of_pixels(), "segment.method"),
            (settings.backbone != BackboneChoice::Auto, "backbone"),
            (settings.objective.kind.is_some(), "objective.kind"),
            (settings.model.clusters.is_some(), "model.clusters"),
            (settings.parts.foreground > 0, "parts.foreground"),
            (settings.parts.background > 0, "parts.background"),
            (machine.device == DeviceChoice::Cuda, "device"),
            (machine.precision.is_some(), "vit.precision"),
        ];
        if let Some((_, setting)) = needless.into_iter().find(|(is_chosen, _)| *is_chosen) {
            return Err(MethodError::NeedlessForPixels { method: method.name(), setting });
        }
        machine.limit_memory();
        let config = &settings.grapl;
        let seeds = |patch_side: usize| {
            let side = patch_side * config.patches;
            slic_seeds(side, side, config.regions)
        };
        let most_seeds = (LEAST_PATCH..=config.most_patch_pixels()).map(seeds).max().unwrap_or_default();
        // The official code counts SLIC's labels from 1, and its network has an answer for 0.
        let most = most_seeds + usize::from(method == PerImageMethod::Grapl);
        let legend = Legend::regions(most).ok_or(MethodError::TooManyValues)?;
        Ok(PatchRegions { most, legend, settings })
    }

    /// Segments an image.
    ///
    /// # Shapes
    /// image `[height, width]` → mask `[height, width]`
    pub fn segment(&self, image: &RgbImage) -> Result<Segmentation, MethodError> {
        self.segment_timed(image, None, true, &mut Timings::start())
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The image as a square of whole patches. Where it has no data it goes on as it ends, so that this makes no region of
    /// its own.
    fn square(&self, image: &RgbImage, outside: Option<&Mask>) -> RgbImage {
        let image = outside.map_or(Cow::Borrowed(image), |outside| Cow::Owned(continued(image, outside)));
        let config = &self.settings.grapl;
        let side = config.patch_pixels(image.width, image.height) * config.patches;
        if image.width.max(image.height) > side {
            return resize_lanczos(&image, side, side);
        }
        image.taken(&floor_positions(side, image.width), &floor_positions(side, image.height))
    }
}

impl Method for PatchRegions {
    fn legend(&self) -> Legend {
        self.legend
    }

    fn finish(&self) -> Finish<'_> {
        Finish { refine: &self.settings.refine, objects: &self.settings.objects }
    }

    fn decoding(&self) -> &DecodeConfig {
        &self.settings.pixels
    }

    fn decide(&self, image: &RgbImage, outside: Option<&Mask>, timings: &mut Timings) -> Result<Decision, MethodError> {
        let config @ &GraplConfig { patches, regions, compactness, sigma, .. } = &self.settings.grapl;
        let square = self.square(image, outside);
        let (clusters, seeds) = slic_clusters(&square, &SlicParameters { regions, compactness, sigma });
        let counts = label_counts(&clusters, seeds, patches);
        let patch_image = PatchImage::new(&square, patches);
        timings.lap(|spent| &mut spent.features);
        let graph = PatchGraph::new(&patch_image, config.affinity, config.lambda);
        timings.lap(|spent| &mut spent.graph);

        if self.settings.segment.method() == PerImageMethod::SlicCut {
            // −ln of the share that a label has in a patch, had it half a pixel more.
            let pixels = (patch_image.patch_side() * patch_image.patch_side()) as f64 + 0.5 * seeds as f64;
            let costs: Vec<f64> = counts.iter().map(|&count| -((f64::from(count) + 0.5) / pixels).ln()).collect();
            let labels = graph.cut(&costs, seeds).into_iter().map(|label| label as u32).collect();
            let (numbers, _) = numbered(&LabelMap::from_values(patches, patches, labels));
            let layout = Layout::Grid { rows: patches, columns: patches };
            return Ok(Decision::of_regions(layout, &numbers.values, self.most));
        }
        let start: Vec<usize> = counts.chunks_exact(seeds).map(|counts| argmax(counts) + 1).collect();
        let network = learn(&patch_image, &graph, &start, config, self.settings.segment.seed);
        let labels = label_pixels(&network, &patch_image, config.positions, image.width, image.height);
        let (labels, regions) = numbered(&labels);
        let layout = Layout::Superpixels { labels, regions };
        Ok(Decision::of_regions(layout, &(0..regions as u32).collect::<Vec<_>>(), self.most))
    }
}

/// Labels numbered from 0 in the order in which they first occur, and how many there are.
fn numbered(labels: &LabelMap) -> (LabelMap, usize) {
    let mut numbers: Vec<Option<u32>> = Vec::new();
    let mut count = 0;
    let mut values = Vec::with_capacity(labels.values.len());
    for &label in &labels.values {
        let label = label as usize;
        if label >= numbers.len() {
            numbers.resize(label + 1, None);
        }
        let number = *numbers[label].get_or_insert_with(|| {
            count += 1;
            count - 1
        });
        values.push(number);
    }
    (LabelMap::from_values(labels.width, labels.height, values), count as usize)
}

/// The image with the nearest pixel of a row in place of those without data, and the nearest row in place of those without any.
pub(super) fn continued(image: &RgbImage, outside: &Mask) -> RgbImage {
    let row = |y: usize| &outside.values[y * image.width..(y + 1) * image.width];
    let rows = nearest(image.height, |y| row(y).contains(&0));
    let mut values = Vec::with_capacity(image.values.len());
    for from in rows {
        // Nothing can be known of an image without any data.
        let Some(y) = from else { return image.clone() };
        let columns = nearest(image.width, |x| row(y)[x] == 0);
        values.extend(columns.into_iter().flatten().map(|x| image.at(x, y)));
    }
    Raster::from_values(image.width, image.height, values)
}

/// For every one of `count` places the nearest that is chosen, of two the first; none where no place is.
fn nearest(count: usize, is_chosen: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
    let mut last = None;
    let mut nearest: Vec<Option<usize>> = Vec::with_capacity(count);
    for place in 0..count {
        last = if is_chosen(place) { Some(place) } else { last };
        nearest.push(last);
    }
    let mut next = None;
    for place in (0..count).rev() {
        next = if is_chosen(place) { Some(place) } else { next };
        nearest[place] = match (nearest[place], next) {
            (Some(before), Some(after)) if after - place < place - before => Some(after),
            (None, after) => after,
            (before, _) => before,
        };
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    fn method(overrides: &[&str]) -> Result<PatchRegions, MethodError> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        PatchRegions::new(resolve(None, &overrides).unwrap())
    }

    const BOTH: [&str; 2] = ["segment.method=slic-cut", "segment.method=grapl"];
    /// Few and small patches, and few steps.
    const SMALL: [&str; 5] =
        ["grapl.patches=8", "grapl.side=64", "grapl.sigma=1", "grapl.steps=[30, 10]", "grapl.lambda=64"];

    fn small(method_: &str) -> PatchRegions {
        method(&[&SMALL[..], &[method_]].concat()).unwrap()
    }

    /// Red, green and blue one beside the other, with some noise.
    fn stripes(width: usize, height: usize) -> RgbImage {
        let colours = [[210, 40, 30], [30, 190, 60], [40, 50, 220]];
        let pixel = |place: usize| colours[place % width * 3 / width].map(|value: u8| value + (place * 13 % 19) as u8);
        Raster::from_values(width, height, (0..width * height).map(pixel).collect())
    }

    #[test]
    fn an_image_is_divided_into_what_it_shows() {
        for name in BOTH {
            let found = small(name).segment(&stripes(60, 48)).unwrap();
            // In the middle of every stripe.
            let values = [0, 1, 2].map(|stripe| found.mask.at(10 + 20 * stripe, 24));
            assert!((0..3).all(|stripe| values[stripe] != values[(stripe + 1) % 3]), "{name} {values:?}");
            for (place, value) in found.mask.values.iter().enumerate() {
                let (x, y) = (place % 60, place / 60);
                let is_inside = (8..12).contains(&(x % 20)) && (4..44).contains(&y);
                assert!(!is_inside || *value == values[x / 20], "{name} ({x}, {y})");
            }
            assert_eq!(found.legend[3].name, "region 3");
            assert_eq!((found.foreground_area_px, found.bounding_box.unwrap().width), (60 * 48, 60), "{name}");
            assert_eq!(found.objects.len(), found.clusters, "{name}");
        }
    }

    #[test]
    fn every_image_has_regions() {
        for name in BOTH {
            let method = small(name);
            for (width, height) in [(1, 1), (3, 2), (2, 1000), (64, 64)] {
                let flat = method.segment(&RgbImage::filled(width, height, [7, 7, 7])).unwrap();
                assert!(flat.mask.values.iter().all(|&value| value > 0), "{name} {width}x{height}");
                let found = method.segment(&stripes(width, height)).unwrap();
                assert_eq!((found.mask.width, found.mask.height), (width, height), "{name}");
                assert!(found.mask.values.iter().all(|&value| value > 0), "{name} {width}x{height}");
                assert_eq!(method.segment(&stripes(width, height)).unwrap(), found, "{name} {width}x{height}");
            }
            // However dear it is to part patches, and however many labels there are for few of them.
            let dear = self::method(&[&SMALL[..], &[name, "grapl.lambda=1e12", "grapl.affinity=uniform"]].concat());
            let found = dear.unwrap().segment(&stripes(60, 48)).unwrap().clusters;
            // The network need not have learnt in few steps that all is one.
            assert!(found == 1 || name.ends_with("grapl"), "{name} {found}");
            let many = ["grapl.patches=2", "grapl.regions=100", "grapl.side=40", "grapl.steps=[2, 2]", name];
            assert!(self::method(&many).unwrap().segment(&stripes(40, 40)).unwrap().clusters >= 1, "{name}");
        }
    }

    #[test]
    fn what_lies_outside_has_no_say_and_is_of_no_region() {
        let (width, height) = (60, 48);
        let outside = Raster::from_values(
            width,
            height,
            (0..width * height).map(|place| u8::from(place % width < 7 || place / width > 40)).collect(),
        );
        for name in BOTH {
            let method = small(name);
            let found = [[0u8; 3], [255, 255, 0]].map(|beyond| {
                let mut image = stripes(width, height);
                for (pixel, outside) in image.values.iter_mut().zip(&outside.values) {
                    *pixel = if *outside == 1 { beyond } else { *pixel };
                }
                method.segment_timed(&image, Some(&outside), true, &mut Timings::start()).unwrap()
            });
            assert_eq!(found[0], found[1], "{name}");
            for (value, outside) in found[0].mask.values.iter().zip(&outside.values) {
                assert_eq!(*value == 0, *outside == 1, "{name}");
            }
        }
        let nothing = Raster::filled(width, height, 1);
        let found = small(BOTH[0]).segment_timed(&stripes(width, height), Some(&nothing), true, &mut Timings::start());
        assert!(found.unwrap().mask.values.iter().all(|&value| value == 0));
    }

    #[test]
    fn what_only_a_backbone_could_use_is_refused() {
        for (setting, key) in [
            ("backbone=superpixel", "backbone"),
            ("objective.kind=cc", "objective.kind"),
            ("model.clusters=5", "model.clusters"),
            ("parts.foreground=2", "parts.foreground"),
        ] {
            let error = method(&["segment.method=grapl", setting]).unwrap_err().to_string();
            assert!(error.contains("grapl") && error.contains(key), "{error}");
        }
        assert!(method(&[]).unwrap_err().to_string().contains("segment.method"));
        assert!(matches!(
            method(&["segment.method=grapl", "grapl.regions=200", "grapl.side=2048"]),
            Ok(PatchRegions { most, .. }) if most >= 200
        ));
    }
}
