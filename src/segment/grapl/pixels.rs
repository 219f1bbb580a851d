//! From the answers of a network to the labels of pixels.

use super::config::Positions;
use super::layers::Extent;
use super::network::PatchNetwork;
use super::patches::{CHANNELS, PatchImage};
use crate::numerics::argmax;
use crate::raster::{LabelMap, floor_positions};

/// The label of every pixel of an image of this size, of which `image` is the square.
///
/// # Shapes
/// → `[height, width]`
pub fn label_pixels(
    network: &PatchNetwork,
    image: &PatchImage,
    positions: Positions,
    width: usize,
    height: usize,
) -> LabelMap {
    let (side, patch_side) = (image.side(), image.patch_side());
    let map = match positions {
        Positions::Stretched => most_probable(network, image.planes(), side, side + 1 - patch_side),
        Positions::Exact => {
            let around = side + patch_side - 1;
            most_probable(network, &surrounded(image.planes(), side, patch_side / 2, around), around, side)
        }
    };
    // In two steps, as the official code goes: to the square, and from it to the image.
    let of_square = floor_positions(side, map.width);
    let [columns, rows] = [width, height]
        .map(|size| floor_positions(size, side).into_iter().map(|place| of_square[place]).collect::<Vec<_>>());
    map.taken(&columns, &rows)
}

/// The most probable label at each of `places` × `places`.
fn most_probable(network: &PatchNetwork, planes: &[f32], side: usize, places: usize) -> LabelMap {
    let mut labels = Vec::with_capacity(places * places);
    let mut of_place = vec![0.0; network.labels()];
    network.map(planes, Extent::square(side), |_, logits| {
        for place in 0..places {
            for (value, row) in of_place.iter_mut().zip(logits.chunks_exact(places)) {
                *value = row[place];
            }
            labels.push(argmax(&of_place) as u32);
        }
    });
    LabelMap::from_values(places, places, labels)
}

/// Planes of one side as parts of larger ones, `before` pixels from the top and the left, with their border repeated.
fn surrounded(planes: &[f32], side: usize, before: usize, around: usize) -> Vec<f32> {
    let from: Vec<usize> = (0..around).map(|place| place.saturating_sub(before).min(side - 1)).collect();
    let mut values = Vec::with_capacity(CHANNELS * around * around);
    for plane in planes.chunks_exact(side * side) {
        for &row in &from {
            values.extend(from.iter().map(|&column| plane[row * side + column]));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;
    use crate::raster::Raster;

    #[test]
    fn exact_positions_are_those_that_the_network_has_seen() {
        let (patches, patch_side) = (4, 6);
        let side = patches * patch_side;
        let values = (0..side * side).map(|pixel| [(pixel * 37 % 251) as u8, (pixel % 24 * 9) as u8, 70]).collect();
        let image = PatchImage::new(&Raster::from_values(side, side, values), patches);
        let network = PatchNetwork::new(patch_side, 5, &mut random::stream(3, "test", 0));
        let exact = label_pixels(&network, &image, Positions::Exact, side, side);
        let stretched = label_pixels(&network, &image, Positions::Stretched, side, side);
        let all: Vec<usize> = (0..patches * patches).collect();
        let of_patches: Vec<u32> =
            network.logits(&image, &all).chunks_exact(5).map(|logits| argmax(logits) as u32).collect();
        // A patch's answer lies in its middle, or where its first pixel comes to lie.
        for (patch, &label) in of_patches.iter().enumerate() {
            let (x, y) = (patch % patches * patch_side, patch / patches * patch_side);
            assert_eq!(exact.at(x + patch_side / 2, y + patch_side / 2), label, "{patch}");
            let moved = |place: usize| (place * side).div_ceil(side + 1 - patch_side);
            assert_eq!(stretched.at(moved(x), moved(y)), label, "{patch}");
        }
        let small = label_pixels(&network, &image, Positions::Exact, 3, 2);
        assert_eq!(small.values, [0, 12].map(|y| [0, 8, 16].map(|x| exact.at(x, y))).concat());
    }
}
