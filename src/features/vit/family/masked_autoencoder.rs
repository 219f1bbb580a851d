use super::super::positions::Interpolation;
use super::super::shape::VitShape;
use super::sine_cosine::{First, is_table};
use super::{Family, of_64};
use crate::weights::{Origin, StateDict};

/// He et al. 2021 (arXiv 2111.06377): positions are fixed sines and cosines, columns first, and the huge network has 16
/// heads of 80 channels.
pub struct MaskedAutoencoder;

impl Family for MaskedAutoencoder {
    fn name(&self) -> &'static str {
        "MAE"
    }

    fn claims(&self, state: &StateDict) -> bool {
        state.contains("pos_embed") && (state.origin() == Some(Origin::Mae) || is_table(state, First::Columns))
    }

    fn head_width(&self, width: usize) -> Option<usize> {
        if width == 1280 { Some(80) } else { of_64(width) }
    }

    fn interpolation(&self, _: &VitShape) -> Interpolation {
        Interpolation::ToSize { antialias: false }
    }
}
