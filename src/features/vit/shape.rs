//! What the weights of a transformer decide by themselves.

use super::family::{Family, family_of};
use crate::weights::{StateDict, WeightsError};

/// The dimensions of a transformer, as its weights state them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VitShape {
    /// How such transformers are called.
    pub family: &'static str,
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
    /// Whether a gate multiplies these channels: Shazeer 2020 (arXiv 2002.05202), with SiLU.
    pub is_gated: bool,
    /// Whether the first token stands for the whole image.
    pub has_class_token: bool,
    /// Tokens after it that lie nowhere in the image either.
    pub registers: usize,
    /// Rows and columns of the stored position grid; 0 where positions are rotations.
    pub position_side: usize,
    /// Positions stored before those of the grid: of none of the leading tokens, of the class token, or of all.
    pub leading_positions: usize,
}

impl VitShape {
    /// Reads the dimensions from the shapes of `state`; the width of a head, where it is not given, is its family's.
    pub fn from_state_dict(state: &StateDict, head_width: Option<usize>) -> Result<Self, WeightsError> {
        let family = family_of(state)?;
        let &[width, 3, patch, patch_width] = state.shape("patch_embed.proj.weight")? else {
            return Err(state.shape_error("patch_embed.proj.weight", "expected [width, 3, patch, patch]"));
        };
        if patch != patch_width || patch == 0 || width == 0 {
            return Err(state.shape_error("patch_embed.proj.weight", "expected square patches"));
        }
        let heads = heads(state, family, width, head_width)?;
        let has_class_token = state.contains("cls_token");
        let registers = if state.contains("register_tokens") {
            let &[1, registers, register_width] = state.shape("register_tokens")? else {
                return Err(state.shape_error("register_tokens", "expected [1, registers, width]"));
            };
            if register_width != width || registers > MOST_REGISTERS {
                return Err(state.shape_error("register_tokens", &format!("expected [1, registers, {width}]")));
            }
            registers
        } else {
            0
        };
        let depth = state.depth();
        if depth == 0 {
            return Err(state.missing_error("blocks.0.norm1.weight"));
        }
        let &[rows, _] = state.shape("blocks.0.mlp.fc1.weight")? else {
            return Err(state.shape_error("blocks.0.mlp.fc1.weight", "expected [hidden, width]"));
        };
        let &[_, mlp_width @ 1..=usize::MAX] = state.shape("blocks.0.mlp.fc2.weight")? else {
            return Err(state.shape_error("blocks.0.mlp.fc2.weight", "expected [width, hidden]"));
        };
        let is_gated = mlp_width.checked_mul(2) == Some(rows);
        let mut shape = Self {
            family: family.name(),
            width,
            depth,
            patch,
            heads,
            mlp_width,
            is_gated,
            has_class_token,
            registers,
            position_side: 0,
            leading_positions: 0,
        };
        if state.contains("pos_embed") {
            (shape.position_side, shape.leading_positions) = shape.stored_positions(state)?;
        }
        Ok(shape)
    }

    /// The side of the stored grid and the number of positions before it.
    fn stored_positions(&self, state: &StateDict) -> Result<(usize, usize), WeightsError> {
        let class = usize::from(self.has_class_token);
        let square = |leading: usize| {
            let &[1, positions, width] = state.shape("pos_embed").ok()? else { return None };
            let side = positions.checked_sub(leading)?.isqrt();
            // A single position is rather the class token's than that of a grid.
            let least = if leading == 0 { 2 } else { 1 };
            (width == self.width && side >= least && side * side + leading == positions).then_some((side, leading))
        };
        [self.leading(), class, 0].into_iter().find_map(square).ok_or_else(|| {
            let expected = format!("expected [1, {class} + side², {}] with a square grid of patches", self.width);
            state.shape_error("pos_embed", &expected)
        })
    }

    /// Tokens before those of the patches: the class token and the registers.
    pub fn leading(&self) -> usize {
        usize::from(self.has_class_token) + self.registers
    }

    /// Channels of one head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Rows or columns of patches along `side_px` pixels: 1 + (side − patch) / stride, and none if no patch fits.
    pub fn grid(&self, side_px: usize, stride: usize) -> usize {
        if side_px < self.patch { 0 } else { 1 + (side_px - self.patch) / stride }
    }
}

/// Published transformers have four; leading tokens must fit a strip.
const MOST_REGISTERS: usize = 32;

/// The number of attention heads.
///
/// Rotations tell the width of a head: a quarter of its channels have a period.
fn heads(
    state: &StateDict,
    family: &dyn Family,
    width: usize,
    head_width: Option<usize>,
) -> Result<usize, WeightsError> {
    let told = state.shape("rope_embed.periods").ok().and_then(|shape| shape.first()?.checked_mul(4));
    let Some(found) = head_width.or(told).or_else(|| family.head_width(width)) else {
        return Err(state.option_error(format!(
            "how wide an attention head is stands in no file of weights, and of {} {width} channels wide it is not known; \
             set head_width, which is the width divided by the number of heads",
            family.name()
        )));
    };
    if found == 0 || !width.is_multiple_of(found) {
        return Err(state.option_error(format!(
            "head_width = {found} does not divide the model's width {width}; set it to the width of one head"
        )));
    }
    Ok(width / found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_the_paper() {
        let shape = VitShape {
            family: "ViT",
            width: 384,
            depth: 12,
            patch: 8,
            heads: 6,
            mlp_width: 1536,
            is_gated: false,
            has_class_token: true,
            registers: 0,
            position_side: 28,
            leading_positions: 1,
        };
        for (side, stride, expected) in [(280, 8, 35), (280, 4, 69), (8, 8, 1), (7, 8, 0)] {
            assert_eq!(shape.grid(side, stride), expected);
        }
    }
}
