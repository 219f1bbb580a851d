//! What the products of a transformer are computed in where that is left open: single precision, or bfloat16 where it is
//! faster on this processor and gives the same masks.

use std::path::Path;

use super::{Machine, MethodError, installed_weights, locate_weights};
use crate::config::{Purpose, Settings};
use crate::features::vit::{Precision, VitConfig, bfloat_available, bfloat_time_share};
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

/// The share of the time of single precision that bfloat16 may take at most: what is nearly as fast would be chosen by chance.
const MOST_TIME: f64 = 0.8;

/// The least mean IoU of what both precisions give.
const LEAST_AGREEMENT: f64 = 0.995;

/// A precision that was chosen, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct PrecisionChoice {
    pub precision: Precision,
    /// For the first line of a run.
    pub reason: String,
}

/// The open choice of a run: `vit.precision` is `"auto"`, and both can be computed.
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
        if asked != Precision::Auto || !bfloat_available() {
            return Ok(None);
        }
        let located = weights.map(locate_weights).transpose()?;
        let Some(path) = located.or_else(installed_weights) else { return Ok(None) };
        let resolved = settings.clone().resolve(purpose, true, None)?;
        let backbone = resolved.backbone();
        if !backbone.needs_weights() {
            return Ok(None);
        }
        let device = machine.open()?;
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

    /// Chooses by a few timed products of the network's size and, where they speak for bfloat16, by the first images.
    ///
    /// Of those at most [`COMPARED_IMAGES`] are asked for, one after the other.
    pub fn choose(&self, images: impl Iterator<Item = Held<Picture>>) -> Result<PrecisionChoice, MethodError> {
        let state = self.file.state_dict()?;
        let time = match state.shape("blocks.0.mlp.fc1.weight")? {
            &[hidden, width] => bfloat_time_share(width, hidden),
            _ => None,
        };
        self.choose_timed(time, images)
    }

    fn choose_timed(
        &self,
        time: Option<f64>,
        images: impl Iterator<Item = Held<Picture>>,
    ) -> Result<PrecisionChoice, MethodError> {
        let in_single = |reason| Ok(PrecisionChoice { precision: Precision::F32, reason });
        let Some(time) = time else { return in_single("in f32".into()) };
        if time > MOST_TIME {
            return in_single(format!("in f32 (bf16 takes {time:.2} of its time)"));
        }
        let agreement = self.agreement(images)?;
        if agreement < LEAST_AGREEMENT {
            return in_single(format!("in f32 (bf16 is faster and agrees to an IoU of {agreement:.3} only)"));
        }
        let reason = format!("bf16 takes {time:.2} of the time of f32 and agrees to an IoU of {agreement:.3}");
        Ok(PrecisionChoice { precision: Precision::Bf16, reason })
    }

    /// How far the two halves into which the normalised cut divides an image agree in both precisions, mean over images: a
    /// mask that needs neither labels nor a network.
    fn agreement(&self, images: impl Iterator<Item = Held<Picture>>) -> Result<f64, MethodError> {
        let backbone = |precision: Precision| {
            // What is removed afterwards takes longer to find than all these images.
            let vit = VitConfig { precision, remove_position: Some(0), ..self.settings.vit.clone() };
            let settings = BackboneSettings { vit: &vit, ..BackboneSettings::from(&self.settings) };
            Backbone::with_weights(self.backbone, &settings, &self.file, &self.device)
        };
        let backbones = [backbone(Precision::F32)?, backbone(Precision::Bf16)?];
        let overlaps = images.take(COMPARED_IMAGES).map(|image| {
            let [single, bfloat] = backbones.each_ref().map(|backbone| {
                let nodes = backbone.extractor.extract_within(&image, image.outside.as_ref());
                SpectralSegmenter.segment(&Graph::build(&nodes, Affinity::AboveMean, &self.device)).clusters
            });
            overlap(&single, &bfloat)
        });
        let overlaps: Vec<f64> = overlaps.collect();
        Ok(overlaps.iter().sum::<f64>() / overlaps.len().max(1) as f64)
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
    fn bfloat_is_chosen_where_it_is_faster_and_agrees() {
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
            assert!(!bfloat_available());
            return;
        };
        let halves = crate::raster::RgbImage::from_values(
            48,
            32,
            (0..48 * 32).map(|at| [if at % 48 < 20 { 250 } else { 9 }; 3]).collect(),
        );
        let image = || std::iter::once(Held::new(Picture::from(halves.clone()), None));
        assert!(choice.agreement(image()).unwrap() >= LEAST_AGREEMENT);
        for (time, expected) in [(Some(0.5), Precision::Bf16), (Some(0.9), Precision::F32), (None, Precision::F32)] {
            let chosen = choice.choose_timed(time, image()).unwrap();
            assert_eq!(chosen.precision, expected, "{}", chosen.reason);
        }
        // The network is too small for its products to be timed.
        assert_eq!(choice.choose(image()).unwrap().precision, Precision::F32);
        assert_eq!(choice.key(), open(&settings, Some(Precision::Auto)).unwrap().key());
    }
}
