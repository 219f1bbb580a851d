//! What a user may choose about the transformer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numerics::range::{InvalidSetting, require, within};

/// Which vector of a block describes a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Facet {
    /// The attention key, the paper's choice.
    #[default]
    Key,
    /// The attention query.
    Query,
    /// The attention value.
    Value,
    /// The block's output.
    Token,
}

/// What the products of the transformer are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `train` and `segment` of the program, with many images on a processor that has instructions for them: int8 or bf16, the
    /// fastest by a few timed products with which the first images are cut alike. Everywhere else f32.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Operands in bfloat16, sums in single precision: half of the time on some processors with AVX-512 BF16, more than f32 on
    /// others; also on GPUs.
    Bf16,
    /// Operands in bytes, with scales found as they come, sums in integers; what describes the patches in single precision. For
    /// the processor; the fastest with AVX-512 VNNI, and slow without such instructions.
    Int8,
}

impl Precision {
    /// As configurations write it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }
}

/// Options of the transformer features; everything else is read from the shapes of the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VitConfig {
    /// How images are resized before they are cut into patches. Default: square.
    pub resize: Resize,
    /// Pixels per side (`square`) or of the shorter side (`short`). Default 280.
    pub input_side: usize,
    /// Most patches of an image; what `short` and `keep` would give more of is scaled down, `square` is refused. Time and
    /// memory of the transformer's attention and of a graph grow with the square of this number. Default 10 000.
    pub maximum_nodes: usize,
    /// Step between neighbouring patches in pixels; must divide the patch size. Default: the patch size. Half of it
    /// gives four times as many nodes.
    pub stride: Option<usize>,
    /// The blocks that describe the patches, ascending, counted from 0 or backwards from −1, the last. The vectors of
    /// several are joined; with `normalise` each is scaled to unit length first, so that all count alike. Default: the last
    /// block of every quarter of the depth. The paper uses the last alone, `[-1]`.
    pub layers: Option<Vec<i64>>,
    /// Which vector of these blocks is used. Default: key.
    pub facet: Facet,
    /// Mean of the red, green and blue training pixels, on 0..1. Default: ImageNet's.
    pub mean: [f32; 3],
    /// Standard deviation of the red, green and blue training pixels, on 0..1. Default: ImageNet's.
    pub standard_deviation: [f32; 3],
    /// Channels of one attention head. Default: those of the network's family; weights alone do not tell.
    pub head_width: Option<usize>,
    /// Join to every patch what lies around it, in 17 bins: 17 times as many channels. Default: false.
    pub log_bins: bool,
    /// Scale every descriptor to unit length, so that affinities are cosines. Default: true. The paper does not.
    pub normalise: bool,
    /// How many directions are removed from all descriptors, along which those of images without content vary from place to
    /// place: what a descriptor says of the position of its patch. Default: 16 for association and the eigenvector, none
    /// for the paper's objectives; at most one for every 16 channels. 0 removes nothing, as in the paper.
    pub remove_position: Option<usize>,
    /// What products are computed in. Default: auto.
    pub precision: Precision,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            resize: Resize::Square,
            input_side: 280,
            maximum_nodes: 10_000,
            stride: None,
            layers: None,
            facet: Facet::Key,
            mean: [0.485, 0.456, 0.406],
            standard_deviation: [0.229, 0.224, 0.225],
            head_width: None,
            log_bins: false,
            normalise: true,
            remove_position: None,
            precision: Precision::Auto,
        }
    }
}

impl VitConfig {
    /// The paper's features: the keys of the last block as they are.
    pub fn paper() -> VitConfig {
        VitConfig { layers: Some(vec![-1]), normalise: false, remove_position: Some(0), ..VitConfig::default() }
    }

    /// How many directions are removed; the number for a collection where nothing was chosen.
    pub fn remove_position(&self) -> usize {
        self.remove_position.unwrap_or(16)
    }

    /// The blocks that describe the patches, of a transformer with so many.
    ///
    /// # Errors
    /// The range, in words, if the settings name others or not in order.
    pub(super) fn layers_of(&self, depth: usize) -> Result<Vec<usize>, String> {
        // Empty in checkpoints of earlier versions, for the last.
        let layers = self.layers.as_ref().map(|layers| if layers.is_empty() { vec![-1] } else { layers.clone() });
        let Some(layers) = layers else {
            let mut layers: Vec<usize> = (1..=4).map(|quarter| (quarter * depth).div_ceil(4) - 1).collect();
            layers.dedup();
            return Ok(layers);
        };
        let from_front = |&layer: &i64| usize::try_from(if layer < 0 { layer + depth as i64 } else { layer }).ok();
        let found: Option<Vec<usize>> = layers.iter().map(from_front).collect();
        let is_usable =
            |found: &Vec<usize>| found.is_sorted_by(|one, next| one < next) && found.iter().all(|&layer| layer < depth);
        let last = depth as i64 - 1;
        found.filter(is_usable).ok_or_else(|| {
            format!("layers = {layers:?} must be ascending and from 0 to {last}, or counted backwards from -1")
        })
    }

    /// Refuses settings outside their range; what the weights allow is checked where they are read.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("input_side", self.input_side, 1, 8192)?;
        let is_step = self.stride.is_none_or(|stride| stride >= 1);
        require(is_step, "stride", format_args!("{:?}", self.stride), "at least 1")?;
        within("maximum_nodes", self.maximum_nodes, 1, 1_000_000)?;
        within("remove_position", self.remove_position(), 0, 1024)?;
        let are_positive = self.standard_deviation.iter().all(|value| *value > 0.0);
        require(are_positive, "standard_deviation", format_args!("{:?}", self.standard_deviation), "above 0")
    }
}

/// How an image becomes the transformer's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// To `input_side` × `input_side` pixels, whatever the aspect: the paper's.
    #[default]
    Square,
    /// The shorter side to `input_side` pixels, the aspect kept up to whole patches.
    Short,
    /// Not at all, but for cutting both sides to whole patches.
    Keep,
}

/// How an input is cut into patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patches {
    /// Side of a patch in pixels.
    pub side: usize,
    /// Step between neighbouring patches in pixels.
    pub stride: usize,
    /// Most patches of an image.
    pub most: usize,
}

impl Patches {
    /// Number of patches of an input of `width` × `height` pixels.
    pub fn count(&self, width: usize, height: usize) -> usize {
        let along = |pixels: usize| pixels.checked_sub(self.side).map_or(0, |rest| 1 + rest / self.stride);
        along(width).saturating_mul(along(height))
    }
}

impl Resize {
    /// Width and height in pixels that an image of `width` × `height` is resized to: whole patches, at least one, and of
    /// `short` and `keep` not more than allowed, the aspect kept as far as both go together.
    pub fn target(self, side: usize, patches: Patches, width: usize, height: usize) -> (usize, usize) {
        let whole = |pixels: f64| ((pixels / patches.side as f64 + 1e-9) as usize).max(1) * patches.side;
        let (width, height) = (width.max(1) as f64, height.max(1) as f64);
        let scale = match self {
            Resize::Square => return (side, side),
            Resize::Short => side as f64 / width.min(height),
            Resize::Keep => 1.0,
        };
        let (mut across, mut down) = (whole(width * scale), whole(height * scale));
        let mut shrunk = scale;
        while patches.count(across, down) > patches.most && across.max(down) > patches.side {
            // A little more than the square root of the excess, so that few rounds suffice.
            let excess = patches.count(across, down) as f64 / patches.most as f64;
            shrunk *= excess.sqrt().recip().min(0.999);
            (across, down) = (whole(width * shrunk), whole(height * shrunk));
        }
        (across, down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_are_refused() {
        let config: VitConfig = toml::from_str("facet = \"token\"\nlayers = [9]").unwrap();
        assert_eq!((config.facet, config.layers, config.input_side), (Facet::Token, Some(vec![9]), 280));
        assert!(toml::from_str::<VitConfig>("layer = 9").is_err());
    }

    #[test]
    fn sizes_are_whole_patches() {
        for (resize, width, height, expected) in [
            (Resize::Square, 480, 320, (224, 224)),
            (Resize::Short, 480, 320, (336, 224)),
            (Resize::Short, 320, 481, (224, 336)),
            (Resize::Short, 1, 1, (224, 224)),
            (Resize::Short, 10_000, 20, (11_312, 16)),
            (Resize::Keep, 481, 321, (480, 320)),
            (Resize::Keep, 3, 40, (16, 32)),
            (Resize::Keep, 10_000, 20, (10_000, 16)),
            (Resize::Keep, 8_000, 6_000, (576, 432)),
            (Resize::Keep, 1_000_000, 1, (16_000, 16)),
        ] {
            let patches = Patches { side: 16, stride: 16, most: 1000 };
            let (across, down) = resize.target(224, patches, width, height);
            assert_eq!((across, down), expected, "{resize:?} {width}x{height}");
            assert!(patches.count(across, down) <= 1000);
        }
    }
}
