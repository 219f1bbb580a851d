use super::super::positions::Interpolation;
use super::super::shape::VitShape;
use super::sine_cosine::{First, is_table};
use super::{Family, of_64};
use crate::weights::{Origin, StateDict};

/// Chen et al. 2021 (arXiv 2104.02057): positions are fixed sines and cosines, rows first, and the small network has 12
/// heads of 32 channels.
pub struct MocoV3;

impl Family for MocoV3 {
    fn name(&self) -> &'static str {
        "MoCo-v3"
    }

    fn claims(&self, state: &StateDict) -> bool {
        state.contains("pos_embed") && (state.origin() == Some(Origin::MocoV3) || is_table(state, First::Rows))
    }

    fn head_width(&self, width: usize) -> Option<usize> {
        if width == 384 { Some(32) } else { of_64(width) }
    }

    fn interpolation(&self, _: &VitShape) -> Interpolation {
        Interpolation::ToSize { antialias: false }
    }
}
