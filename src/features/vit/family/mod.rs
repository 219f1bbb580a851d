//! The published ways of building a vision transformer, told apart by the names, shapes and positions of their tensors.
//!
//! What every part of a network is for follows from its tensors; a family knows the rest, which no file says: the width of
//! a head, the epsilon of normalisations, and how positions are carried to other grids.

mod dinov2;
mod dinov3;
mod masked_autoencoder;
mod moco_v3;
mod plain;
mod sine_cosine;

use super::positions::Interpolation;
use super::shape::VitShape;
use crate::weights::{StateDict, WeightsError};

/// What is known of transformers that were built alike.
pub trait Family: Sync {
    /// For people.
    fn name(&self) -> &'static str;

    /// Whether these weights are of this family; the first one that says so is taken.
    fn claims(&self, state: &StateDict) -> bool;

    /// Channels of one attention head of a network of this width; none where none was published.
    fn head_width(&self, width: usize) -> Option<usize>;

    /// How the stored positions are carried to another grid.
    fn interpolation(&self, shape: &VitShape) -> Interpolation;

    /// What is added to variances before they divide.
    fn epsilon(&self) -> f32 {
        1e-6
    }

    /// Whether queries and keys are rotated by the places of their patches.
    fn rotates(&self) -> bool {
        false
    }
}

/// All families, the one with the fewest marks last.
static FAMILIES: [&dyn Family; 5] =
    [&dinov3::DinoV3, &dinov2::DinoV2, &moco_v3::MocoV3, &masked_autoencoder::MaskedAutoencoder, &plain::Plain];

/// The family of some weights.
///
/// # Errors
/// If they are of none: every transformer knows of places by its positions or by rotation.
pub fn family_of(state: &StateDict) -> Result<&'static dyn Family, WeightsError> {
    FAMILIES.into_iter().find(|family| family.claims(state)).ok_or_else(|| state.missing_error("pos_embed"))
}

/// Widths in which transformers are usually built of heads 64 channels wide.
fn of_64(width: usize) -> Option<usize> {
    [192, 384, 576, 768, 1024, 1536].contains(&width).then_some(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_wide_as_those_of_the_published_networks() {
        let families: [(&dyn Family, usize, Option<usize>); 9] = [
            (&plain::Plain, 384, Some(64)),
            (&plain::Plain, 1280, Some(80)),
            (&plain::Plain, 40, None),
            (&moco_v3::MocoV3, 384, Some(32)),
            (&moco_v3::MocoV3, 768, Some(64)),
            (&masked_autoencoder::MaskedAutoencoder, 1280, Some(80)),
            (&dinov2::DinoV2, 1536, Some(64)),
            (&dinov3::DinoV3, 1280, Some(64)),
            (&dinov3::DinoV3, 4096, Some(128)),
        ];
        for (family, width, expected) in families {
            assert_eq!(family.head_width(width), expected, "{} {width}", family.name());
        }
    }
}
