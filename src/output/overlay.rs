//! Pictures for people: the image with its mask drawn over it, and pictures small enough that a page can hold hundreds.

use std::borrow::Cow;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EncodeError;
use super::palette::cluster_colour;
use crate::numerics::range::{InvalidSetting, within};
use crate::pixels::resize_lanczos;
use crate::raster::{Raster, RgbImage};

/// How much of its colour and of its light the background keeps.
const BACKGROUND_SATURATION: f32 = 0.4;
const BACKGROUND_LIGHT: f32 = 0.6;

/// How much of the cluster's colour lies over the foreground.
const TINT_OPACITY: f32 = 0.16;

/// Width of the outline, which lies just inside the cluster.
const OUTLINE_PX: f32 = 2.0;

/// From how far, along rows and columns, another cluster can still change a pixel's outline.
const REACH_PX: usize = OUTLINE_PX as usize + 1;

/// The longer side of a report's thumbnails.
pub const THUMBNAIL_SIDE_PX: usize = 160;

/// Small enough for hundreds on a page, good enough to recognise what is shown.
const THUMBNAIL_QUALITY: u8 = 72;

/// What results look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputConfig {
    /// Overlays are scaled down to at most this many pixels on their longer side.
    pub overlay_side_px: usize,
}

impl Default for OutputConfig {
    fn default() -> Self {
        OutputConfig { overlay_side_px: 1024 }
    }
}

impl OutputConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("overlay_side_px", self.overlay_side_px, 1, 16_384)
    }
}

/// The image with the background dimmed and each foreground cluster tinted and outlined in [`cluster_colour`].
///
/// The picture is scaled so that its longer side has at most `max_side` pixels; it is never enlarged. A mask of another
/// size is stretched over the whole image.
///
/// # Shapes
/// image `[H, W]`, mask `[h, w]` → `[s·H, s·W]` with s = min(1, max_side / max(H, W))
pub fn overlay<V: Copy + Into<u16>>(image: &RgbImage, mask: &Raster<V>, max_side: usize) -> RgbImage {
    if image.values.is_empty() || mask.values.is_empty() {
        return image.clone();
    }
    let image = scaled_down(image, max_side);
    let (width, height) = (image.width, image.height);
    let mask = mask.resized_nearest(width, height).map(Into::into);
    let plain = image.values.iter().zip(&mask.values).map(|(&source, &value)| rounded(shaded(source, value)));
    let mut picture = RgbImage { width, height, values: plain.collect() };
    for (place, _) in near_outlines(&mask).into_iter().enumerate().filter(|&(_, is_near)| is_near) {
        let (colour, opacity) = outline(&mask, place % width, place / width);
        let shaded = shaded(image.values[place], mask.values[place]);
        picture.values[place] = rounded(mix(shaded, colour.map(f32::from), opacity));
    }
    picture
}

/// `image` as a JPEG whose longer side has at most `max_side` pixels; it is never enlarged.
///
/// # Shapes
/// `[H, W]` → `[s·H, s·W]` with s = min(1, max_side / max(H, W))
pub fn thumbnail(image: &RgbImage, max_side: usize) -> Result<Vec<u8>, EncodeError> {
    encode_jpeg(&scaled_down(image, max_side), THUMBNAIL_QUALITY)
}

/// Encodes `image` as JPEG, with colours at full resolution, so that outlines stay sharp; `quality` is 1 (smallest) to 100
/// (best).
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, EncodeError> {
    let (width, height) = (image.width, image.height);
    if width == 0 || height == 0 {
        return Err(EncodeError::Size { width, height });
    }
    let failed = |reason: String| EncodeError::Jpeg { width, height, reason };
    let (Ok(columns), Ok(rows)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(failed(format!("it has at most {} a side", u16::MAX)));
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    let encoded = encoder.encode(image.values.as_flattened(), columns, rows, ColorType::Rgb);
    encoded.map_err(|error| failed(error.to_string()))?;
    Ok(bytes)
}

/// `image` itself where its longer side has at most `max_side` pixels, else scaled down to that. An image without pixels has
/// no proportions and stays as it is.
pub(super) fn scaled_down(image: &RgbImage, max_side: usize) -> Cow<'_, RgbImage> {
    let (width, height) = fit(image.width, image.height, max_side);
    if image.values.is_empty() || (width, height) == (image.width, image.height) {
        return Cow::Borrowed(image);
    }
    Cow::Owned(resize_lanczos(image, width, height))
}

/// The size at which a picture of `width` × `height` fits a square of `max_side`, keeping its proportions.
fn fit(width: usize, height: usize, max_side: usize) -> (usize, usize) {
    let longer = width.max(height).max(1);
    let side = max_side.clamp(1, longer);
    let scaled = |length: usize| ((2 * length * side + longer) / (2 * longer)).max(1);
    (scaled(width), scaled(height))
}

/// Whether a pixel within reach, along rows and columns, has another value than the pixel's own: nothing else can be
/// outlined.
///
/// Such pixels lie around the borders between neighbours, so each border marks its surroundings.
fn near_outlines(mask: &Raster<u16>) -> Vec<bool> {
    let (width, height) = (mask.width, mask.height);
    let mut near = vec![false; width * height];
    let mut near_along_row = vec![false; width];
    for (y, row) in mask.values.chunks_exact(width).enumerate() {
        near_along_row.fill(false);
        for x in (1..width).filter(|&x| row[x - 1] != row[x]) {
            near_along_row[x.saturating_sub(REACH_PX)..(x + REACH_PX).min(width)].fill(true);
        }
        let below = mask.values.get((y + 1) * width..(y + 2) * width).unwrap_or(row);
        for x in (0..width).filter(|&x| near_along_row[x] || row[x] != below[x]) {
            // Seen from above, a border to the row below is that row's.
            let above = if near_along_row[x] { REACH_PX } else { REACH_PX - 1 };
            for near_y in y.saturating_sub(above)..(y + REACH_PX + 1).min(height) {
                near[near_y * width + x] = true;
            }
        }
    }
    near
}

/// A pixel's colour before outlines: the background dimmed, clusters tinted.
fn shaded(source: [u8; 3], value: u16) -> [f32; 3] {
    let source = source.map(f32::from);
    if value == 0 {
        let luma = 0.299 * source[0] + 0.587 * source[1] + 0.114 * source[2];
        source.map(|channel| BACKGROUND_LIGHT * (luma + BACKGROUND_SATURATION * (channel - luma)))
    } else {
        mix(source, cluster_colour(value).map(f32::from), TINT_OPACITY)
    }
}

fn rounded(colour: [f32; 3]) -> [u8; 3] {
    colour.map(|channel| (channel + 0.5) as u8)
}

/// The outline's colour at a pixel, and how much of it covers the pixel.
///
/// Inside a cluster the distance to the nearest other pixel decides; it is measured between centres, so the border lies
/// half a pixel closer. Outside, only pixels in the corner of a staircase are covered, in part: it smooths the stairs.
fn outline(mask: &Raster<u16>, x: usize, y: usize) -> ([u8; 3], f32) {
    let value = mask.at(x, y);
    let reach = REACH_PX as isize;
    let mut nearest_squared = isize::MAX;
    // Binomial weights of the 3 × 3 neighbourhood, 1 2 1 in both directions; the highest foreign cluster wins.
    let mut covered = 0;
    let mut neighbour = 0;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let (Some(other_x), Some(other_y)) = (x.checked_add_signed(dx), y.checked_add_signed(dy)) else { continue };
            if other_x >= mask.width || other_y >= mask.height {
                continue;
            }
            let other = mask.at(other_x, other_y);
            if other == value {
                continue;
            }
            nearest_squared = nearest_squared.min(dx * dx + dy * dy);
            if other != 0 && dx.abs() <= 1 && dy.abs() <= 1 {
                covered += (2 - dx.abs()) * (2 - dy.abs());
                neighbour = neighbour.max(other);
            }
        }
    }
    if value != 0 {
        let distance =
            if nearest_squared == isize::MAX { f32::INFINITY } else { (nearest_squared as f32).sqrt() - 0.5 };
        (cluster_colour(value), (OUTLINE_PX + 0.5 - distance).clamp(0.0, 1.0))
    } else {
        // A straight edge covers 4 of 16 and gets nothing; a corner covers up to 8.
        (cluster_colour(neighbour), ((covered - 4) as f32 / 6.0).clamp(0.0, 1.0))
    }
}

fn mix(base: [f32; 3], colour: [f32; 3], opacity: f32) -> [f32; 3] {
    [0, 1, 2].map(|channel| base[channel] + opacity * (colour[channel] - base[channel]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Mask;

    #[test]
    fn pictures_fit_the_square_and_are_never_enlarged() {
        for ((width, height), max_side, expected) in [
            ((640, 480), 320, (320, 240)),
            ((480, 640), 320, (240, 320)),
            ((100, 50), 320, (100, 50)),
            ((1000, 1), 10, (10, 1)),
            ((5, 5), 0, (1, 1)),
            ((333, 250), 100, (100, 75)),
        ] {
            assert_eq!(fit(width, height, max_side), expected);
            let image = RgbImage::filled(width, height, [90, 120, 60]);
            let picture = overlay(&image, &Mask::filled(width, height, 1), max_side);
            assert_eq!((picture.width, picture.height), expected);
        }
    }

    #[test]
    fn clusters_are_outlined_two_pixels_wide_inside() {
        let mut mask = Mask::filled(20, 20, 0);
        for y in 5..15 {
            mask.values[y * 20 + 5..y * 20 + 15].fill(3);
        }
        let image = RgbImage::filled(20, 20, [200, 100, 50]);
        let picture = overlay(&image, &mask, 20);
        let colour = cluster_colour(3u8);
        assert_eq!([picture.at(5, 10), picture.at(6, 10), picture.at(10, 13), picture.at(14, 5)], [colour; 4]);
        let inside = picture.at(7, 10);
        assert_eq!(inside, picture.at(10, 10));
        let sum = |pixel: [u8; 3]| pixel.map(u32::from).iter().sum::<u32>();
        assert!(inside != colour && sum(picture.at(4, 10)) < 350 * 2 / 3);
        assert_eq!(picture.at(4, 10), picture.at(0, 0));
    }

    #[test]
    fn a_border_of_the_image_is_no_border_of_the_cluster() {
        let picture = overlay(&RgbImage::filled(6, 6, [10, 20, 30]), &Mask::filled(6, 6, 1), 6);
        assert!(picture.values.iter().all(|&pixel| pixel == picture.values[0] && pixel != cluster_colour(1u8)));
    }

    #[test]
    fn outlines_lie_only_where_another_value_is_within_reach() {
        let mut generator = crate::numerics::random::stream(3, "outlines", 0);
        for (width, height, lonely) in [(40, 30, 0.01), (40, 30, 0.3), (1, 9, 0.2), (9, 1, 0.2), (2, 2, 0.5)] {
            let chances = crate::numerics::random::uniform(&mut generator, 1.0, width * height);
            let values = chances.into_iter().map(|chance| u16::from(chance.abs() < lonely)).collect();
            let mask = Raster { width, height, values };
            let reach = |at: usize, length: usize| at.saturating_sub(REACH_PX)..(at + REACH_PX + 1).min(length);
            let expected: Vec<bool> = (0..width * height)
                .map(|place| {
                    let (x, y) = (place % width, place / width);
                    reach(y, height).any(|row| reach(x, width).any(|column| mask.at(column, row) != mask.at(x, y)))
                })
                .collect();
            assert_eq!(near_outlines(&mask), expected, "{width}x{height}, {lonely}");
        }
    }

    #[test]
    fn jpeg_keeps_size_and_colour() {
        let bytes = encode_jpeg(&RgbImage::filled(17, 9, [200, 100, 50]), 90).unwrap();
        let read = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(read.dimensions(), (17, 9));
        assert!(read.pixels().all(|pixel| pixel.0.iter().zip([200u8, 100, 50]).all(|(&a, b)| a.abs_diff(b) < 6)));
        assert!(matches!(encode_jpeg(&RgbImage::filled(0, 3, [0; 3]), 90), Err(EncodeError::Size { .. })));
        assert!(matches!(encode_jpeg(&RgbImage::filled(70_000, 1, [0; 3]), 90), Err(EncodeError::Jpeg { .. })));
    }

    #[test]
    fn thumbnails_keep_proportions_and_are_never_enlarged() {
        for ((width, height), max_side, expected) in [
            ((320, 160), 160, (160, 80)),
            ((100, 401), 160, (40, 160)),
            ((30, 20), 160, (30, 20)),
            ((5000, 3), 160, (160, 1)),
            ((7, 7), 0, (1, 1)),
        ] {
            let jpeg = thumbnail(&RgbImage::filled(width, height, [90, 120, 30]), max_side).unwrap();
            assert_eq!(image::load_from_memory(&jpeg).unwrap().to_rgb8().dimensions(), expected);
        }
        assert!(matches!(thumbnail(&RgbImage::filled(0, 5, [0; 3]), 160), Err(EncodeError::Size { .. })));
    }
}
