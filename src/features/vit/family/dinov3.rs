use super::super::positions::Interpolation;
use super::super::shape::VitShape;
use super::{Family, of_64};
use crate::weights::StateDict;

/// Siméoni et al. 2025 (arXiv 2508.10104): no positions but rotations, registers, no bias of keys.
pub struct DinoV3;

impl Family for DinoV3 {
    fn name(&self) -> &'static str {
        "DINOv3"
    }

    fn claims(&self, state: &StateDict) -> bool {
        !state.contains("pos_embed") && (state.contains("register_tokens") || state.contains("rope_embed.periods"))
    }

    fn head_width(&self, width: usize) -> Option<usize> {
        // H+ has 20 heads, the largest 32.
        of_64(width).or(match width {
            1280 => Some(64),
            4096 => Some(128),
            _ => None,
        })
    }

    fn interpolation(&self, _: &VitShape) -> Interpolation {
        // There is nothing to interpolate.
        Interpolation::ToSize { antialias: false }
    }

    fn epsilon(&self) -> f32 {
        1e-5
    }

    fn rotates(&self) -> bool {
        true
    }
}
