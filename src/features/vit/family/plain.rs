use super::super::positions::Interpolation;
use super::super::shape::VitShape;
use super::{Family, of_64};
use crate::weights::StateDict;

/// Dosovitskiy et al. 2020 (arXiv 2010.11929) as DINO (Caron et al. 2021, arXiv 2104.14294), iBOT (Zhou et al. 2021, arXiv
/// 2111.07832), DeiT and timm build it.
pub struct Plain;

impl Family for Plain {
    fn name(&self) -> &'static str {
        "ViT"
    }

    fn claims(&self, state: &StateDict) -> bool {
        state.contains("pos_embed")
    }

    fn head_width(&self, width: usize) -> Option<usize> {
        // ViT-H of 16 heads; SO400M of 16.
        of_64(width).or(match width {
            1152 => Some(72),
            1280 => Some(80),
            _ => None,
        })
    }

    fn interpolation(&self, _: &VitShape) -> Interpolation {
        Interpolation::Scaled { offset: 0.1 }
    }
}
