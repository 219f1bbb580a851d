//! What the weights of a transformer decide by themselves.

use crate::weights::{StateDict, WeightsError};

/// The dimensions of a transformer, as its weights state them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VitShape {
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels inside the multilayer perceptron.
    pub mlp_width: usize,
    /// Rows and columns of the stored position grid.
    pub position_side: usize,
}

impl VitShape {
    /// Reads the dimensions from the shapes of `state`; heads are `width / head_width`.
    pub fn from_state_dict(state: &StateDict, head_width: usize) -> Result<Self, WeightsError> {
        let &[width, 3, patch, patch_width] = state.shape("patch_embed.proj.weight")? else {
            return Err(state.shape_error("patch_embed.proj.weight", "expected [width, 3, patch, patch]"));
        };
        if patch != patch_width || patch == 0 || width == 0 {
            return Err(state.shape_error("patch_embed.proj.weight", "expected square patches"));
        }
        if head_width == 0 || width % head_width != 0 {
            return Err(state.option_error(format!(
                "head_width = {head_width} does not divide the model's width {width}; set it to the width of one head"
            )));
        }
        let &[1, positions, position_width] = state.shape("pos_embed")? else {
            return Err(state.shape_error("pos_embed", "expected [1, 1 + patches, width]"));
        };
        let position_side = positions.saturating_sub(1).isqrt();
        if position_width != width || position_side == 0 || position_side * position_side + 1 != positions {
            return Err(state.shape_error("pos_embed", "expected [1, 1 + side², width] with a square grid of patches"));
        }
        let depth = state.depth();
        if depth == 0 {
            return Err(state.missing_error("blocks.0.norm1.weight"));
        }
        let &[mlp_width @ 1..=usize::MAX, _] = state.shape("blocks.0.mlp.fc1.weight")? else {
            return Err(state.shape_error("blocks.0.mlp.fc1.weight", "expected [hidden, width]"));
        };
        Ok(Self { width, depth, patch, heads: width / head_width, mlp_width, position_side })
    }

    /// Rows or columns of patches along `side_px` pixels: 1 + (side − patch) / stride, and none if no patch fits.
    pub fn grid(&self, side_px: usize, stride: usize) -> usize {
        if side_px < self.patch { 0 } else { 1 + (side_px - self.patch) / stride }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_the_paper() {
        let shape = VitShape { width: 384, depth: 12, patch: 8, heads: 6, mlp_width: 1536, position_side: 28 };
        for (side, stride, expected) in [(280, 8, 35), (280, 4, 69), (8, 8, 1), (7, 8, 0)] {
            assert_eq!(shape.grid(side, stride), expected);
        }
    }
}
