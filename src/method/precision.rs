//! What the products of a transformer are computed in where that is left open: single precision, or bfloat16 or bytes where
//! these are faster on this processor and give the same masks.

use std::path::Path;

use super::{Machine, MethodError, installed_weights, locate_weights};
use crate::config::{Purpose, Settings};
use crate::features::vit::{Precision, VitConfig, supported_precisions, time_shares};
use crate::features::{Backbone, BackboneSettings, Entry};
use crate::graph::{Affinity, Graph};
use crate::parallel::Held;
use crate::pixels::Picture;
use crate::segment::{Segmenter, SpectralSegmenter};
use crate::tensor::{Device, is_cpu};
use crate::weights::WeightsFile;

/// Fewer images are segmented before a choice is made.
pub const LEAST_IMAGES: usize = 64;

/// Images on which results are compared.
pub const COMPARED_IMAGES: usize = 4;

/// The share of the time of single precision that another may take at most: what is nearly as fast would be chosen by chance.
const MOST_TIME: f64 = 0.8;

/// The least mean IoU of what a precision and single precision give.
const LEAST_AGREEMENT: f64 = 0.995;

/// A precision that was chosen, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct PrecisionChoice {
    pub precision: Precision,
    /// For the first line of a run.
    pub reason: String,
}

/// The open choice of a run: `vit.precision` is `"auto"`, and the processor has instructions for more than one.
pub struct OpenPrecision {
    settings: Settings,
    backbone: Entry,
    file: WeightsFile,
    device: Device,
}

impl OpenPrecision {
    /// What there is to choose for a run with these settings; none where it is fixed, or only one can be computed.
    pub fn of(
        settings: &Settings,
        purpose: Purpose,
        weights: Option<&Path>,
        machine: &Machine,
    ) -> Result<Option<OpenPrecision>, MethodError> {
        let asked = machine.precision.unwrap_or(settings.vit.precision);
        if asked != Precision::Auto || supported_precisions().next().is_none() {
            return Ok(None);
        }
        let located = weights.map(locate_weights).transpose()?;
        let Some(path) = located.or_else(installed_weights) else { return Ok(None) };
        let resolved = settings.clone().resolve(purpose, true, None)?;
        let backbone = resolved.backbone();
        if !backbone.needs_weights() {
            return Ok(None);
        }
        let device = machine.open(backbone)?;
        if !is_cpu(&device) {
            return Ok(None);
        }
        let file = WeightsFile::read(&path)?;
        Ok(Some(OpenPrecision { settings: resolved.settings().clone(), backbone, file, device }))
    }

    /// Identifies everything that the choice follows from besides the machine and the images.
    pub fn key(&self) -> String {
        let vit = VitConfig { precision: Precision::F32, ..self.settings.vit.clone() };
        let key = serde_json::json!([self.file.hash().to_hex().as_str(), vit]).to_string();
        blake3::hash(key.as_bytes()).to_hex().to_string()
    }

    /// Chooses by a few timed products of the network's size and, where they speak for another than single precision, by the
    /// first images.
    ///
    /// Of those at most [`COMPARED_IMAGES`] are asked for, one after the other.
    pub fn choose(&self, images: impl Iterator<Item = Held<Picture>>) -> Result<PrecisionChoice, MethodError> {
        let state = self.file.state_dict()?;
        let times = match state.shape("blocks.0.mlp.fc1.weight")? {
            &[hidden, width] => time_shares(width, hidden),
            _ => Vec::new(),
        };
        self.choose_timed(&times, images)
    }

    /// The first of those with their times, the fastest first, that is fast enough and agrees.
    fn choose_timed(
        &self,
        times: &[(Precision, f64)],
        images: impl Iterator<Item = Held<Picture>>,
    ) -> Result<PrecisionChoice, MethodError> {
        let (fast, slow): (Vec<_>, Vec<_>) = times.iter().partition(|(_, time)| *time <= MOST_TIME);
        let agreements = self.agreements(&fast.iter().map(|(precision, _)| *precision).collect::<Vec<_>>(), images)?;
        let mut doubts = Vec::new();
        for (&(precision, time), agreement) in fast.iter().zip(agreements) {
            let name = precision.name();
            if agreement >= LEAST_AGREEMENT {
                let agreeing =
                    format!("{name} takes {time:.2} of the time of f32 and agrees to an IoU of {agreement:.3}");
                let reason = [vec![agreeing], doubts].concat().join("; ");
                return Ok(PrecisionChoice { precision, reason });
            }
            doubts.push(format!("{name} is faster and agrees to an IoU of {agreement:.3} only"));
        }
        doubts.extend(slow.iter().map(|(precision, time)| format!("{} takes {time:.2} of its time", precision.name())));
        let doubts = if doubts.is_empty() { String::new() } else { format!(" ({})", doubts.join("; ")) };
        Ok(PrecisionChoice { precision: Precision::F32, reason: format!("in f32{doubts}") })
    }

    /// How far the two halves into which the normalised cut divides an image in each of these precisions agree with those in
    /// single precision, mean over images: a mask that needs neither labels nor a network.
    fn agreements(
        &self,
        precisions: &[Precision],
        images: impl Iterator<Item = Held<Picture>>,
    ) -> Result<Vec<f64>, MethodError> {
        if precisions.is_empty() {
            return Ok(Vec::new());
        }
        let backbone = |precision: Precision| {
            // What is removed afterwards takes longer to find than all these images.
            let vit = VitConfig { precision, remove_position: Some(0), ..self.settings.vit.clone() };
            let settings = BackboneSettings { vit: &vit, ..BackboneSettings::from(&self.settings) };
            Backbone::with_weights(self.backbone, &settings, &self.file, &self.device)
        };
        let single = backbone(Precision::F32)?;
        let others = precisions.iter().map(|&precision| backbone(precision)).collect::<Result<Vec<_>, _>>()?;
        let (mut sums, mut count) = (vec![0.0; others.len()], 0);
        for image in images.take(COMPARED_IMAGES) {
            let halves = |backbone: &Backbone| {
                let nodes = backbone.extractor.extract_within(&image, image.outside.as_ref());
                SpectralSegmenter.segment(&Graph::build(&nodes, Affinity::AboveMean)).clusters
            };
            let expected = halves(&single);
            sums.iter_mut().zip(&others).for_each(|(sum, other)| *sum += overlap(&expected, &halves(other)));
            count += 1;
        }
        Ok(sums.into_iter().map(|sum| sum / f64::from(count.max(1))).collect())
    }
}

/// The IoU of the smaller half of `one` with that half of `other` that it meets: which is called 1 means nothing.
fn overlap(one: &[usize], other: &[usize]) -> f64 {
    let ones = one.iter().filter(|&&half| half == 1).count();
    let smaller = usize::from(2 * ones <= one.len());
    let iou = |half: usize| {
        let pairs = one.iter().zip(other).map(|(&one, &other)| (one == smaller, other == half));
        let (both, any) = pairs.fold((0, 0), |(both, any), (one, other)| {
            (both + usize::from(one && other), any + usize::from(one || other))
        });
        if any == 0 { 1.0 } else { both as f64 / any as f64 }
    };
    iou(0).max(iou(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    #[test]
    fn halves_agree_whichever_is_called_one() {
        assert_eq!(overlap(&[0, 0, 0, 1], &[1, 1, 1, 0]), 1.0);
        assert_eq!(overlap(&[1, 1, 0, 0, 0], &[1, 0, 0, 0, 0]), 0.5);
        assert_eq!(overlap(&[0, 0, 1], &[0, 0, 0]), 1.0 / 3.0);
        assert_eq!(overlap(&[0, 0], &[0, 0]), 1.0);
    }

    #[test]
    fn the_fastest_that_agrees_is_chosen() {
        let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny_vit.pth");
        let settings = ["backbone=vit", "vit.head_width=4", "vit.input_side=32"].map(str::to_string);
        let settings = resolve(None, &settings).unwrap();
        let open = |settings: &Settings, precision: Option<Precision>| {
            let machine = Machine { precision, ..Machine::default() };
            OpenPrecision::of(settings, Purpose::Segment, Some(&weights), &machine).unwrap()
        };
        assert!(open(&settings, Some(Precision::F32)).is_none());
        let superpixels = resolve(None, &["backbone=superpixel".to_string()]).unwrap();
        assert!(open(&superpixels, None).is_none());
        let Some(choice) = open(&settings, None) else {
            assert_eq!(supported_precisions().count(), 0);
            return;
        };
        let halves = crate::raster::RgbImage::from_values(
            48,
            32,
            (0..48 * 32).map(|at| [if at % 48 < 20 { 250 } else { 9 }; 3]).collect(),
        );
        let image = || std::iter::once(Held::new(Picture::from(halves.clone()), None));
        assert_eq!(choice.choose_timed(&[], image()).unwrap().precision, Precision::F32);
        for precision in supported_precisions() {
            assert!(choice.agreements(&[precision], image()).unwrap()[0] >= LEAST_AGREEMENT);
            for (time, expected) in [(0.5, precision), (0.9, Precision::F32)] {
                let chosen = choice.choose_timed(&[(precision, time)], image()).unwrap();
                assert_eq!(chosen.precision, expected, "{}", chosen.reason);
            }
        }
        // The network is too small for its products to be timed.
        assert_eq!(choice.choose(image()).unwrap().precision, Precision::F32);
        assert_eq!(choice.key(), open(&settings, Some(Precision::Auto)).unwrap().key());
    }
}
