use super::super::positions::Interpolation;
use super::super::shape::VitShape;
use super::{Family, of_64};
use crate::weights::StateDict;

/// Oquab et al. 2023 (arXiv 2304.07193), and with registers Darcet et al. 2023 (arXiv 2309.16588): the two are told apart by
/// their registers, and carry their positions to other grids in different ways.
pub struct DinoV2;

impl Family for DinoV2 {
    fn name(&self) -> &'static str {
        "DINOv2"
    }

    fn claims(&self, state: &StateDict) -> bool {
        state.contains("pos_embed") && (state.contains("blocks.0.ls1.gamma") || state.contains("register_tokens"))
    }

    fn head_width(&self, width: usize) -> Option<usize> {
        of_64(width)
    }

    fn interpolation(&self, shape: &VitShape) -> Interpolation {
        if shape.registers > 0 {
            Interpolation::ToSize { antialias: true }
        } else {
            Interpolation::Scaled { offset: 0.1 }
        }
    }
}
