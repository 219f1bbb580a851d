//! Images as GraPL's network sees them that was trained once for a collection.

use std::borrow::Cow;

use super::patch_regions::continued;
use super::regions::{colours_compared, mean_colours};
use super::{Machine, MethodError};
use crate::config::{BackboneChoice, Settings};
use crate::nodes::Layout;
use crate::pixels::resize_lanczos;
use crate::raster::{Mask, RgbImage};
use crate::segment::regions::{CodeBook, PatchKinds, PatchPicture, PatchSizes};
use crate::tensor::DeviceChoice;

/// Refuses what only a backbone could use.
pub(crate) fn refuse_needless(settings: &Settings, has_weights: bool, machine: &Machine) -> Result<(), MethodError> {
    let needless = [
        (settings.backbone != BackboneChoice::Auto, "backbone"),
        (has_weights, "weights"),
        (machine.device == DeviceChoice::Cuda, "device"),
        (machine.precision.is_some(), "vit.precision"),
    ];
    match needless.into_iter().find(|(is_chosen, _)| *is_chosen) {
        Some((_, setting)) => Err(MethodError::NeedlessForPatchNetwork { setting }),
        None => Ok(()),
    }
}

/// An image as a square of whole patches, with what is compared of them. Where it has no data it goes on as it ends, so that
/// what lies there has no say.
pub(crate) fn patch_picture(image: &RgbImage, outside: Option<&Mask>, sizes: PatchSizes) -> PatchPicture {
    let image = outside.map_or(Cow::Borrowed(image), |outside| Cow::Owned(continued(image, outside)));
    let square = resize_lanczos(&image, sizes.side(), sizes.side());
    let layout = sizes.layout();
    PatchPicture { colours: mean_colours(&square, &layout), compared: colours_compared(&square, &layout), square }
}

/// The patches of an image that lie where it has data, what each costs as one of every kind, and what they are compared by.
///
/// # Shapes
/// → layout of N nodes, `[N, K]`, `[N, D]`
pub(super) fn nodes_of_patches(
    network: &PatchKinds,
    book: &CodeBook,
    picture: PatchPicture,
    outside: Option<&Mask>,
) -> (Layout, Vec<f64>, Vec<f32>) {
    let whole = network.sizes().layout();
    let count = whole.nodes();
    let costs = network.costs(&picture, book);
    let layout = whole.within(outside);
    let Layout::Part { inside, .. } = &layout else { return (layout, costs, picture.compared) };
    let (costs, compared) = (rows(&costs, count, inside), rows(&picture.compared, count, inside));
    (layout, costs, compared)
}

/// Some of `count` rows.
fn rows<T: Copy>(values: &[T], count: usize, chosen: &[u32]) -> Vec<T> {
    let width = values.len() / count;
    chosen.iter().flat_map(|&row| &values[row as usize * width..][..width]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Raster;

    #[test]
    fn what_lies_outside_has_no_say() {
        let sizes = PatchSizes { patches: 4, patch_side: 5 };
        let (width, height) = (24, 16);
        let outside =
            Raster::from_values(width, height, (0..width * height).map(|place| u8::from(place % width < 12)).collect());
        let pictures = [[0u8; 3], [255, 0, 90]].map(|beyond| {
            let pixel = |place: usize| if place % width < 12 { beyond } else { [(place % 7) as u8 * 30, 90, 40] };
            let image = Raster::from_values(width, height, (0..width * height).map(pixel).collect());
            patch_picture(&image, Some(&outside), sizes)
        });
        assert_eq!(pictures[0], pictures[1]);
        assert_eq!((pictures[0].square.width, pictures[0].colours.len(), pictures[0].compared.len()), (20, 48, 48));
        let inside = rows(&[0, 1, 10, 11, 20, 21], 3, &[0, 2]);
        assert_eq!(inside, [0, 1, 20, 21]);
    }
}
