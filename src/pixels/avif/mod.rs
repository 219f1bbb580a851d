//! AVIF, with the feature of that name: still pictures of one tile, of 8, 10 or 12 bits, which become 8.

pub(super) mod container;

use std::io::Cursor;

use image::metadata::Orientation;
use re_rav1d::pixel::{MatrixCoefficients, YUVRange};
use re_rav1d::{Decoder, Picture, PixelLayout, PlanarImageComponent, Settings};

use self::container::{Container, Item};
use super::decode::error::DecodeError;
use super::page::Page;

/// What decoding takes for a pixel: three planes of 16 bits twice, opacity twice, the page, the result, and where there is no
/// data.
pub(super) const BYTES_PER_PIXEL: u64 = 12 + 4 + 4 + 3 + 2;

/// Matrices of ITU-T H.273 by which luma and colour differences become colours.
const IDENTITY: u16 = 0;
const BT_709: u16 = 1;
const UNSPECIFIED: u16 = 2;
const BT_470_BG: u16 = 5;
const BT_601: u16 = 6;
const BT_2020: u16 = 9;

/// Reads the main picture, whose container was read from the same bytes.
pub(super) fn read(bytes: &[u8]) -> Result<(Page, Orientation), DecodeError> {
    let container = container::read(&mut Cursor::new(bytes)).map_err(|_| DecodeError::Truncated)??;
    let picture = decoded(&container.picture, bytes, &container)?;
    let (matrix, is_full) = match container.colour {
        Some(colour) => colour,
        None => (matrix(&picture), picture.color_range() == YUVRange::Full),
    };
    let (width, height) = (container.width as usize, container.height as usize);
    let colours = colours(&picture, width, height, matrix, is_full)?;
    let Some(opacity) = &container.opacity else {
        let values = colours.into_flattened();
        return Ok((lossy(Page::of_bytes(width, height, 3, values)), container.orientation));
    };
    let opacity = decoded(opacity, bytes, &container)?;
    let plane = Plane::of(&opacity, PlanarImageComponent::Y)?;
    let scale = Scale::of(&opacity, opacity.color_range() == YUVRange::Full)?;
    let mut values = Vec::with_capacity(4 * width * height);
    for (index, [red, green, blue]) in colours.into_iter().enumerate() {
        let opacity = scale.luma(plane.at(index % width, index / width));
        values.extend([red, green, blue, eight_bits(opacity)]);
    }
    let mut page = lossy(Page::of_bytes(width, height, 4, values));
    if let Some(alpha) = &mut page.alpha {
        alpha.premultiplied = container.premultiplied;
    }
    Ok((page, container.orientation))
}

fn lossy(page: Page) -> Page {
    Page { lossless: false, ..page }
}

/// The frame that an item holds, of the size that the container declares.
fn decoded(item: &Item, bytes: &[u8], container: &Container) -> Result<Picture, DecodeError> {
    let failed = |error: re_rav1d::Error| DecodeError::Broken { reason: error.to_string() };
    let mut settings = Settings::new();
    // Images are decoded side by side already.
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_frame_size_limit(container.width.saturating_mul(container.height));
    let mut decoder = Decoder::with_settings(&settings).map_err(failed)?;
    match decoder.send_data(item.bytes(bytes)?, None, None, None) {
        Err(error) if !error.is_again() => return Err(failed(error)),
        _ => {}
    }
    let picture = match decoder.get_picture() {
        Err(error) if error.is_again() => return Err(DecodeError::Truncated),
        picture => picture.map_err(failed)?,
    };
    if (picture.width(), picture.height()) != (container.width, container.height) {
        return Err(DecodeError::Broken { reason: "its picture has another size than its container says".into() });
    }
    Ok(picture)
}

/// The matrix that the coded picture names.
fn matrix(picture: &Picture) -> u16 {
    match picture.matrix_coefficients() {
        MatrixCoefficients::Identity => IDENTITY,
        MatrixCoefficients::BT709 => BT_709,
        MatrixCoefficients::BT2020NonConstantLuminance => BT_2020,
        MatrixCoefficients::BT470BG | MatrixCoefficients::ST170M | MatrixCoefficients::Unspecified => UNSPECIFIED,
        // None of these can be computed by one matrix.
        _ => u16::MAX,
    }
}

/// Samples of one component.
struct Plane {
    samples: re_rav1d::Plane,
    stride: usize,
    is_wide: bool,
}

impl Plane {
    fn of(picture: &Picture, component: PlanarImageComponent) -> Result<Plane, DecodeError> {
        let stride = picture.stride(component) as usize;
        let is_wide = picture.bit_depth() > 8;
        let (_, rows) = picture.plane_data_geometry(component);
        let samples = picture.plane(component);
        let broken = || DecodeError::Broken { reason: "its planes have no samples".into() };
        (stride > 0 && samples.len() >= stride * rows as usize)
            .then_some(Plane { samples, stride, is_wide })
            .ok_or_else(broken)
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        let start = y * self.stride;
        if self.is_wide {
            let at = start + 2 * x;
            f32::from(u16::from_ne_bytes([self.samples[at], self.samples[at + 1]]))
        } else {
            f32::from(self.samples[start + x])
        }
    }
}

/// From samples to numbers: luma from 0 to 1, differences around 0.
struct Scale {
    black: f32,
    luma: f32,
    middle: f32,
    difference: f32,
}

impl Scale {
    fn of(picture: &Picture, is_full: bool) -> Result<Scale, DecodeError> {
        let bits = picture.bits_per_component().map(|bits| bits.0);
        let bits = bits.ok_or(DecodeError::Unsupported { what: "samples of an unknown number of bits".into() })?;
        // Of 8 bits; wider samples have as many more levels.
        let levels = |of_eight: f32| of_eight * (1u32 << (bits - 8)) as f32;
        let largest = ((1u32 << bits) - 1) as f32;
        Ok(if is_full {
            Scale { black: 0.0, luma: largest, middle: levels(128.0), difference: largest }
        } else {
            Scale { black: levels(16.0), luma: levels(219.0), middle: levels(128.0), difference: levels(224.0) }
        })
    }

    fn luma(&self, sample: f32) -> f32 {
        (sample - self.black) / self.luma
    }

    fn difference(&self, sample: f32) -> f32 {
        (sample - self.middle) / self.difference
    }
}

/// Red, green and blue of every pixel.
///
/// # Shapes
/// → `[height · width]`
fn colours(
    picture: &Picture,
    width: usize,
    height: usize,
    matrix: u16,
    is_full: bool,
) -> Result<Vec<[u8; 3]>, DecodeError> {
    let scale = Scale::of(picture, is_full)?;
    let luma = Plane::of(picture, PlanarImageComponent::Y)?;
    let places = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let (halves_across, halves_down) = match picture.pixel_layout() {
        PixelLayout::I400 => {
            return Ok(places().map(|(x, y)| [eight_bits(scale.luma(luma.at(x, y))); 3]).collect());
        }
        PixelLayout::I420 => (true, true),
        PixelLayout::I422 => (true, false),
        PixelLayout::I444 => (false, false),
    };
    let [blueness, redness] = [PlanarImageComponent::U, PlanarImageComponent::V].map(|part| Plane::of(picture, part));
    let (blueness, redness) = (blueness?, redness?);
    let (across, down) = (neighbours(width, halves_across), neighbours(height, halves_down));
    let at = |plane: &Plane, x: usize, y: usize| -> f32 {
        let row = |y: usize| across[x].iter().map(|&(x, weight)| weight * plane.at(x, y)).sum::<f32>();
        down[y].iter().map(|&(y, weight)| weight * row(y)).sum()
    };
    // Shares of red and blue in luma (ITU-R BT.601, BT.709, BT.2020).
    let [of_red, of_blue] = match matrix {
        IDENTITY => [0.0, 0.0],
        BT_709 => [0.2126, 0.0722],
        UNSPECIFIED | BT_470_BG | BT_601 => [0.299, 0.114],
        BT_2020 => [0.2627, 0.0593],
        _ => return Err(DecodeError::Unsupported { what: "colours of a rare kind".into() }),
    };
    Ok(places()
        .map(|(x, y)| {
            let luma = scale.luma(luma.at(x, y));
            if matrix == IDENTITY {
                // Green, blue and red themselves.
                let [blue, red] = [&blueness, &redness].map(|plane| scale.luma(at(plane, x, y)));
                return [red, luma, blue].map(eight_bits);
            }
            let [blueness, redness] = [&blueness, &redness].map(|plane| scale.difference(at(plane, x, y)));
            let red = luma + 2.0 * (1.0 - of_red) * redness;
            let blue = luma + 2.0 * (1.0 - of_blue) * blueness;
            let green = (luma - of_red * red - of_blue * blue) / (1.0 - of_red - of_blue);
            [red, green, blue].map(eight_bits)
        })
        .collect())
}

/// For every pixel the samples around it with their weights: its own, or of samples for two pixels each, whose places are between
/// them, the nearer one and the one beyond it.
fn neighbours(pixels: usize, halves: bool) -> Vec<[(usize, f32); 2]> {
    let last = pixels.div_ceil(2).saturating_sub(1);
    let of = |pixel: usize| {
        if !halves {
            return [(pixel, 1.0), (pixel, 0.0)];
        }
        let own = pixel / 2;
        let beyond = if pixel.is_multiple_of(2) { own.saturating_sub(1) } else { (own + 1).min(last) };
        [(own, 0.75), (beyond, 0.25)]
    };
    (0..pixels).map(of).collect()
}

fn eight_bits(share: f32) -> u8 {
    (255.0 * share).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::{DecodeConfig, decode};

    /// Four fields of 8 × 6 pixels, as libavif writes them with colours of a quarter of the samples.
    const FIELDS: &str = "00000020667479706176696600000000617669666d6966316d6961664d413142000000eb6d65746100000000000000216864\
         6c72000000000000000070696374000000000000000000000000000000000e7069746d0000000000010000001e696c6f6300\
         00000044000001000100000001000001130000002d0000002869696e660000000000010000001a696e666502000000000100\
         0061763031436f6c6f72000000006a697072700000004b6970636f000000146973706500000000000000100000000c000000\
         107069786900000000030808080000000c6176314381000c0000000013636f6c726e636c780001000d000680000000176970\
         6d61000000000000000100010401028304000000356d64617412000a09180cfeda2021a0d080321e4481fdfdaa4020820f90\
         0020a24bee6c5f6765d80457fed47761faede628";
    /// The same with opacity that grows from left to right.
    const WITH_OPACITY: &str = "00000020667479706176696600000000617669666d6966316d6961664d413142000001866d65746100000000000000216864\
         6c72000000000000000070696374000000000000000000000000000000000e7069746d0000000000010000002c696c6f6300\
         00000044000002000100000001000001cd0000002d000200000001000001ae0000001f0000004269696e6600000000000200\
         00001a696e6665020000000001000061763031436f6c6f72000000001a696e6665020000000002000061763031416c706861\
         000000001a69726566000000000000000e6175786c000200010001000000c3697072700000009d6970636f00000014697370\
         6500000000000000100000000c000000107069786900000000030808080000000c6176314381000c0000000013636f6c726e\
         636c780001000d0006800000000e706978690000000001080000000c6176314381001c000000003861757843000000007572\
         6e3a6d7065673a6d706567423a636963703a73797374656d733a617578696c696172793a616c706861000000001e69706d61\
         00000000000000020001040102830400020401058607000000546d64617412000a05180cfed8543214118000010005701ade\
         e7bf389f3859b44fc093cf12000a09180cfeda2021a0d080321e4481fdfdaa4020820f900020a24bee6c5f6765d80457fed4\
         7761faede628";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        hexadecimal
            .as_bytes()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn colours_are_those_of_other_decoders() {
        let picture = decode(&bytes(FIELDS), &DecodeConfig::default()).unwrap();
        assert_eq!((picture.width, picture.height, picture.remarks.len()), (16, 12, 0));
        for ((x, y), expected) in
            [((3, 3), [220, 41, 29]), ((12, 3), [19, 61, 198]), ((3, 9), [250, 71, 59]), ((12, 9), [49, 91, 228])]
        {
            let found = picture.at(x, y);
            assert!(
                found.iter().zip(expected).all(|(&found, expected)| found.abs_diff(expected) <= 2),
                "{found:?} at {x}, {y}"
            );
        }
        let (page, _) = read(&bytes(WITH_OPACITY)).unwrap();
        let opacity: Vec<f64> = (0..16).map(|x| page.at(3 * 16 + x, page.alpha.unwrap().band)).collect();
        for (x, found) in opacity.into_iter().enumerate() {
            assert!((found - 17.0 * x as f64).abs() <= 3.0, "{found} at {x}");
        }
    }

    #[test]
    fn files_that_are_cut_or_changed_are_refused_and_never_more() {
        for whole in [bytes(FIELDS), bytes(WITH_OPACITY)] {
            for length in 0..whole.len() {
                assert!(decode(&whole[..length], &DecodeConfig::default()).is_err(), "{length} bytes");
            }
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 0xFF;
                // Any answer will do.
                let _ = decode(&changed, &DecodeConfig { max_megapixels: 1, ..DecodeConfig::default() });
            }
        }
    }
}
